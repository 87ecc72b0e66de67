//! The first start of a member, without a double vote.
//!
//! A directory that was never bootstrapped may belong to a member that has voted before and lost
//! its disk. So it asks the other founding members first: one that knows the member with another
//! data directory refuses, and the start ends. Only a majority of the founding members, *not
//! counting the asker*, makes the answer safe: whoever elected or followed the lost directory had
//! pinned it at as many members, and two such sets share one. The price: the very first start of
//! three members needs all three; afterwards two suffice, as ever.

use crate::proto::peer;
use crate::raft::{Links, MemberNode, Pins};
use crate::types::{HexId, NodeId};
use anyhow::{bail, ensure};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Pause between two attempts to reach a member that does not answer.
const RETRY: Duration = Duration::from_millis(50);

/// Asks until a majority of the founding members has answered.
///
/// # Errors
/// `member ... has already been bootstrapped` if one of them knows it with another directory.
pub(super) async fn ask_founders(
    members: &BTreeMap<NodeId, MemberNode>,
    links: &Links,
    pins: &Pins,
    patience: Duration,
) -> anyhow::Result<()> {
    let me = pins.me().node;
    let mut others: FuturesUnordered<_> = members
        .iter()
        .filter(|(node, _)| **node != me)
        .map(|(node, member)| ask(*node, member, links, pins, patience))
        .collect();
    let needed = (members.len() / 2 + 1).min(others.len());
    let mut answered = 0;
    while answered < needed {
        match others.next().await {
            Some(Ok(())) => answered += 1,
            Some(Err(error)) => return Err(error),
            None => bail!("no founding member is left to ask"),
        }
    }
    Ok(())
}

/// All founders start from the same data, or the members would differ from the first.
fn check_origin(node: NodeId, theirs: u64, ours: u64) -> anyhow::Result<()> {
    let comes = |origin| match origin {
        0 => "empty".to_owned(),
        origin => format!("from backup {}", HexId(origin)),
    };
    ensure!(
        theirs == ours,
        "member {} starts {}, this one {}: all members of a new cluster restore the same backup, \
         or none does",
        HexId(node),
        comes(theirs),
        comes(ours)
    );
    Ok(())
}

async fn ask(
    node: NodeId,
    member: &MemberNode,
    links: &Links,
    pins: &Pins,
    patience: Duration,
) -> anyhow::Result<()> {
    let me = pins.me();
    let mut complained = false;
    loop {
        let mut client = links.to(node, member)?.control;
        match timeout(patience, client.hello(peer::HelloRequest {})).await {
            Ok(Ok(answer)) => {
                let answer = answer.into_inner();
                match answer.known_incarnation {
                    known if known == 0 || known == me.incarnation => {}
                    _ => bail!("member {} has already been bootstrapped", HexId(me.node)),
                }
                check_origin(node, answer.origin, pins.origin())?;
                if let Err(status) = pins.pin(node, answer.incarnation).await {
                    bail!("{}", status.message());
                }
                return Ok(());
            }
            Ok(Err(status)) if status.message().contains("already been bootstrapped") => {
                bail!("member {} has already been bootstrapped", HexId(me.node));
            }
            Ok(Err(status)) if status.code() == tonic::Code::FailedPrecondition => {
                if !std::mem::replace(&mut complained, true) {
                    tracing::warn!(
                        peer = %HexId(node),
                        reason = status.message(),
                        "a founding member refuses this one"
                    );
                }
            }
            Ok(Err(_)) | Err(_) => {}
        }
        sleep(RETRY).await;
    }
}

//! `--initial-corrupt-check`: a member compares what is on its disk with what the others hold,
//! before it takes part in anything. Who cannot be reached, or is starting too, is not compared
//! with, as in etcd.
//!
//! etcd gives up a start as soon as one other member differs, so that a single corrupt member keeps
//! every sound one from starting. Here the majority of those that could be compared is right; where
//! there is none, the member does not start either.

use super::agreement::{Agreement, agreement};
use super::corrupt_check::HASH_PATIENCE;
use crate::env::Worker;
use crate::mvcc::deep_hash::{DeepHash, deep_hash};
use crate::mvcc::hash_kv::Waiting;
use crate::raft::{HashUnknown, Links, MemberNode};
use crate::state_machine::Store;
use crate::types::{HexId, NodeId};
use anyhow::{Context, bail};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::timeout;

/// # Errors
/// One sentence, etcd's: this member differs from the others.
pub(super) async fn check(
    store: Arc<Store>,
    members: &[(NodeId, MemberNode)],
    links: &Links,
    hasher: &Worker,
) -> anyhow::Result<()> {
    let me = links.me().node;
    let mine = own(store, hasher).await.context("hash the state")?;
    let others = members.iter().filter(|(id, _)| *id != me);
    let asked = others.map(async |(id, member)| {
        let asked = links.deep_hash_of(*id, member, mine.revision);
        let late = |_| Err(HashUnknown::NotYet("no answer in time".to_owned()));
        (
            *id,
            timeout(HASH_PATIENCE, asked).await.unwrap_or_else(late),
        )
    });
    let mut heard = BTreeMap::from([(me, mine.hash)]);
    for (id, hash) in join_all(asked).await {
        let peer = HexId(id);
        match hash {
            Ok(theirs) if theirs.compacted == mine.compacted => {
                heard.insert(id, theirs.hash);
            }
            Ok(theirs) => tracing::warn!(
                %peer,
                ours = mine.compacted,
                theirs = theirs.compacted,
                "found different compact revision values from remote peer"
            ),
            Err(error) => tracing::warn!(%peer, %error, "cannot fetch hash from remote peer"),
        }
    }
    match agreement(&heard, &heard.keys().copied().collect()) {
        Agreement::Odd(odd) if !odd.contains(&me) => {
            let odd: Vec<String> = odd.into_iter().map(|id| HexId(id).to_string()).collect();
            tracing::error!(members = ?odd, "found different hash values from remote peers");
        }
        Agreement::Odd(_) | Agreement::Split => {
            bail!("{} found data inconsistency with peers", HexId(me));
        }
        Agreement::Whole => {
            let compared = heard.len() - 1;
            tracing::info!(
                compared,
                "initial corruption checking passed; no corruption"
            );
        }
    }
    Ok(())
}

async fn own(store: Arc<Store>, hasher: &Worker) -> anyhow::Result<DeepHash> {
    let waiting = Waiting::default();
    let abandoned = waiting.abandoned();
    let hashed = hasher.run(move || deep_hash(&store.view()?, 0, &abandoned));
    let hashed = hashed.await??;
    Ok(hashed.context("it was given up")??)
}

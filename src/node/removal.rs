//! A member that was removed has to stop. It may not learn of it from the log: nothing is sent to it
//! from the entry on that removes it. So a member that hears no leader for a while asks the others
//! whether it still belongs to them.

use crate::proto::peer;
use crate::raft::{Consensus, Links, tells_removal};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{sleep, timeout};

/// Returns once this member has been removed, for ever.
pub(super) async fn told(consensus: &Consensus, links: &Links) {
    let me = links.me().node;
    let pause = consensus.timers().election;
    loop {
        sleep(pause).await;
        if consensus.store().load().roster().is_removed(me) {
            return;
        }
        // No leader to name: none was heard for two election timeouts.
        if consensus.status().leader.is_none() && others_say_so(consensus, links).await {
            return;
        }
    }
}

/// Whether one of the others has applied this member's removal. One is enough: what is applied is
/// committed, and an id never comes back.
async fn others_say_so(consensus: &Consensus, links: &Links) -> bool {
    let me = links.me().node;
    let membership = consensus.in_force().membership;
    let patience = consensus.timers().election;
    let mut calls: FuturesUnordered<_> = membership
        .nodes()
        .filter(|(node, _)| **node != me)
        .filter_map(|(node, member)| links.to(*node, member).ok())
        .map(async |links| {
            let mut client = links.control;
            let answer = timeout(patience, client.hello(peer::HelloRequest {})).await;
            matches!(answer, Ok(Err(status)) if tells_removal(&status))
        })
        .collect();
    while let Some(removed) = calls.next().await {
        if removed {
            return true;
        }
    }
    false
}

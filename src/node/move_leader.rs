//! Leadership moved to a member that somebody named.

use super::Node;
use crate::proto::peer;
use crate::raft::{LeaderHint, MemberNode};
use crate::types::{HexId, NodeId};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Why leadership did not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoveFailure {
    #[error("not leader")]
    NotLeader,
    /// No voter of this cluster.
    #[error("bad leader transferee")]
    BadTransferee,
    #[error("request timed out, leader transfer took too long")]
    TookTooLong,
}

impl Node {
    /// Hands leadership to a voter and waits until it leads. To this member itself: nothing to do.
    ///
    /// A voter that does not answer is not asked to take over: the cluster would be without a leader
    /// until somebody's patience ends.
    pub async fn move_leader(&self, to: NodeId, deadline: Instant) -> Result<(), MoveFailure> {
        let consensus = &self.inner.consensus;
        let me = self.inner.identity.member_id;
        let status = consensus.status();
        if status.leader != Some(me) {
            return Err(MoveFailure::NotLeader);
        }
        let member = status.membership.get_node(&to).cloned();
        let member = member.filter(|_| status.voters.contains(&to));
        let member = member.ok_or(MoveFailure::BadTransferee)?;
        if to == me {
            return Ok(());
        }
        let patience = consensus.timers().election;
        let mut leaders = consensus.leader_watch();
        let mut asked: Option<Instant> = None;
        loop {
            match leaders.hint() {
                LeaderHint::Other(leader, _) if leader == to => return Ok(()),
                // Somebody else was elected meanwhile.
                LeaderHint::Other(..) => return Err(MoveFailure::TookTooLong),
                // openraft may fail to hand over without a word, so it is asked again.
                LeaderHint::Me if asked.is_none_or(|at| at.elapsed() >= patience) => {
                    asked = Some(Instant::now());
                    if self.answers(to, &member, patience).await {
                        tracing::info!(to = %HexId(to), "moving leadership");
                        if let Err(error) = consensus.transfer_leadership(to).await {
                            tracing::warn!(%error, "leadership not moved");
                            return Err(MoveFailure::TookTooLong);
                        }
                    }
                }
                LeaderHint::Me | LeaderHint::Nobody => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(MoveFailure::TookTooLong);
            }
            leaders.changed(patience.min(left)).await;
        }
    }

    async fn answers(&self, node: NodeId, member: &MemberNode, patience: Duration) -> bool {
        let Ok(links) = self.inner.links.to(node, member) else {
            return false;
        };
        let mut control = links.control;
        let hello = control.hello(peer::HelloRequest {});
        matches!(timeout(patience, hello).await, Ok(Ok(_)))
    }
}

//! From which position on a linearizable read may be served: what only a leader knows, and only
//! while a quorum follows it.
//!
//! A member that asks a leader tells its last vote, and is not asked back if it follows. Its word is
//! older than the position it gets, but younger than its read, and that is enough: whoever was
//! elected over this leader before the read began had the vote of one of any quorum, and what is
//! acknowledged later the read need not see.

use super::super::quorum_round::QuorumRound;
use super::super::type_config::{Vote, position_of, vote_of};
use super::super::wire;
use super::Consensus;
use crate::canary::{Canary, planted};
use crate::proto::peer;
use crate::types::{NodeId, Position};
use openraft::LinearizerOption;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{LinearizableReadError, RaftError};
use std::time::Duration;

/// What a voter that is gone costs the one round that finds out: longer than an answer takes between
/// halls, shorter than a client would notice.
const HEAD_START: Duration = Duration::from_millis(10);

/// Why no read index was confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFailure {
    NotLeader(Option<NodeId>),
    /// The quorum did not answer in time.
    NoQuorum,
    Stopped,
}

impl Consensus {
    /// Confirms with a quorum that this member leads, and answers the position that a read must
    /// wait for.
    pub async fn read_index(&self) -> Result<Position, ReadFailure> {
        self.read_index_for(None).await
    }

    /// The same for a member that asks and tells its last vote, given after its read began.
    pub(in crate::raft) async fn read_index_for(
        &self,
        asker: Option<(NodeId, Vote)>,
    ) -> Result<Position, ReadFailure> {
        // On Raft's runtime, where the core and the connections live: one way there and back.
        let this = self.clone();
        let confirmed = self.inner.runtime.spawn(async move {
            // The vote first, the position second, the quorum last: whoever follows this vote now
            // has followed nobody else when the position was taken.
            let round = this.quorum_round(asker)?;
            let inner = &this.inner;
            // Planted: who led once leads for ever.
            if planted(Canary::LeaseReadWithoutBound) {
                let committed = inner.raft.metrics().borrow_watched().cluster_committed;
                return committed
                    .as_ref()
                    .map(position_of)
                    .ok_or(ReadFailure::NoQuorum);
            }
            let position = this.read_position().await?;
            if round.confirmed(&inner.links, &inner.asking_order).await {
                Ok(position)
            } else {
                Err(ReadFailure::NoQuorum)
            }
        });
        confirmed.await.unwrap_or(Err(ReadFailure::Stopped))
    }

    /// This member's last vote. It stays so until this member answers that it votes for somebody
    /// else, or asks others to vote for itself: before that its log takes in the new vote.
    pub(in crate::raft) fn last_vote(&self) -> Option<Vote> {
        let vote = self.inner.log.state().vote;
        vote.map(|vote| vote_of(vote.term, vote.node, vote.committed))
    }

    /// What this member asks a leader for a read index with.
    pub fn read_index_request(&self) -> peer::ReadIndexRequest {
        let vote = self.last_vote();
        peer::ReadIndexRequest {
            vote: vote.as_ref().map(wire::vote_to_proto),
        }
    }

    fn quorum_round(&self, asker: Option<(NodeId, Vote)>) -> Result<QuorumRound, ReadFailure> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let vote = metrics.vote;
        if !vote.committed || vote.leader_id.voted_for != metrics.id {
            return Err(ReadFailure::NotLeader(metrics.current_leader));
        }
        Ok(QuorumRound {
            vote,
            membership: metrics.membership_config.membership().clone(),
            asker: asker.filter(|(_, its)| *its == vote).map(|(node, _)| node),
            head_start: HEAD_START,
            patience: self.inner.timers.election,
        })
    }

    /// The last position committed here, at least this leader's first entry. openraft answers at
    /// once if it heard a quorum within the last election timeout, and asks for one otherwise.
    async fn read_position(&self) -> Result<Position, ReadFailure> {
        let option = LinearizerOption::new(None, true);
        match self.inner.raft.get_read_linearizer(option).await {
            Ok(linearizer) => Ok(position_of(linearizer.read_log_id().log_id())),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(ReadFailure::NotLeader(forward.leader_id))
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                Err(ReadFailure::NoQuorum)
            }
            Err(RaftError::Fatal(_)) => Err(ReadFailure::Stopped),
        }
    }
}

//! Takes a batch to whoever leads: into this member's log, or once to the leader.

use super::batch::Batch;
use crate::canary::{Canary, planted};
use crate::node::NodeError;
use crate::proto::peer;
use crate::raft::{CarriedOut, Client, Consensus, LeaderHint, Links, MemberNode, ProposeFailure};
use crate::state_machine::codec::decode_replies;
use crate::types::{NodeId, Position};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// How long to wait for news of a leader before asking again.
const LEADER_PATIENCE: Duration = Duration::from_millis(20);

/// Takes a batch to whoever leads.
#[derive(Clone)]
pub(super) struct Carrier {
    consensus: Consensus,
    links: Links,
}

impl Carrier {
    pub(super) fn new(consensus: Consensus, links: Links) -> Self {
        Self { consensus, links }
    }

    /// # Errors
    /// What to tell those who wait; of [`NodeError::is_unknown_outcome`] it may be carried out all the
    /// same.
    pub(super) async fn carry_out(&self, batch: &mut Batch) -> Result<CarriedOut, NodeError> {
        let mut leaders = self.consensus.leader_watch();
        loop {
            // However long it takes until somebody leads, nothing is proposed too late.
            batch.leave_out_the_late(Instant::now());
            let hint = leaders.hint();
            match hint {
                LeaderHint::Me => {}
                LeaderHint::Nobody => batch.refuse_other_members(None),
                LeaderHint::Other(leader, _) => batch.refuse_other_members(Some(leader)),
            }
            if !batch.is_awaited() {
                return Err(NodeError::Timeout);
            }
            let attempt = match hint {
                LeaderHint::Nobody => Attempt::NotTaken,
                LeaderHint::Me => self.propose_here(batch).await,
                LeaderHint::Other(leader, member) => self.forward(leader, &member, batch).await,
            };
            match attempt {
                Attempt::Done(outcome) => return outcome,
                Attempt::NotTaken => tokio::select! {
                    () = leaders.changed(LEADER_PATIENCE) => {}
                    // Nobody will ever lead here: whoever waits lets go of this member.
                    _ = self.consensus.stopped() => return Err(NodeError::Stopped),
                },
            }
        }
    }

    async fn propose_here(&self, batch: &Batch) -> Attempt {
        let (done, outcome) = oneshot::channel();
        self.consensus
            .propose(batch.bytes.clone(), move |proposed| {
                // Given up on at its deadline: nobody listens.
                done.send(proposed).ok();
            })
            .await;
        match timeout_at(batch.deadline, outcome).await {
            Ok(Ok(Ok(done))) => Attempt::Done(Ok(done)),
            Ok(Ok(Err(ProposeFailure::NotLeader(_)))) => Attempt::NotTaken,
            // Planted, here and below: once more, it may not have worked.
            Ok(Ok(Err(ProposeFailure::Unknown))) if planted(Canary::UnknownProposalRetried) => {
                Attempt::NotTaken
            }
            Ok(Ok(Err(ProposeFailure::Unknown))) => {
                Attempt::Done(Err(NodeError::TimeoutLeaderFail))
            }
            Ok(Err(_)) => Attempt::Done(Err(NodeError::Stopped)),
            Err(_) => Attempt::Done(Err(NodeError::Timeout)),
        }
    }

    async fn forward(&self, leader: NodeId, member: &MemberNode, batch: &Batch) -> Attempt {
        let Ok(links) = self.links.to(leader, member) else {
            return Attempt::NotTaken;
        };
        match timeout_at(batch.deadline, send(links.entries, batch)).await {
            Ok(Sent::CarriedOut(done)) => {
                // A client reads its own writes from this member, serializably too (as on etcd, where
                // a member answers what it has applied). Past the deadline: done is done.
                let here = self.consensus.applied_here(leader, done.at);
                timeout_at(batch.deadline, here).await.ok();
                Attempt::Done(Ok(done))
            }
            Ok(Sent::Failed(error)) => Attempt::Done(Err(error)),
            Ok(Sent::NotTaken) => Attempt::NotTaken,
            Err(_) => Attempt::Done(Err(NodeError::TimeoutConnectionLost)),
        }
    }
}

enum Attempt {
    Done(Result<CarriedOut, NodeError>),
    /// Certainly in nobody's log.
    NotTaken,
}

/// What became of a batch that was sent to the leader.
enum Sent {
    CarriedOut(CarriedOut),
    Failed(NodeError),
    NotTaken,
}

/// Sends a batch to the leader, once.
async fn send(mut client: Client, batch: &Batch) -> Sent {
    use peer::forward_response::Answer;
    use peer::refused::Reason;
    let left = batch.deadline.saturating_duration_since(Instant::now());
    let timeout_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
    let request = peer::ForwardRequest {
        batch: batch.bytes.clone(),
        timeout_ms,
    };
    let answer = match client.forward(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) if crate::raft::was_never_sent(&status) => return Sent::NotTaken,
        // The peer looked at the introduction only: it is starting, or refuses us.
        Err(status) if status.code() == tonic::Code::FailedPrecondition => return Sent::NotTaken,
        Err(_) if planted(Canary::UnknownProposalRetried) => return Sent::NotTaken,
        Err(status) => {
            tracing::debug!(%status, "a forwarded batch has an unknown outcome");
            return Sent::Failed(NodeError::TimeoutLeaderFail);
        }
    };
    match (answer.answer, answer.at) {
        (Some(Answer::Replies(replies)), Some(at)) => match decode_replies(replies) {
            Ok(replies) if replies.len() == batch.commands() => {
                let at = Position {
                    term: at.term,
                    index: at.index,
                };
                Sent::CarriedOut(CarriedOut { at, replies })
            }
            _ => Sent::Failed(NodeError::TimeoutLeaderFail),
        },
        (Some(Answer::Refused(refused)), _) => match refused.reason() {
            Reason::NotLeader => Sent::NotTaken,
            Reason::TooManyRequests => Sent::Failed(NodeError::TooManyRequests),
        },
        _ => Sent::Failed(NodeError::TimeoutLeaderFail),
    }
}

#[cfg(test)]
mod tests;

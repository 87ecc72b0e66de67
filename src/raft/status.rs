//! What a member's consensus says of itself, for doors, judges and housekeeping.

use super::type_config::{LogId, Membership, TypeConfig, position_of};
use crate::types::{NodeId, Position};
use openraft::{RaftMetrics, ServerState};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Leader,
    Follower,
    Candidate,
    Learner,
    Stopped,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
            Self::Stopped => "stopped",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Status {
    pub role: Role,
    /// The leader, if this member may still name one.
    pub leader: Option<NodeId>,
    pub term: u64,
    pub voted_for: NodeId,
    pub vote_committed: bool,
    pub last_log_index: Option<u64>,
    pub committed: Option<Position>,
    pub applied: Option<Position>,
    pub purged: Option<Position>,
    pub snapshot: Option<Position>,
    pub membership: Membership,
    pub voters: Vec<NodeId>,
    pub learners: Vec<NodeId>,
    /// On a leader: how far each follower's log agrees with its own.
    pub matched: BTreeMap<NodeId, Option<Position>>,
}

impl Status {
    pub(super) fn from_metrics(metrics: &RaftMetrics<TypeConfig>) -> Self {
        let position = |log_id: &Option<LogId>| log_id.as_ref().map(position_of);
        let membership = metrics.membership_config.membership().clone();
        let role = match (&metrics.running_state, metrics.state) {
            (Err(_), _) | (_, ServerState::Shutdown) => Role::Stopped,
            (Ok(()), ServerState::Leader) => Role::Leader,
            (Ok(()), ServerState::Follower) => Role::Follower,
            (Ok(()), ServerState::Candidate) => Role::Candidate,
            (Ok(()), ServerState::Learner) => Role::Learner,
        };
        let matched = metrics.replication.iter().flatten();
        Self {
            role,
            leader: metrics.current_leader,
            term: metrics.current_term,
            voted_for: metrics.vote.leader_id.voted_for,
            vote_committed: metrics.vote.committed,
            last_log_index: metrics.last_log_index,
            committed: position(&metrics.local_committed),
            applied: position(&metrics.last_applied),
            purged: position(&metrics.purged),
            snapshot: position(&metrics.snapshot),
            voters: membership.voter_ids().collect(),
            learners: membership.learner_ids().collect(),
            matched: matched
                .map(|(node, log_id)| (*node, position(log_id)))
                .collect(),
            membership,
        }
    }
}

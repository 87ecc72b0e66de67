//! The types that openraft is told about. Wire and disk forms of them are in [`super::wire`].

use crate::state_machine::Reply;
use crate::types::{NodeId, Position};
use bytes::Bytes;
use openraft::impls::{BoxedErrorSource, InlineBatch, leader_id_std};
use openraft::raft::responder::Responder;
use openraft::vote::RaftLeaderId;
use openraft::{EntryPayload, OptionalSend, RaftTypeConfig};
use openraft_rt_tokio::TokioRuntime;
use std::fmt;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypeConfig;

impl RaftTypeConfig for TypeConfig {
    type D = Batch;
    type R = Vec<Reply>;
    type NodeId = NodeId;
    type Node = MemberNode;
    type Term = u64;
    /// One leader per term (invariant 12): a term names its leader, so a log id names one entry.
    type LeaderId = leader_id_std::LeaderId<u64, NodeId>;
    type Vote = openraft::Vote<Self::LeaderId>;
    type Payload = EntryPayload<Batch, NodeId, MemberNode>;
    type Entry = openraft::Entry<<Self::LeaderId as RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = TokioRuntime;
    type Responder<T>
        = OnComplete<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

/// One log entry's worth of commands, encoded (`state_machine/codec`). Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch(pub Bytes);

impl fmt::Debug for Batch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Batch({} bytes)", self.0.len())
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes", self.0.len())
    }
}

/// What the replicated membership says of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberNode {
    /// The name in `--initial-cluster`; the published one, if any, is the member's own word.
    pub name: String,
    pub peer_urls: Vec<String>,
    /// A voter to everybody. To Raft it is one from the start (a founder), or from the moment it
    /// has caught up (a member added later).
    pub votes: bool,
}

/// A responder that calls a closure. It runs on the apply task for a success and on Raft's core
/// for a refusal, so it must only hand the value on.
pub struct OnComplete<T>(pub Box<dyn FnOnce(T) + Send>);

impl<T: OptionalSend + 'static> Responder<TypeConfig, T> for OnComplete<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}

pub(super) type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub(super) type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub(super) type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub(super) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
pub type Membership = openraft::Membership<NodeId, MemberNode>;
pub(super) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;

pub(super) fn position_of(log_id: &LogId) -> Position {
    Position {
        term: log_id.leader_id.term,
        index: log_id.index,
    }
}

pub(super) fn log_id_of(position: Position) -> LogId {
    LogId::new(position.term.into(), position.index)
}

pub(super) fn vote_of(term: u64, node: NodeId, committed: bool) -> Vote {
    Vote {
        leader_id: leader_id_std::LeaderId {
            term,
            voted_for: node,
        },
        committed,
    }
}

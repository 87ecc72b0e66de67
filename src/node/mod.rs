//! Floor 5: a member at work. Tasks, time, leadership, limits.
//!
//! [`Node`] is what the doors see: propose a command, read linearizably, ask who leads.

mod error;

pub use error::NodeError;

use crate::state_machine::command::{Command, Txn};
use crate::state_machine::{Refusal, Reply};
use crate::types::{ClusterId, NodeId, RangeQuery, RangeResult, Revision};
use tokio::time::Instant;

/// A running member. Cheap to clone.
#[derive(Clone)]
pub struct Node {}

/// Which member this is, of which cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cluster_id: ClusterId,
    pub member_id: NodeId,
    pub name: String,
}

/// A member of the cluster as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: NodeId,
    /// Empty until the member has started and published itself.
    pub name: String,
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
    pub is_learner: bool,
}

/// What this member knows of itself, without asking anybody.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NodeStatus {
    /// 0 when there is none this member may name.
    pub leader: NodeId,
    pub term: u64,
    pub committed_index: u64,
    pub applied_index: u64,
    pub is_learner: bool,
    /// Bytes on disk, and logical bytes in use.
    pub db_bytes: i64,
    pub db_bytes_in_use: i64,
    pub errors: Vec<String>,
}

impl Node {
    pub fn identity(&self) -> &Identity {
        unimplemented!()
    }

    /// Carries out one command through the log. The caller has validated it.
    ///
    /// # Errors
    /// After [`NodeError::is_unknown_outcome`] errors the command may or may not take effect.
    pub async fn propose(&self, _command: Command, _deadline: Instant) -> Result<Reply, NodeError> {
        std::future::ready(Err(NodeError::Stopped)).await
    }

    /// Answers a range from one view. Unless `serializable`, after a read-index barrier.
    /// The revision is the view's, for the header.
    pub async fn range(
        &self,
        _query: RangeQuery,
        _serializable: bool,
        _deadline: Instant,
    ) -> Result<(Revision, Result<RangeResult, Refusal>), NodeError> {
        std::future::ready(Err(NodeError::Stopped)).await
    }

    /// Answers a transaction that holds only ranges (no nested transaction) from one view.
    pub async fn read_only_txn(
        &self,
        _txn: Txn,
        _serializable: bool,
        _deadline: Instant,
    ) -> Result<Reply, NodeError> {
        std::future::ready(Err(NodeError::Stopped)).await
    }

    /// Returns once this member's state includes everything acknowledged before the call.
    pub async fn read_barrier(&self, _deadline: Instant) -> Result<(), NodeError> {
        std::future::ready(Err(NodeError::Stopped)).await
    }

    pub fn status(&self) -> NodeStatus {
        NodeStatus::default()
    }

    pub fn members(&self) -> Vec<Member> {
        Vec::new()
    }

    /// The store's latest revision here, for headers of answers that read nothing.
    pub fn revision(&self) -> Revision {
        0
    }

    /// The current term, for headers.
    pub fn term(&self) -> u64 {
        self.status().term
    }

    /// Whether this member is a learner, which answers only a few calls.
    pub fn is_learner(&self) -> bool {
        self.status().is_learner
    }

    /// Whether this member knows a leader it may name.
    pub fn has_leader(&self) -> bool {
        self.status().leader != 0
    }
}

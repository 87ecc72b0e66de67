//! What the doors' side of a member counts, and what it shows of the rest.

use super::Node;
use crate::mvcc::StoreMeters;
use crate::raft::PeerMeters;
use crate::raft::log::SegmentedLog;
use crate::telemetry::metrics::{Counter, Level};
use std::sync::Arc;

#[derive(Debug, Default)]
pub struct NodeMeters {
    /// Commands whose clients wait.
    pub proposals_pending: Level,
    /// Commands that were not carried out, or of which it is not known.
    pub proposals_failed: Counter,
    /// Rounds behind linearizable reads that nobody confirmed.
    pub read_indexes_failed: Counter,
    /// Rounds that took longer than [`super::read::SLOW_ROUND`].
    pub slow_read_indexes: Counter,
    /// How often a leader became known.
    pub leader_changes: Arc<Counter>,
    /// Renewals that were acknowledged here, by the leader.
    pub leases_renewed: Counter,
    /// Leases that were revoked here, by the leader, because their time was over.
    pub leases_expired: Counter,
}

/// Numbers of the rooms below.
impl Node {
    pub fn meters(&self) -> &NodeMeters {
        &self.inner.meters
    }

    pub fn store_meters(&self) -> Arc<StoreMeters> {
        self.store().meters().clone()
    }

    /// Live keys.
    pub fn keys(&self) -> u64 {
        self.store().keys()
    }

    /// -1 before the first compaction.
    pub fn compact_revision(&self) -> i64 {
        self.store().compact_revision()
    }

    pub fn log(&self) -> &SegmentedLog {
        self.inner.consensus.log()
    }

    pub fn peer_meters(&self) -> &PeerMeters {
        &self.inner.peer_meters
    }

    /// Steps of apply that took longer than etcd would pass over in silence.
    pub fn slow_applies(&self) -> u64 {
        self.inner.consensus.slow_applies()
    }
}

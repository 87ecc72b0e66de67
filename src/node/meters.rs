//! What the doors' side of a member counts, and what it shows of the rest.

use super::{Node, NodeError};
use crate::mvcc::StoreMeters;
use crate::raft::PeerMeters;
use crate::raft::log::SegmentedLog;
use crate::telemetry::metrics::{Counter, Level, Raised};
use std::sync::Arc;

/// Long reads that may wait for the readers' thread; one more is turned away.
pub(super) const LONG_READS_MAX: u64 = 16_384;

#[derive(Debug, Default)]
pub struct NodeMeters {
    /// Commands whose clients wait.
    pub proposals_pending: Level,
    /// Commands that were not carried out, or of which it is not known.
    pub proposals_failed: Counter,
    /// Linearizable reads that wait for a quorum's word, and long ones that wait for their thread, or
    /// are read.
    pub reads_pending: Level,
    pub long_reads_pending: Level,
    /// Commands and reads that were turned away because a queue was full.
    pub turned_away: Counter,
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

impl NodeMeters {
    /// A place for a long read, if there is one. Short ones are made where they arrive.
    pub(super) fn long_read(&self) -> Result<Raised<'_>, NodeError> {
        let place = self.long_reads_pending.raised();
        if self.long_reads_pending.value() > LONG_READS_MAX {
            self.turned_away.increment();
            return Err(NodeError::TooManyRequests);
        }
        Ok(place)
    }

    pub(super) fn count_turned_away(&self, error: NodeError) {
        if error == NodeError::TooManyRequests {
            self.turned_away.increment();
        }
    }
}

/// Numbers of the rooms below.
impl Node {
    pub fn meters(&self) -> &NodeMeters {
        &self.inner.meters
    }

    pub fn store_meters(&self) -> Arc<StoreMeters> {
        self.store().meters().clone()
    }

    /// Bytes of the commands that wait for a batch.
    pub fn proposals_queued_bytes(&self) -> usize {
        self.inner.proposer.queued_bytes()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_long_read_more_than_there_are_places_is_turned_away() {
        let meters = NodeMeters::default();
        let mut places = Vec::new();
        for _ in 0..LONG_READS_MAX {
            places.push(meters.long_read().unwrap());
        }
        let refused = meters.long_read().map(|_| ());
        assert_eq!(refused, Err(NodeError::TooManyRequests));
        assert_eq!(meters.turned_away.value(), 1);
        places.pop();
        assert!(meters.long_read().is_ok());
    }
}

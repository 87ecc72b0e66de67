//! What the store counts. A snapshot's store goes on with the numbers of the one it replaces.

use crate::telemetry::metrics::{Buckets, Counter, Durations};

/// etcd's buckets for a commit: 1 ms to 8.2 s.
const COMMIT_BUCKETS: Buckets = Buckets::Doubling {
    micros: 1000,
    count: 14,
};

/// Since this member started. Replayed and replicated writes count as the clients' own do: this is
/// the work of one member, not of the cluster.
#[derive(Debug)]
pub struct StoreMeters {
    /// Writes of a batch to the engine: memory and operating system, not the disk. The disk's part is
    /// the log's.
    pub commits: Durations,
    pub puts: Counter,
    /// Keys and values of all puts.
    pub put_bytes: Counter,
    /// Range deletions, not the keys that they deleted.
    pub deletes: Counter,
    pub ranges: Counter,
    /// Commands of more than one operation.
    pub txns: Counter,
    pub leases_granted: Counter,
    pub leases_revoked: Counter,
}

impl Default for StoreMeters {
    fn default() -> Self {
        Self {
            commits: Durations::new(COMMIT_BUCKETS),
            puts: Counter::new(),
            put_bytes: Counter::new(),
            deletes: Counter::new(),
            ranges: Counter::new(),
            txns: Counter::new(),
            leases_granted: Counter::new(),
            leases_revoked: Counter::new(),
        }
    }
}

//! How full the queues are that clients' work waits in; `docs/architecture.md` has the list.

use super::Node;
use super::backup::BACKUPS_MAX;
use super::meters::LONG_READS_MAX;
use crate::raft::FORWARDS_MAX;

/// One queue, now.
pub struct QueueLevel {
    pub name: &'static str,
    /// Whoever would be one more is told "too many requests".
    pub limit: usize,
    pub waiting: usize,
}

impl Node {
    pub fn queues(&self) -> [QueueLevel; 6] {
        let inner = &self.inner;
        let level = |name, (waiting, limit)| QueueLevel {
            name,
            limit,
            waiting,
        };
        let counted = |waiting: u64| usize::try_from(waiting).unwrap_or(usize::MAX);
        let long_reads = counted(inner.meters.long_reads_pending.value());
        let forwarded = counted(inner.peer_meters.forwarded.value());
        let backups = BACKUPS_MAX - inner.backups.available_permits().min(BACKUPS_MAX);
        [
            level("proposals", inner.proposer.waiting()),
            level("reads", inner.barrier.waiting()),
            level("long_reads", (long_reads, counted(LONG_READS_MAX))),
            level("lease_questions", inner.leases.waiting()),
            level("forwarded_batches", (forwarded, FORWARDS_MAX)),
            level("backups", (backups, BACKUPS_MAX)),
        ]
    }
}

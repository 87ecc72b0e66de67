//! A snapshot that is to be sent is made anew if much was logged since.
//!
//! Whoever gets an old one has to apply all that came after it, entry by entry, while the store sorts
//! what it brought: with large values that was a third of the time until a new member served. Another
//! costs a flush and hard links, and whole files that an interrupted transfer brought stay good.

use super::applier::SharedStore;
use super::log::SegmentedLog;
use super::snapshot::{Snapshot, Snapshots};
use crate::types::Position;
use std::io;

/// Log bytes behind a snapshot that are applied in less time than another one takes.
const BYTES_MAX: u64 = 32 << 20;

/// What it takes to make a snapshot again.
#[derive(Clone)]
pub(super) struct Renewal {
    snapshots: Snapshots,
    store: SharedStore,
    log: SegmentedLog,
    entries_max: u64,
}

impl Renewal {
    /// Snapshots come every `snapshot_entries` entries by themselves.
    pub(super) fn new(
        snapshots: Snapshots,
        store: SharedStore,
        log: SegmentedLog,
        snapshot_entries: u64,
    ) -> Self {
        Self {
            snapshots,
            store,
            log,
            entries_max: snapshot_entries / 2,
        }
    }

    /// Makes another if this one is old. Answers whether there is a newer one now.
    pub(super) async fn renewed(&self, snapshot: &Snapshot) -> io::Result<bool> {
        let index = |at: Option<Position>| at.map_or(0, |at| at.index);
        let covered = snapshot.meta.last_log_id.map_or(0, |last| last.index);
        let since = index(self.log.state().last).saturating_sub(covered);
        // As many as fit, or all that there are.
        if since <= self.log.tail_entries(self.entries_max, BYTES_MAX)
            || index(self.store.load().applied()) <= covered
        {
            return Ok(false);
        }
        let newer = self.snapshots.build(self.store.clone()).await?;
        let is_newer = newer.meta.last_log_id > snapshot.meta.last_log_id;
        tracing::info!(
            id = newer.snapshot.id(),
            since,
            "an old snapshot is not sent"
        );
        Ok(is_newer)
    }
}

#[cfg(test)]
mod tests {
    use super::super::log::{LogEntry, LogOptions};
    use super::super::snapshot_tests::{Member, at, last_of};
    use super::*;
    use crate::env::disk_memory::MemoryDisk;
    use crate::env::{Disk, Env};
    use std::path::Path;
    use std::sync::Arc;

    /// Entries of so many bytes, up to an index.
    fn log(last: u64, bytes: u64) -> SegmentedLog {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::default());
        let (dir, threads) = (Path::new("log"), Env::real().threads);
        let log = SegmentedLog::open(dir, &disk, &threads, LogOptions::default()).unwrap();
        let payload = vec![0; usize::try_from(bytes).unwrap()];
        let entries = (1..=last).map(|index| LogEntry {
            position: at(index),
            payload: payload.clone().into(),
        });
        log.append(entries.collect(), Box::new(drop)).unwrap();
        log
    }

    /// Of a member that has applied nine entries and is to send its snapshot of three: whether it
    /// makes another, and what its newest holds then.
    async fn renewed(log: SegmentedLog, snapshot_entries: u64) -> (bool, Option<u64>) {
        let member = Member::new();
        let old = member.built(3).await;
        let store = member.applier(9).store();
        let renewal = Renewal::new(member.snapshots.clone(), store, log, snapshot_entries);
        let renewed = renewal.renewed(&old).await.unwrap();
        if let Some(newer) = member.snapshots.current().filter(|_| renewed) {
            assert!(!renewal.renewed(&newer).await.unwrap(), "nothing is newer");
        }
        (renewed, last_of(&member.snapshots))
    }

    #[tokio::test]
    async fn another_snapshot_is_made_if_much_was_logged_since() {
        assert_eq!(renewed(log(9, 100), 12).await, (false, Some(3)));
        assert_eq!(renewed(log(9, 100), 11).await, (true, Some(9)), "entries");
        let sixth = BYTES_MAX / 6;
        assert_eq!(renewed(log(9, sixth), 1000).await, (false, Some(3)));
        let more = renewed(log(9, sixth + 1), 1000).await;
        assert_eq!(more, (true, Some(9)), "bytes");
        // What is logged and not applied is in no snapshot.
        assert_eq!(renewed(log(99, 100), 11).await, (true, Some(9)));
    }
}

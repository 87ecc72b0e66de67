//! What a member does on its own, ten times a second: snapshots, purge of the log, laggards, giving up
//! leadership when its disk hangs or its state stands still, and stopping when its state is damaged.

use crate::raft::{Consensus, Halt, Role, Sends, Status};
use crate::types::{NodeId, Position};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

const TICK: Duration = Duration::from_millis(100);
/// Log bytes that make a snapshot due, whatever the number of entries: bounds replay and disk.
const SNAPSHOT_BYTES: u64 = 256 << 20;
/// Entries kept behind a snapshot for members that were away for a moment, at most (etcd's
/// `--snapshot-catchup-entries`).
const CATCH_UP_ENTRIES_MAX: u64 = 5_000;
/// And bytes of them.
const CATCH_UP_BYTES_MAX: u64 = 64 << 20;
/// Log files beyond which nobody is waited for: a member that is getting a snapshot gets another,
/// and one that falls behind gets one.
const LOG_BYTES_MAX: u64 = 1 << 30;
/// A connected follower whose lag pins more entries than this many snapshot intervals gets a
/// snapshot instead.
const LAG_SNAPSHOTS_MAX: u64 = 4;
/// A laggard whose lag shrank within this time is catching up.
const LAG_WATCHED: Duration = Duration::from_secs(1);
/// Memtables waiting to be flushed at which the store counts as slow.
const IMMUTABLE_MEMTABLES_SLOW: u64 = 2;
/// Election timeouts that the same entries may take to be applied before a leader gives up: one entry of
/// a million deletions takes seconds on every member, a log that stands still does not.
const APPLY_PATIENCE: u32 = 4;
/// Pause between two kicks of the same laggard, and between two attempts to abdicate.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Housekeeping {
    consensus: Consensus,
    sends: Sends,
    snapshot_entries: u64,
    last_snapshot: Progress,
    purge_asked: u64,
    last_kick: Option<Instant>,
    /// How far each laggard was behind, and when.
    lags: BTreeMap<NodeId, (u64, Instant)>,
    last_abdication: Option<Instant>,
    standstill: Standstill,
    halt: mpsc::Sender<Halt>,
}

/// Where the log stood when the last snapshot was asked for.
struct Progress {
    index: u64,
    log_bytes: u64,
}

impl Housekeeping {
    /// `halt` takes a reason to stop the process.
    pub(super) fn new(
        consensus: Consensus,
        sends: Sends,
        snapshot_entries: u64,
        halt: mpsc::Sender<Halt>,
    ) -> Self {
        let status = consensus.status();
        let index = status.snapshot.map_or(0, |at| at.index);
        let last_snapshot = Progress {
            index,
            log_bytes: consensus.log().stats().bytes_written,
        };
        Self {
            consensus,
            sends,
            snapshot_entries: snapshot_entries.max(1),
            last_snapshot,
            purge_asked: 0,
            last_kick: None,
            lags: BTreeMap::new(),
            last_abdication: None,
            standstill: Standstill::default(),
            halt,
        }
    }

    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.tick().await {
                // Consensus is stopping; whoever watches it ends the process.
                tracing::debug!(%error, "housekeeping ends");
                return;
            }
        }
    }

    async fn tick(&mut self) -> std::io::Result<()> {
        let status = self.consensus.status();
        self.abdicate_if_stalled(&status).await?;
        self.snapshot_if_due(&status).await?;
        let target = self.purge_target(&status);
        self.purge(target).await?;
        self.kick_laggards(&status, target);
        self.watch_store();
        Ok(())
    }

    /// RocksDB stops writers at four memtables that wait for their flush; long before that apply
    /// leaves Raft's thread. Rows that cannot be read end the member, as a damaged page ends etcd: what it
    /// would answer without them nobody knows, and somebody has to replace it.
    fn watch_store(&self) {
        let store = self.consensus.store().load();
        let damage = store.damage().map(str::to_owned);
        if let Some(damage) = damage.or_else(|| self.sends.damage()) {
            // There is one place: another reason to stop is as good.
            self.halt.try_send(Halt::StateDamaged(damage)).ok();
        }
        let sizes = store.sizes();
        // An unreadable property is no reason to trust the store.
        let slow = sizes.map_or(true, |sizes| {
            sizes.stalled || sizes.immutable_memtables >= IMMUTABLE_MEMTABLES_SLOW
        });
        self.consensus.set_store_is_slow(slow);
    }

    async fn snapshot_if_due(&mut self, status: &Status) -> std::io::Result<()> {
        let applied = status.applied.map_or(0, |at| at.index);
        let bytes = self.consensus.log().stats().bytes_written;
        let entries_due = applied.saturating_sub(self.last_snapshot.index) >= self.snapshot_entries;
        let bytes_due = bytes.saturating_sub(self.last_snapshot.log_bytes) >= SNAPSHOT_BYTES;
        if applied > 0 && (entries_due || bytes_due) {
            self.last_snapshot = Progress {
                index: applied,
                log_bytes: bytes,
            };
            self.consensus.trigger_snapshot().await?;
        }
        Ok(())
    }

    fn purge_target(&self, status: &Status) -> u64 {
        let log = self.consensus.log();
        let entries_max = CATCH_UP_ENTRIES_MAX.min(self.snapshot_entries / 2);
        Purge {
            snapshot: status.snapshot.map_or(0, |at| at.index),
            last: status.last_log_index.unwrap_or(0),
            keep: log.tail_entries(entries_max, CATCH_UP_BYTES_MAX),
            needed_after: self.sends.needed_after(),
            bytes_kept: log.stats().bytes_kept,
        }
        .target()
    }

    async fn purge(&mut self, target: u64) -> std::io::Result<()> {
        if target > self.purge_asked {
            self.purge_asked = target;
            self.consensus.purge(target).await?;
        }
        Ok(())
    }

    /// openraft keeps every entry that is on its way to a connected follower, so one that cannot
    /// keep up pins the leader's log without limit. Ending its stream unpins it; what it lacks
    /// then comes as a snapshot. One that is catching up is left alone while there is room: under
    /// load a snapshot would put it back to where it was.
    fn kick_laggards(&mut self, status: &Status, target: u64) {
        if status.role != Role::Leader {
            return;
        }
        let stuck = self.stuck(status, target);
        if self.last_kick.is_some_and(|last| last.elapsed() < PATIENCE) {
            return;
        }
        let purged = status.purged.map_or(0, |at| at.index);
        let pinned = target.saturating_sub(purged);
        let bytes_kept = self.consensus.log().stats().bytes_kept;
        let kicked = match Kick::of(pinned, bytes_kept, self.snapshot_entries) {
            Kick::Nobody => return,
            Kick::TheStuck => stuck,
            Kick::Everybody => laggards(status, target),
        };
        for node in kicked {
            tracing::warn!(
                peer = format!("{node:x}"),
                pinned,
                "a slow member gets a snapshot"
            );
            self.consensus.kick(node);
            self.last_kick = Some(Instant::now());
            self.purge_asked = 0;
        }
    }

    /// The laggards that did not come closer since they were last looked at.
    fn stuck(&mut self, status: &Status, target: u64) -> Vec<NodeId> {
        let last = status.last_log_index.unwrap_or(0);
        let behind = laggards(status, target);
        self.lags.retain(|node, _| behind.contains(node));
        let mut stuck = Vec::new();
        for node in behind {
            let matched = status.matched.get(&node).copied().flatten();
            let lag = last.saturating_sub(matched.map_or(0, |at| at.index));
            let (before, at) = self.lags.entry(node).or_insert((lag, Instant::now()));
            if lag < *before {
                (*before, *at) = (lag, Instant::now());
            } else if at.elapsed() >= LAG_WATCHED {
                stuck.push(node);
            }
        }
        stuck
    }

    /// A leader whose disk hangs would keep its power, because heartbeats need no disk. It asks
    /// the most advanced voter to take over. The state may hang where the log does not: its engine stops
    /// writers that its disk cannot follow. Then nothing is answered, and so nothing new is logged either.
    async fn abdicate_if_stalled(&mut self, status: &Status) -> std::io::Result<()> {
        let limit = self.consensus.timers().election;
        let pending = self.consensus.log().oldest_pending();
        let index = |at: Option<Position>| at.map_or(0, |at| at.index);
        let (applied, committed) = (index(status.applied), index(status.committed));
        let unapplied = self.standstill.age(applied, committed, Instant::now());
        let stalls = if pending.is_some_and(|age| age > limit) {
            "log"
        } else if unapplied > limit * APPLY_PATIENCE {
            "state"
        } else {
            return Ok(());
        };
        let waited = self
            .last_abdication
            .is_none_or(|last| last.elapsed() > limit * 4);
        if status.role == Role::Leader
            && waited
            && let Some(successor) = successor(status)
        {
            tracing::warn!(
                successor = format!("{successor:x}"),
                "the {stalls} stands still: giving up leadership"
            );
            self.last_abdication = Some(Instant::now());
            self.consensus.transfer_leadership(successor).await?;
        }
        Ok(())
    }
}

/// Since when nothing is applied, though there is something to apply.
#[derive(Default)]
struct Standstill(Option<(u64, Instant)>);

impl Standstill {
    fn age(&mut self, applied: u64, committed: u64, now: Instant) -> Duration {
        match self.0 {
            Some((at, since)) if at == applied && committed > applied => now - since,
            _ => {
                self.0 = Some((applied, now));
                Duration::ZERO
            }
        }
    }
}

/// What decides how far the log may be purged.
struct Purge {
    snapshot: u64,
    last: u64,
    /// Entries at the end that a short absence may need.
    keep: u64,
    /// What somebody needs who is getting a snapshot now comes after this.
    needed_after: Option<u64>,
    bytes_kept: u64,
}

impl Purge {
    /// Up to the snapshot, less what a short absence may need, and less what somebody needs who is
    /// getting a snapshot now, unless the log has grown too large to wait for anybody.
    fn target(&self) -> u64 {
        let target = self.snapshot.min(self.last.saturating_sub(self.keep));
        match self.needed_after {
            Some(needed) if self.bytes_kept < LOG_BYTES_MAX => target.min(needed),
            _ => target,
        }
    }
}

/// Which laggards lose their stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kick {
    Nobody,
    /// Those that do not come closer.
    TheStuck,
    /// There is no room to wait for anybody.
    Everybody,
}

impl Kick {
    fn of(pinned: u64, bytes_kept: u64, snapshot_entries: u64) -> Self {
        if pinned > 0 && bytes_kept > LOG_BYTES_MAX {
            Self::Everybody
        } else if pinned > LAG_SNAPSHOTS_MAX * snapshot_entries {
            Self::TheStuck
        } else {
            Self::Nobody
        }
    }
}

fn laggards(status: &Status, target: u64) -> Vec<NodeId> {
    let behind = |at: &Option<Position>| at.map_or(0, |at| at.index) < target;
    status
        .matched
        .iter()
        .filter(|(_, at)| behind(at))
        .map(|(node, _)| *node)
        .collect()
}

/// The voter, other than this leader, whose log is the most advanced.
pub(super) fn successor(status: &Status) -> Option<NodeId> {
    status
        .matched
        .iter()
        .filter(|(node, at)| {
            at.is_some() && Some(**node) != leader_itself(status) && status.voters.contains(node)
        })
        .max_by_key(|(_, at)| **at)
        .map(|(node, _)| *node)
}

fn leader_itself(status: &Status) -> Option<NodeId> {
    (status.role == Role::Leader).then_some(status.voted_for)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_purge_stops_at_the_snapshot_and_at_what_an_absence_may_need() {
        let purge = |snapshot, last, keep| {
            let (needed_after, bytes_kept) = (None, 0);
            Purge {
                snapshot,
                last,
                keep,
                needed_after,
                bytes_kept,
            }
            .target()
        };
        assert_eq!(purge(100, 150, 50), 100);
        assert_eq!(purge(100, 150, 80), 70);
        assert_eq!(purge(100, 50, 80), 0, "all of it is kept");
        assert_eq!(purge(0, 50, 0), 0, "no snapshot, no purge");
    }

    #[test]
    fn who_gets_a_snapshot_is_waited_for_until_the_log_is_full() {
        let purge = |needed_after, bytes_kept| {
            Purge {
                snapshot: 100,
                last: 200,
                keep: 20,
                needed_after,
                bytes_kept,
            }
            .target()
        };
        assert_eq!(purge(Some(60), LOG_BYTES_MAX - 1), 60);
        assert_eq!(purge(Some(60), LOG_BYTES_MAX), 100);
        assert_eq!(purge(Some(160), 0), 100, "it needs nothing that would go");
    }

    #[test]
    fn the_state_stands_still_only_if_there_is_something_to_apply() {
        let begun = Instant::now();
        let mut standstill = Standstill::default();
        let mut age = |applied, committed, seconds| {
            let now = begun + Duration::from_secs(seconds);
            standstill.age(applied, committed, now).as_secs()
        };
        assert_eq!(age(7, 7, 0), 0);
        assert_eq!(age(7, 7, 100), 0, "nothing to do");
        assert_eq!(age(7, 9, 101), 1, "since it had last nothing to do");
        assert_eq!(age(7, 12, 103), 3);
        assert_eq!(age(8, 12, 104), 0, "it goes on");
        assert_eq!(age(8, 12, 106), 2);
        assert_eq!(age(12, 12, 107), 0);
    }

    #[test]
    fn a_laggard_is_kicked_if_stuck_or_if_there_is_no_room() {
        let limit = LAG_SNAPSHOTS_MAX * 1000;
        assert_eq!(Kick::of(limit, LOG_BYTES_MAX, 1000), Kick::Nobody);
        assert_eq!(Kick::of(limit + 1, LOG_BYTES_MAX, 1000), Kick::TheStuck);
        assert_eq!(Kick::of(1, LOG_BYTES_MAX + 1, 1000), Kick::Everybody);
        assert_eq!(Kick::of(0, LOG_BYTES_MAX + 1, 1000), Kick::Nobody);
    }
}

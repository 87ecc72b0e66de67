//! Removing from disk what a compaction made unreadable.
//!
//! A compaction takes effect when it is applied: one row changes. Space comes back later, in steps
//! that somebody else's thread takes. A step removes only what
//!
//! * a crash cannot make readable again: the compaction itself must be durable, so the step flushes
//!   first. (Dropped files are gone at once; without this a crash would bring back a store that
//!   believes to have them.)
//! * no open view can read: views hold the [`Floor`] of their batch, and the lowest floor counts,
//!   because neither dropping files nor the compaction filter respects RocksDB's snapshots.
//!
//! Events go by whole files, and one range mark for the rest; history by a filter that RocksDB
//! applies whenever it rewrites files, and by rewriting them all when about a third is dead.
//!
//! Where nobody compacts, events are joined at least ([`Store::join_events`]).
//!
//! [`Floor`]: super::store::Floor

use super::Error;
use super::store::{Published, Store, lock};
use crate::storage::{Family, keys};
use crate::types::Revision;

/// What was removed since the store was opened.
#[derive(Debug)]
pub struct Cleaned {
    /// Events below this revision.
    events: Revision,
    /// The floor of the history.
    history: Revision,
    /// The revision up to which the history counts as rewritten.
    rewritten: Revision,
    /// Files of events that cannot be joined any more.
    joined: u64,
}

impl Cleaned {
    /// Of a store that was just opened, compacted at `compacted`: how much of the history is dead by
    /// then nobody knows, and RocksDB drops it bit by bit as soon as the floor is raised. To take
    /// all of it for dead would rewrite everything after every restart.
    pub(super) fn at_open(compacted: Revision) -> Self {
        Self {
            events: 0,
            history: 0,
            rewritten: compacted.max(0),
            joined: 0,
        }
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is nothing to remove.
    Idle,
    /// Something was removed.
    Removed,
    /// Something waits for an open view.
    Waiting,
}

/// History is rewritten when at least this share of its rows may be dead, in percent.
const DEAD_PERCENT: u64 = 30;

/// So many files of events are joined. A row is rewritten once for every factor of this in the size of
/// its file.
const LOOSE_FILES: u64 = 32;

impl Store {
    /// Removes what may be removed now. Blocks for as long as a flush takes, and a rewrite of the
    /// history if there is much to gain: not for the thread that applies.
    pub fn remove_compacted(&self) -> Result<Step, Error> {
        // One step at a time.
        let mut cleaned = lock(&self.cleaned);
        let head = self.published().head.clone();
        if cleaned.events >= head.events_floor && cleaned.history >= head.compacted {
            return Ok(Step::Idle);
        }
        if self.durable_head()?.compacted < head.compacted {
            self.flush()?;
        }
        let durable = self.durable_head()?;
        let (mut events, mut history) = (durable.events_floor, durable.compacted);
        {
            let mut floors = lock(&self.floors);
            floors.retain(|floor| floor.strong_count() > 0);
            for floor in floors.iter().filter_map(std::sync::Weak::upgrade) {
                events = events.min(floor.events);
                history = history.min(floor.compacted);
            }
        }
        let mut step = Step::Waiting;
        if events > cleaned.events {
            self.remove_events(cleaned.events, events)?;
            cleaned.events = events;
            step = Step::Removed;
        }
        if history > cleaned.history {
            self.engine.raise_history_floor(history);
            let rows = self.engine.estimated_rows(Family::History)?;
            // Every revision since the last rewrite ended about one version.
            let dead = u64::try_from(history - cleaned.rewritten).unwrap_or(0);
            if dead > 0 && dead.saturating_mul(100) >= rows.saturating_mul(DEAD_PERCENT) {
                self.engine.rewrite(Family::History)?;
                cleaned.rewritten = history;
            }
            cleaned.history = history;
            step = Step::Removed;
        }
        Ok(step)
    }

    /// Joins the newest files of events when there are many. Revisions come in order, and what comes in
    /// order RocksDB never compacts with what came before: every flush would leave a file of its own,
    /// which is kept open, linked into every snapshot, and there for ever if nobody compacts. True if
    /// some were joined. Blocks meanwhile: not for the thread that applies.
    pub fn join_events(&self) -> Result<bool, Error> {
        let mut cleaned = lock(&self.cleaned);
        let files = self.engine.files(Family::Events)?;
        // Some may have been removed since.
        cleaned.joined = cleaned.joined.min(files);
        if files - cleaned.joined < LOOSE_FILES {
            return Ok(false);
        }
        self.engine.join_last_files(Family::Events)?;
        cleaned.joined = self.engine.files(Family::Events)?;
        Ok(true)
    }

    /// Rewrites every file without what is gone. Blocks until that is done, which may take minutes;
    /// everybody else goes on.
    pub fn defragment(&self) -> Result<(), Error> {
        self.remove_compacted()?;
        self.flush()?;
        let mut cleaned = lock(&self.cleaned);
        for family in Family::ALL {
            self.engine.rewrite(family)?;
        }
        cleaned.rewritten = cleaned.history;
        Ok(())
    }

    fn remove_events(&self, from: Revision, to: Revision) -> Result<(), Error> {
        // A file may end exactly with the first event that stays.
        let last = keys::event(to - 1, u32::MAX);
        self.engine.drop_event_files(&keys::event(0, 0), &last)?;
        let (from, to) = (keys::event(from, 0), keys::event(to, 0));
        let mut batch = self.engine.batch();
        batch.delete_range(Family::Events, &from, &to);
        self.write_and_publish(batch, |sequence| {
            // The same state under a new sequence number. Nobody publishes in between: we write.
            Published {
                sequence,
                ..Published::clone(&self.published())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mvcc::{StoreOptions, Writer};
    use crate::storage::{Bounds, EngineOptions, Scan};
    use crate::types::Position;
    use bytes::Bytes;
    use std::path::Path;
    use std::sync::Arc;

    fn open(dir: &Path) -> Writer {
        let options = StoreOptions {
            engine: EngineOptions::small(),
            ..StoreOptions::default()
        };
        Writer::open(dir, &options).unwrap()
    }

    /// Puts `k` in as many entries.
    fn puts(writer: &mut Writer, count: u64) {
        for _ in 0..count {
            let index = writer.head().applied.map_or(1, |last| last.index + 1);
            let mut txn = writer.begin();
            txn.begin_entry(Position { term: 1, index }).unwrap();
            let (key, value) = (Bytes::from_static(b"k"), Bytes::from(index.to_string()));
            txn.put(key, value, 0, false).unwrap();
            txn.finish_command();
            txn.commit().unwrap();
        }
    }

    fn compact(writer: &mut Writer, revision: Revision) {
        let index = writer.head().applied.map_or(1, |last| last.index + 1);
        let mut txn = writer.begin();
        txn.begin_entry(Position { term: 1, index }).unwrap();
        txn.compact(revision).unwrap().unwrap();
        txn.finish_command();
        txn.commit().unwrap();
    }

    #[test]
    fn events_that_nobody_compacts_do_not_fill_the_directory_with_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = open(dir.path());
        let store = writer.store().clone();
        let mut joined = 0;
        for _ in 0..100 {
            puts(&mut writer, 1);
            store.flush().unwrap();
            joined += i32::from(store.join_events().unwrap());
            assert!(store.engine.files(Family::Events).unwrap() <= LOOSE_FILES);
        }
        assert!((2..=4).contains(&joined), "{joined}");
        assert_eq!(first_event(&store), Some((2, 0)));
    }

    fn first_event(store: &Store) -> Option<(Revision, u32)> {
        let view = store.engine.latest();
        let rows = view.cursor(Family::Events, Bounds::default(), Scan::Short);
        rows.unwrap().key().and_then(keys::split_event)
    }

    #[test]
    fn the_last_event_of_a_file_stays_if_it_is_of_the_compacted_revision() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [mut writer, mut other] = dirs.each_ref().map(|dir| open(dir.path()));
        for writer in [&mut writer, &mut other] {
            puts(writer, 5);
            // One file, and its last key is the event of the newest revision.
            writer.store().engine.settle_family(Family::Events);
            compact(writer, 6);
        }
        let store = writer.store();
        // No view before this: when one goes, RocksDB may rewrite the file, and leaves it alone.
        assert_eq!(store.remove_compacted().unwrap(), Step::Removed);
        assert_eq!(first_event(store), Some((6, 0)));
        let hash = other.store().state_hash().unwrap();
        assert_eq!(store.state_hash().unwrap(), hash);
    }

    #[test]
    fn a_restart_does_not_take_all_that_was_ever_compacted_for_dead() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = open(dir.path());
        puts(&mut writer, 50);
        compact(&mut writer, 40);
        assert_eq!(writer.store().remove_compacted().unwrap(), Step::Removed);
        assert_eq!(lock(&writer.store().cleaned).rewritten, 40);
        puts(&mut writer, 100);
        compact(&mut writer, 41);
        writer.store().flush().unwrap();
        drop(writer);
        let mut writer = open(dir.path());
        let store = Arc::clone(writer.store());
        compact(&mut writer, 42);
        assert_eq!(store.remove_compacted().unwrap(), Step::Removed);
        // One row of a hundred: the floor is raised, nothing is rewritten for it.
        assert_eq!(lock(&store.cleaned).history, 42);
        assert_eq!(lock(&store.cleaned).rewritten, 41);
        // What small compactions leave behind adds up.
        for revision in 43..100 {
            compact(&mut writer, revision);
            store.remove_compacted().unwrap();
        }
        assert!(lock(&store.cleaned).rewritten > 41);
    }
}

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
//! [`Floor`]: super::store::Floor

use super::Error;
use super::store::{Published, Store, lock};
use crate::storage::{Family, keys};
use crate::types::Revision;
use std::sync::Arc;

/// What was removed since the store was opened.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// Events below this revision.
    events: Revision,
    /// The revision up to which the history was last rewritten.
    history: Revision,
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
            let dead = u64::try_from(history - cleaned.history).unwrap_or(0);
            if dead.saturating_mul(100) >= rows.saturating_mul(DEAD_PERCENT) {
                self.engine.rewrite_history();
            }
            cleaned.history = history;
            step = Step::Removed;
        }
        Ok(step)
    }

    fn remove_events(&self, from: Revision, to: Revision) -> Result<(), Error> {
        let (from, to) = (keys::event(from, 0), keys::event(to, 0));
        self.engine.drop_event_files(&keys::event(0, 0), &to)?;
        let mut batch = self.engine.batch();
        batch.delete_range(Family::Events, &from, &to);
        self.write_and_publish(batch, |sequence| {
            // The same state under a new sequence number. Nobody publishes in between: we write.
            let now = self.published();
            Ok(Published {
                sequence,
                head: now.head.clone(),
                index: now.index.clone(),
                floor: Arc::clone(&now.floor),
                members: Arc::clone(&now.members),
            })
        })
    }
}

//! The members' own consistency check: a hash of the state that costs each change some ten
//! nanoseconds, is in the head of every batch, and is the same on every member that applied the
//! same log. A scan of everything ([`super::hash`]) would say the same, in minutes.
//!
//! Three numbers, all of them sums, so that how entries are gathered into batches does not matter:
//!
//! * *changes*: hashes of all changes ever made, with everything that was read from the state to
//!   make them (create revision, version, previous revision). Members whose states disagreed
//!   anywhere disagree here as soon as a command meets the place.
//! * *live*: hashes of the live keys with their revisions and sizes: added when a version begins,
//!   taken away when it ends. A start, which reads every live key once anyway, adds them up again:
//!   a state that lost rows, or found some, does not open.
//! * *keys*: how many live keys there are.
//!
//! A [`Mark`] is the digest at one place of the log. Members gather entries into batches as they
//! like, so a mark is made at every 64th entry and at the end of each batch: two members that have
//! applied the same entries have marks in common.

use super::head::Head;
use super::row::Meta;
use crate::types::Position;
use std::collections::VecDeque;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A mark is made at every entry whose index is a multiple of this.
pub const MARK_EVERY: u64 = 64;
/// Marks that are remembered: how far two members may be apart and still be compared.
pub const MARKS_MAX: usize = 512;

/// What goes into a mark. Raised when that changes: marks of two formats are not compared.
pub const MARK_FORMAT: u32 = 1;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    pub changes: u64,
    pub live: u64,
    pub keys: u64,
}

impl Digest {
    /// Adds a live version.
    pub fn begin(&mut self, key: &[u8], meta: &Meta, value_bytes: u64) {
        self.live = self.live.wrapping_add(live_hash(key, meta, value_bytes));
        self.keys += 1;
    }

    /// Takes a version away that is no longer live.
    pub fn end(&mut self, key: &[u8], meta: &Meta, value_bytes: u64) {
        self.live = self.live.wrapping_sub(live_hash(key, meta, value_bytes));
        self.keys = self.keys.saturating_sub(1);
    }

    /// Adds a change: a row under its key, or whatever else the log says.
    pub fn change(&mut self, key: &[u8], row: &[u8]) {
        let hash = xxh3_64_with_seed(row, xxh3_64(key));
        self.changes = self.changes.wrapping_add(hash);
    }

    /// Adds the changes that another one gathered.
    pub fn add_changes(&mut self, other: &Self) {
        self.changes = self.changes.wrapping_add(other.changes);
    }

    /// Whether two states have the same live keys.
    pub fn agrees_on_live_keys(&self, other: &Self) -> bool {
        (self.live, self.keys) == (other.live, other.keys)
    }
}

fn live_hash(key: &[u8], meta: &Meta, value_bytes: u64) -> u64 {
    let words = [
        meta.create.cast_unsigned(),
        meta.modified.cast_unsigned(),
        u64::from(meta.sub),
        meta.version.cast_unsigned(),
        meta.lease.cast_unsigned(),
        value_bytes,
    ];
    let mut row = [0; 48];
    for (place, word) in row.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    xxh3_64_with_seed(key, xxh3_64(&row))
}

/// What the state was at a place of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub at: Position,
    pub hash: u64,
}

impl Mark {
    /// `None` of a state that no entry was applied to.
    pub fn of(head: &Head) -> Option<Self> {
        let at = head.applied?;
        // All of the head is a function of the log, and where it is of stands beside it.
        let hash = xxh3_64(&head.encode());
        Some(Self { at, hash })
    }
}

/// A mark in the middle of a batch: its changes are hashed when the batch is written.
pub(super) struct PendingMark {
    pub(super) head: Head,
    /// How many changes of the batch come before it.
    pub(super) events: usize,
}

/// The newest marks, oldest first.
#[derive(Debug, Default)]
pub struct Marks {
    marks: VecDeque<Mark>,
}

impl Marks {
    /// Adds marks that are newer than all before. Of those at the end of a batch only the newest
    /// stays: the others would push out the ones that members have in common.
    pub fn extend(&mut self, marks: impl IntoIterator<Item = Mark>) {
        for mark in marks {
            let replaces =
                |last: &Mark| last.at == mark.at || !last.at.index.is_multiple_of(MARK_EVERY);
            if self.marks.back().is_some_and(replaces) {
                self.marks.pop_back();
            }
            if self.marks.len() == MARKS_MAX {
                self.marks.pop_front();
            }
            self.marks.push_back(mark);
        }
    }

    pub fn to_vec(&self) -> Vec<Mark> {
        self.marks.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(index: u64) -> Mark {
        Mark {
            at: Position { term: 1, index },
            hash: index,
        }
    }

    #[test]
    fn the_ends_of_batches_make_room_for_what_members_have_in_common() {
        let mut marks = Marks::default();
        for index in 1..=3 * MARK_EVERY + 5 {
            marks.extend([mark(index)]);
        }
        let indexes: Vec<u64> = marks.to_vec().iter().map(|mark| mark.at.index).collect();
        assert_eq!(indexes, [64, 128, 192, 197]);
        for index in 1..=MARKS_MAX as u64 {
            marks.extend([mark(index * MARK_EVERY)]);
        }
        assert_eq!(marks.to_vec().len(), MARKS_MAX);
        assert_eq!(marks.to_vec()[0], mark(MARK_EVERY));
    }

    #[test]
    fn what_ended_leaves_no_trace() {
        let meta = Meta {
            create: 2,
            modified: 5,
            sub: 1,
            version: 3,
            lease: 7,
        };
        let mut digest = Digest::default();
        digest.begin(b"a", &meta, 10);
        let one = digest;
        digest.begin(b"b", &meta, 10);
        assert!(!digest.agrees_on_live_keys(&one));
        digest.end(b"b", &meta, 10);
        assert_eq!(digest, one);
        digest.end(b"a", &meta, 11);
        assert_ne!(digest.live, 0, "another size is another version");
    }

    #[test]
    fn a_state_that_lost_a_row_does_not_open() {
        use crate::mvcc::{Error, StoreOptions, Writer};
        use crate::storage::{EngineOptions, Family};
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            engine: EngineOptions::small(),
            ..StoreOptions::default()
        };
        let mut writer = Writer::open(dir.path(), &options).unwrap();
        let mut txn = writer.begin();
        txn.begin_entry(Position { term: 1, index: 1 }).unwrap();
        for key in ["a", "b"] {
            txn.put(key.into(), "v".into(), 0, false).unwrap();
        }
        txn.finish_command();
        txn.commit().unwrap();
        writer.store().flush().unwrap();
        drop(writer);
        let writer = Writer::open(dir.path(), &options).unwrap();
        let engine = &writer.store().engine;
        let mut batch = engine.batch();
        batch.delete(Family::Current, b"a");
        engine.write(batch).unwrap();
        engine.flush().unwrap();
        drop(writer);
        let damaged = Writer::open(dir.path(), &options).err().unwrap();
        assert!(matches!(damaged, Error::Corrupt { .. }), "{damaged}");
    }
}

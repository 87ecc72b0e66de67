//! Where every entry of the log is, and the payloads of the newest.
//!
//! Indices are consecutive, so a deque of 24-byte slots is the whole index: 1M entries are 24 MB.
//! The cache is a suffix of it. An entry stays cached until it is on disk (the slot then knows its
//! place) and the budget is spent.

use super::segment::Sequence;
use crate::types::Position;
use bytes::Bytes;
use std::collections::VecDeque;

/// Where an entry's record starts. Sequence numbers start at 1; 0 stands for "not written yet".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) sequence: Sequence,
    pub(super) offset: u32,
    pub(super) payload_bytes: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    term: u64,
    place: Place,
}

impl Slot {
    fn is_written(&self) -> bool {
        self.place.sequence != 0
    }
}

const _: () = assert!(
    size_of::<Slot>() <= 24,
    "the index is kept in memory for every entry"
);

/// Invariants: `cache` holds the payloads of the last `cache.len()` slots; every slot that is not
/// written is among them; if there are slots, the first of them is `first`.
#[derive(Default)]
pub(super) struct Index {
    /// Index of the first slot, or of the next entry to come. `None`: any may come.
    first: Option<u64>,
    slots: VecDeque<Slot>,
    cache: VecDeque<Bytes>,
    cache_bytes: usize,
    purged: Option<Position>,
    /// The last entry's position even where recovery knows no more of it than that.
    last: Option<Position>,
}

impl Index {
    pub(super) fn purged(&self) -> Option<Position> {
        self.purged
    }

    pub(super) fn last(&self) -> Option<Position> {
        self.last
    }

    /// The index that the next entry must have; `None` while any is fine.
    pub(super) fn next(&self) -> Option<u64> {
        self.first.map(|first| first + self.slots.len() as u64)
    }

    /// First and one past the last index that can be read.
    pub(super) fn range(&self) -> (u64, u64) {
        let first = self.first.unwrap_or(0);
        (first, first + self.slots.len() as u64)
    }

    /// Starts after entries that are no longer on disk: a replay whose oldest segments are gone.
    pub(super) fn start_after(&mut self, purged: Option<Position>, last: Option<Position>) {
        self.purged = purged;
        self.last = last;
        self.first = last.map(|last| last.index.saturating_add(1));
    }

    /// Adds the next entry. The caller has checked its index.
    pub(super) fn push(&mut self, position: Position, payload: Bytes) {
        let payload_bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        self.push_slot(
            position,
            Place {
                sequence: 0,
                offset: 0,
                payload_bytes,
            },
        );
        self.cache_bytes += payload.len();
        self.cache.push_back(payload);
    }

    /// Adds the next entry as found on disk; it is not cached.
    pub(super) fn push_written(&mut self, position: Position, place: Place) {
        debug_assert!(self.cache.is_empty(), "the cache is a suffix of the slots");
        self.push_slot(position, place);
    }

    fn push_slot(&mut self, position: Position, place: Place) {
        debug_assert!(
            self.next().is_none_or(|next| next == position.index),
            "no holes"
        );
        self.first.get_or_insert(position.index);
        self.slots.push_back(Slot {
            term: position.term,
            place,
        });
        self.last = Some(position);
    }

    /// Notes where an entry was written, if it is still there: it may have been truncated, and even
    /// replaced by one of another term, while it was on its way.
    pub(super) fn written(&mut self, position: Position, place: Place) {
        if let Some(at) = self.slot_of(position.index)
            && self.slots[at].term == position.term
        {
            debug_assert_eq!(self.slots[at].place.payload_bytes, place.payload_bytes);
            self.slots[at].place = place;
        }
    }

    /// Drops payloads, oldest first, until `budget` holds. What is not on disk stays.
    pub(super) fn evict(&mut self, budget: usize) {
        while self.cache_bytes > budget {
            let oldest = self.slots.len() - self.cache.len();
            if !self.slots.get(oldest).is_some_and(Slot::is_written) {
                break;
            }
            self.drop_oldest_payload();
        }
    }

    fn drop_oldest_payload(&mut self) {
        if let Some(payload) = self.cache.pop_front() {
            self.cache_bytes -= payload.len();
        }
    }

    pub(super) fn position_of(&self, index: u64) -> Option<Position> {
        if let Some(at) = self.slot_of(index) {
            return Some(Position {
                term: self.slots[at].term,
                index,
            });
        }
        [self.purged, self.last]
            .into_iter()
            .flatten()
            .find(|position| position.index == index)
    }

    /// A readable entry: its position, its payload if cached, and its place if not.
    pub(super) fn get(&self, index: u64) -> Option<(Position, Result<&Bytes, Place>)> {
        let at = self.slot_of(index)?;
        let slot = &self.slots[at];
        let uncached = self.slots.len() - self.cache.len();
        let payload = match at.checked_sub(uncached) {
            Some(at) => Ok(&self.cache[at]),
            None => Err(slot.place),
        };
        Some((
            Position {
                term: slot.term,
                index,
            },
            payload,
        ))
    }

    /// Drops every entry after `keep`, which is in the log or is the purged position.
    pub(super) fn truncate_after(&mut self, keep: Option<Position>) {
        let keep_until = keep
            .or(self.purged)
            .map(|position| position.index.saturating_add(1));
        let (first, end) = self.range();
        let cut = end.saturating_sub(keep_until.unwrap_or(first).max(first));
        for _ in 0..cut {
            self.slots.pop_back();
            if let Some(payload) = self.cache.pop_back() {
                self.cache_bytes -= payload.len();
            }
        }
        self.last = keep.or(self.purged);
        if self.slots.is_empty() {
            self.first = keep_until;
        }
    }

    /// Drops every entry up to `upto`, which may lie beyond the end: the log then goes on after it.
    pub(super) fn purge(&mut self, upto: Position) {
        let (first, end) = self.range();
        for _ in first..end.min(upto.index.saturating_add(1)) {
            if self.cache.len() == self.slots.len() {
                self.drop_oldest_payload();
            }
            self.slots.pop_front();
        }
        self.purged = Some(upto);
        if self.slots.is_empty() && self.last.is_none_or(|last| last.index <= upto.index) {
            self.last = Some(upto);
        }
        let next = self.last.map_or(0, |last| last.index.saturating_add(1));
        self.first = Some(next - self.slots.len() as u64);
    }

    fn slot_of(&self, index: u64) -> Option<usize> {
        let at = usize::try_from(index.checked_sub(self.first?)?).ok()?;
        (at < self.slots.len()).then_some(at)
    }
}

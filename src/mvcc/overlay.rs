//! The changes of a batch that is not written yet, readable as if they were.
//!
//! Per key it holds the state now and the versions that this batch superseded. A read at any
//! revision asks here first; only what the batch did not touch comes from the engine.

use super::row::{Event, Meta, Stored};
use crate::types::{KeyRange, RangeEnd, Revision};
use bytes::Bytes;
use std::collections::{BTreeMap, btree_map};
use std::ops::Bound;

/// A live version with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    pub meta: Meta,
    pub value: Bytes,
}

/// A version that this batch superseded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub meta: Meta,
    pub ended: Revision,
    pub stored: Stored<Bytes>,
    /// The value, if this batch wrote it: its event is not in the engine yet.
    pub value: Option<Bytes>,
}

/// A key that this batch touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// Whether the key was live before the batch.
    pub was_live: bool,
    pub now: Option<Live>,
    /// Oldest first. A version that began and ended in one revision can never be read and is not
    /// here.
    pub ended: Vec<Ended>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingEvent {
    pub main: Revision,
    pub sub: u32,
    pub event: Event<Bytes>,
    /// See [`super::row::put_event`].
    pub total: u64,
}

#[derive(Default)]
pub struct Overlay {
    keys: BTreeMap<Bytes, Touched>,
    events: Vec<PendingEvent>,
    savepoint: Option<Savepoint>,
}

struct Savepoint {
    /// How many there were.
    events: usize,
    /// What each key was before each change since, oldest first.
    undo: Vec<(Bytes, Option<Touched>)>,
}

impl Overlay {
    pub fn get(&self, key: &[u8]) -> Option<&Touched> {
        self.keys.get(key)
    }

    pub fn keys(&self) -> &BTreeMap<Bytes, Touched> {
        &self.keys
    }

    pub fn events(&self) -> &[PendingEvent] {
        &self.events
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The touched keys of a range, in order.
    pub fn range(&self, range: &KeyRange) -> btree_map::Range<'_, Bytes, Touched> {
        let start = range.start.as_ref();
        let end = match &range.end {
            RangeEnd::Single => Bound::Included(start),
            // A tree refuses a range that ends before it starts; ours is empty.
            RangeEnd::Before(end) => Bound::Excluded(end.as_ref().max(start)),
            RangeEnd::Unbounded => Bound::Unbounded,
        };
        self.keys.range::<[u8], _>((Bound::Included(start), end))
    }

    /// By how much the batch changed the number of live keys in `range`.
    pub fn keys_added(&self, range: &KeyRange) -> i64 {
        self.range(range)
            .map(|(_, touched)| i64::from(touched.now.is_some()) - i64::from(touched.was_live))
            .sum()
    }

    /// Records one change: the event, and what it does to the key.
    pub fn change(
        &mut self,
        event: PendingEvent,
        was_live: bool,
        ended: Option<Ended>,
        now: Option<Live>,
    ) {
        let key = event.event.key.clone();
        if let Some(savepoint) = &mut self.savepoint {
            savepoint
                .undo
                .push((key.clone(), self.keys.get(&key).cloned()));
        }
        let touched = self.keys.entry(key).or_insert(Touched {
            was_live,
            now: None,
            ended: Vec::new(),
        });
        touched.ended.extend(ended);
        touched.now = now;
        self.events.push(event);
    }

    /// From here on changes can be taken back.
    pub fn set_savepoint(&mut self) {
        self.savepoint = Some(Savepoint {
            events: self.events.len(),
            undo: Vec::new(),
        });
    }

    pub fn release_savepoint(&mut self) {
        self.savepoint = None;
    }

    /// Takes back what changed since the savepoint.
    pub fn roll_back(&mut self) {
        let Some(Savepoint { events, undo }) = self.savepoint.take() else {
            return;
        };
        self.events.truncate(events);
        for (key, before) in undo.into_iter().rev() {
            match before {
                Some(before) => self.keys.insert(key, before),
                None => self.keys.remove(&key),
            };
        }
    }
}

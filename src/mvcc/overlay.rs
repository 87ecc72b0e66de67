//! The changes of a batch that is not written yet, readable as if they were.
//!
//! Per key it holds the state now and the versions that this batch superseded. A read at any
//! revision asks here first; only what the batch did not touch comes from the engine.

use super::row::{Change, Event, Meta, Stored};
use crate::types::{KeyRange, LeaseId, RangeEnd, Revision};
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
    /// The lease that it went with then; 0 if none.
    pub was_lease: LeaseId,
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

impl PendingEvent {
    /// Memory that it keeps, about.
    pub fn bytes(&self) -> usize {
        let value = match &self.event.change {
            Change::Put { value, .. } => value.len(),
            Change::Delete => 0,
        };
        size_of::<Self>() + self.event.key.len() + value
    }
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
    /// What each key was before each change since, oldest first; `None`: not touched.
    undo: Vec<(Bytes, Option<Before>)>,
}

/// A touched key before a change. Changes only add to `ended`, so its length says what it was: a
/// copy per change would make many changes of one key quadratic.
struct Before {
    now: Option<Live>,
    ended: usize,
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

    /// Once they are written.
    pub fn into_events(self) -> Vec<PendingEvent> {
        self.events
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

    /// Records one change: the event, and what it does to the key. `was`: the lease (or 0) of the
    /// live version that it meets, if there is one.
    pub fn change(
        &mut self,
        event: PendingEvent,
        was: Option<LeaseId>,
        ended: Option<Ended>,
        now: Option<Live>,
    ) {
        let key = event.event.key.clone();
        if let Some(savepoint) = &mut self.savepoint {
            let before = self.keys.get(&key).map(|touched| Before {
                now: touched.now.clone(),
                ended: touched.ended.len(),
            });
            savepoint.undo.push((key.clone(), before));
        }
        let touched = self.keys.entry(key).or_insert(Touched {
            was_live: was.is_some(),
            was_lease: was.unwrap_or(0),
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
            let Some(before) = before else {
                self.keys.remove(&key);
                continue;
            };
            if let Some(touched) = self.keys.get_mut(&key) {
                touched.ended.truncate(before.ended);
                touched.now = before.now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::Change;
    use super::*;

    /// Puts `key` as change 0 of `main`, or deletes it where `version` is 0.
    fn change(overlay: &mut Overlay, key: &'static str, main: Revision, version: i64) {
        let key = Bytes::from_static(key.as_bytes());
        let value = Bytes::from(main.to_string());
        let live = |modified, version| Live {
            meta: Meta {
                create: 2,
                modified,
                sub: 0,
                version,
                lease: 0,
            },
            value: value.clone(),
        };
        let ended = overlay.get(&key).and_then(|touched| touched.now.clone());
        let ended = ended.map(|old| Ended {
            meta: old.meta,
            ended: main,
            stored: Stored::InEvent,
            value: Some(old.value),
        });
        let event = PendingEvent {
            main,
            sub: 0,
            event: Event {
                key,
                change: Change::Delete,
                previous: 0,
            },
            total: 0,
        };
        let now = (version > 0).then(|| live(main, version));
        overlay.change(event, None, ended, now);
    }

    #[test]
    fn what_is_rolled_back_was_never_there() {
        let (mut overlay, mut expected) = (Overlay::default(), Overlay::default());
        for overlay in [&mut overlay, &mut expected] {
            for main in 2..5 {
                change(overlay, "a", main, main - 1);
                change(overlay, "b", main, main - 1);
            }
            change(overlay, "b", 5, 0);
        }
        overlay.set_savepoint();
        // A key of before many times, a deleted one again, a new one put and deleted.
        for main in 6..40 {
            change(&mut overlay, "a", main, main % 3);
            change(&mut overlay, "b", main, main % 2);
            change(&mut overlay, "c", main, (main + 1) % 2);
        }
        overlay.roll_back();
        assert_eq!(overlay.keys(), expected.keys());
        assert_eq!(overlay.events(), expected.events());
        // What is kept is kept.
        for overlay in [&mut overlay, &mut expected] {
            overlay.set_savepoint();
            change(overlay, "a", 41, 1);
            overlay.release_savepoint();
            overlay.roll_back();
        }
        assert_eq!(overlay.get(b"a").map(|it| it.ended.len()), Some(3));
        assert_eq!(overlay.keys(), expected.keys());
    }
}

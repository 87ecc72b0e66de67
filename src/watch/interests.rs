//! Who wants what: finds the groups that a key concerns.

use super::intervals::{End, Intervals};
use crate::types::{KeyRange, RangeEnd};
use bytes::Bytes;
use std::collections::HashMap;

/// What a watcher wants to hear of. Watchers with equal interests are one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interest {
    pub range: KeyRange,
    pub puts: bool,
    pub deletes: bool,
}

impl Interest {
    fn kinds(&self) -> Kinds {
        Kinds {
            puts: self.puts,
            deletes: self.deletes,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Kinds {
    puts: bool,
    deletes: bool,
}

/// The groups of one range, at most one for each choice of kinds.
type Slot = Vec<(Kinds, u64)>;

/// Single keys in a map, ranges in a tree.
#[derive(Default)]
pub(super) struct Interests {
    keys: HashMap<Bytes, Slot>,
    ranges: Intervals<Slot>,
}

/// A range as the tree knows it; `None` for a single key.
fn end_of(range: &KeyRange) -> Option<End> {
    match &range.end {
        RangeEnd::Single => None,
        RangeEnd::Before(end) => Some(End::Before(end.clone())),
        RangeEnd::Unbounded => Some(End::Nowhere),
    }
}

impl Interests {
    /// The group of an interest.
    pub(super) fn find(&self, interest: &Interest) -> Option<u64> {
        let slot = match end_of(&interest.range) {
            None => self.keys.get(&interest.range.start),
            Some(end) => self.ranges.get(&interest.range.start, &end),
        };
        let kinds = interest.kinds();
        let mut groups = slot?.iter();
        groups.find(|(it, _)| *it == kinds).map(|(_, group)| *group)
    }

    /// Adds a group whose interest has none.
    pub(super) fn insert(&mut self, interest: &Interest, group: u64) {
        let entry = (interest.kinds(), group);
        let start = interest.range.start.clone();
        match end_of(&interest.range) {
            None => self.keys.entry(start).or_default().push(entry),
            Some(end) => match self.ranges.get_mut(&start, &end) {
                Some(slot) => slot.push(entry),
                None => self.ranges.insert(start, end, vec![entry]),
            },
        }
    }

    pub(super) fn remove(&mut self, interest: &Interest) {
        let kinds = interest.kinds();
        let start = &interest.range.start;
        match end_of(&interest.range) {
            None => {
                if let Some(slot) = self.keys.get_mut(start) {
                    slot.retain(|(it, _)| *it != kinds);
                    if slot.is_empty() {
                        self.keys.remove(start);
                    }
                }
            }
            Some(end) => {
                if let Some(slot) = self.ranges.get_mut(start, &end) {
                    slot.retain(|(it, _)| *it != kinds);
                    if slot.is_empty() {
                        self.ranges.remove(start, &end);
                    }
                }
            }
        }
    }

    /// Visits every group that wants to hear of a put or a delete of `key`.
    pub(super) fn visit(&self, key: &[u8], is_put: bool, mut visit: impl FnMut(u64)) {
        let mut slot = |slot: &Slot| {
            for (kinds, group) in slot {
                let is_wanted = match is_put {
                    true => kinds.puts,
                    false => kinds.deletes,
                };
                if is_wanted {
                    visit(*group);
                }
            }
        };
        if let Some(groups) = self.keys.get(key) {
            slot(groups);
        }
        self.ranges.visit(key, &mut slot);
    }
}

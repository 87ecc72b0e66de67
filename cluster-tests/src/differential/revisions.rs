//! Revisions that mean the same in a shorter run.
//!
//! A run that is shortened loses writes, and with each of them a revision. So that a read "at
//! revision 57" stays a read of what was there, every revision of a step is moved to where the
//! latest write at or before it now stands.

use std::collections::BTreeMap;

/// A request that names revisions.
pub trait Translate {
    /// Calls `of` for every revision in the request, the absent ones (0) included.
    fn revisions(&mut self, of: &mut dyn FnMut(&mut i64));
}

/// Where the revisions of an earlier run stand in this one.
#[derive(Debug)]
pub struct Moved {
    /// The revision after a step, then and now.
    steps: BTreeMap<i64, i64>,
}

/// Of two stores that are new.
impl Default for Moved {
    fn default() -> Self {
        Self {
            steps: BTreeMap::from([(1, 1)]),
        }
    }
}

impl Moved {
    /// A step that ended at `then` has ended at `now`.
    pub fn note(&mut self, then: i64, now: i64) {
        self.steps.insert(then, now);
    }

    /// As far beyond the end as before, or where the step that made it now ends. What is no
    /// revision (zero, negative, the largest number) stays.
    pub fn translate(&self, revision: i64) -> i64 {
        if revision <= 0 || revision == i64::MAX {
            return revision;
        }
        let floor = self.steps.range(..=revision).next_back();
        let last = self.steps.last_key_value();
        match (floor, last) {
            (Some((then, now)), Some((end, _))) if then == end => now + (revision - then),
            (Some((_, now)), _) => *now,
            (None, _) => revision,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_follows_the_write_that_made_it() {
        let mut moved = Moved::default();
        moved.note(2, 2);
        // Of the writes 3 to 6 only the last is left.
        moved.note(6, 3);
        let translated: Vec<i64> = [0, -4, 1, 2, 3, 5, 6, 7, 9, i64::MAX]
            .into_iter()
            .map(|revision| moved.translate(revision))
            .collect();
        assert_eq!(translated, [0, -4, 1, 2, 2, 2, 3, 4, 6, i64::MAX]);
    }
}

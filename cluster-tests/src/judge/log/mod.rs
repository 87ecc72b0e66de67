//! The log that a run claims: which change was made at which revision.
//!
//! Every etcd answer carries a revision, and every write makes a new one; so the total order of the
//! writes, which a linearizability checker has to search for, is *claimed*. This module only collects
//! the claims. Whether they are true is for the judges that read it: the oracle replays them, the
//! watch judges hold every stream against them.
//!
//! Three kinds of witness say what happened at a revision. An acknowledged write says all of it: one
//! transaction makes one revision. So does a watcher over everything that was told the revision to its
//! end. A pair in an answer, an event of a watcher over some keys, a member's last state say a part.
//! Where nobody says all, the revision is a *gap*: what was written there (by a request that was never
//! answered, say) is not known, and neither is any key from there to its next known change. Nothing is
//! guessed over a gap; what could not be checked is counted.
//!
//! ```text
//! revision   2        3          4       5        6
//! witness    put a=1  put a=2    (gap)   put b=1  delete a
//! a          1 @2     2 @3       ?       ?        none
//! b          none     none       ?       1 @5     1 @5
//! ```
//!
//! | file | idea |
//! |---|---|
//! | [`gather`] | from the witnesses to the log |
//! | [`keys`] | keys by number |
//! | [`state`] | what a key was at a revision |

pub mod gather;
pub mod keys;
pub mod state;

use keys::{KeyId, Keys};

/// The claimed log.
#[derive(Debug, Default)]
pub struct Log<'a> {
    pub keys: Keys<'a>,
    /// By key; each by revision.
    versions: Vec<Vec<Version<'a>>>,
    /// By revision.
    pub revisions: Vec<Revision>,
    /// The keys that each changed, one after the other.
    changed: Vec<KeyId>,
    /// Runs of revisions of which not all is known, first and last, by revision.
    pub gaps: Vec<(i64, i64)>,
    /// The newest revision that anybody spoke of.
    pub last: i64,
    /// Two witnesses of one revision that say different things.
    pub conflicts: Vec<Conflict>,
}

/// A key from a revision on, as a witness said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version<'a> {
    pub revision: i64,
    /// None: deleted.
    pub value: Option<&'a str>,
    pub create_revision: i64,
    pub version: i64,
    pub lease: i64,
}

/// What is known of one revision.
#[derive(Clone, Debug, Default)]
pub struct Revision {
    pub revision: i64,
    /// A run of the log's changed keys.
    changed: std::ops::Range<usize>,
    /// Nothing else changed at it.
    pub whole: bool,
    /// The acknowledged write that was told this revision.
    pub operation: Option<usize>,
    /// Where a watcher over everything was first told of it: stream and response.
    pub told: Option<(usize, usize)>,
}

#[derive(Clone, Debug)]
pub struct Conflict {
    pub revision: i64,
    pub operations: Vec<usize>,
    pub told: Option<(usize, usize)>,
    pub explanation: String,
}

impl<'a> Log<'a> {
    pub fn revision(&self, revision: i64) -> Option<&Revision> {
        let found = self
            .revisions
            .binary_search_by_key(&revision, |entry| entry.revision);
        found.ok().and_then(|at| self.revisions.get(at))
    }

    /// The keys that a revision changed, as far as is known.
    pub fn changed(&self, revision: &Revision) -> &[KeyId] {
        let changed = self.changed.get(revision.changed.clone());
        changed.unwrap_or_default()
    }

    /// Known revisions from `from` to `to`, both included.
    pub fn between(&self, from: i64, to: i64) -> &[Revision] {
        let start = self
            .revisions
            .partition_point(|entry| entry.revision < from);
        let end = self.revisions.partition_point(|entry| entry.revision <= to);
        self.revisions.get(start..end).unwrap_or_default()
    }

    /// Whether some revision from `from` to `to` is not wholly known.
    pub fn has_gap(&self, from: i64, to: i64) -> bool {
        if self.gaps.is_empty() || from > to {
            return false;
        }
        let at = self.gaps.partition_point(|(_, last)| *last < from);
        self.gaps.get(at).is_some_and(|(first, _)| *first <= to)
    }

    /// How many revisions are not wholly known.
    pub fn unknown_revisions(&self) -> i64 {
        self.gaps.iter().map(|(first, last)| last - first + 1).sum()
    }

    pub fn history(&self, key: KeyId) -> &[Version<'a>] {
        self.versions.get(key).map_or(&[], Vec::as_slice)
    }
}

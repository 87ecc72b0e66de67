//! What a key was at a revision, as far as the log says.

use super::keys::KeyId;
use super::{Log, Version};
use crate::history::call::{Act, Compare, Pair, Range, Relation, Target, Txn};
use std::fmt;

/// A pair as the log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View<'a> {
    pub key: &'a str,
    pub value: &'a str,
    pub create_revision: i64,
    pub mod_revision: i64,
    pub version: i64,
    pub lease: i64,
}

impl View<'_> {
    pub fn is(&self, pair: &Pair) -> bool {
        self.mod_revision == pair.mod_revision
            && self.value == pair.value
            && self.key == pair.key
            && self.create_revision == pair.create_revision
            && self.version == pair.version
            && self.lease == pair.lease
    }
}

impl fmt::Display for View<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} = {} (written at {}, created at {}, version {}",
            self.key, self.value, self.mod_revision, self.create_revision, self.version
        )?;
        if self.lease != 0 {
            write!(formatter, ", lease {:x}", self.lease)?;
        }
        formatter.write_str(")")
    }
}

/// A change of a key: its value and lease from now on; none: it is deleted.
pub type Change<'a> = (&'a str, Option<(&'a str, i64)>);

/// Nobody said what was written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap;

impl<'a> Log<'a> {
    /// The key at a revision; none: it is not there.
    ///
    /// # Errors
    /// A gap lies between its last known change and the revision.
    pub fn at(&self, key: KeyId, revision: i64) -> Result<Option<View<'a>>, Gap> {
        let versions = self.history(key);
        let newer = versions.partition_point(|version| version.revision <= revision);
        let version = newer.checked_sub(1).and_then(|last| versions.get(last));
        let since = version.map_or(1, |version| version.revision);
        if self.has_gap(since + 1, revision) {
            return Err(Gap);
        }
        Ok(version.and_then(|version| self.view(key, version)))
    }

    pub fn view(&self, key: KeyId, version: &Version<'a>) -> Option<View<'a>> {
        version.value.map(|value| View {
            key: self.keys.name(key),
            value,
            create_revision: version.create_revision,
            mod_revision: version.revision,
            version: version.version,
            lease: version.lease,
        })
    }

    /// A key that the recording may not even name.
    ///
    /// # Errors
    /// As [`Log::at`].
    pub fn at_name(&self, key: &str, revision: i64) -> Result<Option<View<'a>>, Gap> {
        match self.keys.find(key) {
            Some(key) => self.at(key, revision),
            None if self.has_gap(2, revision) => Err(Gap),
            None => Ok(None),
        }
    }

    /// The pairs of a range, by key.
    ///
    /// # Errors
    /// A gap leaves one of them unknown.
    pub fn within(&self, range: &Range, revision: i64) -> Result<Vec<View<'a>>, Gap> {
        let mut views = Vec::new();
        if range.end.is_none() {
            views.extend(self.at_name(&range.key, revision)?);
            return Ok(views);
        }
        for key in self.keys.within(range) {
            views.extend(self.at(key, revision)?);
        }
        Ok(views)
    }

    /// Whether all comparisons hold at a revision.
    ///
    /// # Errors
    /// A gap leaves one of the keys unknown.
    pub fn holds(&self, txn: &Txn, revision: i64) -> Result<bool, Gap> {
        for compare in &txn.compares {
            if !holds(compare, self.at_name(&compare.key, revision)?.as_ref()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What a branch would change, done on the state at `revision`, by key.
    ///
    /// # Errors
    /// A gap leaves one of the keys unknown.
    pub fn effects<'t>(&self, acts: &'t [Act], revision: i64) -> Result<Vec<Change<'t>>, Gap>
    where
        'a: 't,
    {
        let mut effects = Vec::new();
        for act in acts {
            match act {
                Act::Put { key, value, lease } => {
                    effects.push((key.as_str(), Some((value.as_str(), *lease))));
                }
                Act::Get(_) => {}
                Act::Delete(range) => {
                    for view in self.within(range, revision)? {
                        effects.push((view.key, None));
                    }
                }
            }
        }
        effects.sort_unstable();
        Ok(effects)
    }
}

/// etcd's `applyCompare`: the value of a key that is not there equals nothing and differs from
/// nothing; its numbers are 0.
pub fn holds(compare: &Compare, found: Option<&View<'_>>) -> bool {
    let order = match &compare.target {
        Target::Value(value) => match found {
            Some(view) => view.value.cmp(value.as_str()),
            None => return false,
        },
        Target::ModRevision(at) => found.map_or(0, |view| view.mod_revision).cmp(at),
        Target::CreateRevision(at) => found.map_or(0, |view| view.create_revision).cmp(at),
        Target::Version(at) => found.map_or(0, |view| view.version).cmp(at),
    };
    match compare.relation {
        Relation::Equal => order.is_eq(),
        Relation::NotEqual => order.is_ne(),
        Relation::Greater => order.is_gt(),
        Relation::Less => order.is_lt(),
    }
}

//! The words every floor uses: identities, revisions, key ranges, key-value pairs.
//!
//! Revisions, versions and leases are `i64`, as on etcd's wire, so that no door has to convert.

use bytes::Bytes;
use std::fmt;

/// A member's identity inside Raft; at the doors it is the *member id*.
pub type NodeId = u64;

/// The identity of a cluster: every peer call carries it.
pub type ClusterId = u64;

/// The main revision of the store: 1 when empty, +1 for each change of state.
pub type Revision = i64;

/// The identity of a lease; 0 means "no lease".
pub type LeaseId = i64;

/// Writes an id the way etcd does in logs and tables: lower-case hexadecimal, no padding.
pub struct HexId(pub u64);

impl fmt::Display for HexId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:x}", self.0)
    }
}

/// A lease as it is replicated. Its times are whole seconds; *when* it ends only the leader's clock
/// knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub id: LeaseId,
    /// What was granted.
    pub ttl: i64,
    /// What was left of it at the last checkpoint; 0: all of it, nothing was noted since the last
    /// renewal.
    pub remaining: i64,
    /// The index of the log entry that granted it: tells a lease from an earlier one of the same id.
    pub granted_at: u64,
}

/// How much of a lease was left when the leader looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseMark {
    pub id: LeaseId,
    /// [`Lease::granted_at`] of the lease that was meant.
    pub granted_at: u64,
    /// In seconds; 0 takes an earlier mark back.
    pub remaining: i64,
}

/// A place in the Raft log. Terms have one leader (`leader_id_std`), so a term and an index name
/// one entry for ever. Ordered by term, then index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub term: u64,
    pub index: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.term, self.index)
    }
}

/// A key with everything the store knows of it at one revision (`mvccpb.KeyValue`).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct KeyValue {
    pub key: Bytes,
    /// Revision of the first put of this generation.
    pub create_revision: Revision,
    /// Revision of the last put.
    pub mod_revision: Revision,
    /// Number of puts in this generation, from 1.
    pub version: i64,
    pub value: Bytes,
    pub lease: LeaseId,
}

/// Where a key range ends (etcd's `range_end`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RangeEnd {
    /// `range_end` empty: the one key.
    Single,
    /// Exclusive end. An end at or before the start is an empty range, not an error.
    Before(Bytes),
    /// `range_end` is one zero byte: every key from the start on.
    Unbounded,
}

/// A half-open range of keys, as etcd's (`key`, `range_end`) pair means it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRange {
    pub start: Bytes,
    pub end: RangeEnd,
}

impl KeyRange {
    /// Reads etcd's wire pair. The caller has refused an empty `key`.
    pub fn from_wire(key: Bytes, range_end: Bytes) -> Self {
        let end = match range_end.as_ref() {
            [] => RangeEnd::Single,
            [0] => RangeEnd::Unbounded,
            _ => RangeEnd::Before(range_end),
        };
        Self { start: key, end }
    }

    pub fn single(key: Bytes) -> Self {
        Self {
            start: key,
            end: RangeEnd::Single,
        }
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            RangeEnd::Single => key == self.start,
            RangeEnd::Before(end) => key >= self.start.as_ref() && key < end.as_ref(),
            RangeEnd::Unbounded => key >= self.start.as_ref(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SortOrder {
    #[default]
    None,
    Ascend,
    Descend,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SortTarget {
    #[default]
    Key,
    Version,
    Create,
    Mod,
    Value,
}

/// A validated `RangeRequest` without its consistency choice, which is not the store's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeQuery {
    pub range: KeyRange,
    /// At most this many pairs; zero or negative means no limit.
    pub limit: i64,
    /// Zero or negative means the latest.
    pub revision: Revision,
    pub sort_order: SortOrder,
    pub sort_target: SortTarget,
    pub keys_only: bool,
    pub count_only: bool,
    /// Inclusive filters; 0 is off.
    pub min_mod_revision: Revision,
    pub max_mod_revision: Revision,
    pub min_create_revision: Revision,
    pub max_create_revision: Revision,
}

impl RangeQuery {
    /// Everything in `range` at the latest revision, in key order.
    pub fn latest(range: KeyRange) -> Self {
        Self {
            range,
            limit: 0,
            revision: 0,
            sort_order: SortOrder::None,
            sort_target: SortTarget::Key,
            keys_only: false,
            count_only: false,
            min_mod_revision: 0,
            max_mod_revision: 0,
            min_create_revision: 0,
            max_create_revision: 0,
        }
    }
}

/// The answer to a [`RangeQuery`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RangeResult {
    pub kvs: Vec<KeyValue>,
    /// True iff `limit` cut something off, after the filters.
    pub more: bool,
    /// All live keys of the range at the revision: ignores limit and filters, as etcd does.
    pub count: i64,
}

//! What the log says: our own commands, versioned apart from the wire.
//!
//! Everything here was validated at the door (`api/validate.rs`); apply still refuses, never panics.

use crate::types::{KeyRange, LeaseId, NodeId, RangeQuery, Revision};
use bytes::Bytes;

pub use crate::mvcc::{Alarm, AlarmKind, DowngradeTarget, Fence, MemberAttributes};
pub use crate::types::LeaseMark;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Put(Put),
    DeleteRange(DeleteRange),
    Txn(Txn),
    Compact {
        revision: Revision,
    },
    /// A member tells the cluster its name and client URLs when it starts (etcd's "publish").
    PublishMember(MemberAttributes),
    /// `ttl` in seconds, raised to the least there is by the member that was asked.
    LeaseGrant {
        id: LeaseId,
        ttl: i64,
    },
    /// With a fence: by the leader's clock. Without: a client wants it.
    LeaseRevoke {
        id: LeaseId,
        fence: Option<Fence>,
    },
    /// How much is left of some leases, as the leader of `term` sees it.
    LeaseCheckpoint {
        term: u64,
        marks: Vec<LeaseMark>,
    },
    /// A member binds its id to its data directory, before it takes part in anything that counts.
    /// The first directory keeps the id; any other is refused.
    ClaimMember {
        node: NodeId,
        incarnation: u64,
    },
    /// Raises an alarm, or clears it.
    Alarm(AlarmChange),
    /// Notes that the cluster is to be taken down to a version; `None` that it is not.
    Downgrade {
        target: DowngradeTarget,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlarmChange {
    pub alarm: Alarm,
    pub on: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    pub key: Bytes,
    pub value: Bytes,
    pub lease: LeaseId,
    pub prev_kv: bool,
    pub ignore_value: bool,
    pub ignore_lease: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRange {
    pub range: KeyRange,
    pub prev_kv: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Txn {
    pub compare: Vec<Compare>,
    pub success: Vec<Operation>,
    pub failure: Vec<Operation>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    Range(RangeQuery),
    Put(Put),
    DeleteRange(DeleteRange),
    Txn(Txn),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    pub range: KeyRange,
    pub relation: Relation,
    pub target: CompareTarget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    Equal,
    Greater,
    Less,
    NotEqual,
}

/// The target together with the value to compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareTarget {
    Version(i64),
    Create(Revision),
    Mod(Revision),
    Value(Bytes),
    Lease(LeaseId),
}

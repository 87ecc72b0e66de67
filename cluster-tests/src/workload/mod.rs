//! What the clients do.

use serde::{Deserialize, Serialize};

/// By name; keys of a workload begin with its name and a slash, so that all of them share a cluster.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// Few registers: read, write, compare-and-swap by value.
    Register,
    /// Elements that are added once and never again; reads of all.
    Set,
    /// Transfers by transaction; reads of all accounts, now and at older revisions.
    Bank,
    /// Lists that grow by transaction.
    Append,
    /// Writers, and watchers on every member, across reconnects.
    Watch,
    Lease,
    Lock,
    /// Compactions, with readers and watchers at old revisions.
    Compaction,
    /// Serializable reads: stale is allowed, impossible is not.
    Serializable,
    /// The shapes of a Kubernetes control plane: guarded updates, paged lists, watches.
    Kubernetes,
}

impl Workload {
    pub const ALL: [Self; 10] = [
        Self::Register,
        Self::Set,
        Self::Bank,
        Self::Append,
        Self::Watch,
        Self::Lease,
        Self::Lock,
        Self::Compaction,
        Self::Serializable,
        Self::Kubernetes,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Set => "set",
            Self::Bank => "bank",
            Self::Append => "append",
            Self::Watch => "watch",
            Self::Lease => "lease",
            Self::Lock => "lock",
            Self::Compaction => "compaction",
            Self::Serializable => "serializable",
            Self::Kubernetes => "kubernetes",
        }
    }
}

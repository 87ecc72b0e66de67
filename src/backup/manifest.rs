//! What a backup says of itself.

use crate::mvcc::Head;
use crate::types::{ClusterId, NodeId, Revision};
use serde::{Deserialize, Serialize};

/// One file of a backup, in the order in which their bytes follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// A name, not a path.
    pub name: String,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of the build that wrote it.
    pub quorate_version: String,
    /// etcd's storage version that clients were told.
    pub storage_version: String,
    pub cluster: ClusterId,
    pub member: NodeId,
    pub revision: Revision,
    /// -1: never compacted.
    pub compact_revision: Revision,
    pub live_keys: u64,
    /// Term and index of the last log entry that is in it.
    pub applied: Option<(u64, u64)>,
    pub files: Vec<FileEntry>,
}

impl Manifest {
    pub fn new(cluster: ClusterId, member: NodeId, head: &Head, files: Vec<FileEntry>) -> Self {
        Self {
            quorate_version: crate::config::QUORATE_VERSION.to_owned(),
            storage_version: crate::config::ETCD_STORAGE_VERSION.to_owned(),
            cluster,
            member,
            revision: head.revision,
            compact_revision: head.compacted,
            live_keys: head.digest.keys,
            applied: head.applied.map(|last| (last.term, last.index)),
            files,
        }
    }
}

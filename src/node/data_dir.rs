//! The data directory: whose it is, which format, and that nobody else uses it.
//!
//! ```text
//! <data-dir>/member/LOCK            held while the member runs
//! <data-dir>/member/identity.json   cluster, member, incarnation, whether it may vote
//! <data-dir>/member/peers.json      incarnations of the peers (raft/identity)
//! <data-dir>/member/log/            the Raft log
//! <data-dir>/member/state-000001/   RocksDB; `state.current` names the one in use
//! <data-dir>/member/snapshot/       checkpoints
//! <data-dir>/member.restoring/      a restore that is not finished
//! ```

use crate::env::disk::{read_file, write_file_durably};
use crate::env::{Disk, Randomness};
use crate::raft::{REMOVED, check_formats};
use crate::types::{ClusterId, HexId, NodeId};
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Raised when an older build could no longer make sense of the directory.
pub(super) const DATA_FORMAT_VERSION: u32 = 1;

const IDENTITY: &str = "identity.json";

/// Beside `member`: what a restore is making of a backup. Its last step is to give it that name.
pub(super) const RESTORING: &str = "member.restoring";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IdentityFile {
    pub format_version: u32,
    pub cluster: ClusterId,
    pub node: NodeId,
    /// Random, made with the directory; never 0.
    pub incarnation: u64,
    /// A majority of the founding members did not know this node with another directory: it may
    /// take part in elections.
    pub bootstrapped: bool,
    /// The member was told that it was removed from the cluster: the directory has served.
    #[serde(default)]
    pub removed: bool,
    /// Why the directory must not serve again: it lacks what its member had acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
    /// Which backup the founding state came from; 0: none, it was empty.
    #[serde(default)]
    pub origin: u64,
}

impl IdentityFile {
    /// Of a new directory, which has taken part in nothing yet.
    pub(super) fn founding(
        cluster: ClusterId,
        node: NodeId,
        randomness: &dyn Randomness,
        origin: u64,
    ) -> Self {
        Self {
            format_version: DATA_FORMAT_VERSION,
            cluster,
            node,
            incarnation: randomness.next_u64().max(1),
            bootstrapped: false,
            removed: false,
            lost: None,
            origin,
        }
    }
}

/// An opened, locked data directory.
pub(super) struct DataDir {
    pub member_dir: PathBuf,
    pub identity: IdentityFile,
    disk: Arc<dyn Disk>,
    _lock: Box<dyn Send + Sync>,
}

impl DataDir {
    /// Opens or makes a directory. Everything that could be wrong is checked before anything is
    /// written. Blocking.
    ///
    /// # Errors
    /// One sentence: another cluster's or member's directory, a newer format, in use.
    pub(super) fn open(
        data_dir: &Path,
        disk: Arc<dyn Disk>,
        randomness: &dyn Randomness,
        cluster: ClusterId,
        node: NodeId,
    ) -> anyhow::Result<Self> {
        let member_dir = data_dir.join("member");
        let shown = data_dir.display();
        check_owner(disk.as_ref(), data_dir, cluster, node)?;
        check_formats(&member_dir, &disk)
            .with_context(|| format!("data directory {shown} cannot be read by this build"))?;
        let open = || format!("make data directory {shown}");
        disk.create_dir_all(&member_dir).with_context(open)?;
        let lock = disk.lock(&member_dir.join("LOCK")).map_err(|error| {
            if error.kind() == io::ErrorKind::WouldBlock {
                anyhow::anyhow!("data directory {shown} is in use by another process")
            } else {
                anyhow::Error::new(error).context(format!("lock data directory {shown}"))
            }
        })?;
        // Again: before the lock it may have been somebody else's to write.
        let found = check_owner(disk.as_ref(), data_dir, cluster, node)?;
        let is_new = found.is_none();
        let identity =
            found.unwrap_or_else(|| IdentityFile::founding(cluster, node, randomness, 0));
        let mut opened = Self {
            member_dir,
            identity,
            disk,
            _lock: lock,
        };
        if is_new || opened.identity.format_version < DATA_FORMAT_VERSION {
            opened.identity.format_version = DATA_FORMAT_VERSION;
            opened.store().with_context(open)?;
        }
        if is_new {
            opened.disk.sync_dir(data_dir).with_context(open)?;
            let parent = match data_dir.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            opened.disk.sync_dir(parent).with_context(open)?;
        }
        Ok(opened)
    }

    /// Whose directory this is, if somebody's who may take part in elections.
    ///
    /// # Errors
    /// It cannot be read, or its member was removed from the cluster.
    pub(super) fn owner(
        data_dir: &Path,
        disk: &dyn Disk,
    ) -> anyhow::Result<Option<(ClusterId, NodeId)>> {
        let identity = read_identity(disk, &data_dir.join("member"))?;
        if let Some(identity) = identity.as_ref().filter(|identity| identity.removed) {
            bail!(
                "{REMOVED}: data directory {} was member {}'s; remove it and add a new member",
                data_dir.display(),
                HexId(identity.node)
            );
        }
        if let Some(reason) = identity
            .as_ref()
            .and_then(|identity| identity.lost.as_ref())
        {
            bail!(
                "data directory {} is incomplete: {reason}",
                data_dir.display()
            );
        }
        Ok(identity
            .filter(|identity| identity.bootstrapped)
            .map(|identity| (identity.cluster, identity.node)))
    }

    /// Remembers durably that the member was removed.
    pub(super) fn mark_removed(&mut self) -> io::Result<()> {
        self.identity.removed = true;
        self.store()
    }

    /// Remembers durably that the directory lacks what its member had acknowledged.
    pub(super) fn mark_lost(&mut self, reason: &str) -> io::Result<()> {
        self.identity.lost = Some(reason.to_owned());
        self.store()
    }

    /// Remembers durably that this directory may vote.
    pub(super) fn mark_bootstrapped(&mut self) -> io::Result<()> {
        self.identity.bootstrapped = true;
        self.store()
    }

    fn store(&mut self) -> io::Result<()> {
        write_identity(self.disk.as_ref(), &self.member_dir, &self.identity)
    }
}

pub(super) fn write_identity(
    disk: &dyn Disk,
    member_dir: &Path,
    identity: &IdentityFile,
) -> io::Result<()> {
    let bytes = serde_json::to_vec_pretty(identity).map_err(io::Error::other)?;
    write_file_durably(disk, &member_dir.join(IDENTITY), &bytes)
}

/// The identity in a directory, unless it is not the one that was expected.
fn check_owner(
    disk: &dyn Disk,
    data_dir: &Path,
    cluster: ClusterId,
    node: NodeId,
) -> anyhow::Result<Option<IdentityFile>> {
    let member_dir = data_dir.join("member");
    let shown = data_dir.display();
    let found = read_identity(disk, &member_dir)?;
    if found.is_none() && disk.exists(&data_dir.join(RESTORING))? {
        bail!(
            "a restore into data directory {shown} was not finished; remove it and restore again"
        );
    }
    match &found {
        Some(identity) if identity.cluster != cluster => bail!(
            "data directory {shown} belongs to cluster {}, not to {} which the flags describe",
            HexId(identity.cluster),
            HexId(cluster)
        ),
        Some(identity) if identity.node != node => bail!(
            "data directory {shown} belongs to member {}, not to {} which the flags describe",
            HexId(identity.node),
            HexId(node)
        ),
        Some(_) => {}
        None if holds_something(disk, &member_dir)? => bail!(
            "data directory {shown} holds data that is not Quorate's (of etcd, perhaps); \
             name an empty one with --data-dir"
        ),
        None => {}
    }
    Ok(found)
}

fn read_identity(disk: &dyn Disk, member_dir: &Path) -> anyhow::Result<Option<IdentityFile>> {
    #[derive(Deserialize)]
    struct VersionOnly {
        format_version: u32,
    }
    let path = member_dir.join(IDENTITY);
    let shown = path.display();
    let Some(bytes) = read_file(disk, &path).with_context(|| format!("read {shown}"))? else {
        return Ok(None);
    };
    // The version first: a newer format may hold what this build cannot read.
    let version: VersionOnly =
        serde_json::from_slice(&bytes).with_context(|| format!("{shown} is damaged"))?;
    if version.format_version > DATA_FORMAT_VERSION {
        bail!(
            "data directory has format {}, newer than the {DATA_FORMAT_VERSION} this build knows \
             ({shown}); start it with the newer build",
            version.format_version
        );
    }
    Ok(Some(
        serde_json::from_slice(&bytes).with_context(|| format!("{shown} is damaged"))?,
    ))
}

fn holds_something(disk: &dyn Disk, member_dir: &Path) -> anyhow::Result<bool> {
    if !disk.exists(member_dir)? {
        return Ok(false);
    }
    // A start that was cut off before the identity was written leaves these.
    let names = disk
        .list(member_dir)
        .with_context(|| format!("read {}", member_dir.display()))?;
    Ok(names
        .iter()
        .any(|name| name != "LOCK" && name != "identity.json.tmp"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::clock::SystemRandomness;
    use crate::env::disk_real::RealDisk;

    fn open(dir: &Path, cluster: u64, node: u64) -> anyhow::Result<DataDir> {
        DataDir::open(dir, Arc::new(RealDisk), &SystemRandomness, cluster, node)
    }

    #[test]
    fn a_directory_keeps_its_incarnation_and_refuses_other_owners() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = open(dir.path(), 1, 2).unwrap();
        let incarnation = first.identity.incarnation;
        first.mark_bootstrapped().unwrap();
        let in_use = open(dir.path(), 1, 2).err().unwrap().to_string();
        assert!(in_use.contains("in use"), "{in_use}");
        drop(first);
        let again = open(dir.path(), 1, 2).unwrap();
        assert_eq!(again.identity.incarnation, incarnation);
        assert!(again.identity.bootstrapped);
        drop(again);
        assert!(
            open(dir.path(), 9, 2)
                .err()
                .unwrap()
                .to_string()
                .contains("cluster 1, not to 9")
        );
        assert!(
            open(dir.path(), 1, 9)
                .err()
                .unwrap()
                .to_string()
                .contains("member 2, not to 9")
        );
    }

    #[test]
    fn a_newer_format_and_foreign_data_are_refused_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let member = dir.path().join("member");
        RealDisk.create_dir_all(&member).unwrap();
        RealDisk.create(&member.join("wal")).unwrap();
        let foreign = open(dir.path(), 1, 2).err().unwrap().to_string();
        assert!(foreign.contains("not Quorate's"), "{foreign}");
        assert_eq!(RealDisk.list(&member).unwrap(), ["wal"]);
        let newer = br#"{"format_version": 99, "something": "else"}"#;
        write_file_durably(&RealDisk, &member.join(IDENTITY), newer).unwrap();
        let newer = open(dir.path(), 1, 2).err().unwrap().to_string();
        assert!(newer.contains("format 99, newer"), "{newer}");
        assert!(!RealDisk.exists(&member.join("LOCK")).unwrap());
    }
}

//! A backup becomes the data directory of a founding member of a new cluster.
//!
//! Every member of the new cluster, of whatever size, restores the same file and starts. The
//! directory then holds an identity (of the new cluster, by the flags), the state of the backup as
//! one to which the new cluster's first log entry was applied, and no log. The state has an *origin*, a number made of
//! the backup's SHA-256 and of how it was restored; founders tell each other theirs before they
//! found the cluster, so that nobody starts from other data than the rest (`bootstrap`).
//!
//! Everything is made in a directory beside the final one, whose name is the last step: what a
//! crash leaves behind never looks like a member, and [`super::data_dir`] refuses it.

use super::data_dir::{IdentityFile, RESTORING, write_identity};
use super::founding::Founding;
use crate::backup::read::{self, Sink, Verified};
use crate::config::Config;
use crate::env::{Disk, DiskFile, Env};
use crate::raft::{StateDir, founding_entry};
use crate::state_machine::{StateOptions, refound};
use crate::types::{ClusterId, NodeId, Revision};
use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a backup is restored.
#[derive(Clone, Debug)]
pub struct Restore {
    pub backup: PathBuf,
    /// Of the new member: name, data directory, initial cluster, token.
    pub config: Config,
    pub skip_hash_check: bool,
    /// By how much the revision rises; above 0, what is older counts as compacted.
    pub bump_revision: Revision,
}

/// What was restored.
#[derive(Clone, Debug)]
pub struct Restored {
    pub verified: Verified,
    pub revision: Revision,
    pub cluster: ClusterId,
    pub member: NodeId,
}

/// Restores. Blocking.
///
/// # Errors
/// One sentence; the data directory is then as it was.
pub fn restore(plan: &Restore, env: &Env) -> anyhow::Result<Restored> {
    let config = &plan.config;
    let founding = Founding::new(&config.initial_cluster, &config.initial_cluster_token);
    let node = founding
        .id_of(&config.name)
        .with_context(|| format!("{:?} is not in --initial-cluster", config.name))?;
    let disk = &env.disk;
    let data_dir = &config.data_dir;
    check_free(disk.as_ref(), data_dir)?;
    let made_here = !disk.exists(data_dir)?;
    let making = data_dir.join(RESTORING);
    let make = || -> anyhow::Result<(Verified, Revision)> {
        disk.create_dir_all(&making)?;
        let state_dir = StateDir::new(making.clone(), disk.clone(), StateOptions::default());
        let state = state_dir.first()?;
        let mut files = Files {
            disk: disk.as_ref(),
            dir: state.clone(),
            open: None,
        };
        let verified = read::read(
            disk.as_ref(),
            &plan.backup,
            !plan.skip_hash_check,
            &mut files,
        )
        .with_context(|| plan.backup.display().to_string())?;
        disk.sync_dir(&state)?;
        let first = founding_entry(&founding.members)?;
        let options = StateOptions::default();
        let head = refound(&state, &options, plan.bump_revision, &first)?;
        disk.sync_dir(&state)?;
        let identity = IdentityFile::founding(
            founding.cluster,
            node,
            env.randomness.as_ref(),
            origin(&verified, plan.bump_revision),
        );
        write_identity(disk.as_ref(), &making, &identity)?;
        disk.sync_dir(&making)?;
        disk.rename(&making, &data_dir.join("member"))?;
        disk.sync_dir(data_dir)?;
        if made_here {
            sync_parent(disk.as_ref(), data_dir)?;
        }
        Ok((verified, head.revision))
    };
    match make() {
        Ok((verified, revision)) => Ok(Restored {
            verified,
            revision,
            cluster: founding.cluster,
            member: node,
        }),
        Err(error) => {
            let half = if made_here { data_dir } else { &making };
            if let Err(stays) = disk.remove_dir_all(half) {
                bail!("{error:#} (and {} stays: {stays})", half.display());
            }
            Err(error)
        }
    }
}

/// Makes the name of a new directory durable.
fn sync_parent(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => disk.sync_dir(parent),
        _ => disk.sync_dir(Path::new(".")),
    }
}

/// Only an empty directory, or none, may become a member's.
fn check_free(disk: &dyn Disk, data_dir: &Path) -> anyhow::Result<()> {
    let shown = data_dir.display();
    if !disk.exists(data_dir)? {
        return Ok(());
    }
    let names = disk
        .list(data_dir)
        .with_context(|| format!("data-dir {shown:?} not empty or could not be read"))?;
    ensure!(
        !names.iter().any(|name| name == RESTORING),
        "an earlier restore into {shown} was not finished: remove the directory first"
    );
    ensure!(
        names.is_empty(),
        "data-dir \"{shown}\" not empty or could not be read"
    );
    Ok(())
}

/// Never 0, which is the origin of an empty state.
fn origin(verified: &Verified, bump: Revision) -> u64 {
    let mut hash = Sha256::new();
    hash.update(verified.sha256);
    hash.update(bump.to_be_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    let number = hash
        .iter()
        .take(8)
        .fold(0, |number, byte| (number << 8) | u64::from(*byte));
    number.max(1)
}

/// Writes a backup's files into a directory, durably but for their names.
struct Files<'d> {
    disk: &'d dyn Disk,
    dir: PathBuf,
    open: Option<(Box<dyn DiskFile>, u64)>,
}

impl Sink for Files<'_> {
    fn begin(&mut self, name: &str) -> io::Result<()> {
        self.open = Some((self.disk.create(&self.dir.join(name))?, 0));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some((file, written)) = &mut self.open {
            file.write_all_at(bytes, *written)?;
            *written += bytes.len() as u64;
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        match self.open.take() {
            Some((file, _)) => file.sync(),
            None => Ok(()),
        }
    }
}

/// Goes through a backup and tells what it holds. Blocking.
///
/// # Errors
/// One sentence why it cannot be used.
pub fn inspect(backup: &Path, disk: &Arc<dyn Disk>) -> anyhow::Result<Verified> {
    read::read(disk.as_ref(), backup, true, &mut read::Discard)
        .with_context(|| backup.display().to_string())
}

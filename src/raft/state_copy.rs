//! A copy of the state for a backup: a checkpoint that nobody else knows of.
//!
//! It has the name of a snapshot being built, so that a start removes what a crash left of it.

use super::applier::SharedStore;
use super::snapshot::Snapshots;
use super::snapshot_dir::{DATA, SnapshotDir, SnapshotFile};
use crate::env::{Disk, Worker};
use crate::mvcc::{Head, Store};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Hard links to the files of one moment; they keep its disk space until this is dropped.
pub struct StateCopy {
    dir: SnapshotDir,
    disk: Arc<dyn Disk>,
    /// What the copy is of, read from inside it.
    pub head: Head,
}

impl StateCopy {
    pub fn data_dir(&self) -> PathBuf {
        self.dir.data_dir()
    }

    pub fn files(&self) -> &[SnapshotFile] {
        self.dir.files()
    }

    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Where its files are read: they may be on a slow disk.
    pub fn worker(&self) -> &Worker {
        self.dir.worker()
    }
}

impl Snapshots {
    /// Copies the state as it is when the worker comes to it.
    pub async fn copy(&self, store: SharedStore) -> io::Result<StateCopy> {
        let this = self.clone();
        self.worker()
            .run(move || this.copy_blocking(&store.load_full()))
            .await?
    }

    fn copy_blocking(&self, store: &Store) -> io::Result<StateCopy> {
        let disk = self.disk().clone();
        let id = self.fresh_name("tmp-");
        let dir = self.dir().join(&id);
        let copied = copy_into(store, disk.as_ref(), &dir);
        if copied.is_err()
            && let Err(error) = disk.remove_dir_all(&dir)
        {
            // The next start removes it.
            tracing::debug!(%error, "half of a copy stays on disk");
        }
        let (head, files) = copied?;
        let dir = SnapshotDir::new(id, dir, files, self.home().clone());
        dir.retire();
        Ok(StateCopy { dir, disk, head })
    }
}

fn copy_into(store: &Store, disk: &dyn Disk, dir: &Path) -> io::Result<(Head, Vec<SnapshotFile>)> {
    disk.create_dir_all(dir)?;
    let data = dir.join(DATA);
    store.checkpoint(&data).map_err(io::Error::other)?;
    let head = Store::read_label(&data).map_err(io::Error::other)?.head;
    Ok((head, SnapshotFile::list(disk, &data)?))
}

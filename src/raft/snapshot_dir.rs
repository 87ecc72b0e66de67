//! One snapshot on disk, shared by all who read it. The last of them removes it once it is retired.

use super::sends::Sends;
use crate::env::{Disk, DiskFile, Worker};
use crate::mvcc::Store;
use crc_fast::{CrcAlgorithm, Digest};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Where the checkpoint is, inside the snapshot's directory.
pub(super) const DATA: &str = "data";
/// Bytes read at a time when a file is checksummed.
const READ_BYTES: usize = 1 << 20;

/// One file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFile {
    pub name: String,
    pub bytes: u64,
}

impl SnapshotFile {
    /// The files of a checkpoint.
    pub(super) fn list(disk: &dyn Disk, data: &Path) -> io::Result<Vec<Self>> {
        let mut files = Vec::new();
        for name in disk.list(data)? {
            let bytes = disk.open(&data.join(&name))?.len()?;
            files.push(Self { name, bytes });
        }
        Ok(files)
    }
}

/// A complete snapshot directory. The last clone of a retired one removes it.
#[derive(Clone)]
pub struct SnapshotDir {
    inner: Arc<Inner>,
}

struct Inner {
    id: String,
    dir: PathBuf,
    files: Vec<SnapshotFile>,
    home: Home,
    checksums: OnceLock<Vec<u32>>,
    /// All rows were read.
    rows_are_whole: AtomicBool,
    remove_on_drop: AtomicBool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.remove_on_drop.load(Ordering::Relaxed) {
            return;
        }
        // Gigabytes, perhaps, and the last user may be Raft's thread.
        let (disk, dir) = (self.home.disk.clone(), std::mem::take(&mut self.dir));
        self.home.worker.post(move || {
            if let Err(error) = disk.remove_dir_all(&dir)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(dir = %dir.display(), %error, "an old snapshot stays on disk");
            }
        });
    }
}

/// Where snapshots live: what each of them needs of it.
#[derive(Clone)]
pub(super) struct Home {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) worker: Worker,
    /// Where [`SnapshotDir::check_rows`] reads.
    pub(super) rows: Worker,
    pub(super) sends: Sends,
}

impl SnapshotDir {
    pub(super) fn new(id: String, dir: PathBuf, files: Vec<SnapshotFile>, home: Home) -> Self {
        let inner = Inner {
            id,
            dir,
            files,
            home,
            checksums: OnceLock::new(),
            rows_are_whole: AtomicBool::new(false),
            remove_on_drop: AtomicBool::new(false),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    pub fn id(&self) -> &str {
        &self.inner.id
    }

    pub fn files(&self) -> &[SnapshotFile] {
        &self.inner.files
    }

    pub fn data_dir(&self) -> PathBuf {
        self.inner.dir.join(DATA)
    }

    /// Where its files are read: they may be on a slow disk.
    pub fn worker(&self) -> &Worker {
        &self.inner.home.worker
    }

    /// Who is being sent a snapshot.
    pub fn sends(&self) -> &Sends {
        &self.inner.home.sends
    }

    pub fn open_file(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.inner.home.disk.open(&self.data_dir().join(name))
    }

    /// The directory goes when the last user lets go.
    pub fn retire(&self) {
        self.inner.remove_on_drop.store(true, Ordering::Relaxed);
    }

    /// CRC-32C of each file, in order. Reads everything; blocking.
    pub fn checksums(&self) -> io::Result<&[u32]> {
        if let Some(known) = self.inner.checksums.get() {
            return Ok(known);
        }
        let mut sums = Vec::with_capacity(self.inner.files.len());
        for file in &self.inner.files {
            sums.push(checksum(self.open_file(&file.name)?.as_ref(), file.bytes)?);
        }
        Ok(self.inner.checksums.get_or_init(|| sums))
    }

    /// Reads all rows, once: the files are the member's own (links), and what its disk has done to them nobody
    /// is to take over. It takes about as long as to send them. One snapshot is read at a time; a reading
    /// that has begun goes on when nobody waits any more, and the next who asks is told what it found.
    ///
    /// # Errors
    /// Something cannot be read. [`Sends::damage`] tells of damage.
    pub async fn check_rows(&self) -> io::Result<()> {
        let this = self.clone();
        self.inner.home.rows.run(move || this.read_rows()).await?
    }

    fn read_rows(&self) -> io::Result<()> {
        if self.inner.rows_are_whole.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(damage) = Store::damage_in(&self.data_dir()).map_err(io::Error::other)? {
            let told = format!("the state to be sent is damaged: {damage}");
            self.sends().found_damage(damage);
            return Err(io::Error::other(told));
        }
        self.inner.rows_are_whole.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// CRC-32C, of nothing yet.
pub(super) fn digest() -> Digest {
    Digest::new(CrcAlgorithm::Crc32Iscsi)
}

/// CRC-32C of the first `bytes` of a file.
pub(super) fn checksum(file: &dyn DiskFile, bytes: u64) -> io::Result<u32> {
    let mut digest = digest();
    let mut buffer = vec![0; READ_BYTES];
    let mut offset = 0;
    while offset < bytes {
        let take = usize::try_from(bytes - offset)
            .unwrap_or(READ_BYTES)
            .min(READ_BYTES);
        file.read_exact_at(&mut buffer[..take], offset)?;
        digest.update(&buffer[..take]);
        offset += take as u64;
    }
    u32::try_from(digest.finalize()).map_err(io::Error::other)
}

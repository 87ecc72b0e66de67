//! What the Raft log and the small identity files need of a file system.
//!
//! Every call blocks; callers run on a thread that `env` gave. Durability is explicit: bytes are
//! durable after [`DiskFile::sync`] (or their [`DiskFile::write_durably_at`]), names after
//! [`Disk::sync_dir`] of their directory. A simulated disk loses exactly what was not made durable
//! in this way.

use std::io;
use std::path::{Path, PathBuf};

pub trait Disk: Send + Sync + 'static {
    /// Creates a file that must not exist yet, open for reading and writing.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file that need not be writable; nothing is written to it.
    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }
    /// Replaces `to` if it exists, atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Names (not paths) in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Makes creations, renames and removals in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes an exclusive lock on `path` (created if missing), held until the value is dropped.
    /// A second holder gets `WouldBlock`.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
    /// Bytes free for an ordinary process on the file system that holds `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

#[allow(
    clippy::len_without_is_empty,
    reason = "a file's length, not a collection's"
)]
pub trait DiskFile: Send + Sync {
    /// Fills `buffer` from `offset`, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`, growing the file if need be.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the written bytes (and the length) durable: `fdatasync`.
    fn sync(&self) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`, durable when it returns. It is for files that grow at their
    /// end: up to 4 KiB behind `bytes` may be zeros afterwards.
    fn write_durably_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)?;
        self.sync()
    }
    /// As [`Self::write_all_at`], past the page cache where that is possible: for much that is not read
    /// again soon.
    fn write_uncached_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }
    fn set_len(&self, len: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
}

/// Reads a whole small file; `None` if it does not exist.
pub fn read_file(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    if !disk.exists(path)? {
        return Ok(None);
    }
    let file = disk.open(path)?;
    let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Some(bytes))
}

/// Replaces a small file so that after a crash either the old or the new content is there, whole:
/// write beside it, sync, rename, sync the directory.
pub fn write_file_durably(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = PathBuf::from(format!("{}.tmp", path.display()));
    if disk.exists(&beside)? {
        disk.remove_file(&beside)?;
    }
    let file = disk.create(&beside)?;
    file.write_all_at(bytes, 0)?;
    file.sync()?;
    drop(file);
    disk.rename(&beside, path)?;
    let dir = path
        .parent()
        .ok_or_else(|| io::Error::other("a file has a directory"))?;
    disk.sync_dir(dir)
}

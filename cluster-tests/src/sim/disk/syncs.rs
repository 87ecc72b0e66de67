//! What RocksDB asks of the kernel, seen from below: the simulator's binary has libc's calls come by
//! here (`bin/quorate-sim/shim.rs`), with the number of the open file and before the kernel is asked.
//!
//! It is called on any thread, RocksDB's own among them, so it takes no randomness (not even a hash
//! map's) and never panics. Until there is a disk to watch it costs one load of an atomic.

use super::shadow::Shadow;
use super::trouble::{Operation, Trouble};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Disks that are watched.
static WATCHED: AtomicUsize = AtomicUsize::new(0);
/// Whether any disk ever had trouble: until then reads and writes are let pass unseen.
static ARMED: AtomicBool = AtomicBool::new(false);
static DISKS: RwLock<Vec<Watched>> = RwLock::new(Vec::new());

thread_local! {
    /// Whether this thread's calls are the simulated disk's own, which has seen to all itself.
    static IS_OURS: Cell<bool> = const { Cell::new(false) };
}

#[derive(Clone)]
struct Watched {
    /// As the kernel calls it.
    root: PathBuf,
    shadow: Arc<Mutex<Shadow>>,
    trouble: Arc<Trouble>,
}

/// As long as it lives, calls below its root are seen.
pub(super) struct Watch(PathBuf);

impl Watch {
    pub(super) fn begin(root: &Path, shadow: &Arc<Mutex<Shadow>>, trouble: &Arc<Trouble>) -> Self {
        let watched = Watched {
            root: root.to_owned(),
            shadow: shadow.clone(),
            trouble: trouble.clone(),
        };
        let mut disks = DISKS.write().unwrap_or_else(PoisonError::into_inner);
        disks.push(watched);
        WATCHED.store(disks.len(), Ordering::Release);
        Self(root.to_owned())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut disks = DISKS.write().unwrap_or_else(PoisonError::into_inner);
        disks.retain(|disk| disk.root != self.0);
        WATCHED.store(disks.len(), Ordering::Release);
    }
}

pub(super) fn arm() {
    ARMED.store(true, Ordering::Release);
}

/// Calls from within `work` pass unseen.
pub(super) fn unseen<T>(work: impl FnOnce() -> T) -> T {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            IS_OURS.set(self.0);
        }
    }
    let _before = Before(IS_OURS.replace(true));
    work()
}

/// `fsync` or `fdatasync` of the open file or directory `fd`. `Err` is the `errno` with which it is to
/// fail; the kernel need not be asked then.
pub fn sync(fd: i32) -> Result<(), i32> {
    let Some((disk, path)) = watched(fd) else {
        return Ok(());
    };
    let Ok(metadata) = fs::metadata(proc_path(fd)) else {
        return Ok(());
    };
    let strikes = if ARMED.load(Ordering::Acquire) {
        disk.strikes(Operation::Sync, &path, 0)
    } else {
        Ok(())
    };
    let mut shadow = disk.shadow.lock().unwrap_or_else(PoisonError::into_inner);
    let noted = match (metadata.is_dir(), strikes) {
        (true, Ok(())) => shadow.sync_dir(&path),
        (true, Err(_)) => Ok(()),
        (false, Ok(())) => shadow.sync_file(&path, &metadata),
        (false, Err(_)) => shadow.fail_sync(&path, &metadata),
    };
    shadow.note(noted);
    strikes
}

/// A read of `fd`: as [`sync`].
pub fn read(fd: i32) -> Result<(), i32> {
    access(Operation::Read, fd, 0)
}

/// A write of `bytes` bytes to `fd`: as [`sync`].
pub fn write(fd: i32, bytes: usize) -> Result<(), i32> {
    access(Operation::Write, fd, bytes as u64)
}

fn access(operation: Operation, fd: i32, bytes: u64) -> Result<(), i32> {
    if !ARMED.load(Ordering::Acquire) {
        return Ok(());
    }
    match watched(fd) {
        Some((disk, path)) => disk.strikes(operation, &path, bytes),
        None => Ok(()),
    }
}

impl Watched {
    fn strikes(&self, operation: Operation, path: &Path, bytes: u64) -> Result<(), i32> {
        let inner = path.strip_prefix(&self.root).unwrap_or(path);
        let name = inner.to_string_lossy();
        self.trouble.strikes_engine(operation, &name, bytes)
    }
}

fn proc_path(fd: i32) -> String {
    format!("/proc/self/fd/{fd}")
}

/// The disk on which `fd` lies, and its path now.
fn watched(fd: i32) -> Option<(Watched, PathBuf)> {
    if WATCHED.load(Ordering::Acquire) == 0 || IS_OURS.get() {
        return None;
    }
    let path = fs::read_link(proc_path(fd)).ok()?;
    let disks = DISKS.read().unwrap_or_else(PoisonError::into_inner);
    let disk = disks.iter().find(|disk| path.starts_with(&disk.root))?;
    Some((disk.clone(), path))
}

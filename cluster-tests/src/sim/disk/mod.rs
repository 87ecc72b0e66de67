//! The disk of one simulated member.
//!
//! It has two sides, because RocksDB, which holds the state, knows only the real file system:
//!
//! | side | what lies there | who writes |
//! |---|---|---|
//! | real, below the member's root | `member/state-*`, `member/snapshot` | RocksDB; snapshots through `Disk` |
//! | memory ([`MemoryDisk`]) | everything else: the log, identity, peers, `state.current` | the member |
//!
//! The member sees one disk. `member` itself is on both sides: its list is of both, and its sync makes
//! the names of both durable. A rename from one side to the other is an error; none is ever asked for.
//!
//! # A crash
//!
//! Every boot has a root of its own, for the RocksDB of an earlier one may live on in the process and
//! hold the lock on its path. What persists is handed from boot to boot:
//!
//! ```text
//! let disk = SimDisk::new(&dir.join("n1.1"), seed, 1, now, trace)?;
//! // ... the member runs with Arc::new(disk.clone()) for its env.disk, and --data-dir n1.1
//! let next = disk.kill(&dir.join("n1.2"))?;        // or power_cut(&dir.join("n1.2"), &mut random)
//! // ... only now the member's runtime is dropped
//! disk.remove_root()?;
//! ```
//!
//! The image is taken *before* the member's runtime is dropped, because RocksDB's destructor flushes
//! memtables, which a crash does not. From then on the old disk answers errors only, so that no
//! destructor of the member's reaches the new one.
//!
//! * **Kill**: all that was written is there. What was not synced is not yet durable, and a power cut
//!   at the next boot may still take it.
//! * **Power cut**: on the memory side what [`MemoryDisk`] draws; on the real side the names as of the
//!   last sync of their directory, each file as long as at its last sync or, by luck, up to what was
//!   written ([`shadow`]). A `CURRENT` that RocksDB renamed over the old one and did not sync is the
//!   old one again.
//!
//! RocksDB's syncs are seen by [`syncs`] if the process has libc's calls come by there, as the
//! simulator's binary has. What it writes is deterministic because the product waits for every flush
//! and compaction when it has no threads (`EngineOptions::settles`).
//!
//! # Trouble and damage
//!
//! [`Trouble`] is what a driver switches on and off: errors, no room, slowness. [`SimDisk::damage`]
//! changes the files of a member that is down.

mod damage;
mod file;
mod shadow;
pub mod syncs;
#[cfg(test)]
mod tests;
mod trouble;

pub use damage::{Damage, Part};
pub use trouble::{Caller, EIO, ENOSPC, Now, Operation, Trouble};

use super::trace::Trace;
use file::{Side, SimFile};
use quorate::env::disk_memory::MemoryDisk;
use quorate::env::{Disk, DiskFile};
use rand::Rng;
use rand::rngs::StdRng;
use shadow::Shadow;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use syncs::{Watch, unseen};

/// The directory that lies on both sides.
const MEMBER: &str = "member";
/// Free bytes of a disk that has room: more than any member asks for.
const AMPLE: u64 = 1 << 40;

/// One member's disk during one boot. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    memory: MemoryDisk,
    shadow: Arc<Mutex<Shadow>>,
    trouble: Arc<Trouble>,
    trace: Trace,
    now: Now,
    number: u64,
    /// None: the contents are another disk's now.
    watch: Mutex<Option<Watch>>,
}

/// Where a path leads.
enum Place {
    /// Relative to the root.
    Memory(PathBuf),
    Real(PathBuf),
    /// A directory above the root: it is there, and that is all.
    Above,
}

impl SimDisk {
    /// The empty disk of a member that starts for the first time, with `root` for its data directory.
    /// A directory beside it, `.ROOT-durable`, holds what a power cut could bring back.
    ///
    /// # Errors
    /// `root` is there already and not empty, or cannot be made.
    pub fn new(root: &Path, seed: u64, number: u64, now: Now, trace: Trace) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        if fs::read_dir(root)?.next().is_some() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let root = root.canonicalize()?;
        fs::create_dir(root.join(MEMBER))?;
        let name = root.file_name().unwrap_or_default().to_string_lossy();
        let shadow = Shadow::new(&root, &root.with_file_name(format!(".{name}-durable")))?;
        Ok(Self::boot(Inner {
            root,
            memory: MemoryDisk::default(),
            shadow: Arc::new(Mutex::new(shadow)),
            trouble: Arc::new(Trouble::new(seed)),
            trace,
            now,
            number,
            watch: Mutex::new(None),
        }))
    }

    fn boot(mut inner: Inner) -> Self {
        let watch = Watch::begin(&inner.root, &inner.shadow, &inner.trouble);
        inner.watch = Mutex::new(Some(watch));
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The data directory of this boot.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// How long a job would take that begins now.
    pub fn pause(&self) -> Duration {
        self.inner.trouble.pause()
    }

    pub fn trouble(&self) -> &Trouble {
        &self.inner.trouble
    }

    /// From now on there is room for so many bytes more, for each side; `None`: for all that comes.
    pub fn set_room(&self, bytes: Option<u64>) {
        let memory = &self.inner.memory;
        memory.set_room(bytes.map(|bytes| memory.used().saturating_add(bytes)));
        self.inner.trouble.set_engine_room(bytes);
    }

    /// The disk is well again: no errors, room, no hanging. Its latency stays.
    pub fn heal(&self) {
        self.inner.trouble.end();
        self.inner.memory.set_room(None);
    }

    /// The process dies here and now, by a kill, a panic or an orderly end: the disk of the next boot,
    /// whose data directory is `next_root`.
    ///
    /// # Errors
    /// The files cannot be copied, or there was a crash before.
    pub fn kill(&self, next_root: &Path) -> io::Result<Self> {
        self.crash(next_root, |shadow, memory, root| {
            shadow.follow(root)?;
            Ok(memory)
        })
    }

    /// The power goes here and now: the disk of the next boot, whose data directory is `next_root`.
    ///
    /// # Errors
    /// As [`Self::kill`].
    pub fn power_cut(&self, next_root: &Path, random: &mut StdRng) -> io::Result<Self> {
        self.crash(next_root, |shadow, memory, root| {
            let memory = memory.after_cut(random);
            shadow.cut(root, random.random())?;
            // The directory that holds all was never durable itself.
            if !memory.exists(Path::new(MEMBER))? {
                fs::remove_dir_all(root.join(MEMBER))?;
                fs::create_dir(root.join(MEMBER))?;
                shadow.sync_dir(root)?;
            }
            Ok(memory)
        })
    }

    fn crash(
        &self,
        next_root: &Path,
        image: impl FnOnce(&mut Shadow, MemoryDisk, &Path) -> io::Result<MemoryDisk>,
    ) -> io::Result<Self> {
        let inner = &self.inner;
        self.alive()?;
        let watch = inner.watch.lock().unwrap_or_else(PoisonError::into_inner);
        drop({ watch }.take());
        fs::create_dir_all(next_root)?;
        let root = next_root.canonicalize()?;
        let memory = inner.memory.take_over();
        let memory = unseen(|| image(&mut self.shadow(), memory, &root))?;
        Ok(Self::boot(Inner {
            root,
            memory,
            shadow: inner.shadow.clone(),
            trouble: inner.trouble.clone(),
            trace: inner.trace.clone(),
            now: inner.now.clone(),
            number: inner.number,
            watch: Mutex::new(None),
        }))
    }

    /// Removes the real files of a boot that is over: when the member's runtime has been dropped.
    ///
    /// # Errors
    /// They resist, or this boot is not over.
    pub fn remove_root(&self) -> io::Result<()> {
        if self.alive().is_ok() {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        fs::remove_dir_all(&self.inner.root)
    }

    fn shadow(&self) -> MutexGuard<'_, Shadow> {
        let shadow = &self.inner.shadow;
        shadow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error for whoever outlives the process that had this disk.
    fn alive(&self) -> io::Result<()> {
        let watch = &self.inner.watch;
        let watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
        match *watch {
            Some(_) => Ok(()),
            None => Err(io::Error::other("the process that had this disk is dead")),
        }
    }

    /// Whether an operation may go on.
    fn admit(&self, operation: Operation) -> io::Result<()> {
        self.alive()?;
        self.inner.trouble.strikes(operation)
    }

    fn place(&self, path: &Path) -> io::Result<Place> {
        if self.inner.root.starts_with(path) && path != self.inner.root {
            return Ok(Place::Above);
        }
        let outside = |_| {
            let why = format!("{} is not on this member's disk", path.display());
            io::Error::new(io::ErrorKind::PermissionDenied, why)
        };
        let inner = path.strip_prefix(&self.inner.root).map_err(outside)?;
        let mut parts = inner.components().map(|part| part.as_os_str());
        let (first, second) = (parts.next(), parts.next());
        let is_real = first.is_some_and(|first| first == MEMBER)
            && second.is_some_and(|second| {
                let second = second.to_string_lossy();
                second == "snapshot" || second.starts_with("state-")
            });
        Ok(if is_real {
            Place::Real(path.to_owned())
        } else {
            Place::Memory(inner.to_owned())
        })
    }

    /// Something was done on the memory side: folded into the trace.
    fn trace(&self, what: u64, bytes: &[u8]) {
        let now = self.inner.now.load(Ordering::Relaxed);
        self.inner
            .trace
            .bytes(now, self.inner.number << 48 ^ what, bytes);
    }

    fn file(&self, side: Side) -> Box<dyn DiskFile> {
        Box::new(SimFile::new(self.clone(), side))
    }
}

fn above() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.admit(Operation::Write)?;
        let side = match self.place(path)? {
            Place::Memory(path) => Side::Memory(self.inner.memory.create(&path)?),
            Place::Real(path) => {
                let mut options = OpenOptions::new();
                let file = options.read(true).write(true).create_new(true).open(path)?;
                Side::Real(file)
            }
            Place::Above => return Err(above()),
        };
        Ok(self.file(side))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.admit(Operation::Read)?;
        let side = match self.place(path)? {
            Place::Memory(path) => Side::Memory(self.inner.memory.open(&path)?),
            Place::Real(path) => Side::Real(OpenOptions::new().read(true).write(true).open(path)?),
            Place::Above => return Err(above()),
        };
        Ok(self.file(side))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.admit(Operation::Write)?;
        match (self.place(from)?, self.place(to)?) {
            (Place::Memory(from), Place::Memory(to)) => self.inner.memory.rename(&from, &to),
            (Place::Real(from), Place::Real(to)) => fs::rename(from, to),
            _ => Err(io::ErrorKind::CrossesDevices.into()),
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.admit(Operation::Write)?;
        match self.place(path)? {
            Place::Memory(path) => self.inner.memory.remove_file(&path),
            Place::Real(path) => fs::remove_file(path),
            Place::Above => Err(above()),
        }
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.admit(Operation::Write)?;
        match self.place(path)? {
            // Nobody removes a running member's directory.
            Place::Memory(path) if Path::new(MEMBER).starts_with(&path) => Err(above()),
            Place::Memory(path) => self.inner.memory.remove_dir_all(&path),
            Place::Real(path) => fs::remove_dir_all(path),
            Place::Above => Err(above()),
        }
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.admit(Operation::Write)?;
        match self.place(path)? {
            Place::Memory(path) => self.inner.memory.create_dir_all(&path),
            Place::Real(path) => {
                self.inner.memory.create_dir_all(Path::new(MEMBER))?;
                fs::create_dir_all(path)
            }
            Place::Above => Ok(()),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.admit(Operation::Read)?;
        let real = |dir: &Path| -> io::Result<Vec<String>> {
            let entries = fs::read_dir(dir)?.map(|entry| {
                let name = entry?.file_name();
                Ok(name.to_string_lossy().into_owned())
            });
            entries.collect()
        };
        let mut names = match self.place(dir)? {
            Place::Memory(inner) => {
                let mut names = self.inner.memory.list(&inner)?;
                if inner == Path::new(MEMBER) {
                    names.extend(real(dir)?);
                }
                names
            }
            Place::Real(dir) => real(&dir)?,
            Place::Above => return Err(above()),
        };
        names.sort();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.admit(Operation::Read)?;
        match self.place(path)? {
            Place::Memory(path) => self.inner.memory.exists(&path),
            Place::Real(path) => path.try_exists(),
            Place::Above => Ok(true),
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.admit(Operation::Sync)?;
        match self.place(dir)? {
            Place::Memory(inner) => {
                self.inner.memory.sync_dir(&inner)?;
                self.trace(file::SYNC_DIR, inner.as_os_str().as_encoded_bytes());
                if inner == Path::new(MEMBER) {
                    self.shadow().sync_dir(dir)?;
                }
                Ok(())
            }
            Place::Real(dir) => self.shadow().sync_dir(&dir),
            Place::Above => Ok(()),
        }
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.admit(Operation::Write)?;
        match self.place(path)? {
            Place::Memory(path) => self.inner.memory.lock(&path),
            Place::Real(_) | Place::Above => Err(above()),
        }
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.admit(Operation::Read)?;
        let memory = self.inner.memory.free_bytes(path)?;
        let engine = self.inner.trouble.engine_room().unwrap_or(u64::MAX);
        Ok(memory.min(engine).min(AMPLE))
    }
}

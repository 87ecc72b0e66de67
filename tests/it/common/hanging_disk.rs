//! The local disk, whose fsyncs can be made to hang or to fail, and whose space to run out.

use quorate::env::disk_real::RealDisk;
use quorate::env::{Disk, DiskFile};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Mood {
    #[default]
    Well,
    Hanging,
    Failing,
}

/// Decides what the fsyncs of one disk do.
#[derive(Clone, Default)]
pub struct Gate {
    state: Arc<(Mutex<Mood>, Condvar)>,
    slow_sending: Arc<AtomicBool>,
    waiting: Arc<AtomicUsize>,
    /// Bytes said to be in use by somebody else.
    occupied: Arc<AtomicU64>,
}

impl Gate {
    pub fn hang(&self) {
        self.set(Mood::Hanging);
    }

    pub fn fail(&self) {
        self.set(Mood::Failing);
    }

    /// Every read of a snapshot's file takes a while from now on: its transfer takes long.
    pub fn send_slowly(&self) {
        self.slow_sending.store(true, Ordering::Relaxed);
    }

    /// So many bytes less are free from now on.
    pub fn occupy(&self, bytes: u64) {
        self.occupied.store(bytes, Ordering::SeqCst);
    }

    pub fn release(&self) {
        self.set(Mood::Well);
    }

    /// How many fsyncs hang now.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    fn set(&self, mood: Mood) {
        *self.state.0.lock().unwrap() = mood;
        self.state.1.notify_all();
    }

    fn pass(&self) -> io::Result<()> {
        let mut mood = self.state.0.lock().unwrap();
        if *mood == Mood::Hanging {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            mood = self
                .state
                .1
                .wait_while(mood, |mood| *mood == Mood::Hanging)
                .unwrap();
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        match *mood {
            Mood::Failing => Err(io::Error::other("the test's disk fails")),
            Mood::Well | Mood::Hanging => Ok(()),
        }
    }
}

pub struct HangingDisk(pub Gate);

/// What a read of a slow disk takes.
const SLOW_READ: Duration = Duration::from_millis(100);

struct HangingFile {
    file: Box<dyn DiskFile>,
    gate: Gate,
    of_snapshot: bool,
}

impl HangingDisk {
    fn wrap(
        &self,
        path: &Path,
        file: io::Result<Box<dyn DiskFile>>,
    ) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(HangingFile {
            file: file?,
            gate: self.0.clone(),
            of_snapshot: path.components().any(|part| part.as_os_str() == "snapshot"),
        }))
    }
}

impl Disk for HangingDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.wrap(path, RealDisk.create(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.wrap(path, RealDisk.open(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir_all(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealDisk.exists(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.pass()?;
        RealDisk.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        RealDisk.lock(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let free = RealDisk.free_bytes(path)?;
        Ok(free.saturating_sub(self.0.occupied.load(Ordering::SeqCst)))
    }
}

impl DiskFile for HangingFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if self.of_snapshot && self.gate.slow_sending.load(Ordering::Relaxed) {
            std::thread::sleep(SLOW_READ);
        }
        self.file.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.gate.pass()?;
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

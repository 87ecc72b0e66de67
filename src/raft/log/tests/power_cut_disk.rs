//! A disk in memory that knows what is durable, and can lose the rest.
//!
//! Bytes become durable by a sync of their file, names by a sync of their directory. The power can
//! be cut at any change: that call and all later ones fail. What the disk holds afterwards is drawn
//! from what it may hold: of every write that was not synced, any subset of its 512-byte sectors;
//! of the changes of names, any subset or any prefix.
//!
//! A sync that fails does what Linux does: what was dirty can still be read and will never reach the
//! disk unless it is written again, and the next sync says that all is well.

use crate::env::{Disk, DiskFile};
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR: usize = 512;

#[derive(Clone, Default)]
pub(super) struct PowerCutDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: Vec<File>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    pending_names: Vec<NameChange>,
    /// Changes so far.
    changes: u64,
    /// The power goes with this change.
    cut_at: Option<u64>,
    /// This sync, counted from now, fails; those after it succeed.
    failing_sync: Option<u64>,
    syncs: u64,
    /// Bytes that all files together may have; `None`: there is always room.
    room: Option<usize>,
}

#[derive(Clone, Default)]
struct File {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

#[derive(Clone)]
enum NameChange {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Create(path, file) => drop(names.insert(path.clone(), *file)),
            Self::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Self::Remove(path) => drop(names.remove(path)),
        }
    }
}

fn no_power() -> io::Error {
    io::Error::other("the power is cut")
}

impl PowerCutDisk {
    pub(super) fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn changes(&self) -> u64 {
        self.lock().changes
    }

    pub(super) fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    pub(super) fn files_created(&self) -> usize {
        self.lock().files.len()
    }

    /// Cuts the power at the `change`th change from the start.
    pub(super) fn cut_at(&self, change: u64) {
        self.lock().cut_at = Some(change);
    }

    pub(super) fn fail_sync_after(&self, syncs: u64) {
        let mut state = self.lock();
        state.failing_sync = Some(state.syncs + syncs);
    }

    /// Bytes that there are, of all files.
    pub(super) fn used(&self) -> usize {
        self.lock().used()
    }

    /// From now on a write that would make all files together larger than this fails.
    pub(super) fn set_room(&self, bytes: Option<usize>) {
        self.lock().room = bytes;
    }

    /// What is there when the power is back.
    pub(super) fn after_cut(&self, rng: &mut StdRng) -> Self {
        let state = self.lock();
        let keep = [0.0, 0.5, 0.9, 1.0][rng.random_range(0..4)];
        let mut names = state.durable_names.clone();
        let prefix = rng
            .random_bool(0.5)
            .then(|| rng.random_range(0..=state.pending_names.len()));
        for (at, change) in state.pending_names.iter().enumerate() {
            if prefix.map_or_else(|| rng.random_bool(keep), |prefix| at < prefix) {
                change.apply(&mut names);
            }
        }
        let files = state
            .files
            .iter()
            .map(|file| file.after_cut(keep, rng))
            .collect();
        let durable_names = names.clone();
        Self(Arc::new(Mutex::new(State {
            files,
            names,
            durable_names,
            ..State::default()
        })))
    }

    /// Changes one byte, now and for ever.
    pub(super) fn flip(&self, path: &Path, at: u64) {
        let mut state = self.lock();
        let file = state.names[path];
        let at = usize::try_from(at).unwrap();
        state.files[file].now[at] ^= 0x40;
        state.files[file].durable[at] ^= 0x40;
    }

    pub(super) fn bytes(&self, path: &Path) -> Vec<u8> {
        let state = self.lock();
        state.files[state.names[path]].now.clone()
    }

    /// A copy that shares nothing.
    pub(super) fn copy(&self) -> Self {
        let state = self.lock();
        Self(Arc::new(Mutex::new(State {
            files: state.files.clone(),
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            pending_names: state.pending_names.clone(),
            ..State::default()
        })))
    }
}

impl State {
    /// Counts a change; `true` if it is the one with which the power goes.
    fn change(&mut self) -> io::Result<bool> {
        self.changes += 1;
        match self.cut_at {
            Some(cut) if self.changes > cut => Err(no_power()),
            cut => Ok(cut == Some(self.changes)),
        }
    }

    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        let is_cut = self.change()?;
        change.apply(&mut self.names);
        self.pending_names.push(change);
        if is_cut { Err(no_power()) } else { Ok(()) }
    }

    fn used(&self) -> usize {
        let files = self.names.values();
        files.map(|file| self.files[*file].now.len()).sum()
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        self.names
            .get(path)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl File {
    fn change(&mut self, change: Change) {
        apply(&mut self.now, &change);
        self.pending.push(change);
    }

    fn after_cut(&self, keep: f64, rng: &mut StdRng) -> Self {
        let mut bytes = self.durable.clone();
        for change in &self.pending {
            match change {
                Change::SetLen(_) => {
                    if rng.random_bool(keep) {
                        apply(&mut bytes, change);
                    }
                }
                Change::Write(offset, written) => {
                    let mut at = 0;
                    while at < written.len() {
                        // Up to the next border of a sector of the file.
                        let end = (SECTOR - (offset + at) % SECTOR + at).min(written.len());
                        if rng.random_bool(keep) {
                            let part = written[at..end].to_vec();
                            apply(&mut bytes, &Change::Write(offset + at, part));
                        }
                        at = end;
                    }
                }
            }
        }
        Self {
            now: bytes.clone(),
            durable: bytes,
            pending: Vec::new(),
        }
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::SetLen(length) => bytes.resize(*length, 0),
        Change::Write(offset, written) => {
            if bytes.len() < offset + written.len() {
                bytes.resize(offset + written.len(), 0);
            }
            bytes[*offset..offset + written.len()].copy_from_slice(written);
        }
    }
}

impl Disk for PowerCutDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.files.len();
        state.files.push(File::default());
        state.change_name(NameChange::Create(path.to_owned(), file))?;
        Ok(Box::new(Handle {
            disk: self.clone(),
            file,
        }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.lock().file(path)?;
        Ok(Box::new(Handle {
            disk: self.clone(),
            file,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.file(from)?;
        assert!(
            !state.names.contains_key(to),
            "the log never renames over a file: {to:?}"
        );
        state.change_name(NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.file(path)?;
        state.change_name(NameChange::Remove(path.to_owned()))
    }

    fn remove_dir_all(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Directories are wherever a file is.
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.lock();
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.lock().names.contains_key(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if state.change()? {
            return Err(no_power());
        }
        if dir == Path::new("/") {
            return Ok(());
        }
        let mut names = std::mem::take(&mut state.durable_names);
        for change in state.pending_names.drain(..) {
            change.apply(&mut names);
        }
        state.durable_names = names;
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn Send + Sync>> {
        Ok(Box::new(()))
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

struct Handle {
    disk: PowerCutDisk,
    file: usize,
}

impl Handle {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.disk.lock();
        if let (Some(room), Change::Write(offset, bytes)) = (state.room, &change) {
            let grown = (offset + bytes.len()).saturating_sub(state.files[self.file].now.len());
            if grown > 0 && state.used() + grown > room {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let is_cut = state.change()?;
        state.files[self.file].change(change);
        if is_cut { Err(no_power()) } else { Ok(()) }
    }
}

impl DiskFile for Handle {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.disk.lock();
        let offset = usize::try_from(offset).unwrap();
        let bytes = state.files[self.file]
            .now
            .get(offset..offset + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(Change::Write(
            usize::try_from(offset).unwrap(),
            bytes.to_vec(),
        ))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        if state.change()? {
            return Err(no_power());
        }
        state.syncs += 1;
        let fails = state.failing_sync == Some(state.syncs);
        let file = &mut state.files[self.file];
        let pending = std::mem::take(&mut file.pending);
        if fails {
            return Err(io::Error::other("the sync failed"));
        }
        for change in &pending {
            apply(&mut file.durable, change);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::SetLen(usize::try_from(len).unwrap()))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files[self.file].now.len() as u64)
    }
}

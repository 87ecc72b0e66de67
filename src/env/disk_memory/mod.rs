//! A file system in memory that knows what is durable, and can lose the rest: for tests and for the
//! simulator.
//!
//! Bytes become durable by a sync of their file, names by a sync of their directory; a rename from one
//! directory to another by a sync of either. The power can be cut at any change: that call and all
//! later ones fail. What the disk holds afterwards is drawn from what it may hold: of every write
//! that was not synced, any subset of its 512-byte sectors; of the changes of names, any subset or any
//! prefix.
//!
//! A sync that fails does what Linux does: what was dirty can still be read and will never reach the
//! disk unless it is written again, and the next sync says that all is well.
//!
//! * [`contents`]: the bytes of a file, now and on the disk.
//! * [`names`]: files and directories, and the changes of their names.
//! * [`state`]: both together.

mod contents;
mod names;
mod state;

use super::{Disk, DiskFile};
use contents::Change;
use names::{NameChange, Node, drop_orphans, is_root};
use rand::Rng;
use rand::rngs::StdRng;
use state::{State, no_power};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Larger than any file here may be: offsets are added without fear.
const FILE_BYTES_MAX: u64 = 1 << 40;

/// Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

impl MemoryDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes, syncs and changes of names that were asked for so far.
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// Syncs of files so far.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    pub fn files_created(&self) -> u64 {
        self.state().created
    }

    /// Cuts the power at the `change`th change from the start.
    pub fn cut_at(&self, change: u64) {
        self.state().cut_at = Some(change);
    }

    /// The `syncs`th sync of a file from now fails.
    pub fn fail_sync_after(&self, syncs: u64) {
        let mut state = self.state();
        state.failing_sync = Some(state.syncs.saturating_add(syncs));
    }

    /// Bytes that there are, of all files.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// From now on a write that would make all files together larger than this fails.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.state().room = bytes;
    }

    /// What is there when the power is back.
    pub fn after_cut(&self, random: &mut StdRng) -> Self {
        let state = self.state();
        let keep = match random.random_range(0..4) {
            0 => 0.0,
            1 => 0.5,
            2 => 0.9,
            _ => 1.0,
        };
        let mut names = state.durable_names.clone();
        let prefix = random
            .random_bool(0.5)
            .then(|| random.random_range(0..=state.pending_names.len()));
        for (at, change) in state.pending_names.iter().enumerate() {
            if prefix.map_or_else(|| random.random_bool(keep), |prefix| at < prefix) {
                change.apply(&mut names);
            }
        }
        let names = drop_orphans(names);
        let files = state.files.iter();
        let files = files.map(|(number, file)| (*number, file.after_cut(keep, random)));
        let mut after = State {
            files: files.collect(),
            durable_names: names.clone(),
            names,
            created: state.created,
            room: state.room,
            ..State::default()
        };
        after.forget_files();
        Self(Arc::new(Mutex::new(after)))
    }

    /// The process ends and the kernel lives: what was written and not synced is there and not yet
    /// durable. Whoever still has this disk, or a file of it, gets errors.
    pub fn take_over(&self) -> Self {
        let mut state = self.state();
        let old = std::mem::take(&mut *state);
        state.is_gone = true;
        let mut after = State {
            files: old.files,
            names: old.names,
            durable_names: old.durable_names,
            pending_names: old.pending_names,
            created: old.created,
            room: old.room,
            ..State::default()
        };
        after.files.values_mut().for_each(|file| file.open = 0);
        after.forget_files();
        Self(Arc::new(Mutex::new(after)))
    }

    /// A copy that shares nothing.
    pub fn copy(&self) -> Self {
        let state = self.state();
        let mut files = state.files.clone();
        files.values_mut().for_each(|file| file.open = 0);
        Self(Arc::new(Mutex::new(State {
            files,
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            pending_names: state.pending_names.clone(),
            created: state.created,
            ..State::default()
        })))
    }

    /// Damage: turns the `bits` of the byte at `at` of a file, now and for ever.
    ///
    /// # Errors
    /// There is no such file, or it ends before.
    pub fn flip(&self, path: &Path, at: u64, bits: u8) -> io::Result<()> {
        let mut state = self.state();
        let file = state.file_mut(path)?;
        if at >= file.now.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for contents in [&mut file.now, &mut file.durable] {
            let mut byte = [0];
            // The durable one may be shorter.
            if contents.read(&mut byte, at).is_some() {
                contents.write(at, &[byte[0] ^ bits]);
            }
        }
        Ok(())
    }

    /// Damage: the file ends after `length` bytes, now and for ever.
    ///
    /// # Errors
    /// There is no such file.
    pub fn truncate(&self, path: &Path, length: u64) -> io::Result<()> {
        let mut state = self.state();
        let file = state.file_mut(path)?;
        for contents in [&mut file.now, &mut file.durable] {
            contents.set_len(contents.len().min(length));
        }
        Ok(())
    }

    /// A whole file.
    ///
    /// # Errors
    /// There is no such file.
    pub fn bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(self.state().file_mut(path)?.now.bytes())
    }
}

impl MemoryDisk {
    fn handle(&self, number: u64) -> io::Result<Box<dyn DiskFile>> {
        self.state().opened(number)?.open += 1;
        Ok(Box::new(Handle {
            disk: self.clone(),
            number,
        }))
    }
}

impl Disk for MemoryDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let number = self.state().create(path)?;
        self.handle(number)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let number = self.state().number(path)?;
        self.handle(number)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let node = state.node(from)?;
        state.needs_parent(to)?;
        let is_inside = to.starts_with(from) && to != from;
        match (node, state.node(to)) {
            _ if is_inside || is_root(from) => return Err(io::ErrorKind::InvalidInput.into()),
            (_, Err(_)) | (Node::File(_), Ok(Node::File(_))) => {}
            (Node::File(_), Ok(Node::Dir)) => return Err(io::ErrorKind::IsADirectory.into()),
            (Node::Dir, Ok(Node::File(_))) => return Err(io::ErrorKind::NotADirectory.into()),
            (Node::Dir, Ok(Node::Dir)) => {
                if state.names.keys().any(|name| name.parent() == Some(to)) {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
            }
        }
        let (from, to) = (from.to_owned(), to.to_owned());
        state.change_name(NameChange::Rename { from, to, node })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let node = Node::File(state.number(path)?);
        state.change_name(NameChange::Remove(path.to_owned(), node))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        match state.node(path)? {
            Node::Dir => state.change_name(NameChange::Remove(path.to_owned(), Node::Dir)),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let mut missing = Vec::new();
        for dir in path.ancestors() {
            match state.node(dir) {
                Ok(Node::Dir) => break,
                Ok(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(dir),
                Err(error) => return Err(error),
            }
        }
        for dir in missing.into_iter().rev() {
            state.change_name(NameChange::Create(dir.to_owned(), Node::Dir))?;
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        if let Node::File(_) = state.node(dir)? {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        let names = inside.filter_map(|path| path.file_name());
        Ok(names
            .map(|name| name.to_string_lossy().into_owned())
            .collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.state().node(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.change()? {
            return Err(no_power());
        }
        if let Node::File(_) = state.node(dir)? {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let (durable, pending) = std::mem::take(&mut state.pending_names)
            .into_iter()
            .partition(|change| change.is_in(dir));
        state.pending_names = pending;
        let durable: Vec<NameChange> = durable;
        for change in durable {
            change.apply(&mut state.durable_names);
        }
        state.forget_files();
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut state = self.state();
        if let Err(error) = state.number(path) {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            state.create(path)?;
        }
        if !state.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Lock {
            disk: self.clone(),
            path: path.to_owned(),
        }))
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        let state = self.state();
        if state.is_gone {
            return Err(no_power());
        }
        let used = state.used();
        Ok(state
            .room
            .map_or(u64::MAX, |room| room.saturating_sub(used)))
    }
}

/// Holds a name until it is dropped.
struct Lock {
    disk: MemoryDisk,
    path: PathBuf,
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.disk.state().locks.remove(&self.path);
    }
}

struct Handle {
    disk: MemoryDisk,
    number: u64,
}

impl Handle {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.disk.state();
        let before = state.opened(self.number)?.now.len();
        let end = match &change {
            Change::Write(offset, bytes) => offset.saturating_add(bytes.len() as u64),
            Change::SetLen(length) => *length,
        };
        if end > FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let grown = end.saturating_sub(before);
        // Only what is written takes room.
        if let (Some(room), Change::Write(..), 1..) = (state.room, &change, grown)
            && state.used().saturating_add(grown) > room
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let is_cut = state.change()?;
        state.opened(self.number)?.change(change);
        if is_cut { Err(no_power()) } else { Ok(()) }
    }
}

impl DiskFile for Handle {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let read = state.opened(self.number)?.now.read(buffer, offset);
        read.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(Change::Write(offset, bytes.to_vec()))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.change()? {
            return Err(no_power());
        }
        state.syncs += 1;
        let fails = state.failing_sync == Some(state.syncs);
        let file = state.opened(self.number)?;
        if fails {
            file.fail_to_sync();
            return Err(io::Error::other("the sync failed"));
        }
        file.sync();
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::SetLen(len))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().opened(self.number)?.now.len())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if let Ok(file) = state.opened(self.number) {
            file.open = file.open.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests;

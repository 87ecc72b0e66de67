//! A disk that writes down what a power cut could still take from it: for tests only.
//!
//! `kill -9` loses nothing, because the kernel keeps what was written; so a laboratory of real
//! processes cannot tell a member that syncs from one that merely writes. This disk keeps an *undo
//! journal* beside the real one: before bytes are overwritten it notes what stood there, after a sync
//! it notes that they are safe. Whoever kills the process can then take back, from the real files,
//! any part of what was not synced, as a power cut does (`cluster-tests`, `cluster/power.rs`). A list
//! of synced lengths would not do: the Raft log writes into files that were filled with zeros, or
//! with the records of an earlier life, long before.
//!
//! The journal itself is never synced. When all is safe it is emptied, so it stays small.
//!
//! What counts as durable at once, though a real disk might lose it: removing and shortening (what
//! they take away is dead), new directories, a file renamed over another, and a renamed directory,
//! whose files RocksDB changes unseen.
//!
//! ```text
//! {"write":{"path":"d/1.log","offset":4096,"bytes":80,"length":8192,"old":80}}\n  and 80 bytes
//! {"sync":{"path":"d/1.log"}}\n
//! ```

use super::{Disk, DiskFile};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A line of the journal.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Record {
    /// `bytes` bytes are about to be written at `offset` of a file of `length` bytes. The `old`
    /// bytes that stand there follow the line; they are fewer where the file grows.
    Write {
        path: PathBuf,
        offset: u64,
        bytes: u64,
        length: u64,
        old: usize,
    },
    Sync {
        path: PathBuf,
    },
    Create {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        /// A power cut may take it back.
        undoable: bool,
    },
    /// A file, or a directory with all that is in it.
    Remove {
        path: PathBuf,
    },
    SyncDir {
        path: PathBuf,
    },
}

/// A write that was not synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub offset: u64,
    pub bytes: u64,
    /// Of the file, before.
    pub length: u64,
    /// What stood at `offset`; shorter than `bytes` where the file grew.
    pub old: Vec<u8>,
}

/// A change of names whose directory was not synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    Created(PathBuf),
    Renamed { from: PathBuf, to: PathBuf },
}

impl Name {
    fn path(&self) -> &Path {
        match self {
            Self::Created(path) | Self::Renamed { to: path, .. } => path,
        }
    }
}

/// All that a power cut could take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsynced {
    /// By the file's name now; oldest first.
    pub writes: BTreeMap<PathBuf, Vec<Write>>,
    /// Oldest first.
    pub names: Vec<Name>,
}

impl Unsynced {
    /// Reads a journal. What comes after a line that was not written to its end did not happen.
    pub fn read(journal: &[u8]) -> Self {
        let mut unsynced = Self::default();
        let mut rest = journal;
        while let Some((record, old, after)) = next_record(rest) {
            unsynced.note(record, old.to_vec());
            rest = after;
        }
        unsynced
    }

    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.names.is_empty()
    }

    fn note(&mut self, record: Record, old: Vec<u8>) {
        match record {
            Record::Write {
                path,
                offset,
                bytes,
                length,
                ..
            } => self.writes.entry(path).or_default().push(Write {
                offset,
                bytes,
                length,
                old,
            }),
            Record::Sync { path } => drop(self.writes.remove(&path)),
            Record::Create { path } => self.names.push(Name::Created(path)),
            Record::Rename { from, to, undoable } => {
                self.writes.remove(&to);
                let writes = std::mem::take(&mut self.writes).into_iter();
                let writes = writes.map(|(path, writes)| (renamed(path, &from, &to), writes));
                self.writes = writes.collect();
                if undoable {
                    self.names.push(Name::Renamed { from, to });
                }
            }
            Record::Remove { path } => self.writes.retain(|file, _| !file.starts_with(&path)),
            Record::SyncDir { path } => self
                .names
                .retain(|name| name.path().parent() != Some(path.as_path())),
        }
    }
}

/// The first record of `journal`, the bytes that belong to it, and what follows.
fn next_record(journal: &[u8]) -> Option<(Record, &[u8], &[u8])> {
    let end = journal.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = journal.split_at(end);
    let record: Record = serde_json::from_slice(line).ok()?;
    let old = match &record {
        Record::Write { old, .. } => *old,
        _ => 0,
    };
    let (old, rest) = rest.get(1..)?.split_at_checked(old)?;
    Some((record, old, rest))
}

/// What `path` is called once `from`, which may be a directory above it, is called `to`.
fn renamed(path: PathBuf, from: &Path, to: &Path) -> PathBuf {
    match path.strip_prefix(from) {
        Ok(inner) if inner.as_os_str().is_empty() => to.to_owned(),
        Ok(inner) => to.join(inner),
        Err(_) => path,
    }
}

/// A disk whose changes are journalled.
pub struct JournalledDisk {
    disk: Arc<dyn Disk>,
    journal: Arc<Mutex<Journal>>,
}

struct Journal {
    file: Box<dyn DiskFile>,
    end: u64,
    /// What the file says, without the old bytes.
    unsynced: Unsynced,
    /// The open files' names now, by handle.
    open: BTreeMap<u64, PathBuf>,
    next_handle: u64,
}

impl JournalledDisk {
    /// Goes on with the journal at `path`, or begins it: what a killed process had not synced may
    /// still be lost.
    pub fn open(disk: Arc<dyn Disk>, path: &Path) -> io::Result<Self> {
        let file = match disk.exists(path)? {
            true => disk.open(path)?,
            false => disk.create(path)?,
        };
        let length = usize::try_from(file.len()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, 0)?;
        let (mut unsynced, mut rest) = (Unsynced::default(), bytes.as_slice());
        while let Some((record, _, after)) = next_record(rest) {
            unsynced.note(record, Vec::new());
            rest = after;
        }
        let journal = Journal {
            file,
            end: (length - rest.len()) as u64,
            unsynced,
            open: BTreeMap::new(),
            next_handle: 0,
        };
        Ok(Self {
            disk,
            journal: Arc::new(Mutex::new(journal)),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Journal> {
        lock(&self.journal)
    }

    fn handle(&self, path: &Path, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let mut journal = self.lock();
        journal.next_handle += 1;
        let handle = journal.next_handle;
        journal.open.insert(handle, path.to_owned());
        Box::new(JournalledFile {
            file,
            handle,
            journal: self.journal.clone(),
        })
    }
}

fn lock(journal: &Mutex<Journal>) -> MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal {
    /// Appends a record, or empties the journal if with it all is safe.
    fn note(&mut self, record: Record, old: &[u8]) -> io::Result<()> {
        let mut line = serde_json::to_vec(&record)?;
        line.push(b'\n');
        line.extend_from_slice(old);
        self.unsynced.note(record, Vec::new());
        if self.unsynced.is_empty() {
            self.end = 0;
            return self.file.set_len(0);
        }
        self.file.write_all_at(&line, self.end)?;
        self.end += line.len() as u64;
        Ok(())
    }
}

impl Disk for JournalledDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.disk.create(path)?;
        let path_created = path.to_owned();
        self.lock()
            .note(Record::Create { path: path_created }, &[])?;
        Ok(self.handle(path, file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.handle(path, self.disk.open(path)?))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open_to_read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let undoable = !self.disk.exists(to)? && self.disk.list(from).is_err();
        self.disk.rename(from, to)?;
        let mut journal = self.lock();
        for path in journal.open.values_mut() {
            *path = renamed(std::mem::take(path), from, to);
        }
        let (from, to) = (from.to_owned(), to.to_owned());
        journal.note(Record::Rename { from, to, undoable }, &[])
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)?;
        let path = path.to_owned();
        self.lock().note(Record::Remove { path }, &[])
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)?;
        let path = path.to_owned();
        self.lock().note(Record::Remove { path }, &[])
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)?;
        let path = dir.to_owned();
        self.lock().note(Record::SyncDir { path }, &[])
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.disk.lock(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.disk.free_bytes(path)
    }
}

/// A file of a [`JournalledDisk`]. Of its writes and syncs only one may go on at a time.
struct JournalledFile {
    file: Box<dyn DiskFile>,
    handle: u64,
    journal: Arc<Mutex<Journal>>,
}

impl JournalledFile {
    /// Notes a change of the file with this name.
    fn note(&self, record: impl FnOnce(PathBuf) -> Record, old: &[u8]) -> io::Result<()> {
        let mut journal = lock(&self.journal);
        let path = journal.open.get(&self.handle).cloned().unwrap_or_default();
        journal.note(record(path), old)
    }

    fn note_write(&self, offset: u64, bytes: u64) -> io::Result<()> {
        let length = self.file.len()?;
        let old = length.saturating_sub(offset).min(bytes);
        let old = usize::try_from(old).map_err(io::Error::other)?;
        let mut before = vec![0; old];
        self.file.read_exact_at(&mut before, offset)?;
        let record = |path| Record::Write {
            path,
            offset,
            bytes,
            length,
            old,
        };
        self.note(record, &before)
    }
}

impl DiskFile for JournalledFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.note_write(offset, bytes.len() as u64)?;
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()?;
        self.note(|path| Record::Sync { path }, &[])
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let before = self.file.len()?;
        if len > before {
            self.note_write(before, len - before)?;
        }
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

impl Drop for JournalledFile {
    fn drop(&mut self) {
        lock(&self.journal).open.remove(&self.handle);
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "the test reads the journal itself"
)]
mod tests {
    use super::*;
    use crate::env::disk_real::RealDisk;
    use std::fs;

    fn open(dir: &Path) -> JournalledDisk {
        JournalledDisk::open(Arc::new(RealDisk), &dir.join("journal")).unwrap()
    }

    fn unsynced(dir: &Path) -> Unsynced {
        Unsynced::read(&fs::read(dir.join("journal")).unwrap())
    }

    fn write(offset: u64, bytes: u64, length: u64, old: &[u8]) -> Write {
        let old = old.to_vec();
        Write {
            offset,
            bytes,
            length,
            old,
        }
    }

    #[test]
    fn what_is_not_synced_can_be_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let (path, dir) = (dir.path().join("a"), dir.path());
        let disk = open(dir);
        let file = disk.create(&path).unwrap();
        file.write_all_at(b"0123456789", 0).unwrap();
        assert_eq!(unsynced(dir).names, [Name::Created(path.clone())]);
        assert_eq!(unsynced(dir).writes[&path], [write(0, 10, 0, b"")]);
        file.sync().unwrap();
        assert!(unsynced(dir).writes.is_empty());
        disk.sync_dir(dir).unwrap();
        assert_eq!(fs::read(dir.join("journal")).unwrap(), b"");
        // What stood there, where something did; in order.
        file.write_all_at(b"abcd", 8).unwrap();
        file.write_all_at(b"x\n", 9).unwrap();
        let found = unsynced(dir);
        assert!(found.names.is_empty());
        assert_eq!(
            found.writes[&path],
            [write(8, 4, 10, b"89"), write(9, 2, 12, b"bc")]
        );
        // Cut off in the middle of a record, which then did not happen.
        let bytes = fs::read(dir.join("journal")).unwrap();
        let found = Unsynced::read(&bytes[..bytes.len() - 1]);
        assert_eq!(found.writes[&path], [write(8, 4, 10, b"89")]);
    }

    #[test]
    fn writes_follow_their_file_to_its_new_name() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let disk = open(dir);
        let (a, b) = (dir.join("a"), dir.join("b"));
        let file = disk.create(&a).unwrap();
        disk.sync_dir(dir).unwrap();
        file.write_all_at(b"1", 0).unwrap();
        disk.rename(&a, &b).unwrap();
        file.write_all_at(b"2", 1).unwrap();
        let found = unsynced(dir);
        assert_eq!(found.writes[&b], [write(0, 1, 0, b""), write(1, 1, 1, b"")]);
        let name = Name::Renamed {
            from: a,
            to: b.clone(),
        };
        assert_eq!(found.names, [name]);
        disk.remove_file(&b).unwrap();
        assert!(unsynced(dir).writes.is_empty());
    }

    #[test]
    fn a_process_that_was_only_killed_may_still_lose_it() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let path = dir.join("a");
        let disk = open(dir);
        disk.create(&path).unwrap().write_all_at(b"1", 0).unwrap();
        drop(disk);
        let disk = open(dir);
        disk.sync_dir(dir).unwrap();
        let file = disk.open(&path).unwrap();
        file.write_all_at(b"2", 1).unwrap();
        assert_eq!(
            unsynced(dir).writes[&path],
            [write(0, 1, 0, b""), write(1, 1, 1, b"")]
        );
        file.sync().unwrap();
        assert!(unsynced(dir).is_empty());
    }
}

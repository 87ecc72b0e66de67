//! What of the real files is durable.
//!
//! A tree of inodes: for each directory the names that were there when it was last synced, for each
//! file how long it was when it was last synced. A file that is in the tree, or was synced, has a
//! second name in a directory of our own, the *pool*, by its inode's number; so it is there when
//! RocksDB has long removed it or renamed another over it, and no other file gets its number.
//! Directories cannot be held like that; on a tmpfs their numbers are not used twice.
//!
//! Lengths suffice, since RocksDB and the receiver of snapshots write every file from its beginning
//! to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub(super) type Inode = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(Inode),
    Dir(Inode),
}

/// Of a file's bytes.
#[derive(Clone, Debug, Default)]
struct Synced {
    length: u64,
    /// A sync failed when these were to be written: they read as zeros after a power cut, although
    /// later syncs said that all was well.
    lost: Vec<Range<u64>>,
}

/// The durable part of the files below one root.
#[derive(Debug)]
pub(super) struct Shadow {
    root: PathBuf,
    pool: PathBuf,
    pinned: BTreeSet<Inode>,
    synced: BTreeMap<Inode, Synced>,
    dirs: BTreeMap<Inode, BTreeMap<String, Node>>,
    /// Why it is not to be trusted.
    broken: Option<String>,
}

/// What became of the inodes when a tree was copied.
#[derive(Default)]
struct Copied {
    dirs: BTreeMap<Inode, Inode>,
    /// The new inode and one of its names.
    files: BTreeMap<Inode, (Inode, PathBuf)>,
}

impl Shadow {
    /// Of what is below `root`, all of it durable. The pool is created if need be, and emptied.
    pub(super) fn new(root: &Path, pool: &Path) -> io::Result<Self> {
        if pool.exists() {
            fs::remove_dir_all(pool)?;
        }
        fs::create_dir_all(pool)?;
        let mut shadow = Self {
            root: root.to_owned(),
            pool: pool.to_owned(),
            pinned: BTreeSet::new(),
            synced: BTreeMap::new(),
            dirs: BTreeMap::new(),
            broken: None,
        };
        shadow.sync_tree(root)?;
        Ok(shadow)
    }

    fn sync_tree(&mut self, dir: &Path) -> io::Result<()> {
        for (path, metadata) in entries(dir)? {
            if metadata.is_dir() {
                self.sync_tree(&path)?;
            } else {
                self.sync_file(&path, &metadata)?;
            }
        }
        self.sync_dir(dir)
    }

    /// The bytes of the file at `path` are durable, as many as there are.
    pub(super) fn sync_file(&mut self, path: &Path, metadata: &fs::Metadata) -> io::Result<()> {
        self.pin(path, metadata.ino())?;
        self.synced.entry(metadata.ino()).or_default().length = metadata.len();
        Ok(())
    }

    /// A sync of the file failed: what was written since the last one is lost.
    pub(super) fn fail_sync(&mut self, path: &Path, metadata: &fs::Metadata) -> io::Result<()> {
        self.pin(path, metadata.ino())?;
        let synced = self.synced.entry(metadata.ino()).or_default();
        if synced.length < metadata.len() {
            synced.lost.push(synced.length..metadata.len());
        }
        Ok(())
    }

    /// The names in the directory at `path` are durable.
    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let dir = fs::metadata(path)?.ino();
        let mut names = BTreeMap::new();
        for (path, metadata) in entries(path)? {
            let node = if metadata.is_dir() {
                Node::Dir(metadata.ino())
            } else {
                self.pin(&path, metadata.ino())?;
                Node::File(metadata.ino())
            };
            names.insert(name_of(&path), node);
        }
        let before = self.dirs.insert(dir, names.clone()).unwrap_or_default();
        let lost_some = before
            .iter()
            .any(|(name, node)| names.get(name) != Some(node));
        if lost_some {
            self.forget()?;
        }
        Ok(())
    }

    /// For one who cannot answer an error: the next image will.
    pub(super) fn note(&mut self, done: io::Result<()>) {
        // Gone before we came to it: it was removed meanwhile by another thread.
        if let Err(error) = done
            && error.kind() != io::ErrorKind::NotFound
        {
            self.broken.get_or_insert_with(|| error.to_string());
        }
    }

    fn check(&self) -> io::Result<()> {
        match &self.broken {
            Some(why) => Err(io::Error::other(format!("a sync went unseen: {why}"))),
            None => Ok(()),
        }
    }

    fn kept(&self, inode: Inode) -> PathBuf {
        self.pool.join(inode.to_string())
    }

    fn pin(&mut self, path: &Path, inode: Inode) -> io::Result<()> {
        if self.pinned.insert(inode)
            && let Err(error) = fs::hard_link(path, self.kept(inode))
        {
            self.pinned.remove(&inode);
            return Err(error);
        }
        Ok(())
    }

    /// Lets go of what is neither there nor could come back.
    fn forget(&mut self) -> io::Result<()> {
        let mut known = BTreeSet::new();
        let mut open = vec![fs::metadata(&self.root)?.ino()];
        live_dirs(&self.root, &mut open)?;
        while let Some(dir) = open.pop() {
            if known.insert(dir) {
                let names = self.dirs.get(&dir).into_iter().flat_map(BTreeMap::values);
                open.extend(names.filter_map(|node| match node {
                    Node::Dir(inner) => Some(*inner),
                    Node::File(_) => None,
                }));
            }
        }
        self.dirs.retain(|dir, _| known.contains(dir));
        let names = self.dirs.values().flat_map(BTreeMap::values);
        let files: BTreeSet<Inode> = names
            .filter_map(|node| match node {
                Node::File(file) => Some(*file),
                Node::Dir(_) => None,
            })
            .collect();
        let unnamed: Vec<Inode> = self.pinned.difference(&files).copied().collect();
        for inode in unnamed {
            let kept = self.kept(inode);
            if fs::metadata(&kept)?.nlink() == 1 {
                fs::remove_file(&kept)?;
                self.pinned.remove(&inode);
                self.synced.remove(&inode);
            }
        }
        Ok(())
    }

    /// The process dies and the kernel lives: puts all that is there below `next`, and goes on there.
    /// The old tree may then change, as it does when RocksDB's destructor runs.
    pub(super) fn follow(&mut self, next: &Path) -> io::Result<()> {
        self.check()?;
        let mut copied = Copied::default();
        copied.tree(&self.root, next)?;
        for (old, (new, path)) in &copied.files {
            if old != new && self.pinned.remove(old) {
                fs::remove_file(self.kept(*old))?;
                self.pin(path, *new)?;
            }
        }
        let synced = std::mem::take(&mut self.synced).into_iter();
        self.synced = synced
            .map(|(file, synced)| (copied.file(file), synced))
            .collect();
        let dirs = std::mem::take(&mut self.dirs).into_iter();
        self.dirs = dirs
            .map(|(dir, names)| {
                let names = names.into_iter().map(|(name, node)| {
                    let node = match node {
                        Node::File(file) => Node::File(copied.file(file)),
                        Node::Dir(dir) => Node::Dir(copied.dir(dir)),
                    };
                    (name, node)
                });
                (copied.dir(dir), names.collect())
            })
            .collect();
        next.clone_into(&mut self.root);
        Ok(())
    }

    /// The power goes: puts what is durable below `next`, of files perhaps more, as `luck` has it, and
    /// goes on there.
    pub(super) fn cut(&mut self, next: &Path, luck: u64) -> io::Result<()> {
        self.check()?;
        fs::create_dir_all(next)?;
        self.lay(fs::metadata(&self.root)?.ino(), next, luck)?;
        *self = Self::new(next, &self.pool)?;
        Ok(())
    }

    fn lay(&self, dir: Inode, to: &Path, luck: u64) -> io::Result<()> {
        for (name, node) in self.dirs.get(&dir).into_iter().flatten() {
            let path = to.join(name);
            match node {
                Node::Dir(inner) => {
                    fs::create_dir(&path)?;
                    self.lay(*inner, &path, luck)?;
                }
                Node::File(file) => self.lay_file(*file, &path, luck)?,
            }
        }
        Ok(())
    }

    fn lay_file(&self, file: Inode, path: &Path, luck: u64) -> io::Result<()> {
        let (kept, none) = (self.kept(file), Synced::default());
        let synced = self.synced.get(&file).unwrap_or(&none);
        let length = fs::metadata(&kept)?.len();
        let durable = synced.length.min(length);
        let left = durable + share(length - durable, luck, path);
        if left == length && synced.lost.is_empty() && is_unchanging(path) {
            return fs::hard_link(&kept, path);
        }
        let mut bytes = fs::read(&kept)?;
        bytes.truncate(usize::try_from(left).map_err(io::Error::other)?);
        for lost in &synced.lost {
            let range = usize::try_from(lost.start).map_err(io::Error::other)?
                ..usize::try_from(lost.end.min(left)).map_err(io::Error::other)?;
            if let Some(lost) = bytes.get_mut(range) {
                lost.fill(0);
            }
        }
        fs::write(path, bytes)
    }
}

impl Copied {
    fn file(&self, old: Inode) -> Inode {
        self.files.get(&old).map_or(old, |(new, _)| *new)
    }

    fn dir(&self, old: Inode) -> Inode {
        self.dirs.get(&old).copied().unwrap_or(old)
    }

    /// Tables are linked, for they do not change; all else is copied, once for each inode.
    fn tree(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::create_dir_all(to)?;
        let (old, new) = (fs::metadata(from)?.ino(), fs::metadata(to)?.ino());
        self.dirs.insert(old, new);
        for (path, metadata) in entries(from)? {
            let target = to.join(name_of(&path));
            if metadata.is_dir() {
                self.tree(&path, &target)?;
            } else if is_unchanging(&path) {
                fs::hard_link(&path, &target)?;
            } else if let Some((_, copy)) = self.files.get(&metadata.ino()) {
                fs::hard_link(copy, &target)?;
            } else {
                fs::copy(&path, &target)?;
                let new = fs::metadata(&target)?.ino();
                self.files.insert(metadata.ino(), (new, target));
            }
        }
        Ok(())
    }
}

/// How many of `unsynced` bytes reach the disk all the same: none, all, or a part. It depends on
/// nothing but the file's name, so that no thread of RocksDB's can change it.
fn share(unsynced: u64, luck: u64, path: &Path) -> u64 {
    let drawn = xxh3_64_with_seed(name_of(path).as_bytes(), luck);
    match drawn % 4 {
        0 | 1 => 0,
        2 => unsynced,
        _ => (drawn >> 2) % (unsynced + 1),
    }
}

/// Whether RocksDB writes such a file once and then no more.
fn is_unchanging(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "sst")
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// What is in a directory, sorted by name, without what vanishes meanwhile.
fn entries(dir: &Path) -> io::Result<Vec<(PathBuf, fs::Metadata)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        match fs::symlink_metadata(&path) {
            Ok(metadata) => found.push((path, metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

fn live_dirs(dir: &Path, found: &mut Vec<Inode>) -> io::Result<()> {
    for (path, metadata) in entries(dir)? {
        if metadata.is_dir() {
            found.push(metadata.ino());
            live_dirs(&path, found)?;
        }
    }
    Ok(())
}

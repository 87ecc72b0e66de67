//! What a disk holds, and what has been done to it.

use super::contents::File;
use super::names::{NameChange, Names, Node, is_dir, is_root};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

#[derive(Default)]
pub(super) struct State {
    pub(super) files: BTreeMap<u64, File>,
    pub(super) names: Names,
    pub(super) durable_names: Names,
    /// Oldest first.
    pub(super) pending_names: Vec<NameChange>,
    pub(super) locks: BTreeSet<PathBuf>,
    /// Files that were ever created; the next one's number.
    pub(super) created: u64,
    /// Changes so far.
    pub(super) changes: u64,
    /// The power goes with this change.
    pub(super) cut_at: Option<u64>,
    /// This sync, counted from the start, fails; those after it succeed.
    pub(super) failing_sync: Option<u64>,
    pub(super) syncs: u64,
    /// Bytes that all files together may have; `None`: there is always room.
    pub(super) room: Option<u64>,
    /// The contents are another disk's now.
    pub(super) is_gone: bool,
}

pub(super) fn no_power() -> io::Error {
    io::Error::other("the power is cut")
}

impl State {
    /// Counts a change; `true` if it is the one with which the power goes.
    pub(super) fn change(&mut self) -> io::Result<bool> {
        self.changes += 1;
        match self.cut_at {
            _ if self.is_gone => Err(no_power()),
            Some(cut) if self.changes > cut => Err(no_power()),
            cut => Ok(cut == Some(self.changes)),
        }
    }

    pub(super) fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        let is_cut = self.change()?;
        change.apply(&mut self.names);
        self.pending_names.push(change);
        if is_cut { Err(no_power()) } else { Ok(()) }
    }

    /// Forgets the files that no name, not even one that a power cut could bring back, and no handle
    /// stands for.
    pub(super) fn forget_files(&mut self) {
        let names = self.names.values().chain(self.durable_names.values());
        let pending = self.pending_names.iter().map(NameChange::node);
        let known: BTreeSet<u64> = names
            .copied()
            .chain(pending)
            .filter_map(|node| match node {
                Node::File(number) => Some(number),
                Node::Dir => None,
            })
            .collect();
        self.files
            .retain(|number, file| file.open > 0 || known.contains(number));
    }

    pub(super) fn used(&self) -> u64 {
        let files = self.names.values().filter_map(|node| match node {
            Node::File(number) => self.files.get(number),
            Node::Dir => None,
        });
        files.map(|file| file.now.len()).sum()
    }

    pub(super) fn node(&self, path: &Path) -> io::Result<Node> {
        if self.is_gone {
            return Err(no_power());
        }
        if is_root(path) {
            return Ok(Node::Dir);
        }
        let node = self.names.get(path).copied();
        node.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn number(&self, path: &Path) -> io::Result<u64> {
        match self.node(path)? {
            Node::File(number) => Ok(number),
            Node::Dir => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn file_mut(&mut self, path: &Path) -> io::Result<&mut File> {
        let number = self.number(path)?;
        self.opened(number)
    }

    pub(super) fn opened(&mut self, number: u64) -> io::Result<&mut File> {
        self.files.get_mut(&number).ok_or_else(no_power)
    }

    pub(super) fn needs_parent(&self, path: &Path) -> io::Result<()> {
        let is_there = path.parent().is_none_or(|dir| is_dir(&self.names, dir));
        if is_there {
            Ok(())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<u64> {
        if self.node(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.needs_parent(path)?;
        let number = self.created;
        self.created += 1;
        self.files.insert(number, File::default());
        self.change_name(NameChange::Create(path.to_owned(), Node::File(number)))?;
        Ok(number)
    }
}

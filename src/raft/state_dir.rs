//! Which directory holds the state now.
//!
//! `state.current` names it; a snapshot is installed by opening the new directory and then replacing
//! that file, so a crash leaves the old state or the new one, whole.

use crate::env::Disk;
use crate::env::disk::{read_file, write_file_durably};
use crate::mvcc::Store;
use crate::state_machine::{StateMachine, StateOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CURRENT: &str = "state.current";

pub struct StateDir {
    member_dir: PathBuf,
    disk: Arc<dyn Disk>,
    options: StateOptions,
}

impl StateDir {
    pub fn new(member_dir: PathBuf, disk: Arc<dyn Disk>, options: StateOptions) -> Self {
        Self {
            member_dir,
            disk,
            options,
        }
    }

    /// Opens the current state, or a new empty one; clears what an interrupted install left.
    pub fn open(&self) -> io::Result<StateMachine> {
        let (name, is_new) = match self.current()? {
            Some(name) => (name, false),
            None => {
                let first = state_name(1);
                self.set_current(&first)?;
                (first, true)
            }
        };
        self.remove_all_but(|number| state_number(&name) == Some(number));
        let machine = self.open_machine(&self.member_dir.join(&name))?;
        if is_new {
            self.disk.sync_dir(&self.member_dir)?;
        }
        Ok(machine)
    }

    /// Makes the directory of the first state, empty, and the current one: for whoever brings the
    /// state himself.
    pub fn first(&self) -> io::Result<PathBuf> {
        let name = state_name(1);
        let dir = self.member_dir.join(&name);
        self.disk.create_dir_all(&dir)?;
        self.set_current(&name)?;
        Ok(dir)
    }

    /// Refuses a state of a newer format, and writes nothing.
    pub fn check_format(&self) -> io::Result<()> {
        match self.current()? {
            Some(name) => {
                Store::check_format(&self.member_dir.join(name)).map_err(io::Error::other)
            }
            None => Ok(()),
        }
    }

    pub fn open_machine(&self, dir: &Path) -> io::Result<StateMachine> {
        StateMachine::open(dir, &self.options).map_err(io::Error::other)
    }

    /// Moves `data` into place, opens it with `open`, and only then makes it the current one.
    pub fn replace(
        &self,
        data: &Path,
        open: impl FnOnce(&Path) -> io::Result<StateMachine>,
    ) -> io::Result<StateMachine> {
        // Larger than any that is there: what could not be removed must not be in the way.
        let number = self
            .disk
            .list(&self.member_dir)?
            .iter()
            .filter_map(|name| state_number(name))
            .max()
            .unwrap_or(0)
            + 1;
        let name = state_name(number);
        let dir = self.member_dir.join(&name);
        self.disk.rename(data, &dir)?;
        self.disk.sync_dir(&self.member_dir)?;
        let machine = open(&dir)?;
        self.set_current(&name)?;
        Ok(machine)
    }

    /// Removes the states before the current one. What resists stays until the next attempt: a
    /// reader may hold the old engine, which may make files while its directory is being removed.
    pub fn remove_old(&self) {
        // One that is being installed beside this has a larger number.
        match self.current() {
            Ok(current) => {
                let current = current.as_deref().and_then(state_number).unwrap_or(0);
                self.remove_all_but(|number| number >= current);
            }
            Err(error) => tracing::warn!(%error, "old states stay on disk"),
        }
    }

    fn remove_all_but(&self, keeps: impl Fn(u64) -> bool) {
        let names = self.disk.list(&self.member_dir).unwrap_or_default();
        for name in names {
            if state_number(&name).is_none_or(&keeps) {
                continue;
            }
            if let Err(error) = self.disk.remove_dir_all(&self.member_dir.join(&name)) {
                tracing::warn!(name, %error, "an old state stays on disk for now");
            }
        }
    }

    fn current(&self) -> io::Result<Option<String>> {
        let Some(bytes) = read_file(self.disk.as_ref(), &self.member_dir.join(CURRENT))? else {
            return Ok(None);
        };
        let name = String::from_utf8(bytes).map_err(io::Error::other)?;
        let name = name.trim().to_owned();
        if state_number(&name).is_none() {
            return Err(io::Error::other(format!(
                "{CURRENT} names no state directory: {name:?}"
            )));
        }
        Ok(Some(name))
    }

    fn set_current(&self, name: &str) -> io::Result<()> {
        let path = self.member_dir.join(CURRENT);
        write_file_durably(self.disk.as_ref(), &path, format!("{name}\n").as_bytes())
    }
}

fn state_name(number: u64) -> String {
    format!("state-{number:06}")
}

fn state_number(name: &str) -> Option<u64> {
    name.strip_prefix("state-")?.parse().ok()
}

//! Which directory holds the state now.
//!
//! `state.current` names it; a snapshot is installed by opening the new directory and then replacing
//! that file, so a crash leaves the old state or the new one, whole.

use crate::env::Disk;
use crate::env::disk::{read_file, write_file_durably};
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
        let name = match self.current()? {
            Some(name) => name,
            None => {
                let first = state_name(1);
                self.set_current(&first)?;
                first
            }
        };
        self.remove_old()?;
        self.open_machine(&self.member_dir.join(name))
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
        let number = self
            .current()?
            .and_then(|name| state_number(&name))
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

    /// Removes every state directory but the current one.
    pub fn remove_old(&self) -> io::Result<()> {
        let current = self.current()?;
        for name in self.disk.list(&self.member_dir)? {
            if state_number(&name).is_some() && Some(&name) != current.as_ref() {
                self.disk.remove_dir_all(&self.member_dir.join(name))?;
            }
        }
        Ok(())
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

//! An open file of a simulated disk, on either side of it.

use super::SimDisk;
use super::syncs::unseen;
use super::trouble::Operation;
use quorate::env::DiskFile;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

/// What a trace calls the changes of the memory side.
const WRITE: u64 = 1 << 40;
const SYNC: u64 = 2 << 40;
const SET_LEN: u64 = 3 << 40;
pub(super) const SYNC_DIR: u64 = 4 << 40;

pub(super) enum Side {
    Memory(Box<dyn DiskFile>),
    Real(File),
}

pub(super) struct SimFile {
    disk: SimDisk,
    side: Side,
}

impl SimFile {
    pub(super) fn new(disk: SimDisk, side: Side) -> Self {
        Self { disk, side }
    }

    /// What the kernel would do: with a sync that fails, and one that does not.
    fn sync_real(&self, file: &File, admitted: &io::Result<()>) -> io::Result<()> {
        let metadata = file.metadata()?;
        // Its name now: it may have moved since it was opened.
        let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let mut shadow = self.disk.shadow();
        let noted = match admitted {
            Ok(()) => shadow.sync_file(&path, &metadata),
            Err(_) => shadow.fail_sync(&path, &metadata),
        };
        match noted {
            // Without a name there is nothing that a power cut could take.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            noted => noted,
        }
    }
}

impl DiskFile for SimFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.admit(Operation::Read)?;
        match &self.side {
            Side::Memory(file) => file.read_exact_at(buffer, offset),
            Side::Real(file) => unseen(|| file.read_exact_at(buffer, offset)),
        }
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.admit(Operation::Write)?;
        match &self.side {
            Side::Memory(file) => {
                file.write_all_at(bytes, offset)?;
                self.disk.trace(WRITE ^ offset, bytes);
                Ok(())
            }
            Side::Real(file) => {
                let metadata = file.metadata()?;
                let end = offset.saturating_add(bytes.len() as u64);
                let grown = end.saturating_sub(metadata.len());
                self.disk.inner.trouble.spend(grown)?;
                unseen(|| file.write_all_at(bytes, offset))
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.alive()?;
        let admitted = self.disk.inner.trouble.strikes(Operation::Sync);
        match &self.side {
            Side::Memory(file) => {
                if admitted.is_err() {
                    self.disk.inner.memory.fail_sync_after(1);
                }
                let synced = file.sync();
                self.disk.trace(SYNC ^ u64::from(synced.is_ok()), &[]);
                admitted.and(synced)
            }
            Side::Real(file) => {
                self.sync_real(file, &admitted)?;
                admitted
            }
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.admit(Operation::Write)?;
        match &self.side {
            Side::Memory(file) => {
                file.set_len(len)?;
                self.disk.trace(SET_LEN ^ len, &[]);
                Ok(())
            }
            Side::Real(file) => file.set_len(len),
        }
    }

    fn len(&self) -> io::Result<u64> {
        match &self.side {
            Side::Memory(file) => file.len(),
            Side::Real(file) => Ok(file.metadata()?.len()),
        }
    }
}

//! Writes past the page cache.
//!
//! One call with `O_DIRECT` and `O_DSYNC` in place of a write and an `fdatasync`: nothing is copied
//! into pages of the kernel's, and nobody looks for dirty ones. The price is that blocks are
//! written whole, from memory that begins where a block may. So the last block of a write, which
//! the next one fills up, is remembered.
#![allow(
    clippy::disallowed_methods,
    reason = "env is the one home of the real file system"
)]

use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Any disk's block divides it (rarely more than 4 KiB; a file system that wants more refuses).
pub(super) const BLOCK: usize = 4096;
/// A file keeps no larger buffer.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// A second handle to a file.
pub(super) struct DirectFile {
    file: File,
    staged: Mutex<Staged>,
}

/// The last write.
#[derive(Default)]
struct Staged {
    /// Whole blocks, from the first place on that is aligned.
    buffer: Vec<u8>,
    /// Where the write ended, and what its last block held up to there.
    end: u64,
    tail: Vec<u8>,
}

impl DirectFile {
    /// Whose writes are durable when they return. Fails where the file system knows no such writes.
    pub(super) fn durable(file: &File) -> io::Result<Self> {
        Self::of(file, OFlags::DIRECT | OFlags::DSYNC)
    }

    /// Whose writes become durable with those of `file`.
    pub(super) fn uncached(file: &File) -> io::Result<Self> {
        Self::of(file, OFlags::DIRECT)
    }

    fn of(file: &File, flags: OFlags) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .custom_flags(flags.bits().cast_signed())
            // By its number, because its name may have changed.
            .open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let staged = Mutex::default();
        Ok(Self { file, staged })
    }

    /// The file was changed in another way: what its last block holds is read again.
    pub(super) fn forget(&self) {
        self.lock().end = 0;
    }

    fn lock(&self) -> MutexGuard<'_, Staged> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes `bytes` at `offset`, and zeros behind them to the end of the block. What stands before
    /// them in their first block is read with `by`, unless they follow on the last write.
    pub(super) fn write(&self, by: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut staged = self.lock();
        let before = usize::try_from(offset % BLOCK as u64).map_err(io::Error::other)?;
        let start = offset - before as u64;
        if staged.end != offset || staged.tail.len() != before {
            staged.tail.resize(before, 0);
            by.read_exact_at(&mut staged.tail, start)?;
        }
        let length = (before + bytes.len()).next_multiple_of(BLOCK);
        let Staged { buffer, end, tail } = &mut *staged;
        buffer.resize(length + BLOCK, 0);
        let aligned = buffer.as_ptr().align_offset(BLOCK);
        let blocks = buffer
            .get_mut(aligned..aligned + length)
            .ok_or_else(|| io::Error::other("no aligned memory"))?;
        let (head, rest) = blocks.split_at_mut(before);
        let (middle, behind) = rest.split_at_mut(bytes.len());
        head.copy_from_slice(tail);
        middle.copy_from_slice(bytes);
        behind.fill(0);
        // Nothing is known about the block until the write has succeeded.
        *end = 0;
        self.file.write_all_at(blocks, start)?;
        *end = offset + bytes.len() as u64;
        let whole = (before + bytes.len()) / BLOCK * BLOCK;
        tail.clear();
        tail.extend_from_slice(&blocks[whole..before + bytes.len()]);
        buffer.truncate(KEPT_BYTES_MAX);
        buffer.shrink_to(KEPT_BYTES_MAX);
        Ok(())
    }
}

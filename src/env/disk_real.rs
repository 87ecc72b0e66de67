//! The local file system.
#![allow(
    clippy::disallowed_methods,
    reason = "env is the one home of the real file system"
)]

use super::disk_direct::{BLOCK, DirectFile};
use super::{Disk, DiskFile};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::OnceLock;

#[derive(Debug, Clone, Copy)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            // As etcd: a backup lies outside of any directory of ours.
            .mode(0o600)
            .open(path)?;
        Ok(Box::new(RealFile::from(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Box::new(RealFile::from(file)))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile::from(File::open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        // As etcd: what is kept here is nobody else's to read.
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

struct RealFile {
    file: File,
    /// Both opened when first used; none where the file system has no such writes.
    durable: OnceLock<Option<DirectFile>>,
    uncached: OnceLock<Option<DirectFile>>,
}

impl From<File> for RealFile {
    fn from(file: File) -> Self {
        Self {
            file,
            durable: OnceLock::new(),
            uncached: OnceLock::new(),
        }
    }
}

impl RealFile {
    /// Before a write of another kind than the durable ones.
    fn forget_last_block(&self) {
        if let Some(Some(durable)) = self.durable.get() {
            durable.forget();
        }
    }
}

impl DiskFile for RealFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.forget_last_block();
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write_durably_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let direct = self
            .durable
            .get_or_init(|| DirectFile::durable(&self.file).ok())
            .as_ref()
            .map(|direct| direct.write(&self.file, bytes, offset));
        match direct {
            // The disk wants larger blocks.
            Some(Err(error)) if error.kind() == io::ErrorKind::InvalidInput => {}
            Some(done) => return done,
            None => {}
        }
        self.write_all_at(bytes, offset)?;
        self.sync()
    }

    fn write_uncached_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if !offset.is_multiple_of(BLOCK as u64) {
            return self.write_all_at(bytes, offset);
        }
        self.forget_last_block();
        // Whole blocks: the file is not to become longer than what is written to it.
        let (blocks, rest) = bytes.split_at(bytes.len() / BLOCK * BLOCK);
        let direct = self
            .uncached
            .get_or_init(|| DirectFile::uncached(&self.file).ok())
            .as_ref()
            .map(|direct| direct.write(&self.file, blocks, offset));
        match direct {
            Some(Ok(())) => self.write_all_at(rest, offset + blocks.len() as u64),
            Some(Err(error)) if error.kind() != io::ErrorKind::InvalidInput => Err(error),
            // The disk wants larger blocks.
            Some(Err(_)) | None => self.write_all_at(bytes, offset),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_past_the_cache_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut expected = Vec::new();
        // Whole blocks, some and a rest, where no block begins, less than one.
        for (byte, size) in (1..).zip([8192, 4096, 5000, 3000, 9000, 100]) {
            let file = match expected.len() {
                0 => RealDisk.create(&path).unwrap(),
                _ => RealDisk.open(&path).unwrap(),
            };
            let bytes = vec![byte; size];
            file.write_uncached_at(&bytes, expected.len() as u64)
                .unwrap();
            expected.extend(bytes);
            assert_eq!(file.len().unwrap(), expected.len() as u64);
            let mut found = vec![0; expected.len()];
            file.read_exact_at(&mut found, 0).unwrap();
            assert!(found == expected);
        }
    }

    /// Writes of all sizes, each behind the one before, and some elsewhere.
    #[test]
    fn what_was_written_durably_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.create(&dir.path().join("file")).unwrap();
        file.write_all_at(&vec![0xee; 1 << 20], 0).unwrap();
        let mut expected = vec![0xee; 1 << 20];
        let mut at = 4096;
        let sizes = [1, 300, 3795, 4096, 1, 8191, 70_000, 4095, 5, 4092, 12];
        for (byte, size) in (1..).zip(sizes) {
            let bytes = vec![byte; size];
            file.write_durably_at(&bytes, at as u64).unwrap();
            expected[at..at + size].copy_from_slice(&bytes);
            at += size;
        }
        let mut found = vec![0; at];
        file.read_exact_at(&mut found, 0).unwrap();
        assert!(found == expected[..at]);
        // Over an earlier life's bytes, after a write of another kind.
        file.write_all_at(&[0xdd; 100], 4096).unwrap();
        file.write_durably_at(&[0xaa; 10], 4196).unwrap();
        let mut found = vec![0; 110];
        file.read_exact_at(&mut found, 4096).unwrap();
        assert!(found[..100] == [0xdd; 100] && found[100..] == [0xaa; 10]);
        // What was changed meanwhile in the block that the next write fills up stays changed.
        file.write_all_at(&[0xbb; 10], 4100).unwrap();
        file.write_durably_at(&[0xcc; 10], 4206).unwrap();
        let mut found = [0; 10];
        file.read_exact_at(&mut found, 4100).unwrap();
        assert_eq!(found, [0xbb; 10]);
        // What follows the block is as it was.
        let mut next = [0; 10];
        file.read_exact_at(&mut next, 8192).unwrap();
        assert_eq!(next, expected[8192..8202]);
    }
}

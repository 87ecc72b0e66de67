//! A backup file, read once from the front: what it is, whether it is whole, and its files.

use super::{
    BACKUP_FORMAT_VERSION, BLOCK_BYTES, END, MAGIC, MANIFEST_BYTES_MAX, Manifest, SHA_BYTES,
};
use crate::env::{Disk, DiskFile};
use crc_fast::{CrcAlgorithm, Digest};
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::Path;

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;
/// bbolt's number in its first page, behind the page's header of 16 bytes.
const BBOLT_MAGIC: [u8; 4] = 0xed0c_daed_u32.to_le_bytes();
const BBOLT_MAGIC_AT: usize = 16;

/// What a file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Backup,
    /// A database or a backup of etcd.
    Bbolt,
    Unknown,
}

/// Why a file is no backup that can be used: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(
        "this is a database of etcd (bbolt); Quorate restores its own backups only: copy the keys \
         over the wire instead (see docs/compatibility.md)"
    )]
    Bbolt,
    #[error("this is no backup of Quorate")]
    Unknown,
    #[error(
        "the backup has format {found}, newer than the {BACKUP_FORMAT_VERSION} this build knows"
    )]
    NewerFormat { found: u32 },
    #[error("the backup is cut off: {found} bytes are there, {expected} are expected")]
    Truncated { found: u64, expected: u64 },
    #[error("the backup is damaged: {what}")]
    Damaged { what: String },
    #[error("the backup is damaged: its SHA-256 is {found}, not {expected} as it says")]
    Sha { found: String, expected: String },
}

/// A backup that was gone through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub manifest: Manifest,
    /// CRC-32C of everything before the SHA-256: a short name for the content.
    pub hash: u32,
    pub sha256: [u8; SHA_BYTES],
    /// Of the whole file.
    pub bytes: u64,
}

/// Takes the files of a backup, in order.
pub trait Sink {
    fn begin(&mut self, name: &str) -> io::Result<()>;
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The file is whole and its checksum right.
    fn end(&mut self) -> io::Result<()>;
}

/// Keeps nothing.
pub struct Discard;

impl Sink for Discard {
    fn begin(&mut self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    fn write(&mut self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Goes through a backup and hands its files to `sink`. Its checksums are always checked; the
/// SHA-256 at its end only if `check_sha`. Nothing that `sink` got counts after an error.
pub fn read(
    disk: &dyn Disk,
    path: &Path,
    check_sha: bool,
    sink: &mut dyn Sink,
) -> Result<Verified, BackupError> {
    let file = disk.open_to_read(path)?;
    let bytes = file.len()?;
    let mut reader = Reader {
        file: file.as_ref(),
        offset: 0,
        bytes,
        sha: Sha256::new(),
        crc: Digest::new(CrcAlgorithm::Crc32Iscsi),
    };
    match kind(file.as_ref(), bytes)? {
        Kind::Backup => {}
        Kind::Bbolt => return Err(BackupError::Bbolt),
        Kind::Unknown => return Err(BackupError::Unknown),
    }
    let manifest = reader.manifest()?;
    reader.check_length(&manifest)?;
    for entry in &manifest.files {
        sink.begin(&entry.name)?;
        reader.file(&entry.name, entry.bytes, sink)?;
        sink.end()?;
    }
    reader.end()?;
    let crc = u32::try_from(reader.crc.finalize()).map_err(io::Error::other)?;
    let sha256: [u8; SHA_BYTES] = reader.sha.clone().finalize().into();
    let mut said = [0; SHA_BYTES];
    file.read_exact_at(&mut said, reader.offset)?;
    if check_sha && said != sha256 {
        return Err(BackupError::Sha {
            found: hex(&sha256),
            expected: hex(&said),
        });
    }
    Ok(Verified {
        manifest,
        hash: crc,
        sha256,
        bytes,
    })
}

/// What a file is.
pub fn kind_of(disk: &dyn Disk, path: &Path) -> io::Result<Kind> {
    let file = disk.open_to_read(path)?;
    kind(file.as_ref(), file.len()?)
}

fn kind(file: &dyn DiskFile, bytes: u64) -> io::Result<Kind> {
    let mut start = [0; BBOLT_MAGIC_AT + BBOLT_MAGIC.len()];
    let held = usize::try_from(bytes)
        .unwrap_or(usize::MAX)
        .min(start.len());
    file.read_exact_at(&mut start[..held], 0)?;
    Ok(if start.starts_with(MAGIC) {
        Kind::Backup
    } else if start.ends_with(&BBOLT_MAGIC) {
        Kind::Bbolt
    } else {
        Kind::Unknown
    })
}

struct Reader<'f> {
    file: &'f dyn DiskFile,
    offset: u64,
    bytes: u64,
    sha: Sha256,
    crc: Digest,
}

impl Reader<'_> {
    /// The next bytes, which count for the sums of the whole.
    fn take(&mut self, buffer: &mut [u8]) -> Result<(), BackupError> {
        let expected = self.offset + buffer.len() as u64;
        if expected > self.bytes {
            return Err(BackupError::Truncated {
                found: self.bytes,
                expected,
            });
        }
        self.file.read_exact_at(buffer, self.offset)?;
        self.offset = expected;
        self.sha.update(&*buffer);
        self.crc.update(buffer);
        Ok(())
    }

    fn u32(&mut self) -> Result<u32, BackupError> {
        let mut bytes = [0; 4];
        self.take(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn manifest(&mut self) -> Result<Manifest, BackupError> {
        self.take(&mut [0; MAGIC.len()])?;
        let version = self.u32()?;
        if version > BACKUP_FORMAT_VERSION {
            return Err(BackupError::NewerFormat { found: version });
        }
        let length = self.u32()?;
        if length > MANIFEST_BYTES_MAX {
            return Err(damaged("its manifest has no length that could be"));
        }
        let mut json = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.take(&mut json)?;
        // Up to here the sum of the whole is the sum of the head.
        let crc = u32::try_from(self.crc.finalize()).map_err(io::Error::other)?;
        if self.u32()? != crc {
            return Err(damaged("its manifest has another checksum"));
        }
        let manifest: Manifest = serde_json::from_slice(&json)
            .map_err(|error| damaged(&format!("its manifest cannot be read: {error}")))?;
        let is_name = |name: &str| !name.is_empty() && !name.contains('/') && name != "..";
        if !manifest.files.iter().all(|file| is_name(&file.name)) {
            return Err(damaged("its manifest names a file outside"));
        }
        Ok(manifest)
    }

    /// Before anything is read in vain.
    fn check_length(&self, manifest: &Manifest) -> Result<(), BackupError> {
        let mut expected = self.offset + END.len() as u64;
        for file in &manifest.files {
            expected = expected
                .checked_add(file.bytes)
                .and_then(|sum| sum.checked_add(4))
                .filter(|sum| *sum < 1 << 60)
                .ok_or_else(|| damaged("its manifest has no sizes that could be"))?;
        }
        let expected = expected.next_multiple_of(BLOCK_BYTES) + SHA_BYTES as u64;
        if self.bytes < expected {
            return Err(BackupError::Truncated {
                found: self.bytes,
                expected,
            });
        }
        if self.bytes > expected {
            return Err(damaged("something follows its end"));
        }
        Ok(())
    }

    fn file(&mut self, name: &str, bytes: u64, sink: &mut dyn Sink) -> Result<(), BackupError> {
        let mut crc = Digest::new(CrcAlgorithm::Crc32Iscsi);
        let mut buffer = vec![0; READ_BYTES];
        let mut left = bytes;
        while left > 0 {
            let take = usize::try_from(left).unwrap_or(READ_BYTES).min(READ_BYTES);
            let piece = &mut buffer[..take];
            self.take(piece)?;
            crc.update(piece);
            sink.write(piece)?;
            left -= take as u64;
        }
        let crc = u32::try_from(crc.finalize()).map_err(io::Error::other)?;
        if self.u32()? == crc {
            Ok(())
        } else {
            Err(damaged(&format!("{name} has another checksum")))
        }
    }

    fn end(&mut self) -> Result<(), BackupError> {
        let mut end = [0; END.len()];
        self.take(&mut end)?;
        let padding = self.offset.next_multiple_of(BLOCK_BYTES) - self.offset;
        let mut zeros = vec![0; usize::try_from(padding).map_err(io::Error::other)?];
        self.take(&mut zeros)?;
        if end == *END && zeros.iter().all(|byte| *byte == 0) {
            Ok(())
        } else {
            Err(damaged("it does not end as it should"))
        }
    }
}

fn damaged(what: &str) -> BackupError {
    BackupError::Damaged {
        what: what.to_owned(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

use super::read::{BackupError, Discard, Kind, Sink, Verified, kind_of, read};
use super::write::{BackupWriter, PIECE_BYTES};
use super::{FileEntry, Manifest};
use crate::env::Disk;
use crate::env::disk_real::RealDisk;
use crate::mvcc::Head;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Files of all kinds of sizes: none, less than a piece, more than a read.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let long = (0..3_000_000u32).map(|n| (n * 7 % 251) as u8).collect();
    vec![
        ("CURRENT", b"MANIFEST-000004\n".to_vec()),
        ("empty", Vec::new()),
        ("000010.sst", long),
    ]
}

/// The pieces of a backup of these files.
fn backup(dir: &Path) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    for (name, bytes) in files() {
        let path = dir.join(name);
        if !RealDisk.exists(&path).unwrap() {
            let file = RealDisk.create(&path).unwrap();
            file.write_all_at(&bytes, 0).unwrap();
        }
        entries.push(FileEntry {
            name: name.to_owned(),
            bytes: bytes.len() as u64,
        });
    }
    let manifest = Manifest::new(7, 1, &Head::default(), entries);
    let mut writer = BackupWriter::new(Arc::new(RealDisk), dir.to_owned(), &manifest).unwrap();
    let total = writer.remaining();
    let (mut pieces, mut sent) = (Vec::new(), 0);
    while let Some(piece) = writer.next_piece().unwrap() {
        if piece.bytes.len() != 32 || piece.remaining > 0 {
            sent += piece.bytes.len() as u64;
        }
        assert!(piece.bytes.len() <= PIECE_BYTES);
        assert_eq!(piece.remaining, total - sent);
        pieces.push(piece.bytes.to_vec());
    }
    pieces
}

#[derive(Default)]
struct Collect {
    files: BTreeMap<String, Vec<u8>>,
    name: String,
}

impl Sink for Collect {
    fn begin(&mut self, name: &str) -> io::Result<()> {
        name.clone_into(&mut self.name);
        self.files.insert(name.to_owned(), Vec::new());
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = self.files.get_mut(&self.name);
        file.unwrap().extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn read_bytes(dir: &Path, bytes: &[u8], check_sha: bool) -> Result<Verified, BackupError> {
    let path = dir.join("backup");
    if RealDisk.exists(&path).unwrap() {
        RealDisk.remove_file(&path).unwrap();
    }
    let file = RealDisk.create(&path).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    read(&RealDisk, &path, check_sha, &mut Discard)
}

#[test]
fn a_backup_comes_back() {
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let pieces = backup(source.path());
    let whole = pieces.concat();
    assert_eq!(whole.len() % 512, 32, "what etcd's client checks");
    let (content, sha) = whole.split_at(whole.len() - 32);
    assert_eq!(pieces.last().unwrap(), sha);
    assert_eq!(Sha256::digest(content).as_slice(), sha);

    let path = target.path().join("backup");
    let file = RealDisk.create(&path).unwrap();
    file.write_all_at(&whole, 0).unwrap();
    assert_eq!(kind_of(&RealDisk, &path).unwrap(), Kind::Backup);
    let mut collected = Collect::default();
    let verified = read(&RealDisk, &path, true, &mut collected).unwrap();
    assert_eq!(verified.hash, crc_fast::crc32_iscsi(content));
    assert_eq!(verified.bytes, whole.len() as u64);
    assert_eq!(verified.manifest.revision, 1);
    let expected: BTreeMap<String, Vec<u8>> = files()
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .collect();
    assert_eq!(collected.files, expected);
}

#[test]
fn no_byte_may_be_missing() {
    let dir = tempfile::tempdir().unwrap();
    let whole = backup(dir.path()).concat();
    for length in [20, 100, 1000, whole.len() - 600, whole.len() - 1] {
        let error = read_bytes(dir.path(), &whole[..length], true).unwrap_err();
        assert!(
            matches!(error, BackupError::Truncated { .. }),
            "{length}: {error}"
        );
    }
    let longer = [&whole[..], b"x"].concat();
    let error = read_bytes(dir.path(), &longer, true).unwrap_err();
    assert!(error.to_string().contains("follows"), "{error}");
}

#[test]
fn no_byte_may_be_another() {
    let dir = tempfile::tempdir().unwrap();
    let whole = backup(dir.path()).concat();
    let step = whole.len() / 23;
    let mut places: Vec<usize> = (0..whole.len()).step_by(step).collect();
    places.extend([9, 13, 40, whole.len() - 33, whole.len() - 1]);
    for place in places {
        let mut other = whole.clone();
        other[place] ^= 0x10;
        let error = read_bytes(dir.path(), &other, true);
        assert!(error.is_err(), "byte {place} was changed");
    }
    // Only the SHA-256 itself may be wrong where it is not asked for.
    let mut other = whole;
    *other.last_mut().unwrap() ^= 1;
    read_bytes(dir.path(), &other, false).unwrap();
}

#[test]
fn what_it_is_not_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let mut bbolt = vec![0; 4096];
    bbolt[16..20].copy_from_slice(&[0xed, 0xda, 0x0c, 0xed]);
    let error = read_bytes(dir.path(), &bbolt, true).unwrap_err();
    assert!(matches!(error, BackupError::Bbolt), "{error}");
    for other in [&b""[..], b"QRATE", &[0; 600]] {
        let error = read_bytes(dir.path(), other, true).unwrap_err();
        assert!(matches!(error, BackupError::Unknown), "{error}");
    }
    let mut newer = backup(dir.path()).concat();
    newer[8] = 9;
    let error = read_bytes(dir.path(), &newer, true).unwrap_err();
    assert!(
        matches!(error, BackupError::NewerFormat { found: 9 }),
        "{error}"
    );
}

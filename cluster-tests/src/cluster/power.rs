//! A power cut, for members that were killed: what they had not synced is lost, or half of it, or
//! torn.
//!
//! `kill -9` loses nothing that was written, so it cannot tell a member that syncs from one that does
//! not. A member started with `--sync-journal` keeps an undo journal of its Raft log and its small
//! files (`quorate::env::disk_journal`); after its death [`cut_power`] takes back from the files any
//! part of what the journal calls unsynced: of each file either everything after a random moment, or a
//! random subset of the 512-byte sectors. That covers a log that is written in place: a sector that is
//! lost holds again what it held before, be it zeros or an earlier life's records.
//!
//! The state in RocksDB is not journalled. It keeps what a kill leaves: at most what it had flushed,
//! which it syncs by itself.

use anyhow::{Context, Result, ensure};
use quorate::env::disk_journal::{Name, Unsynced, Write};
use rand::Rng;
use rand::rngs::StdRng;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// What a power cut took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Files that lost something, or vanished.
    pub files: usize,
    /// Bytes that were written and are not there any more.
    pub bytes: u64,
}

impl Lost {
    pub fn add(&mut self, more: Self) {
        self.files += more.files;
        self.bytes += more.bytes;
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, bytes } = self;
        write!(formatter, "{bytes} unsynced bytes lost, of {files} files")
    }
}

/// Cuts the power of a member that does not run: takes back from the files below `data_dir` what
/// `journal` says was not synced, as chance has it, and empties the journal, because what is left is
/// on the disk. Without a journal nothing is lost.
///
/// # Errors
/// The journal names a file outside of `data_dir`, or a file cannot be changed.
pub fn cut_power(data_dir: &Path, journal: &Path, random: &mut StdRng) -> Result<Lost> {
    let mut lost = Lost::default();
    if !journal.exists() {
        return Ok(lost);
    }
    let bytes = fs::read(journal).with_context(|| format!("read {}", journal.display()))?;
    let unsynced = Unsynced::read(&bytes);
    for (path, writes) in &unsynced.writes {
        ensure_inside(data_dir, path)?;
        // A file that is gone has nothing to lose.
        if path.exists() {
            let taken = take_back(path, writes, random);
            let taken = taken.with_context(|| format!("take back from {}", path.display()))?;
            lost.files += usize::from(taken > 0);
            lost.bytes += taken;
        }
    }
    // Names change in order, so what is lost of them is the end.
    let kept = random.random_range(0..=unsynced.names.len());
    for name in unsynced.names[kept..].iter().rev() {
        lost.files += usize::from(take_back_name(data_dir, name)?);
    }
    fs::remove_file(journal).with_context(|| format!("remove {}", journal.display()))?;
    Ok(lost)
}

/// A journal is data: no file of somebody else's is touched for it.
fn ensure_inside(data_dir: &Path, path: &Path) -> Result<()> {
    let inside =
        path.starts_with(data_dir) && !path.components().any(|part| part.as_os_str() == "..");
    ensure!(
        inside,
        "{} is not below {}",
        path.display(),
        data_dir.display()
    );
    Ok(())
}

/// Whether the change was there to be undone.
fn take_back_name(data_dir: &Path, name: &Name) -> Result<bool> {
    match name {
        Name::Created(path) => {
            ensure_inside(data_dir, path)?;
            let there = path.exists();
            if there {
                fs::remove_file(path).with_context(|| format!("remove {}", path.display()))?;
            }
            Ok(there)
        }
        Name::Renamed { from, to } => {
            ensure_inside(data_dir, from)?;
            ensure_inside(data_dir, to)?;
            let there = to.exists() && !from.exists();
            if there {
                fs::rename(to, from).with_context(|| format!("rename {}", to.display()))?;
            }
            Ok(there)
        }
    }
}

/// Which sectors of the writes reach the disk.
enum Luck {
    /// Those of the writes before this one; of it, and of later ones none, as chance has it.
    UpTo(usize),
    /// Each with this probability.
    Each(f64),
}

impl Luck {
    fn draw(writes: usize, random: &mut StdRng) -> Self {
        if random.random_bool(0.5) {
            Self::UpTo(random.random_range(0..=writes))
        } else {
            Self::Each([0.0, 0.5, 0.9, 1.0][random.random_range(0..4)])
        }
    }

    fn keeps(&self, write: usize, random: &mut StdRng) -> bool {
        match *self {
            Self::UpTo(torn) if write == torn => random.random_bool(0.5),
            Self::UpTo(torn) => write < torn,
            Self::Each(share) => random.random_bool(share),
        }
    }
}

/// Undoes the writes that are lost, the latest first, and answers how many bytes that took.
///
/// Where writes overlap, a sector ends as one of the things that it once was, as it must.
fn take_back(path: &Path, writes: &[Write], random: &mut StdRng) -> Result<u64> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let luck = Luck::draw(writes.len(), random);
    let mut taken = 0;
    for (number, write) in writes.iter().enumerate().rev() {
        let end = write.offset + write.bytes;
        // From the last sector on: what was grown goes in the order in which a file shrinks.
        let mut to = end;
        while to > write.offset {
            let from = ((to - 1) / SECTOR * SECTOR).max(write.offset);
            if !luck.keeps(number, random) {
                restore(&file, write, from, to)?;
                taken += to - from;
            }
            to = from;
        }
    }
    Ok(taken)
}

/// Makes `from..to` of a write what it was.
fn restore(file: &File, write: &Write, from: u64, to: u64) -> Result<()> {
    let old_end = write.offset + write.old.len() as u64;
    let before = to.min(old_end);
    if from < before {
        let at = |offset: u64| usize::try_from(offset - write.offset);
        file.write_all_at(&write.old[at(from)?..at(before)?], from)?;
    }
    let grown = from.max(old_end);
    if grown < to {
        if file.metadata()?.len() <= to {
            file.set_len(grown)?;
        } else {
            // A hole before what was kept.
            file.write_all_at(&vec![0; usize::try_from(to - grown)?], grown)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate::env::disk_journal::JournalledDisk;
    use quorate::env::disk_real::RealDisk;
    use quorate::env::{Disk, DiskFile};
    use rand::SeedableRng;
    use std::collections::BTreeSet;
    use std::sync::Arc;

    /// A directory with a journalled disk, and a file that holds 4 KiB of synced zeros.
    struct Member {
        dir: tempfile::TempDir,
        disk: JournalledDisk,
        file: Box<dyn DiskFile>,
    }

    impl Member {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let disk = Arc::new(RealDisk);
            let disk = JournalledDisk::open(disk, &dir.path().join("journal")).unwrap();
            disk.create_dir_all(&dir.path().join("data")).unwrap();
            let file = disk.create(&dir.path().join("data/log")).unwrap();
            file.write_all_at(&[0; 4096], 0).unwrap();
            file.sync().unwrap();
            disk.sync_dir(&dir.path().join("data")).unwrap();
            Self { dir, disk, file }
        }

        fn cut(&self, seed: u64) -> Lost {
            let dir = self.dir.path();
            let random = &mut StdRng::seed_from_u64(seed);
            cut_power(&dir.join("data"), &dir.join("journal"), random).unwrap()
        }

        fn bytes(&self) -> Vec<u8> {
            fs::read(self.dir.path().join("data/log")).unwrap()
        }
    }

    #[test]
    fn what_was_synced_stays() {
        for seed in 0..20 {
            let member = Member::new();
            member.file.write_all_at(&[1; 1024], 0).unwrap();
            member.file.sync().unwrap();
            assert_eq!(member.cut(seed), Lost::default());
            assert_eq!(member.bytes()[..1024], [1; 1024]);
        }
    }

    /// Each sector is what it was or what was written, whole; both happen, and so does half of it.
    #[test]
    fn what_was_not_may_be_what_it_was() {
        let mut seen = BTreeSet::new();
        for seed in 0..60 {
            let member = Member::new();
            member.file.write_all_at(&[1; 1024], 512).unwrap();
            member.file.write_all_at(&[2; 512], 1536).unwrap();
            let lost = member.cut(seed);
            let bytes = member.bytes();
            assert_eq!(bytes.len(), 4096);
            let sectors: Vec<u8> = bytes.chunks(512).map(|sector| sector[0]).collect();
            assert!(
                bytes
                    .chunks(512)
                    .all(|it| it.iter().all(|byte| *byte == it[0]))
            );
            let kept = sectors.iter().filter(|first| **first != 0).count();
            assert_eq!(lost.bytes, 512 * (3 - kept as u64));
            assert_eq!(lost.files, usize::from(kept < 3));
            seen.insert(sectors);
            // The second power cut has nothing to take.
            assert_eq!(member.cut(seed), Lost::default());
        }
        assert!(seen.contains(&vec![0; 8]), "{seen:?}");
        assert!(seen.contains(&vec![0, 1, 1, 2, 0, 0, 0, 0]), "{seen:?}");
        assert!(seen.len() > 4, "{seen:?}");
    }

    #[test]
    fn a_file_that_grew_shrinks() {
        let mut lengths = BTreeSet::new();
        for seed in 0..40 {
            let member = Member::new();
            member.file.write_all_at(&[1; 700], 4000).unwrap();
            member.cut(seed);
            lengths.insert(member.bytes().len());
        }
        assert_eq!(lengths, BTreeSet::from([4096, 4608, 4700]));
    }

    #[test]
    fn a_name_whose_directory_was_not_synced_may_vanish() {
        let mut seen = BTreeSet::new();
        for seed in 0..40 {
            let member = Member::new();
            let data = member.dir.path().join("data");
            member.disk.create(&data.join("a")).unwrap();
            member
                .disk
                .rename(&data.join("a"), &data.join("b"))
                .unwrap();
            member.cut(seed);
            seen.insert(["a", "b"].map(|name| data.join(name).exists()));
        }
        let all = [[false, false], [true, false], [false, true]];
        assert_eq!(seen, BTreeSet::from(all));
    }

    #[test]
    fn files_of_others_are_left_alone() {
        let member = Member::new();
        member.file.write_all_at(&[1; 512], 0).unwrap();
        let elsewhere = member.dir.path().join("elsewhere");
        let random = &mut StdRng::seed_from_u64(0);
        let cut = cut_power(&elsewhere, &member.dir.path().join("journal"), random);
        assert!(cut.unwrap_err().to_string().contains("is not below"));
        assert_eq!(member.bytes()[..512], [1; 512]);
    }
}

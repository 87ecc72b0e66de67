//! Crashes, trouble and damage. What RocksDB would do is done here by hand: libc's calls are not ours
//! in a library's test, so its syncs are told to [`syncs`]. The real RocksDB has its turn in
//! `quorate-sim self-test`.

mod life;

use super::*;
use quorate::env::disk::{read_file, write_file_durably};
use rand::SeedableRng;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

struct Lab {
    dir: tempfile::TempDir,
    disk: SimDisk,
    boots: u64,
    trace: Trace,
}

impl Lab {
    fn new() -> Self {
        let shm = Path::new("/dev/shm");
        let dir = match shm.is_dir() {
            true => tempfile::tempdir_in(shm).unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        let trace = Trace::default();
        let root = dir.path().join("n1.1");
        let disk = SimDisk::new(&root, 7, 1, Now::default(), trace.clone()).unwrap();
        let lab = Self {
            dir,
            disk,
            boots: 1,
            trace,
        };
        lab.disk.create_dir_all(&lab.at("member/log")).unwrap();
        lab.disk.sync_dir(&lab.at("")).unwrap();
        lab.disk.sync_dir(&lab.at("member")).unwrap();
        lab
    }

    fn at(&self, name: &str) -> PathBuf {
        self.disk.root().join(name)
    }

    fn next_root(&mut self) -> PathBuf {
        self.boots += 1;
        self.dir.path().join(format!("n1.{}", self.boots))
    }

    fn kill(&mut self) {
        let root = self.next_root();
        let next = self.disk.kill(&root).unwrap();
        std::mem::replace(&mut self.disk, next)
            .remove_root()
            .unwrap();
    }

    fn power_cut(&mut self, seed: u64) {
        let root = self.next_root();
        let mut random = StdRng::seed_from_u64(seed);
        let next = self.disk.power_cut(&root, &mut random).unwrap();
        std::mem::replace(&mut self.disk, next)
            .remove_root()
            .unwrap();
    }

    /// As RocksDB does it.
    fn engine_append(&self, name: &str, bytes: &[u8]) -> File {
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).open(self.at(name));
        let mut file = file.unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn engine_sync(&self, name: &str) {
        let file = File::open(self.at(name)).unwrap();
        syncs::sync(file.as_raw_fd()).unwrap();
    }

    fn engine_read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.at(name)).ok()
    }

    /// A state directory with a synced table and a `CURRENT`, all of it durable.
    fn state(&self) {
        let dir = self.at("member/state-000001");
        self.disk.create_dir_all(&dir).unwrap();
        self.disk.sync_dir(&self.at("member")).unwrap();
        for (name, bytes) in [("1.sst", "table"), ("CURRENT", "old"), ("MANIFEST-1", "m")] {
            let name = format!("member/state-000001/{name}");
            self.engine_append(&name, bytes.as_bytes());
            self.engine_sync(&name);
        }
        self.engine_sync("member/state-000001");
    }
}

#[test]
fn the_member_sees_one_disk() {
    let lab = Lab::new();
    let disk = &lab.disk;
    write_file_durably(disk, &lab.at("member/identity.json"), b"{}").unwrap();
    let data = lab.at("member/snapshot/inst-x/data");
    disk.create_dir_all(&data).unwrap();
    let file = disk.create(&data.join("1.sst")).unwrap();
    file.write_all_at(b"12", 0).unwrap();
    assert!(data.join("1.sst").is_file(), "where RocksDB finds it");
    assert!(!lab.at("member/identity.json").exists(), "nor this");
    assert_eq!(
        disk.list(&lab.at("member")).unwrap(),
        ["identity.json", "log", "snapshot"]
    );
    disk.rename(&data, &lab.at("member/state-000002")).unwrap();
    let state = lab.at("member/state-000002/1.sst");
    assert_eq!(read_file(disk, &state).unwrap().unwrap(), b"12");
    let refused = disk.rename(&state, &lab.at("member/1.sst")).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::CrossesDevices);
    let refused = disk.open(Path::new("/etc/passwd")).err().unwrap();
    assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    disk.sync_dir(lab.dir.path()).unwrap();
    assert!(disk.free_bytes(&lab.at("")).unwrap() > 1 << 30);
}

#[test]
fn a_kill_leaves_all_that_was_written_and_the_dead_reach_nothing() {
    let mut lab = Lab::new();
    lab.state();
    let log = lab.disk.create(&lab.at("member/log/1.log")).unwrap();
    log.write_all_at(b"record", 0).unwrap();
    lab.engine_append("member/state-000001/MANIFEST-1", b"ore");
    let table = |lab: &Lab| {
        fs::metadata(lab.at("member/state-000001/1.sst"))
            .unwrap()
            .ino()
    };
    let before = table(&lab);
    let old = lab.disk.clone();
    let root = lab.next_root();
    lab.disk = old.kill(&root).unwrap();
    // RocksDB's destructor, and the member's.
    fs::write(
        old.root().join("member/state-000001/MANIFEST-1"),
        "more and more",
    )
    .unwrap();
    log.write_all_at(b"more", 0).unwrap_err();
    log.sync().unwrap_err();
    old.create(&old.root().join("member/x")).err().unwrap();
    old.remove_dir_all(&old.root().join("member/state-000001"))
        .unwrap_err();
    old.kill(&root).err().unwrap();
    lab.disk.remove_root().unwrap_err();
    old.remove_root().unwrap();

    let log = read_file(&lab.disk, &lab.at("member/log/1.log")).unwrap();
    assert_eq!(log.unwrap(), b"record");
    assert_eq!(
        lab.engine_read("member/state-000001/MANIFEST-1").unwrap(),
        b"more"
    );
    assert_eq!(table(&lab), before, "tables are linked");
    // None of it was synced, and it still can be lost.
    let mut lengths = BTreeSet::new();
    for seed in 0..16 {
        lab.engine_append("member/state-000001/MANIFEST-1", b"!!!");
        lab.kill();
        lab.power_cut(seed);
        let manifest = lab.engine_read("member/state-000001/MANIFEST-1").unwrap();
        lengths.insert(manifest.len());
        assert!(manifest.starts_with(b"m"));
        assert!(lab.engine_read("member/state-000001/1.sst").unwrap() == b"table");
    }
    assert!(lengths.len() > 2, "{lengths:?}");
}

#[test]
fn a_rename_that_was_not_synced_comes_back_as_the_old_file() {
    let mut lab = Lab::new();
    lab.state();
    let rename = |lab: &Lab, text: &[u8]| {
        lab.engine_append("member/state-000001/tmp", text);
        lab.engine_sync("member/state-000001/tmp");
        let (from, to) = ("member/state-000001/tmp", "member/state-000001/CURRENT");
        fs::rename(lab.at(from), lab.at(to)).unwrap();
    };
    for crash in 0..4 {
        rename(&lab, b"new");
        // What is only killed does not forget what it was.
        for _ in 0..crash {
            lab.kill();
            assert_eq!(
                lab.engine_read("member/state-000001/CURRENT").unwrap(),
                b"new"
            );
        }
        lab.power_cut(crash);
        assert_eq!(
            lab.engine_read("member/state-000001/CURRENT").unwrap(),
            b"old"
        );
    }
    rename(&lab, b"new");
    lab.engine_sync("member/state-000001");
    lab.power_cut(9);
    assert_eq!(
        lab.engine_read("member/state-000001/CURRENT").unwrap(),
        b"new"
    );
    // Names that were not synced are gone, and what was removed is back.
    lab.engine_append("member/state-000001/2.sst", b"2");
    lab.engine_sync("member/state-000001/2.sst");
    fs::remove_file(lab.at("member/state-000001/1.sst")).unwrap();
    lab.power_cut(10);
    assert_eq!(lab.engine_read("member/state-000001/2.sst"), None);
    assert_eq!(
        lab.engine_read("member/state-000001/1.sst").unwrap(),
        b"table"
    );
}

#[test]
fn a_directory_that_moves_keeps_what_is_durable_in_it() {
    let mut lab = Lab::new();
    let data = lab.at("member/snapshot/inst-x/data");
    lab.disk.create_dir_all(&data).unwrap();
    for dir in ["member", "member/snapshot", "member/snapshot/inst-x"] {
        lab.disk.sync_dir(&lab.at(dir)).unwrap();
    }
    let file = lab.disk.create(&data.join("1.sst")).unwrap();
    file.write_all_at(b"12", 0).unwrap();
    lab.disk.sync_dir(&data).unwrap();
    lab.disk
        .rename(&data, &lab.at("member/state-000002"))
        .unwrap();
    file.sync().unwrap();
    lab.power_cut(1);
    assert_eq!(lab.engine_read("member/state-000002/1.sst"), None);
    assert_eq!(
        lab.engine_read("member/snapshot/inst-x/data/1.sst")
            .unwrap(),
        b"12"
    );
    let data = lab.at("member/snapshot/inst-x/data");
    lab.disk
        .rename(&data, &lab.at("member/state-000002"))
        .unwrap();
    lab.disk.sync_dir(&lab.at("member")).unwrap();
    lab.power_cut(2);
    assert_eq!(lab.engine_read("member/state-000002/1.sst").unwrap(), b"12");
}

#[test]
fn a_sync_that_fails_loses_what_it_was_to_save() {
    let mut lab = Lab::new();
    lab.state();
    let name = "member/state-000001/MANIFEST-1";
    lab.engine_append(name, b"23");
    lab.disk
        .trouble()
        .fail_next(Caller::Engine, Operation::Sync, 1);
    let file = File::open(lab.at(name)).unwrap();
    assert_eq!(syncs::sync(file.as_raw_fd()), Err(EIO));
    lab.engine_append(name, b"45");
    assert_eq!(syncs::sync(file.as_raw_fd()), Ok(()));
    let log = lab.disk.create(&lab.at("member/log/1.log")).unwrap();
    lab.disk.sync_dir(&lab.at("member/log")).unwrap();
    lab.disk
        .trouble()
        .fail_next(Caller::Member, Operation::Sync, 1);
    log.write_all_at(b"23", 0).unwrap();
    assert_eq!(log.sync().unwrap_err().raw_os_error(), Some(EIO));
    log.write_all_at(b"45", 2).unwrap();
    log.sync().unwrap();
    lab.kill();
    assert_eq!(lab.engine_read(name).unwrap(), b"m2345");
    lab.power_cut(1);
    assert_eq!(lab.engine_read(name).unwrap(), b"m\0\x0045");
    let log = read_file(&lab.disk, &lab.at("member/log/1.log")).unwrap();
    assert_eq!(log.unwrap(), b"\0\x0045");
}

#[test]
fn trouble_comes_and_goes() {
    let mut lab = Lab::new();
    lab.state();
    let log = lab.disk.create(&lab.at("member/log/1.log")).unwrap();
    let trouble = lab.disk.trouble();
    trouble.fail_next(Caller::Member, Operation::Write, 2);
    for _ in 0..2 {
        let failed = log.write_all_at(b"1", 0).unwrap_err();
        assert_eq!(failed.raw_os_error(), Some(EIO));
    }
    log.write_all_at(b"1", 0).unwrap();
    lab.disk.set_room(Some(10));
    assert_eq!(lab.disk.free_bytes(&lab.at("")).unwrap(), 10);
    trouble.fail_often(Caller::Member, Operation::Read, 0.5);
    let failed = (0..100).filter(|_| log.read_exact_at(&mut [0], 0).is_err());
    assert!((20..80).contains(&failed.count()));
    let full = log.write_all_at(&[1; 20], 0).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    let file = lab.engine_append("member/state-000001/MANIFEST-1", b"");
    assert_eq!(syncs::write(file.as_raw_fd(), 8), Ok(()));
    assert_eq!(syncs::write(file.as_raw_fd(), 8), Err(ENOSPC));
    trouble.fail_often(Caller::Engine, Operation::Read, 1.0);
    assert_eq!(syncs::read(file.as_raw_fd()), Err(EIO));
    // It is the disk that is ill.
    drop((log, file));
    lab.kill();
    let log = lab.at("member/log/1.log");
    lab.disk
        .trouble()
        .fail_often(Caller::Member, Operation::Read, 1.0);
    assert!(read_file(&lab.disk, &log).is_err());
    lab.disk.heal();
    assert_eq!(read_file(&lab.disk, &log).unwrap().unwrap(), b"1");
    let file = lab.engine_append("member/state-000001/MANIFEST-1", b"");
    assert_eq!(syncs::write(file.as_raw_fd(), 8), Ok(()));
    assert_eq!(syncs::read(file.as_raw_fd()), Ok(()));
}

#[test]
fn a_disk_takes_its_time_and_hangs() {
    let lab = Lab::new();
    assert_eq!(lab.disk.pause(), Duration::ZERO);
    let (base, jitter) = (Duration::from_millis(1), Duration::from_millis(4));
    lab.disk.trouble().set_latency(base, jitter);
    let pauses: BTreeSet<_> = (0..50).map(|_| lab.disk.pause()).collect();
    assert!(pauses.len() > 10);
    assert!(
        pauses
            .iter()
            .all(|pause| (base..=base + jitter).contains(pause))
    );
    lab.disk.trouble().set_latency(base, Duration::ZERO);
    lab.disk.trouble().hang();
    assert!(lab.disk.trouble().hangs());
    lab.disk.heal();
    assert!(!lab.disk.trouble().hangs());
    assert_eq!(lab.disk.pause(), base);
}

#[test]
fn damage_hits_what_it_says() {
    let lab = Lab::new();
    let mut random = StdRng::seed_from_u64(1);
    for part in [Part::Log, Part::State, Part::Snapshot] {
        assert_eq!(lab.disk.damage(part, Damage::FlipBit, &mut random), None);
    }
    lab.state();
    let current = lab.at("member/state.current");
    write_file_durably(&lab.disk, &current, b"state-000001\n").unwrap();
    let log = lab.at("member/log/1.log");
    let file = lab.disk.create(&log).unwrap();
    file.write_all_at(&[1; 10], 0).unwrap();
    file.write_all_at(&[0; 5000], 10).unwrap();
    let story = lab
        .disk
        .damage(Part::Log, Damage::FlipBit, &mut random)
        .unwrap();
    assert!(story.contains("member/log/1.log"), "{story}");
    let bytes = read_file(&lab.disk, &log).unwrap().unwrap();
    let turned: u32 = bytes[..10].iter().map(|byte| (byte ^ 1).count_ones()).sum();
    assert_eq!(turned, 1, "{story}");
    let story = lab
        .disk
        .damage(Part::Log, Damage::Truncate, &mut random)
        .unwrap();
    assert!(file.len().unwrap() < 10, "{story}");

    let mut hit = BTreeSet::new();
    for _ in 0..20 {
        let story = lab.disk.damage(Part::State, Damage::FlipBit, &mut random);
        let (_, name) = story.as_deref().unwrap().split_once("member/").unwrap();
        hit.insert(name.to_owned());
    }
    assert_eq!(hit.len(), 2, "{hit:?}");
    lab.disk
        .create_dir_all(&lab.at("member/snapshot/a/data"))
        .unwrap();
    lab.engine_append("member/snapshot/a/data/1.sst", b"12345");
    let story = lab
        .disk
        .damage(Part::Snapshot, Damage::Truncate, &mut random);
    assert!(
        story
            .unwrap()
            .starts_with("member/snapshot/a/data/1.sst cut off")
    );
    assert!(
        lab.engine_read("member/snapshot/a/data/1.sst")
            .unwrap()
            .len()
            < 5
    );
}

//! What is durable when, and that nothing else survives for sure.

use super::*;
use crate::env::disk::{read_file, write_file_durably};
use rand::SeedableRng;

const SEEDS: std::ops::Range<u64> = 0..64;

fn path(name: &str) -> &Path {
    Path::new(name)
}

/// What is found at `name` after a power cut, for many seeds.
fn after_cuts(disk: &MemoryDisk, name: &str) -> Vec<Option<Vec<u8>>> {
    SEEDS
        .map(|seed| {
            let after = disk.after_cut(&mut StdRng::seed_from_u64(seed));
            read_file(&after, path(name)).unwrap()
        })
        .collect()
}

#[test]
fn bytes_are_durable_after_a_sync_and_names_after_one_of_their_directory() {
    let disk = MemoryDisk::default();
    disk.create_dir_all(path("/d")).unwrap();
    disk.sync_dir(path("/")).unwrap();
    let file = disk.create(path("/d/a")).unwrap();
    file.write_all_at(b"12345", 0).unwrap();
    file.sync().unwrap();
    let found = after_cuts(&disk, "/d/a");
    assert!(found.contains(&None), "the name may be lost");
    assert!(found.contains(&Some(b"12345".to_vec())));
    disk.sync_dir(path("/d")).unwrap();
    file.write_all_at(b"67", 3).unwrap();
    let found = after_cuts(&disk, "/d/a");
    assert!(found.contains(&Some(b"12345".to_vec())));
    assert!(found.contains(&Some(b"12367".to_vec())));
    assert!(found.iter().all(Option::is_some));
    file.sync().unwrap();
    let found = after_cuts(&disk, "/d/a");
    assert!(found.iter().all(|found| found.as_deref() == Some(b"12367")));
}

#[test]
fn a_directory_that_is_not_durable_takes_all_in_it_along() {
    let disk = MemoryDisk::default();
    disk.create_dir_all(path("/d/e")).unwrap();
    write_file_durably(&disk, path("/d/e/a"), b"1").unwrap();
    let found = after_cuts(&disk, "/d/e/a");
    assert!(found.contains(&None));
    disk.sync_dir(path("/d")).unwrap();
    disk.sync_dir(path("/")).unwrap();
    let found = after_cuts(&disk, "/d/e/a");
    assert!(found.iter().all(Option::is_some));
}

#[test]
fn a_rename_over_a_file_comes_back_as_the_old_file() {
    let disk = MemoryDisk::default();
    write_file_durably(&disk, path("/a"), b"old").unwrap();
    let file = disk.create(path("/b")).unwrap();
    file.write_all_at(b"new", 0).unwrap();
    file.sync().unwrap();
    disk.rename(path("/b"), path("/a")).unwrap();
    let found = after_cuts(&disk, "/a");
    assert!(found.contains(&Some(b"old".to_vec())));
    assert!(found.contains(&Some(b"new".to_vec())));
    assert!(found.iter().all(Option::is_some));
    disk.sync_dir(path("/")).unwrap();
    let found = after_cuts(&disk, "/a");
    assert!(found.iter().all(|found| found.as_deref() == Some(b"new")));
}

#[test]
fn directories_move_and_go_with_all_that_is_in_them() {
    let disk = MemoryDisk::default();
    disk.create_dir_all(path("x/y")).unwrap();
    disk.create(path("x/y/a")).unwrap();
    disk.create(path("x.b")).unwrap();
    disk.rename(path("x"), path("z")).unwrap();
    assert_eq!(disk.list(path("")).unwrap(), ["x.b", "z"]);
    assert_eq!(disk.list(path("z/y")).unwrap(), ["a"]);
    let refused = disk.rename(path("z"), path("z/y/z")).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    disk.create_dir_all(path("full/of")).unwrap();
    let refused = disk.rename(path("z"), path("full")).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::DirectoryNotEmpty);
    disk.remove_dir_all(path("z")).unwrap();
    assert!(!disk.exists(path("z/y/a")).unwrap());
    assert!(disk.exists(path("x.b")).unwrap());
    let refused = disk.create(path("z/a")).err().unwrap();
    assert_eq!(refused.kind(), io::ErrorKind::NotFound);
    // Removing takes effect like all else: when the directory is synced.
    disk.create_dir_all(path("w")).unwrap();
    disk.sync_dir(path("")).unwrap();
    disk.remove_dir_all(path("w")).unwrap();
    let lives: Vec<bool> = SEEDS
        .map(|seed| {
            let after = disk.after_cut(&mut StdRng::seed_from_u64(seed));
            after.exists(path("w")).unwrap()
        })
        .collect();
    assert!(lives.contains(&true) && lives.contains(&false));
}

#[test]
fn a_sync_that_fails_loses_what_was_dirty_and_the_next_says_all_is_well() {
    let disk = MemoryDisk::default();
    let file = disk.create(path("a")).unwrap();
    disk.sync_dir(path("")).unwrap();
    file.write_all_at(b"1", 0).unwrap();
    disk.fail_sync_after(1);
    file.sync().unwrap_err();
    file.write_all_at(b"2", 1).unwrap();
    file.sync().unwrap();
    assert_eq!(disk.bytes(path("a")).unwrap(), b"12");
    let found = after_cuts(&disk, "a");
    assert!(found.iter().all(|found| found.as_deref() == Some(b"\x002")));
}

#[test]
fn a_disk_that_was_taken_over_is_of_no_use_to_the_dead() {
    let disk = MemoryDisk::default();
    let file = disk.create(path("a")).unwrap();
    let lock = disk.lock(path("LOCK")).unwrap();
    let in_use = disk.lock(path("LOCK")).err().unwrap();
    assert_eq!(in_use.kind(), io::ErrorKind::WouldBlock);
    file.write_all_at(b"1", 0).unwrap();
    let next = disk.take_over();
    file.write_all_at(b"2", 0).unwrap_err();
    file.sync().unwrap_err();
    file.len().unwrap_err();
    disk.exists(path("a")).unwrap_err();
    disk.create(path("b")).err().unwrap();
    disk.sync_dir(path("")).unwrap_err();
    next.lock(path("LOCK")).unwrap();
    drop((lock, file));
    // Written and not synced: a power cut after the kill may still take it.
    assert_eq!(next.bytes(path("a")).unwrap(), b"1");
    assert!(after_cuts(&next, "a").contains(&None));
}

#[test]
fn files_that_nothing_stands_for_are_forgotten() {
    let disk = MemoryDisk::default();
    for _ in 0..100 {
        write_file_durably(&disk, path("a"), b"1").unwrap();
    }
    assert!(disk.state().files.len() < 4);
    assert_eq!(disk.files_created(), 100);
    let open = disk.open(path("a")).unwrap();
    disk.remove_file(path("a")).unwrap();
    disk.sync_dir(path("")).unwrap();
    assert_eq!(open.len().unwrap(), 1, "as long as it is open it is there");
}

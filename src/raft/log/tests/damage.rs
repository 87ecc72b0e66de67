//! A torn tail is cut; damage below it is refused; a format of the future is left alone.

use super::{DIR, append, at, entries, entry, open, read_all, save_vote, segment_names};
use crate::env::Disk;
use crate::env::disk_memory::MemoryDisk;
use crate::raft::log::segment::RECORDS_AT;
use crate::raft::log::{LogError, Vote};
use std::path::{Path, PathBuf};

/// A log of three entries in three groups of one segment; its disk and that segment.
fn three_groups() -> (MemoryDisk, PathBuf) {
    let disk = MemoryDisk::default();
    let log = open(&disk).unwrap();
    for index in 0..3 {
        append(&log, vec![entry(1, index, 300)]).unwrap();
    }
    let name = &segment_names(&disk)[0];
    let path = Path::new(DIR).join(name);
    (disk, path)
}

#[test]
fn a_flipped_byte_below_a_valid_later_group_is_refused_and_named() {
    let (whole, path) = three_groups();
    // State record (104 bytes), then three records of 344.
    let second = RECORDS_AT + 104 + 344;
    for at in [
        RECORDS_AT,
        RECORDS_AT + 104,
        RECORDS_AT + 200,
        second,
        second + 39,
        second + 200,
    ] {
        let disk = whole.copy();
        disk.flip(&path, at, 0x40).unwrap();
        let before = disk.changes();
        match open(&disk).map(|_| ()) {
            Err(LogError::Damaged { file, offset, .. }) => {
                assert_eq!(file, path, "flipped {at}");
                assert!(
                    offset <= at && at < offset + 344,
                    "flipped {at}, named {offset}"
                );
            }
            other => panic!("flipped {at}: {other:?}"),
        }
        // Nothing but the sync of the parent directory.
        assert_eq!(disk.changes(), before + 1, "nothing was touched");
    }
}

#[test]
fn a_torn_last_group_is_cut_off_for_ever() {
    let (whole, path) = three_groups();
    let third = RECORDS_AT + 104 + 2 * 344;
    for at in [third, third + 20, third + 300] {
        let disk = whole.copy();
        disk.flip(&path, at, 0x40).unwrap();
        let log = open(&disk).unwrap();
        assert_eq!(read_all(&log), entries(1, 0..2));
        append(&log, entries(2, 2..4)).unwrap();
        drop(log);
        let mut all = entries(1, 0..2);
        all.extend(entries(2, 2..4));
        assert_eq!(read_all(&open(&disk).unwrap()), all);
    }
}

#[test]
fn a_last_segment_whose_end_is_missing_is_refused() {
    let (whole, path) = three_groups();
    let third = RECORDS_AT + 104 + 2 * 344;
    let made = whole.bytes(&path).unwrap().len() as u64;
    // Between groups, too: nothing else would show that there was one more.
    for length in [RECORDS_AT, third - 344, third, third + 100, made - 1] {
        let disk = whole.copy();
        disk.truncate(&path, length).unwrap();
        let before = disk.changes();
        match open(&disk).map(|_| ()) {
            Err(LogError::Damaged { file, offset, .. }) => {
                assert_eq!((file, offset), (path.clone(), length));
            }
            other => panic!("{length}: {other:?}"),
        }
        assert_eq!(disk.changes(), before + 1, "nothing was touched");
    }
}

#[test]
fn damage_in_an_older_segment_is_refused() {
    let (disk, path) = three_groups();
    drop(open(&disk).unwrap());
    // The restart sealed the segment: now even its last record must be there.
    disk.flip(&path, RECORDS_AT + 104 + 2 * 344 + 50, 0x40)
        .unwrap();
    match open(&disk).map(|_| ()) {
        Err(LogError::Damaged { file, offset, .. }) => {
            assert_eq!((file, offset), (path, RECORDS_AT + 104 + 2 * 344));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_missing_segment_is_refused() {
    let disk = MemoryDisk::default();
    let log = open(&disk).unwrap();
    append(&log, entries(1, 0..200)).unwrap();
    drop(log);
    let names = segment_names(&disk);
    assert!(names.len() > 4, "{names:?}");
    for gone in [0, 1, 2] {
        let disk = disk.copy();
        let path = Path::new(DIR).join(&names[gone]);
        disk.remove_file(&path).unwrap();
        match open(&disk).map(|_| ()) {
            Err(LogError::Damaged { file, .. }) => assert_eq!(file, path),
            other => panic!("{other:?}"),
        }
    }
}

/// A log whose vote and end stand in the state record of its active segment and nowhere else.
fn one_state_record() -> (MemoryDisk, Vec<PathBuf>) {
    let disk = MemoryDisk::default();
    let log = open(&disk).unwrap();
    append(&log, entries(1, 0..3)).unwrap();
    let vote = Vote {
        term: 3,
        node: 2,
        committed: false,
    };
    save_vote(&log, vote).unwrap();
    log.purge(at(1, 2)).unwrap();
    drop(log);
    assert_eq!(open(&disk).unwrap().state().vote, Some(vote));
    let names = segment_names(&disk);
    assert_eq!(names.len(), 2, "the active one and the one that is ready");
    let paths = names.iter().map(|name| Path::new(DIR).join(name));
    (disk, paths.collect())
}

#[test]
fn a_log_that_lost_its_active_segment_is_not_an_empty_one() {
    let (disk, paths) = one_state_record();
    disk.remove_file(&paths[0]).unwrap();
    match open(&disk).map(|log| log.state()) {
        Err(LogError::Damaged { file, .. }) => assert_eq!(file, paths[1]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_whose_only_state_record_rots_is_not_an_empty_one() {
    let (whole, paths) = one_state_record();
    for at in [0, 21, 39, 40, 103] {
        let disk = whole.copy();
        disk.flip(&paths[0], RECORDS_AT + at, 0x40).unwrap();
        match open(&disk).map(|log| log.state()) {
            Err(LogError::Damaged { file, offset, .. }) => {
                assert_eq!((&file, offset), (&paths[0], RECORDS_AT), "flipped {at}");
            }
            other => panic!("flipped {at}: {other:?}"),
        }
    }
}

#[test]
fn a_damaged_segment_header_is_refused() {
    let (disk, path) = three_groups();
    disk.flip(&path, 17, 0x40).unwrap();
    assert!(matches!(
        open(&disk).map(|_| ()),
        Err(LogError::Damaged { offset: 0, .. })
    ));
}

#[test]
fn a_newer_format_is_refused_in_plain_words_and_left_alone() {
    let (disk, path) = three_groups();
    // The version's second byte: 0x4001.
    disk.flip(&path, 9, 0x40).unwrap();
    let bytes = disk.bytes(&path).unwrap();
    let before = disk.changes();
    let error = open(&disk).map(|_| ()).unwrap_err();
    assert!(
        matches!(
            error,
            LogError::NewerFormat {
                found: 0x4001,
                known: 1,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("start a newer program"),
        "{error}"
    );
    assert_eq!(disk.bytes(&path).unwrap(), bytes);
    assert_eq!(disk.changes(), before + 1, "nothing was touched");
}

#[test]
fn an_entry_that_rots_while_the_log_is_open_is_not_handed_out() {
    let disk = MemoryDisk::default();
    let log = open(&disk).unwrap();
    append(&log, entries(1, 0..20)).unwrap();
    let path = Path::new(DIR).join(&segment_names(&disk)[0]);
    disk.flip(&path, RECORDS_AT + 104 + 100, 0x40).unwrap();
    let error = log.read(0, 1, 1).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
    assert_eq!(log.read(19, 20, 1).unwrap(), entries(1, 19..20));
}

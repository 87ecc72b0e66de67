//! What the log promises, one promise a test.

use super::{
    DIR, SMALL, append, at, entries, entry, open, open_threaded, read_all, save_vote,
    segment_names, threads, waiter,
};
use crate::env::Disk;
use crate::env::disk_memory::MemoryDisk;
use crate::env::disk_real::RealDisk;
use crate::env::threads::RealThreads;
use crate::raft::log::{LogOptions, LogState, SegmentedLog, Vote};
use std::io;
use std::path::Path;
use std::sync::Arc;

#[test]
fn a_fresh_log_is_empty() {
    let disk = MemoryDisk::default();
    let log = open(&disk).unwrap();
    assert_eq!(log.state(), LogState::default());
    assert_eq!(log.read(0, 10, 100).unwrap(), []);
    assert!(log.is_pristine());
    assert_eq!(log.oldest_pending(), None);
}

#[test]
fn what_was_appended_is_read_before_and_after_a_restart() {
    let disk = MemoryDisk::default();
    let log = open(&disk).unwrap();
    let vote = Vote {
        term: 3,
        node: 2,
        committed: true,
    };
    append(&log, entries(1, 0..3)).unwrap();
    save_vote(&log, vote).unwrap();
    append(&log, entries(3, 3..5)).unwrap();
    let all: Vec<_> = entries(1, 0..3)
        .into_iter()
        .chain(entries(3, 3..5))
        .collect();
    assert_eq!(read_all(&log), all);
    drop(log);
    for _ in 0..3 {
        let log = open(&disk).unwrap();
        let last = Some(at(3, 4));
        assert_eq!(
            log.state(),
            LogState {
                vote: Some(vote),
                purged: None,
                last
            }
        );
        assert_eq!(read_all(&log), all);
        assert!(!log.is_pristine());
    }
}

#[test]
fn a_read_stops_at_its_bytes_but_never_before_one_entry() {
    let disk = MemoryDisk::default();
    let log = open(&disk).unwrap();
    // More than the cache holds: the first are read from the disk, the last from memory.
    append(&log, entries(1, 0..40)).unwrap();
    let indices = |from, to, bytes| -> Vec<u64> {
        log.read(from, to, bytes)
            .unwrap()
            .iter()
            .map(|entry| entry.position.index)
            .collect()
    };
    assert_eq!(indices(0, 40, 0), [0]);
    assert_eq!(indices(39, 99, 0), [39]);
    assert_eq!(indices(3, 40, 600), [3, 4]);
    assert_eq!(indices(3, 40, 899), [3, 4]);
    assert_eq!(indices(3, 40, 900), [3, 4, 5]);
    assert_eq!(indices(30, 36, usize::MAX), [30, 31, 32, 33, 34, 35]);
    assert_eq!(indices(40, 50, 100), [0; 0]);
    assert_eq!(read_all(&log), entries(1, 0..40));
}

#[test]
fn entries_of_any_size_fit() {
    let disk = MemoryDisk::default();
    let log = open(&disk).unwrap();
    let sizes = [0, 1, 5_000, 16_384, 100_000, 12_000, 12_287, 300];
    let all: Vec<_> = (0..)
        .zip(sizes)
        .map(|(index, bytes)| entry(1, index, bytes))
        .collect();
    for entry in &all {
        append(&log, vec![entry.clone()]).unwrap();
    }
    assert_eq!(read_all(&log), all);
    drop(log);
    assert_eq!(read_all(&open(&disk).unwrap()), all);
}

#[test]
fn truncated_entries_are_gone_at_once_and_for_ever() {
    let disk = MemoryDisk::default();
    let log = open(&disk).unwrap();
    append(&log, entries(1, 0..100)).unwrap();
    log.truncate_after(Some(at(1, 9))).unwrap();
    assert_eq!(log.state().last, Some(at(1, 9)));
    assert_eq!(log.read(10, 20, 1).unwrap(), []);
    append(&log, entries(2, 10..12)).unwrap();
    let all: Vec<_> = entries(1, 0..10)
        .into_iter()
        .chain(entries(2, 10..12))
        .collect();
    assert_eq!(read_all(&log), all);
    drop(log);
    let log = open(&disk).unwrap();
    assert_eq!(read_all(&log), all);

    let error = log.truncate_after(Some(at(9, 5))).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    log.truncate_after(None).unwrap();
    assert_eq!(log.state(), LogState::default());
    append(&log, entries(3, 0..2)).unwrap();
    drop(log);
    assert_eq!(read_all(&open(&disk).unwrap()), entries(3, 0..2));
}

#[test]
fn a_purge_beyond_the_end_empties_the_log_and_moves_it() {
    let disk = MemoryDisk::default();
    let log = open(&disk).unwrap();
    append(&log, entries(1, 0..5)).unwrap();
    log.purge(at(4, 1000)).unwrap();
    let moved = LogState {
        vote: None,
        purged: Some(at(4, 1000)),
        last: Some(at(4, 1000)),
    };
    for log in [log, open(&disk).unwrap()] {
        assert_eq!(log.state(), moved);
        assert_eq!(read_all(&log), []);
        assert!(!log.is_pristine(), "it moved");
        let (done, _) = waiter();
        let error = log.append(entries(4, 5..6), done).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
    let log = open(&disk).unwrap();
    append(&log, entries(5, 1001..1004)).unwrap();
    assert_eq!(log.state().last, Some(at(5, 1003)));
    drop(log);
    assert_eq!(read_all(&open(&disk).unwrap()), entries(5, 1001..1004));
}

#[test]
fn purged_segments_are_used_again_and_the_directory_stays_small() {
    let disk = MemoryDisk::default();
    let log = open(&disk).unwrap();
    for round in 0..100 {
        let next = round * 30;
        append(&log, entries(1, next..next + 30)).unwrap();
        log.purge(at(1, next + 20)).unwrap();
        let names = segment_names(&disk);
        assert!(names.len() <= 4, "round {round}: {names:?}");
    }
    assert_eq!(read_all(&log), entries(1, 2991..3000));
    // Thirty entries of 300 bytes are most of a segment: names went on, files did not.
    assert!(segment_names(&disk)[0].as_str() > "0000000000000030.log");
    assert!(disk.files_created() < 12, "{} files", disk.files_created());
    drop(log);
    assert_eq!(read_all(&open(&disk).unwrap()), entries(1, 2991..3000));
}

#[test]
fn restarts_alone_do_not_fill_the_disk() {
    let disk = MemoryDisk::default();
    append(&open(&disk).unwrap(), entries(1, 0..3)).unwrap();
    for _ in 0..50 {
        assert_eq!(read_all(&open(&disk).unwrap()), entries(1, 0..3));
    }
    let bytes: usize = segment_names(&disk)
        .iter()
        .map(|name| disk.bytes(&Path::new(DIR).join(name)).unwrap().len())
        .sum();
    assert!(bytes < 53 * 5000 + 2 * 16_384, "{bytes} bytes");
}

#[test]
fn many_operations_share_one_sync_and_complete_in_order() {
    let disk = MemoryDisk::default();
    let log = open(&disk).unwrap();
    append(&log, entries(1, 0..1)).unwrap();
    let before = (disk.syncs(), log.stats());
    let (answers, inbox) = std::sync::mpsc::channel();
    let inner = log.clone();
    // Queued from a callback, they wait for the writer together.
    let queue_more = Box::new(move |_| {
        for index in 2..12 {
            let answers = answers.clone();
            let done = Box::new(move |result: io::Result<()>| {
                answers.send((index, result.is_ok())).unwrap();
            });
            inner.append(entries(1, index..index + 1), done).unwrap();
        }
        assert!(inner.oldest_pending().is_some());
    });
    log.append(entries(1, 1..2), queue_more).unwrap();
    let answers: Vec<_> = inbox.iter().collect();
    assert_eq!(
        answers,
        (2..12).map(|index| (index, true)).collect::<Vec<_>>()
    );
    assert_eq!(log.stats().groups - before.1.groups, 2);
    assert_eq!(log.stats().fsyncs - before.1.fsyncs, 2);
    assert_eq!(disk.syncs() - before.0, 2);
    assert_eq!(log.stats().entries_appended - before.1.entries_appended, 11);
    assert_eq!(log.oldest_pending(), None);
}

#[test]
fn after_a_failed_sync_nothing_succeeds_and_nothing_is_retried() {
    // The thread that prepares segments may have a sync of its own under way.
    for (log, under_way) in [open, open_threaded].into_iter().zip([0, 1]) {
        let disk = MemoryDisk::default();
        let log = log(&disk).unwrap();
        append(&log, entries(1, 0..1)).unwrap();
        disk.fail_sync_after(1);
        // The background thread may be the one that meets the failure; then a later group hears.
        let failed = (1..1000).find(|index| append(&log, entries(1, *index..index + 1)).is_err());
        let failed = failed.expect("the failure is told");
        let syncs = disk.syncs();
        assert!(append(&log, entries(1, failed..failed + 1)).is_err());
        assert!(
            save_vote(
                &log,
                Vote {
                    term: 2,
                    node: 1,
                    committed: false
                }
            )
            .is_err()
        );
        assert!(log.truncate_after(None).is_err());
        assert!(log.purge(at(1, 0)).is_err());
        assert!(log.read(0, 1, 1).is_err());
        assert!(log.close().is_err());
        let more = disk.syncs() - syncs;
        assert!(more <= under_way, "{more} syncs after the failed one");
    }
}

#[test]
fn a_closed_log_refuses_and_has_written_all() {
    let disk = MemoryDisk::default();
    let log = open_threaded(&disk).unwrap();
    let mut answers = Vec::new();
    for index in 0..50 {
        let (done, answer) = waiter();
        log.append(entries(1, index..index + 1), done).unwrap();
        answers.push(answer);
    }
    log.close().unwrap();
    assert!(
        answers
            .into_iter()
            .all(|answer| answer.recv().unwrap().is_ok())
    );
    let (done, answer) = waiter();
    assert!(log.append(entries(1, 50..51), done).is_err());
    assert!(answer.recv().unwrap().is_err());
    assert_eq!(read_all(&open(&disk).unwrap()), entries(1, 0..50));
}

#[test]
fn it_works_on_a_real_disk_with_real_threads() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let options = LogOptions {
        segment_bytes: 64 << 10,
        cache_bytes: 10_000,
    };
    let open = || SegmentedLog::open(&path, &disk, &threads(RealThreads), options).unwrap();
    let log = open();
    let mut next = 0;
    for count in [1, 700, 3, 50, 1000] {
        append(&log, entries(1, next..next + count)).unwrap();
        next += count;
    }
    assert_eq!(read_all(&log), entries(1, 0..next));
    log.purge(at(1, 1500)).unwrap();
    append(&log, entries(2, next..next + 10)).unwrap();
    log.close().unwrap();
    let log = open();
    let mut all = entries(1, 1501..next);
    all.extend(entries(2, next..next + 10));
    assert_eq!(read_all(&log), all);
    log.close().unwrap();
    assert!(SMALL.segment_bytes < options.segment_bytes);
}

//! A disk that fails or is full: a clear stop, nothing acknowledged lost, and a start when it is well
//! again.

use super::{append, entries, entry, open, open_threaded, read_all, segment_names};
use crate::env::disk_memory::MemoryDisk;
use crate::raft::log::LogError;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::io;

#[test]
fn what_a_failed_sync_left_in_memory_counts_only_when_it_is_written_again() {
    for seed in 0..40 {
        let disk = MemoryDisk::default();
        let log = open(&disk).unwrap();
        append(&log, entries(1, 0..2)).unwrap();
        disk.fail_sync_after(1);
        assert!(append(&log, entries(1, 2..4)).is_err());
        drop(log);
        // The process alone was restarted: what was not durable is still to be read. It may count,
        // but then for good.
        let log = open(&disk).unwrap();
        let found = read_all(&log);
        append(&log, entries(2, found.len() as u64..10)).unwrap();
        let all = read_all(&log);
        drop(log);
        let disk = disk.after_cut(&mut StdRng::seed_from_u64(seed));
        let log = open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(read_all(&log), all, "seed {seed}");
    }
}

/// Appends until the log stops; answers how many entries were acknowledged, and the error.
fn append_until_it_stops(log: &crate::raft::log::SegmentedLog, from: u64) -> (u64, io::Error) {
    for index in from..from + 1000 {
        if let Err(error) = append(log, vec![entry(1, index, 300)]) {
            return (index, error);
        }
    }
    panic!("there is no room for all that");
}

#[test]
fn a_full_disk_stops_the_log_clearly_and_a_start_with_room_goes_on() {
    for open in [open, open_threaded] {
        let disk = MemoryDisk::default();
        let log = open(&disk).unwrap();
        append(&log, entries(1, 0..1)).unwrap();
        // Room for what is there and half of another segment.
        disk.set_room(Some(disk.used() + (8 << 10)));
        let (acknowledged, error) = append_until_it_stops(&log, 1);
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
        assert!(
            acknowledged > 30,
            "the segment is used to its end: {acknowledged} entries"
        );
        // Nothing more is taken, not even when there is room again: the process has to stop.
        disk.set_room(None);
        assert!(append(&log, vec![entry(1, acknowledged, 300)]).is_err());
        assert!(log.close().is_err());
        drop(log);

        // A start without room says so and loses nothing.
        disk.set_room(Some(disk.used()));
        for _ in 0..3 {
            let error = open(&disk).map(|_| ()).unwrap_err();
            assert!(
                matches!(&error, LogError::Io { source, .. }
                    if source.kind() == io::ErrorKind::StorageFull),
                "{error:?}"
            );
        }
        disk.set_room(None);
        let log = open(&disk).unwrap();
        let found = read_all(&log);
        let least = usize::try_from(acknowledged).unwrap();
        assert!(found.len() >= least, "{} of {least}", found.len());
        let next = found.len() as u64;
        assert_eq!(found, entries(1, 0..next));
        append(&log, entries(1, next..next + 100)).unwrap();
        log.close().unwrap();
        let log = open(&disk).unwrap();
        assert_eq!(read_all(&log), entries(1, 0..next + 100));
        // What was begun in vain is gone.
        let bytes: usize = segment_names(&disk)
            .iter()
            .map(|name| {
                disk.bytes(&std::path::Path::new(super::DIR).join(name))
                    .unwrap()
                    .len()
            })
            .sum();
        assert!(disk.used() - bytes as u64 <= 16 << 10, "a spare at most");
    }
}

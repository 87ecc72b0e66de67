//! The log under test: stories on a disk in memory, power cuts, damage.

mod crash;
mod damage;
mod failures;
mod format;
mod stories;

use super::{Done, LogEntry, LogError, LogOptions, SegmentedLog};
use crate::env::disk_memory::MemoryDisk;
use crate::env::network::BoxFuture;
use crate::env::threads::{Joiner, RealThreads, Worker};
use crate::env::{Disk, Threads};
use crate::types::Position;
use bytes::Bytes;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

/// No second thread, as in the simulator: every operation is durable when the call returns, and
/// everything a callback queues becomes one group.
struct Inline;

impl Threads for Inline {
    fn worker(&self, _: &str) -> io::Result<Worker> {
        Ok(Worker::inline())
    }

    fn is_inline(&self) -> bool {
        true
    }

    fn spawn(&self, name: &str, _: Box<dyn FnOnce() + Send>) -> io::Result<Joiner> {
        Err(io::Error::other(format!(
            "there are no threads here, yet {name} was asked for"
        )))
    }

    fn runtime(&self, name: &str, _: BoxFuture<'static, ()>) -> io::Result<()> {
        Err(io::Error::other(format!(
            "the log needs no runtime, yet {name} asked for one"
        )))
    }
}

const DIR: &str = "/log";
const SMALL: LogOptions = LogOptions {
    segment_bytes: 16 << 10,
    cache_bytes: 2000,
};

fn threads(threads: impl Threads) -> Arc<dyn Threads> {
    Arc::new(threads)
}

fn shared(disk: &MemoryDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn open(disk: &MemoryDisk) -> Result<SegmentedLog, LogError> {
    SegmentedLog::open(Path::new(DIR), &shared(disk), &threads(Inline), SMALL)
}

fn open_threaded(disk: &MemoryDisk) -> Result<SegmentedLog, LogError> {
    SegmentedLog::open(Path::new(DIR), &shared(disk), &threads(RealThreads), SMALL)
}

fn at(term: u64, index: u64) -> Position {
    Position { term, index }
}

/// A payload that tells its own position, so that a wrong one shows.
fn entry(term: u64, index: u64, bytes: usize) -> LogEntry {
    let mut payload = format!("{term}.{index} ").into_bytes();
    let fill = (term.wrapping_mul(31).wrapping_add(index) % 251).to_le_bytes()[0];
    payload.resize(payload.len().max(bytes), fill);
    LogEntry {
        position: at(term, index),
        payload: Bytes::from(payload),
    }
}

fn entries(term: u64, indices: std::ops::Range<u64>) -> Vec<LogEntry> {
    indices.map(|index| entry(term, index, 300)).collect()
}

/// A callback and where its answer can be waited for.
fn waiter() -> (Done, Receiver<io::Result<()>>) {
    let (sender, receiver) = channel();
    (Box::new(move |result| drop(sender.send(result))), receiver)
}

/// Appends and waits until it is durable.
fn append(log: &SegmentedLog, entries: Vec<LogEntry>) -> io::Result<()> {
    let (done, answer) = waiter();
    log.append(entries, done)?;
    answer.recv().expect("a callback is always called")
}

fn save_vote(log: &SegmentedLog, vote: super::Vote) -> io::Result<()> {
    let (done, answer) = waiter();
    log.save_vote(vote, done)?;
    answer.recv().expect("a callback is always called")
}

fn read_all(log: &SegmentedLog) -> Vec<LogEntry> {
    log.read(0, u64::MAX, usize::MAX).unwrap()
}

/// Segments there are, by their names.
fn segment_names(disk: &MemoryDisk) -> Vec<String> {
    let names = disk.list(Path::new(DIR)).unwrap();
    names
        .into_iter()
        .filter(|name| name.ends_with(".log"))
        .collect()
}

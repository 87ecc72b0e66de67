//! Appending a group of entries and waiting until it is durable: our log, the `raft-log` crate, and
//! a RocksDB column family with a synced write-ahead log.
//!
//! Criterion measures the latency of a group. Before it, each contender runs for a fixed number of
//! groups and the processor time of the whole process is divided by the entries: background threads
//! count too. Every contender purges what is older than 8192 entries, so each pays for reclaiming.
//!
//! Runs in `QUORATE_BENCH_DIR` (default: `$HOME/.cache`), which must be on the disk to be measured.
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]
#![allow(clippy::print_stdout, reason = "the table is the result")]
#![allow(
    clippy::disallowed_methods,
    reason = "measures real time on the real disk"
)]

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion};
use quorate::env::disk_real::RealDisk;
use quorate::env::threads::RealThreads;
use quorate::env::{Disk, Threads};
use quorate::raft::log::{LogEntry, LogOptions, SegmentedLog};
use quorate::types::Position;
use raft_log::api::raft_log_writer::RaftLogWriter;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

const PAYLOAD_BYTES: usize = 300;
const GROUPS: [u64; 3] = [1, 16, 256];
/// Entries kept; a purge cuts the log back to half of this.
const KEEP: u64 = 16_384;

/// One log that makes groups of entries durable.
trait Contender {
    /// Appends entries `from..from + count`; returns when they are durable.
    fn append(&mut self, from: u64, count: u64);
    fn purge(&mut self, upto: u64);
}

type Answer = io::Result<()>;

struct Ours {
    log: SegmentedLog,
    payload: Bytes,
    done: (SyncSender<Answer>, Receiver<Answer>),
}

impl Ours {
    fn open(dir: &Path) -> Self {
        let options = LogOptions::default();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let threads: Arc<dyn Threads> = Arc::new(RealThreads);
        let log = SegmentedLog::open(dir, &disk, &threads, options).unwrap();
        Self {
            log,
            payload: Bytes::from(vec![7; PAYLOAD_BYTES]),
            done: sync_channel(1),
        }
    }
}

impl Contender for Ours {
    fn append(&mut self, from: u64, count: u64) {
        let entries = (from..from + count).map(|index| LogEntry {
            position: Position { term: 1, index },
            payload: self.payload.clone(),
        });
        let answer = self.done.0.clone();
        let done = Box::new(move |result| answer.send(result).unwrap());
        self.log.append(entries.collect(), done).unwrap();
        self.done.1.recv().unwrap().unwrap();
    }

    fn purge(&mut self, upto: u64) {
        self.log
            .purge(Position {
                term: 1,
                index: upto,
            })
            .unwrap();
    }
}

#[derive(Debug, Default, PartialEq, Eq, Clone)]
struct Types;

impl raft_log::Types for Types {
    type LogId = (u64, u64);
    type LogPayload = Vec<u8>;
    type Vote = (u64, u64);
    type Callback = SyncSender<Answer>;
    type UserData = String;

    fn log_index(log_id: &Self::LogId) -> u64 {
        log_id.1
    }

    fn payload_size(payload: &Self::LogPayload) -> u64 {
        payload.len() as u64
    }
}

struct RaftLogCrate {
    log: raft_log::RaftLog<Types>,
    done: (SyncSender<Answer>, Receiver<Answer>),
}

impl RaftLogCrate {
    /// Its best settings for one writer that waits: no linger, small chunks, a small cache.
    fn open(dir: &Path) -> Self {
        let mut config = raft_log::Config::new(dir.display());
        config.wal.flush_batch_wait = Some(Duration::ZERO);
        config.wal.chunk_max_size = Some(16 << 20);
        config.log_cache_capacity = Some(16 << 20);
        Self {
            log: raft_log::RaftLog::open(Arc::new(config)).unwrap(),
            done: sync_channel(1),
        }
    }
}

impl Contender for RaftLogCrate {
    fn append(&mut self, from: u64, count: u64) {
        let entries = (from..from + count).map(|index| ((1, index), vec![7; PAYLOAD_BYTES]));
        self.log.append(entries).unwrap();
        self.log.flush(true, Some(self.done.0.clone())).unwrap();
        self.done.1.recv().unwrap().unwrap();
    }

    fn purge(&mut self, upto: u64) {
        self.log.purge((1, upto)).unwrap();
    }
}

struct RocksDb {
    db: rocksdb::DB,
    purged: u64,
}

impl RocksDb {
    fn open(dir: &Path) -> Self {
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        Self {
            db: rocksdb::DB::open_cf(&options, dir, ["log"]).unwrap(),
            purged: 0,
        }
    }
}

impl Contender for RocksDb {
    fn append(&mut self, from: u64, count: u64) {
        let log = self.db.cf_handle("log").unwrap();
        let mut batch = rocksdb::WriteBatch::default();
        for index in from..from + count {
            batch.put_cf(&log, index.to_be_bytes(), [7; PAYLOAD_BYTES]);
        }
        let mut options = rocksdb::WriteOptions::default();
        options.set_sync(true);
        self.db.write_opt(batch, &options).unwrap();
    }

    fn purge(&mut self, upto: u64) {
        let log = self.db.cf_handle("log").unwrap();
        let end = (upto + 1).to_be_bytes();
        self.db
            .delete_range_cf(&log, self.purged.to_be_bytes(), end)
            .unwrap();
        self.purged = upto + 1;
    }
}

/// A contender with its place in the log.
struct Runner {
    contender: Box<dyn Contender>,
    next: u64,
    first: u64,
}

impl Runner {
    fn group(&mut self, count: u64) {
        self.contender.append(self.next, count);
        self.next += count;
        if self.next - self.first > KEEP {
            self.first = self.next - KEEP / 2;
            self.contender.purge(self.first - 1);
        }
    }
}

fn contenders(dir: &Path) -> Vec<(&'static str, Runner)> {
    let dir_of = |name: &str| {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    };
    let runner = |contender| Runner {
        contender,
        next: 0,
        first: 0,
    };
    vec![
        (
            "quorate",
            runner(Box::new(Ours::open(&dir_of("quorate"))) as Box<dyn Contender>),
        ),
        (
            "raft-log",
            runner(Box::new(RaftLogCrate::open(&dir_of("raft-log")))),
        ),
        (
            "rocksdb",
            runner(Box::new(RocksDb::open(&dir_of("rocksdb")))),
        ),
    ]
}

/// Processor time of this process, all threads: user and system ticks of 10 ms.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: u64 = [11, 12]
        .iter()
        .map(|at| fields[*at].parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}

/// Prints median latency and processor time; rounds of the contenders take turns, so that a busy
/// moment of the machine hits them alike.
fn table(dir: &Path) {
    const ROUNDS: usize = 5;
    println!("| entries a group | log | median us a group | p99 us | CPU us an entry |");
    println!("|---|---|---|---|---|");
    for count in GROUPS {
        let groups = if count == 1 { 3000 } else { 1000 };
        let mut contenders = contenders(&dir.join(format!("table-{count}")));
        let mut latencies = vec![Vec::new(); contenders.len()];
        let mut processor = vec![Duration::ZERO; contenders.len()];
        for (_, runner) in &mut contenders {
            (0..groups / 5).for_each(|_| runner.group(count));
        }
        for _ in 0..ROUNDS {
            for (at, (_, runner)) in contenders.iter_mut().enumerate() {
                let before = processor_time();
                for _ in 0..groups {
                    let start = Instant::now();
                    runner.group(count);
                    latencies[at].push(start.elapsed().as_nanos());
                }
                processor[at] += processor_time() - before;
            }
        }
        for (at, (name, _)) in contenders.iter().enumerate() {
            latencies[at].sort_unstable();
            let all = latencies[at].len();
            let us = |nanos: u128| nanos / 1000;
            let (median, late) = (
                us(latencies[at][all / 2]),
                us(latencies[at][all * 99 / 100]),
            );
            let entries = u128::from(count) * all as u128;
            let each = processor[at].as_nanos() * 100 / entries / 1000;
            println!(
                "| {count} | {name} | {median} | {late} | {}.{:02} |",
                each / 100,
                each % 100
            );
        }
    }
}

fn main() {
    let parent = std::env::var_os("QUORATE_BENCH_DIR").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"),
        PathBuf::from,
    );
    std::fs::create_dir_all(&parent).unwrap();
    let dir = tempfile::tempdir_in(parent).unwrap();
    table(dir.path());
    if std::env::var_os("QUORATE_BENCH_TABLE_ONLY").is_some() {
        return;
    }
    let mut criterion = Criterion::default().configure_from_args().sample_size(20);
    let mut group = criterion.benchmark_group("log_append");
    for count in GROUPS {
        for (name, mut runner) in contenders(&dir.path().join(format!("criterion-{count}"))) {
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| runner.group(count));
            });
        }
    }
    group.finish();
    criterion.final_summary();
}

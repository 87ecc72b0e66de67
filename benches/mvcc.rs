//! What the state costs: apply per put, get, list, count, restart.
//!
//! `cargo bench --profile release --bench mvcc [-- KEYS]` (default 1,000,000 keys of 16 bytes,
//! values of 256). Not criterion: a store of a million keys is loaded once and then asked many
//! things, and what counts is the CPU of the one thread that applies, beside the wall clock. The
//! figures include decoding the entry and making the replies.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a benchmark"
)]

use bytes::Bytes;
use quorate::state_machine::command::Put;
use quorate::state_machine::{
    BatchBuilder, Command, Entry, EntryBody, StateMachine, StateOptions, Store,
};
use quorate::types::{KeyRange, Position, RangeEnd, RangeQuery};
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;
use xxhash_rust::xxh3::xxh3_128;

const VALUE_BYTES: usize = 256;

/// Keys are hashed: sequential ones make first writes look twice as cheap.
fn key(n: u64) -> Bytes {
    Bytes::copy_from_slice(&xxh3_128(&n.to_le_bytes()).to_be_bytes())
}

/// Half noise, half text.
fn value(n: u64) -> Bytes {
    let mut value = vec![b'a'; VALUE_BYTES];
    for (at, chunk) in value[..VALUE_BYTES / 2].chunks_mut(16).enumerate() {
        chunk.copy_from_slice(&xxh3_128(&(n + ((at as u64) << 40)).to_le_bytes()).to_be_bytes());
    }
    Bytes::from(value)
}

/// Mixes, and is the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 += 1;
        u64::try_from(xxh3_128(&self.0.to_be_bytes()) >> 64).unwrap() % bound
    }
}

/// Nanoseconds that this thread ran.
fn thread_cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Nanoseconds that all threads ran.
fn process_cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split(' ').collect();
    // utime and stime, in ticks of 10 ms.
    (fields[12].parse::<u64>().unwrap() + fields[13].parse::<u64>().unwrap()) * 10_000_000
}

fn resident_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}

struct Clock {
    wall: Instant,
    thread: u64,
    process: u64,
}

impl Clock {
    fn start() -> Self {
        Self {
            wall: Instant::now(),
            thread: thread_cpu_ns(),
            process: process_cpu_ns(),
        }
    }

    fn report(&self, what: &str, operations: u64) {
        let per = |ns: u64| ns as f64 / 1000.0 / operations as f64;
        let wall = u64::try_from(self.wall.elapsed().as_nanos()).unwrap();
        println!(
            "{what:<44} thread {:>8.2}  process {:>8.2}  wall {:>8.2}  us/op",
            per(thread_cpu_ns() - self.thread),
            per(process_cpu_ns() - self.process),
            per(wall),
        );
    }
}

struct Bench {
    machine: StateMachine,
    index: u64,
}

impl Bench {
    fn open(dir: &Path) -> Self {
        let machine = StateMachine::open(dir, &StateOptions::default()).unwrap();
        let index = machine.applied().map_or(0, |position| position.index);
        Self { machine, index }
    }

    /// Entries of `batch` puts each, one applied at a time.
    fn puts(&mut self, what: &str, count: u64, batch: u64, mut pick: impl FnMut(u64) -> u64) {
        let mut clock = None;
        let mut spent = (0, 0, 0);
        for round in 0..count / batch {
            let mut builder = BatchBuilder::new();
            for n in 0..batch {
                let n = round * batch + n;
                builder.push(&Command::Put(Put {
                    key: key(pick(n)),
                    value: value(n),
                    lease: 0,
                    prev_kv: false,
                    ignore_value: false,
                    ignore_lease: false,
                }));
            }
            self.index += 1;
            let position = Position {
                term: 1,
                index: self.index,
            };
            let entry = Entry {
                position,
                body: EntryBody::Commands(builder.finish()),
            };
            let started = (Instant::now(), thread_cpu_ns());
            clock.get_or_insert_with(Clock::start);
            black_box(self.machine.apply(std::slice::from_ref(&entry)).unwrap());
            spent.0 += thread_cpu_ns() - started.1;
            let wall = u64::try_from(started.0.elapsed().as_nanos()).unwrap();
            spent.1 += wall;
            spent.2 = spent.2.max(wall);
        }
        let per = |ns: u64| ns as f64 / 1000.0 / count as f64;
        println!(
            "{:<44} thread {:>8.2}  wall {:>8.2}  us/put   worst batch {:>8.1} ms",
            format!("{what}, batches of {batch}"),
            per(spent.0),
            per(spent.1),
            spent.2 as f64 / 1e6,
        );
    }
}

fn read(what: &str, store: &Store, rounds: u64, mut query: impl FnMut(u64) -> RangeQuery) {
    let queries: Vec<_> = (0..rounds).map(&mut query).collect();
    let clock = Clock::start();
    for query in &queries {
        let view = store.view().unwrap();
        black_box(view.range(query).unwrap().unwrap());
    }
    clock.report(what, rounds);
}

fn main() {
    let keys = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .next()
        .unwrap_or(1_000_000);
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("state");
    let mut dice = Dice(0);

    let mut bench = Bench::open(&dir);
    println!("{keys} keys; resident at start {} MiB", resident_mib());
    let clock = Clock::start();
    bench.puts("first write", keys, 256, |n| n);
    clock.report("first write, with making the entries", keys);
    let mut next = keys;
    for batch in [64, 16, 1] {
        bench.puts("first write", 20_000, batch, |n| next + n);
        next += 20_000;
    }
    for batch in [256, 64, 16, 1] {
        let count = if batch == 1 { 20_000 } else { 100_000 };
        bench.puts("overwrite any key", count, batch, |_| dice.below(keys));
    }
    bench.puts("overwrite any key, again", 100_000, 64, |_| {
        dice.below(keys)
    });
    for batch in [256, 64, 16, 1] {
        let count = if batch == 1 { 20_000 } else { 100_000 };
        bench.puts("overwrite one of 10,000 keys", count, batch, |_| {
            dice.below(10_000)
        });
    }
    let store = bench.machine.store();
    println!(
        "resident {} MiB; {:?}",
        resident_mib(),
        store.sizes().unwrap()
    );
    let single = |n| RangeQuery::latest(KeyRange::single(key(n)));
    read("get, one of 1,000 keys", &store, 200_000, |_| {
        single(dice.below(1000))
    });
    read("get, any key", &store, 200_000, |_| {
        single(dice.below(keys))
    });
    read("get, no such key", &store, 200_000, |_| {
        single(u64::MAX - dice.below(keys))
    });
    let from = |start| KeyRange {
        start,
        end: RangeEnd::Unbounded,
    };
    let list = |start, limit| RangeQuery {
        limit,
        ..RangeQuery::latest(from(start))
    };
    read("list 1000, random start", &store, 1000, |_| {
        list(key(dice.below(keys)), 1000)
    });
    read("list 1000, from the start", &store, 1000, |_| {
        list(Bytes::from_static(b"\0"), 1000)
    });
    let count = |start| RangeQuery {
        count_only: true,
        ..RangeQuery::latest(from(start))
    };
    read("count, open-ended", &store, 5000, |_| {
        count(key(dice.below(keys)))
    });
    read("count, bounded", &store, 5000, |_| {
        let (a, b) = (key(dice.below(keys)), key(dice.below(keys)));
        let range = KeyRange {
            start: a.clone().min(b.clone()),
            end: RangeEnd::Before(a.max(b)),
        };
        RangeQuery {
            count_only: true,
            ..RangeQuery::latest(range)
        }
    });
    let old = store.revision() - 500;
    read("list 500, 500 revisions back", &store, 1000, |_| {
        RangeQuery {
            revision: old,
            ..list(key(dice.below(keys)), 500)
        }
    });
    println!("resident {} MiB", resident_mib());

    let clock = Clock::start();
    let hash = store.state_hash().unwrap();
    clock.report("hash of everything", 1);
    drop(store);

    let position = Position {
        term: 1,
        index: bench.index + 1,
    };
    let mut compact = BatchBuilder::new();
    compact.push(&Command::Compact {
        revision: bench.machine.store().revision(),
    });
    let entry = Entry {
        position,
        body: EntryBody::Commands(compact.finish()),
    };
    bench.machine.apply(&[entry]).unwrap();
    let clock = Clock::start();
    bench.machine.store().remove_compacted().unwrap();
    clock.report("removing all history", 1);

    bench.machine.store().flush().unwrap();
    let hash_compacted = bench.machine.store().state_hash().unwrap();
    assert_ne!(hash.1, hash_compacted.1);
    drop(bench);
    let clock = Clock::start();
    let bench = Bench::open(&dir);
    clock.report("open", 1);
    assert_eq!(bench.machine.store().state_hash().unwrap(), hash_compacted);
}

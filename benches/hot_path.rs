//! What a put and a get cost inside the process, in parts: codecs, and the state with 100,000 keys.
//!
//! `cargo bench --profile release --bench hot_path`. [`mvcc`](../mvcc.rs) is the same state with a million
//! keys and its background work, `log_append.rs` the log.
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};
use prost::Message as _;
use quorate::proto::etcdserverpb::{PutRequest, PutResponse, ResponseHeader};
use quorate::proto::peer;
use quorate::state_machine::codec::{decode_batch, decode_replies, encode_replies};
use quorate::state_machine::command::Put;
use quorate::state_machine::{
    BatchBuilder, Command, Entry, EntryBody, Outcome, Reply, StateMachine, StateOptions,
};
use quorate::types::{KeyRange, Position, RangeEnd, RangeQuery};
use std::hint::black_box;
use xxhash_rust::xxh3::xxh3_128;

const KEYS: u64 = 100_000;
const BATCH: u64 = 64;

/// Hashed: neighbours in time are none in the store.
fn key(number: u64) -> Bytes {
    Bytes::copy_from_slice(&xxh3_128(&number.to_le_bytes()).to_be_bytes())
}

fn value(number: u64) -> Bytes {
    let noise = xxh3_128(&number.to_be_bytes()).to_be_bytes();
    let mut value = noise.repeat(8);
    value.resize(256, b'v');
    value.into()
}

fn put(number: u64) -> Command {
    Command::Put(Put {
        key: key(number % KEYS),
        value: value(number),
        lease: 0,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    })
}

fn batch(from: u64, count: u64) -> Bytes {
    let mut builder = BatchBuilder::new();
    for number in from..from + count {
        builder.push(&put(number));
    }
    builder.finish()
}

fn codecs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    let request = PutRequest {
        key: key(1),
        value: value(1),
        ..PutRequest::default()
    };
    let wire = Bytes::from(request.encode_to_vec());
    group.bench_function("decode a put off the wire", |bencher| {
        bencher.iter(|| PutRequest::decode(black_box(wire.clone())).unwrap());
    });
    let response = PutResponse {
        header: Some(ResponseHeader {
            cluster_id: u64::MAX,
            member_id: u64::MAX,
            revision: 1 << 40,
            raft_term: 7,
        }),
        prev_kv: None,
    };
    group.bench_function("encode its answer", |bencher| {
        bencher.iter(|| black_box(&response).encode_to_vec());
    });

    group.throughput(Throughput::Elements(BATCH));
    let commands: Vec<Command> = (0..BATCH).map(put).collect();
    group.bench_function("encode a batch of 64 puts", |bencher| {
        bencher.iter(|| {
            let mut builder = BatchBuilder::new();
            for command in &commands {
                builder.push(command);
            }
            builder.finish()
        });
    });
    let encoded = batch(0, BATCH);
    group.bench_function("decode it", |bencher| {
        bencher.iter(|| decode_batch(black_box(encoded.clone())).unwrap());
    });
    let append = peer::AppendRequest {
        entries: vec![peer::Entry {
            term: 7,
            index: 1 << 30,
            payload: encoded.clone(),
        }],
        ..peer::AppendRequest::default()
    };
    group.bench_function("encode its message to a peer", |bencher| {
        bencher.iter(|| black_box(&append).encode_to_vec());
    });
    let replies: Vec<Reply> = (0..64)
        .map(|revision| Reply {
            revision,
            result: Ok(Outcome::Put { prev_kv: None }),
        })
        .collect();
    group.bench_function("encode its replies", |bencher| {
        bencher.iter(|| encode_replies(black_box(&replies)));
    });
    let encoded = encode_replies(&replies);
    group.bench_function("decode them", |bencher| {
        bencher.iter(|| decode_replies(black_box(encoded.clone())).unwrap());
    });
    group.finish();
}

fn state(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let mut machine =
        StateMachine::open(&dir.path().join("state"), &StateOptions::default()).unwrap();
    let mut index = 0;
    let mut next = |body| {
        index += 1;
        let position = Position { term: 1, index };
        Entry {
            position,
            body: EntryBody::Commands(body),
        }
    };
    for from in (0..KEYS).step_by(256) {
        machine.apply(&[next(batch(from, 256))]).unwrap();
    }

    let mut group = criterion.benchmark_group("state of 100,000 keys");
    group.throughput(Throughput::Elements(BATCH));
    let mut number = KEYS;
    group.bench_function("apply a batch of 64 puts", |bencher| {
        bencher.iter_batched(
            || {
                number += BATCH * 7;
                next(batch(number, BATCH))
            },
            |entry| machine.apply(&[entry]).unwrap(),
            BatchSize::PerIteration,
        );
    });
    group.throughput(Throughput::Elements(1));
    let store = machine.store();
    let mut read = |name: &str, query: &dyn Fn(Bytes) -> RangeQuery| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                number = number.wrapping_mul(25_214_903_917) + 11;
                let view = store.view().unwrap();
                view.range(&query(key(number % KEYS))).unwrap().unwrap()
            });
        });
    };
    read("get", &|key| RangeQuery::latest(KeyRange::single(key)));
    let from = |start| {
        RangeQuery::latest(KeyRange {
            start,
            end: RangeEnd::Unbounded,
        })
    };
    read("list of 1000", &|key| RangeQuery {
        limit: 1000,
        ..from(key)
    });
    read("count", &|key| RangeQuery {
        count_only: true,
        ..from(key)
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    codecs(&mut criterion);
    state(&mut criterion);
    criterion.final_summary();
}

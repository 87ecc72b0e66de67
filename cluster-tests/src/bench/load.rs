//! What clients ask in a load, and the closed loop: a client asks again when it was answered.
//!
//! Clients share connections as in etcd's own benchmarks, and the whole client is one thread.

use super::connection::Connection;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use quorate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate::proto::etcdserverpb::kv_client::KvClient;
use quorate::proto::etcdserverpb::request_op::Request as Op;
use quorate::proto::etcdserverpb::{Compare, PutRequest, RangeRequest, RequestOp, TxnRequest};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

const VALUE_BYTES: usize = 256;
const LATENCY_MAX_US: u64 = 60_000_000;
/// Puts of one request, where keys are loaded.
const BULK: u64 = 100;
/// How long one of those is tried.
const FILL_PATIENCE: Duration = Duration::from_secs(60);

/// What a client asks, each time of a key that it draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Put,
    /// Linearizable.
    Get,
    /// Serializable.
    GetStale,
    /// If the key is there, put.
    ComparePut,
    /// A list of so many keys, from any key on, open-ended.
    List(i64),
}

impl Call {
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::GetStale => "serializable get",
            Self::ComparePut => "compare-and-put",
            Self::List(_) => "list",
        }
    }
}

/// The keys that are there: `bench/` and the hash of a number below `count`, so that neighbours in time are
/// none in the store. Half of a value is random, half repeats: so do the documents that people store.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    pub count: u64,
    pub value_bytes: usize,
}

impl Keys {
    /// With values of 256 bytes.
    pub const fn new(count: u64) -> Self {
        Self {
            count,
            value_bytes: VALUE_BYTES,
        }
    }

    pub fn key(self, number: u64) -> Bytes {
        // Fibonacci hashing: a bijection of the numbers.
        let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Bytes::from(format!("bench/{hash:016x}"))
    }

    pub fn draw(self, random: &mut StdRng) -> Bytes {
        self.key(random.random_range(0..self.count))
    }

    pub fn value(self, random: &mut StdRng) -> Bytes {
        let mut value = vec![b'v'; self.value_bytes];
        let (half, _) = value.split_at_mut(self.value_bytes / 2);
        random.fill(half);
        value.into()
    }

    /// Writes the keys of these numbers, many at a time.
    ///
    /// # Errors
    /// A write fails, and not for a while.
    pub async fn fill(self, kv: &mut KvClient<Connection>, numbers: Range<u64>) -> Result<()> {
        let mut random = StdRng::seed_from_u64(numbers.start);
        let mut next = numbers.start;
        while next < numbers.end {
            let end = numbers.end.min(next + BULK);
            let success = (next..end)
                .map(|number| put_op(self.key(number), self.value(&mut random)))
                .collect();
            let request = TxnRequest {
                success,
                ..TxnRequest::default()
            };
            put_all(kv, request).await?;
            next = end;
        }
        Ok(())
    }
}

/// Puts may be said twice. A disk that is full of work may cost a leader its office, for one.
async fn put_all(kv: &mut KvClient<Connection>, request: TxnRequest) -> Result<()> {
    let begun = Instant::now();
    loop {
        let Err(status) = kv.txn(request.clone()).await else {
            return Ok(());
        };
        let passes = matches!(status.code(), Code::Unavailable | Code::ResourceExhausted);
        if !passes || begun.elapsed() > FILL_PATIENCE {
            return Err(status).context("fill");
        }
        sleep(AFTER_REFUSAL).await;
    }
}

fn put_op(key: Bytes, value: Bytes) -> RequestOp {
    RequestOp {
        request: Some(Op::RequestPut(PutRequest {
            key,
            value,
            ..PutRequest::default()
        })),
    }
}

/// Somebody who can be asked to do one thing after the other.
pub trait Caller: Send + 'static {
    /// One operation, answered.
    fn call(&mut self) -> impl Future<Output = Result<(), Status>> + Send;
}

/// A caller of the KV service.
#[derive(Debug)]
pub struct KvCaller {
    kv: KvClient<Connection>,
    call: Call,
    keys: Keys,
    random: StdRng,
}

impl KvCaller {
    pub fn new(connection: &Connection, call: Call, keys: Keys, seed: u64) -> Self {
        Self {
            kv: connection.kv(),
            call,
            keys,
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// So many, over these connections in turn.
    pub fn many(connections: &[Connection], call: Call, keys: Keys, count: usize) -> Vec<Self> {
        let connections = connections.iter().cycle().take(count);
        (0..)
            .zip(connections)
            .map(|(seed, connection)| Self::new(connection, call, keys, seed))
            .collect()
    }
}

impl Caller for KvCaller {
    async fn call(&mut self) -> Result<(), Status> {
        let key = self.keys.draw(&mut self.random);
        match self.call {
            Call::Put => {
                let request = PutRequest {
                    key,
                    value: self.keys.value(&mut self.random),
                    ..PutRequest::default()
                };
                self.kv.put(request).await.map(drop)
            }
            Call::Get | Call::GetStale => {
                let request = RangeRequest {
                    key,
                    serializable: self.call == Call::GetStale,
                    ..RangeRequest::default()
                };
                self.kv.range(request).await.map(drop)
            }
            Call::ComparePut => {
                let exists = Compare {
                    key: key.clone(),
                    result: CompareResult::Greater.into(),
                    target: CompareTarget::Version.into(),
                    target_union: Some(TargetUnion::Version(0)),
                    ..Compare::default()
                };
                let request = TxnRequest {
                    compare: vec![exists],
                    success: vec![put_op(key, self.keys.value(&mut self.random))],
                    ..TxnRequest::default()
                };
                self.kv.txn(request).await.map(drop)
            }
            Call::List(limit) => {
                let request = RangeRequest {
                    key,
                    range_end: Bytes::from_static(&[0]),
                    limit,
                    ..RangeRequest::default()
                };
                self.kv.range(request).await.map(drop)
            }
        }
    }
}

/// What a load saw.
#[derive(Debug)]
pub struct Outcome {
    pub latencies_us: Histogram<u64>,
    /// By what they said.
    pub errors: BTreeMap<String, u64>,
    pub wall: Duration,
    /// The longest time in which one client was answered nothing, what was asked at the end included.
    pub gap: Duration,
}

impl Outcome {
    /// # Errors
    /// Never.
    pub fn new() -> Result<Self> {
        Ok(Self {
            latencies_us: Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)
                .context("make a histogram")?,
            errors: BTreeMap::new(),
            wall: Duration::ZERO,
            gap: Duration::ZERO,
        })
    }

    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MAX_US);
        self.latencies_us.saturating_record(micros);
    }

    pub fn fail(&mut self, status: &Status) {
        let words = format!("{:?}: {}", status.code(), status.message());
        *self.errors.entry(words).or_default() += 1;
    }

    /// # Errors
    /// Never: all histograms here have the same bounds.
    pub fn add(&mut self, other: &Self) -> Result<()> {
        self.latencies_us
            .add(&other.latencies_us)
            .context("add up")?;
        for (words, count) in &other.errors {
            *self.errors.entry(words.clone()).or_default() += count;
        }
        self.gap = self.gap.max(other.gap);
        Ok(())
    }

    pub fn count(&self) -> f64 {
        approximate(self.latencies_us.len())
    }

    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    pub fn per_second(&self) -> f64 {
        self.count() / self.wall.as_secs_f64()
    }

    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        approximate(self.latencies_us.value_at_quantile(quantile)) / 1e3
    }

    /// A figure of a load in which calls failed is none.
    ///
    /// # Errors
    /// A call failed, or none was made.
    pub fn flawless(self) -> Result<Self> {
        ensure!(self.errors.is_empty(), "calls failed: {:?}", self.errors);
        ensure!(!self.latencies_us.is_empty(), "no call was answered");
        Ok(self)
    }
}

/// Counts here are far below 2^52.
#[allow(clippy::cast_precision_loss, reason = "see above")]
pub fn approximate(count: u64) -> f64 {
    count as f64
}

/// All callers at once, each one call after the other, for `duration`; they are given back to call again.
///
/// # Errors
/// A caller panicked.
pub async fn closed_loop<C: Caller>(
    callers: Vec<C>,
    duration: Duration,
) -> Result<(Vec<C>, Outcome)> {
    let start = Instant::now();
    let end = start + duration;
    // One for all: a thousand histograms would be a hundred megabytes, to be cleared and added up.
    let seen = Arc::new(Mutex::new(Outcome::new()?));
    let mut running = JoinSet::new();
    for caller in callers {
        running.spawn(one_caller(caller, end, seen.clone()));
    }
    let mut callers = Vec::new();
    while let Some(ended) = running.join_next().await {
        callers.push(ended.context("a caller")?);
    }
    let seen = Arc::into_inner(seen).context("a caller that has not ended")?;
    let mut outcome = seen.into_inner().context("a caller panicked")?;
    outcome.wall = start.elapsed();
    Ok((callers, outcome))
}

/// How long a caller that was refused waits before it asks again.
const AFTER_REFUSAL: Duration = Duration::from_millis(10);

async fn one_caller<C: Caller>(mut caller: C, end: Instant, seen: Arc<Mutex<Outcome>>) -> C {
    let mut last_answer = Instant::now();
    // Who panics while it holds the lock fails the whole loop.
    let seen = || seen.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let start = Instant::now();
        if start >= end {
            let mut seen = seen();
            seen.gap = seen.gap.max(start - last_answer);
            return caller;
        }
        match caller.call().await {
            Ok(()) => {
                let now = Instant::now();
                let mut seen = seen();
                seen.record(now - start);
                seen.gap = seen.gap.max(now - last_answer);
                last_answer = now;
            }
            Err(status) => {
                seen().fail(&status);
                sleep(AFTER_REFUSAL).await;
            }
        }
    }
}

//! The closed loop: every client sends its next request when the last one was answered.
//!
//! The client is the `etcd-client` crate, as users have it, on one thread.

use super::Cell;
use anyhow::{Context, Result, ensure};
use etcd_client::{Client, Txn, TxnOp};
use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Keys that are there before the first cell, and that all cells use.
const KEYS: usize = 10_000;
const VALUE_BYTES: usize = 256;
const LATENCY_MAX_US: u64 = 60_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Put,
    /// Linearizable.
    Get,
}

/// Where connections go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// The n-th to the n-th member, in turn, as with three `--endpoints` of etcd's benchmark.
    Spread,
    /// All to the leader.
    Leader,
}

/// What the loop saw.
#[derive(Debug)]
pub struct Outcome {
    pub latencies_us: Histogram<u64>,
    pub errors: u64,
    pub wall: Duration,
}

fn key(number: usize) -> String {
    format!("bench/{number:06}")
}

/// Writes every key once.
///
/// # Errors
/// A write fails.
pub async fn fill(urls: &[String]) -> Result<()> {
    let mut client = Client::connect(urls, None).await.context("connect")?;
    let numbers: Vec<usize> = (0..KEYS).collect();
    for some in numbers.chunks(100) {
        let puts: Vec<TxnOp> = some
            .iter()
            .map(|n| TxnOp::put(key(*n), vec![b'x'; VALUE_BYTES], None))
            .collect();
        client
            .txn(Txn::new().and_then(puts))
            .await
            .context("fill")?;
    }
    Ok(())
}

/// A cell's clients, connected.
pub struct Loop {
    connections: Vec<Client>,
    cell: Cell,
}

impl Loop {
    /// # Errors
    /// A connection fails.
    pub async fn connect(urls: &[String], cell: Cell) -> Result<Self> {
        let mut connections = Vec::new();
        for url in urls.iter().cycle().take(cell.connections()) {
            connections.push(Client::connect([url], None).await.context("connect")?);
        }
        Ok(Self { connections, cell })
    }

    /// Runs for `duration`.
    ///
    /// # Errors
    /// A client panicked.
    pub async fn run(&self, duration: Duration) -> Result<Outcome> {
        let start = Instant::now();
        let end = start + duration;
        let mut clients = JoinSet::new();
        let connections = self.connections.iter().cycle().take(self.cell.clients);
        for (seed, connection) in (0..).zip(connections) {
            clients.spawn(client(connection.clone(), self.cell.operation, end, seed));
        }
        let mut latencies_us = histogram()?;
        let mut errors = 0;
        while let Some(client) = clients.join_next().await {
            let (latencies, failed) = client.context("a client")??;
            latencies_us.add(latencies).context("add up")?;
            errors += failed;
        }
        ensure!(
            !latencies_us.is_empty(),
            "not one operation succeeded ({errors} failed)"
        );
        Ok(Outcome {
            latencies_us,
            errors,
            wall: start.elapsed(),
        })
    }
}

fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).context("make a histogram")
}

async fn client(
    connection: Client,
    operation: Operation,
    end: Instant,
    seed: u64,
) -> Result<(Histogram<u64>, u64)> {
    let mut kv = connection.kv_client();
    let mut random = StdRng::seed_from_u64(seed);
    let mut latencies = histogram()?;
    let mut errors = 0;
    let value = vec![b'v'; VALUE_BYTES];
    loop {
        let start = Instant::now();
        if start >= end {
            return Ok((latencies, errors));
        }
        let key = key(random.random_range(0..KEYS));
        let answered = match operation {
            Operation::Put => kv.put(key, value.as_slice(), None).await.is_ok(),
            Operation::Get => kv
                .get(key, None)
                .await
                .is_ok_and(|answer| !answer.kvs().is_empty()),
        };
        if answered {
            let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(LATENCY_MAX_US);
            latencies.saturating_record(micros);
        } else {
            errors += 1;
        }
    }
}

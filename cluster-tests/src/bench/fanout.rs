//! Many watchers on one prefix, on one member: what an event costs the server.
//!
//! A round puts in a closed loop without watchers, then with them; every watcher must be told every
//! put. The CPU time of the first part is taken off the second, so what is left is the watchers'.

use super::Cell;
use super::load::{self, Loop, Operation};
use crate::cluster::layout::Layout;
use crate::cluster::local::{Cluster, PATIENCE, Spec};
use crate::cluster::process::own_cpu_time;
use crate::cluster::program::Program;
use crate::wait::{Look, until};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use quorate::proto::etcdserverpb::watch_client::WatchClient;
use quorate::proto::etcdserverpb::watch_request::RequestUnion;
use quorate::proto::etcdserverpb::{WatchCreateRequest, WatchRequest};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

/// Watchers share connections, each has a stream of its own.
const WATCHERS_PER_CONNECTION: usize = 16;
const WARM_UP: Duration = Duration::from_secs(1);

/// What a run is told.
#[derive(Clone, Debug)]
pub struct Plan {
    pub rounds: usize,
    /// Of each part.
    pub duration: Duration,
    pub watchers: usize,
    /// Clients that put.
    pub writers: usize,
    pub systems: Vec<Program>,
    /// Data goes here meanwhile.
    pub dir: PathBuf,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
struct Sample {
    puts_per_second: f64,
    events_per_second: f64,
    server_us_per_put: f64,
    /// Over what the puts cost without watchers.
    server_us_per_event: f64,
    client_us_per_event: f64,
}

impl fmt::Display for Sample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:.0} puts/s, {:.0} events/s; server {:.1} us a put without watchers, {:.2} us an event; \
             client {:.2} us an event",
            self.puts_per_second,
            self.events_per_second,
            self.server_us_per_put,
            self.server_us_per_event,
            self.client_us_per_event
        )
    }
}

/// Runs all rounds and prints each, and the medians.
///
/// # Errors
/// A member does not come up, or a watcher is not told everything.
pub async fn run(plan: &Plan) -> Result<()> {
    let mut samples: Vec<(Program, Sample)> = Vec::new();
    for round in 0..plan.rounds {
        let mut systems = plan.systems.clone();
        if round % 2 == 1 {
            systems.reverse();
        }
        for system in systems {
            let sample = Box::pin(one_system(plan, system)).await;
            let sample = sample.with_context(|| format!("bench {system}"))?;
            println!("round {} of {}: {system}: {sample}", round + 1, plan.rounds);
            samples.push((system, sample));
        }
    }
    println!(
        "\n{} watchers on one prefix, {} writers, one member; medians:",
        plan.watchers, plan.writers
    );
    for system in &plan.systems {
        let of = |field: fn(&Sample) -> f64| {
            let mut all: Vec<f64> = samples
                .iter()
                .filter(|(it, _)| it == system)
                .map(|(_, sample)| field(sample))
                .collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or_default()
        };
        let median = Sample {
            puts_per_second: of(|it| it.puts_per_second),
            events_per_second: of(|it| it.events_per_second),
            server_us_per_put: of(|it| it.server_us_per_put),
            server_us_per_event: of(|it| it.server_us_per_event),
            client_us_per_event: of(|it| it.client_us_per_event),
        };
        println!("{system}: {median}");
    }
    Ok(())
}

/// Counts here are far below 2^52.
#[allow(clippy::cast_precision_loss, reason = "see above")]
fn approximate(count: u64) -> f64 {
    count as f64
}

async fn one_system(plan: &Plan, system: Program) -> Result<Sample> {
    let dir = plan.dir.join("fanout");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).context("erase old data")?;
    }
    let spec = Spec::new(system, 1, Layout::claim()?, dir.clone());
    let mut cluster = Cluster::start(spec).await?;
    cluster.wait_serving(&[1], PATIENCE).await?;
    let urls = cluster.client_urls();
    load::fill(&urls).await?;
    let cell = Cell {
        operation: Operation::Put,
        clients: plan.writers,
    };
    let writers = Loop::connect(&urls, cell).await?;
    writers.run(WARM_UP).await.context("warm up")?;

    let idle = cluster.member(1)?.cpu_time()?;
    let alone = writers.run(plan.duration).await?;
    let server = cluster.member(1)?.cpu_time()?;
    ensure!(alone.errors == 0, "{} puts failed", alone.errors);
    let us_per_put = (server - idle).as_secs_f64() * 1e6 / approximate(alone.latencies_us.len());

    let told = Arc::new(AtomicU64::new(0));
    let mut watchers = watch(&urls, plan.watchers, &told).await?;
    let (server_before, client_before) = (cluster.member(1)?.cpu_time()?, own_cpu_time()?);
    let start = Instant::now();
    let outcome = writers.run(plan.duration).await?;
    ensure!(outcome.errors == 0, "{} puts failed", outcome.errors);
    let puts = outcome.latencies_us.len();
    let expected = puts * plan.watchers as u64;
    until(
        "every watcher to be told every put",
        PATIENCE,
        async || match told.load(Ordering::Relaxed) {
            all if all >= expected => Look::Ready(()),
            some => Look::NotYet(format!("{some} of {expected}")),
        },
    )
    .await?;
    let wall = start.elapsed().as_secs_f64();
    let server = (cluster.member(1)?.cpu_time()? - server_before).as_secs_f64() * 1e6;
    let client = (own_cpu_time()? - client_before).as_secs_f64() * 1e6;
    let all = told.load(Ordering::Relaxed);
    ensure!(all == expected, "{all} events told of {expected}");
    watchers.shutdown().await;
    drop(cluster);
    std::fs::remove_dir_all(&dir).context("erase the data")?;
    let events = approximate(expected);
    Ok(Sample {
        puts_per_second: approximate(puts) / outcome.wall.as_secs_f64(),
        events_per_second: events / wall,
        server_us_per_put: us_per_put,
        server_us_per_event: (server - us_per_put * approximate(puts)) / events,
        client_us_per_event: client / events,
    })
}

/// Opens so many streams with a watcher each, and counts what they are told.
async fn watch(urls: &[String], count: usize, told: &Arc<AtomicU64>) -> Result<JoinSet<()>> {
    let mut watchers = JoinSet::new();
    let mut clients: Vec<WatchClient<Channel>> = Vec::new();
    for number in 0..count {
        if number % WATCHERS_PER_CONNECTION == 0 {
            let url = urls.first().context("no member")?;
            let endpoint = Endpoint::from_shared(url.clone()).context("endpoint")?;
            clients.push(WatchClient::new(endpoint.connect().await.context("dial")?));
        }
        let mut client = clients.last().context("no client")?.clone();
        let (requests, queue) = mpsc::channel(1);
        let create = WatchCreateRequest {
            key: Bytes::from_static(b"bench/"),
            range_end: Bytes::from_static(b"bench0"),
            ..WatchCreateRequest::default()
        };
        let request = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        requests.send(request).await?;
        let responses = client.watch(ReceiverStream::new(queue)).await;
        let mut responses = responses.context("watch")?.into_inner();
        let created = responses.message().await.context("created")?;
        ensure!(created.is_some_and(|it| it.created), "it is not created");
        let told = Arc::clone(told);
        watchers.spawn(async move {
            // A stream's end shows as events that are missing.
            while let Ok(Some(response)) = responses.message().await {
                told.fetch_add(response.events.len() as u64, Ordering::Relaxed);
            }
            drop(requests);
        });
    }
    Ok(watchers)
}

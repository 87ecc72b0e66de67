//! Row 10: many watchers on one prefix, on one member: what an event costs the server.
//!
//! Puts in a closed loop without watchers, then with them; every watcher must be told every put. The CPU time
//! of the first part is taken off the second, so what is left is the watchers'.

use crate::bench::connection::Connection;
use crate::bench::figures::{Figures, Unit};
use crate::bench::load::{Call, Keys, KvCaller, approximate, closed_loop};
use crate::bench::stand::Stand;
use crate::cluster::local::PATIENCE;
use crate::wait::{Look, until};
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use quorate::proto::etcdserverpb::watch_request::RequestUnion;
use quorate::proto::etcdserverpb::{WatchCreateRequest, WatchRequest};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

const KEYS: Keys = Keys::new(10_000);
const WATCHERS: usize = 100;
const WRITERS: usize = 16;

pub(super) async fn measure(stand: &Stand) -> Result<Figures> {
    let mut figures = Figures::default();
    let mut servers = stand.start(1, &[]).await?;
    servers.fill(KEYS, 0).await?;
    let connections = servers.connections(&[1], WRITERS).await?;
    let writers = KvCaller::many(&connections, Call::Put, KEYS, WRITERS);
    let (writers, _) = closed_loop(writers, Stand::WARM_UP).await?;

    let (writers, alone) = servers.measured(writers, stand.duration).await?;

    let told = Arc::new(AtomicU64::new(0));
    // Watchers share connections, each has a stream of its own.
    let connections = servers.connections(&[1], WATCHERS).await?;
    let mut watchers = watch(&connections, &told).await?;
    let before = servers.spent()?;
    let start = Instant::now();
    let (_, outcome) = closed_loop(writers, stand.duration).await?;
    let outcome = outcome.flawless()?;
    let expected = outcome.latencies_us.len() * WATCHERS as u64;
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
    let after = servers.spent()?;
    let all = told.load(Ordering::Relaxed);
    ensure!(all == expected, "{all} events told of {expected}");
    watchers.shutdown().await;
    let events = approximate(expected);
    let mut add =
        |what: &str, unit, value| figures.add(format!("100 watchers, {what}"), unit, value);
    add("events", Unit::PerSecond, events / wall);
    add("puts", Unit::PerSecond, outcome.per_second());
    let all_us = after.servers_us(before, 1.0) - alone.servers_us * outcome.count();
    add("server per event", Unit::Micros, all_us / events);
    add(
        "client per event",
        Unit::Micros,
        after.client_us(before, events),
    );
    Ok(figures)
}

/// Opens the streams, with a watcher each, and counts what they are told.
async fn watch(connections: &[Connection], told: &Arc<AtomicU64>) -> Result<JoinSet<()>> {
    let mut watchers = JoinSet::new();
    for connection in connections.iter().cycle().take(WATCHERS) {
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
        let responses = connection.watch().watch(ReceiverStream::new(queue)).await;
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

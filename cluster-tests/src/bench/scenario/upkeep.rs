//! Rows 16 and 17: compaction, and Defragment of the leader, while 64 clients put.

use crate::bench::figures::{Figures, Unit};
use crate::bench::load::{Call, Keys, KvCaller, Outcome, approximate, closed_loop};
use crate::bench::stand::{Running, Stand};
use anyhow::{Context as _, Result};
use quorate::proto::etcdserverpb::{CompactionRequest, DefragmentRequest, RangeRequest};
use std::time::{Duration, Instant};

/// Half of them are written twice.
const KEYS: Keys = Keys::new(500_000);
const CLIENTS: usize = 64;
const WINDOW: Duration = Duration::from_secs(10);

pub(super) async fn measure(stand: &Stand) -> Result<Figures> {
    let mut figures = Figures::default();
    let mut servers = stand.start(3, &[]).await?;
    servers.fill(KEYS, 0).await?;
    servers.fill(KEYS, KEYS.count / 2).await?;
    servers.come_to_rest().await?;
    let connections = servers
        .connections(&servers.leader_first(), CLIENTS)
        .await?;
    let callers = KvCaller::many(&connections, Call::Put, KEYS, CLIENTS);
    let (callers, _) = closed_loop(callers, Stand::WARM_UP).await?;
    let (callers, usual) = closed_loop(callers, WINDOW).await?;
    let usual = usual.flawless()?.quantile_ms(0.99);

    let (loaded, took) = tokio::join!(closed_loop(callers, WINDOW), compact(&servers));
    let (callers, outcome) = loaded?;
    tell(&mut figures, "compaction", &outcome, usual, took?);

    let (loaded, took) = tokio::join!(closed_loop(callers, WINDOW), defragment(&servers));
    let (_, outcome) = loaded?;
    tell(&mut figures, "defragment", &outcome, usual, took?);
    Ok(figures)
}

fn tell(figures: &mut Figures, what: &str, seen: &Outcome, usual: f64, took: Duration) {
    let mut add = |name: &str, unit, value| figures.add(format!("{what}, {name}"), unit, value);
    add("p99 ratio", Unit::Ratio, seen.quantile_ms(0.99) / usual);
    add("worst gap", Unit::Seconds, seen.gap.as_secs_f64());
    add("failed", Unit::Times, approximate(seen.failed()));
    add("took", Unit::Seconds, took.as_secs_f64());
}

/// Of everything that is not the present; until the space is free.
async fn compact(servers: &Running) -> Result<Duration> {
    let start = Instant::now();
    let mut kv = servers.connect(servers.leader).await?.kv();
    let any = RangeRequest {
        key: KEYS.key(0),
        ..RangeRequest::default()
    };
    let now = kv.range(any).await.context("ask for the revision")?;
    let header = now.into_inner().header.context("no header")?;
    let request = CompactionRequest {
        revision: header.revision,
        physical: true,
    };
    kv.compact(request).await.context("compact")?;
    Ok(start.elapsed())
}

async fn defragment(servers: &Running) -> Result<Duration> {
    let start = Instant::now();
    let mut maintenance = servers.connect(servers.leader).await?.maintenance();
    let request = DefragmentRequest {};
    maintenance
        .defragment(request)
        .await
        .context("defragment")?;
    Ok(start.elapsed())
}

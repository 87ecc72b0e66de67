//! Rows 8, 9, 12 and 13: a million keys of 256 bytes on three members.

use crate::bench::figures::{Figures, Unit};
use crate::bench::load::{Call, Keys, KvCaller, approximate, closed_loop};
use crate::bench::stand::{Running, Stand};
use crate::cluster::local::PATIENCE;
use anyhow::{Context as _, Result};
use std::time::{Duration, Instant};

pub(super) async fn measure(stand: &Stand) -> Result<Figures> {
    let keys = Keys::new(if stand.quick { 100_000 } else { 1_000_000 });
    let size = if stand.quick { "100k" } else { "1M" };
    let mut figures = Figures::default();
    let mut servers = stand.start(3, &[]).await?;

    let before = servers.spent()?;
    let wall = servers.fill(keys, 0).await?.as_secs_f64();
    let count = approximate(keys.count);
    figures.add("bulk load, keys", Unit::PerSecond, count / wall);
    let per_key = servers.spent()?.servers_us(before, count);
    figures.add("bulk load, servers per key", Unit::Micros, per_key);

    let memory = memory(&mut servers)?;
    figures.add(format!("memory at {size} keys"), Unit::Megabytes, memory);

    for (call, clients) in [(Call::List(1000), 1), (Call::Put, 64), (Call::Get, 64)] {
        let nodes = servers.leader_first();
        let connections = servers.connections(&nodes, clients).await?;
        let callers = KvCaller::many(&connections, call, keys, clients);
        let (callers, _) = closed_loop(callers, Stand::WARM_UP).await?;
        let (_, measured) = servers.measured(callers, stand.duration).await?;
        let name = match call {
            Call::List(limit) => format!("list of {limit} out of {size}"),
            other => format!("{} c={clients} out of {size}", other.name()),
        };
        let rate = measured.outcome.per_second();
        figures.add(
            format!("{name}, servers"),
            Unit::Micros,
            measured.servers_us,
        );
        figures.add(format!("{name}, rate"), Unit::PerSecond, rate);
    }

    let follower = *servers.followers().first().context("no follower")?;
    for (name, kill) in [("", false), (" after kill -9", true)] {
        let serving = restart(&mut servers, follower, kill).await?;
        figures.add(
            format!("restart at {size} keys{name}"),
            Unit::Seconds,
            serving.as_secs_f64(),
        );
    }
    Ok(figures)
}

/// Mean of the members.
fn memory(servers: &mut Running) -> Result<f64> {
    let nodes = servers.nodes();
    let mut sum = 0.0;
    for node in &nodes {
        sum += servers.resident_mb(*node)?;
    }
    Ok(sum / approximate(nodes.len() as u64))
}

/// From the start of the process to its first linearizable read.
async fn restart(servers: &mut Running, node: usize, kill: bool) -> Result<Duration> {
    let cluster = servers.cluster()?;
    let member = cluster.member(node)?;
    if kill {
        member.kill();
    } else {
        member.terminate(PATIENCE).await?;
    }
    let start = Instant::now();
    member.start()?;
    cluster.wait_serving(&[node], PATIENCE).await?;
    Ok(start.elapsed())
}

//! Rows 1 to 7: one kind of call at a time, in a closed loop, connections spread over three members.

use crate::bench::System;
use crate::bench::figures::{Figures, Unit};
use crate::bench::load::{Call, Keys, KvCaller, approximate, closed_loop};
use crate::bench::stand::{Running, Stand};
use anyhow::{Context as _, Result, bail};
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

const KEYS: Keys = Keys::new(10_000);

/// A call, by so many clients.
const CELLS: &[(Call, usize)] = &[
    (Call::Put, 1),
    (Call::Put, 64),
    (Call::Put, 256),
    (Call::Put, 1000),
    (Call::Get, 1),
    (Call::Get, 64),
    (Call::Get, 256),
    (Call::GetStale, 256),
    (Call::ComparePut, 256),
];

pub(super) async fn measure(stand: &Stand) -> Result<Figures> {
    let cells = asked(&stand.loads)?;
    let mut figures = Figures::default();
    let mut servers = stand.start(3, &[]).await?;
    if stand.system != System::Empty {
        idle_memory(&mut servers, &mut figures).await?;
        servers.fill(KEYS, 0).await?;
    }
    for (call, clients) in cells {
        // An empty handler takes a put for a get: its answer is as long.
        let is_new = stand.system != System::Empty || matches!(call, Call::Put | Call::Get);
        if is_new {
            cell(stand, &mut servers, &mut figures, call, clients).await?;
        }
    }
    if stand.system == System::Quorate {
        let fsync = fsync(&stand.dir)?;
        figures.add("one fsync", Unit::Micros, fsync.as_secs_f64() * 1e6);
    }
    Ok(figures)
}

/// The cells of these names, in the order of [`CELLS`]; all without any.
fn asked(names: &[String]) -> Result<Vec<(Call, usize)>> {
    let name = |(call, clients): &(Call, usize)| format!("{}:{clients}", call.name());
    if let Some(unknown) = names
        .iter()
        .find(|asked| !CELLS.iter().any(|cell| name(cell) == **asked))
    {
        let all: Vec<String> = CELLS.iter().map(name).collect();
        bail!("there is no load {unknown}; there are {}", all.join(", "));
    }
    let mut cells = CELLS.to_vec();
    cells.retain(|cell| names.is_empty() || names.contains(&name(cell)));
    Ok(cells)
}

/// Nobody has asked anything yet.
async fn idle_memory(servers: &mut Running, figures: &mut Figures) -> Result<()> {
    const SETTLED: Duration = Duration::from_secs(3);
    tokio::time::sleep(SETTLED).await;
    let nodes = servers.nodes();
    let mut sum = 0.0;
    for node in &nodes {
        sum += servers.resident_mb(*node)?;
    }
    let count = u32::try_from(nodes.len()).context("few members")?;
    figures.add("memory idle", Unit::Megabytes, sum / f64::from(count));
    Ok(())
}

async fn cell(
    stand: &Stand,
    servers: &mut Running,
    figures: &mut Figures,
    call: Call,
    clients: usize,
) -> Result<()> {
    let connections = servers
        .connections(&servers.leader_first(), clients)
        .await?;
    let callers = KvCaller::many(&connections, call, KEYS, clients);
    let (callers, _) = closed_loop(callers, Stand::WARM_UP).await?;
    let fsyncs = servers.fsyncs().await?;
    let name = format!("{} c={clients}", call.name());
    let measured = servers.measured(callers, stand.duration).await;
    let (_, measured) = measured.with_context(|| name.clone())?;
    let fsyncs = servers.fsyncs().await? - fsyncs;
    let outcome = measured.outcome;
    let mut add = |what: &str, unit, value| figures.add(format!("{name}, {what}"), unit, value);
    add("rate", Unit::PerSecond, outcome.per_second());
    add("p50", Unit::Millis, outcome.quantile_ms(0.5));
    add("p99", Unit::Millis, outcome.quantile_ms(0.99));
    add("servers", Unit::Micros, measured.servers_us);
    add("client", Unit::Micros, measured.client_us);
    if call == Call::Put && stand.system != System::Empty {
        let fsyncs = approximate(fsyncs) / outcome.count();
        add("fsyncs of all members", Unit::Ratio, fsyncs);
    }
    Ok(())
}

/// The median time of an fsync (fdatasync) of 512 bytes within a file that has its size already.
fn fsync(dir: &Path) -> Result<Duration> {
    const WRITES: usize = 200;
    const BYTES: [u8; 512] = [1; 512];
    let path = dir.join("fsync");
    let mut file = File::create(&path).context("make a file")?;
    file.write_all(&[0; 512 * 256]).context("write")?;
    file.sync_all().context("sync")?;
    let mut times = Vec::new();
    for at in 0..WRITES {
        file.seek(SeekFrom::Start(512 * at as u64))
            .context("seek")?;
        let start = Instant::now();
        file.write_all(&BYTES).context("write")?;
        file.sync_data().context("sync")?;
        times.push(start.elapsed());
    }
    std::fs::remove_file(&path).context("remove the file")?;
    times.sort_unstable();
    times.get(WRITES / 2).copied().context("no times")
}

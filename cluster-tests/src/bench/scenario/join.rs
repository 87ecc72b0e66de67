//! Row 18: a member is added to a cluster that holds 2 GB, while clients put at a fixed rate.
//!
//! Only Quorate: etcd's limit is 2 GB unless it is raised. The disk's own speed is measured beside: one file
//! as large, written and synced, three times just before. On one machine the new member's disk is the others' too.

use crate::bench::connection::Connection;
use crate::bench::figures::{Figures, Unit};
use crate::bench::load::{Call, Keys, KvCaller, Outcome, approximate, closed_loop};
use crate::bench::open::{Arrivals, open_loop};
use crate::bench::stand::{Running, Stand};
use crate::cluster::local::PATIENCE;
use anyhow::{Context as _, Result};
use quorate::proto::etcdserverpb::MemberAddRequest;
use std::cell::Cell;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

const KEYS: Keys = Keys {
    count: 200_000,
    value_bytes: 10_240,
};
const BYTES: u64 = KEYS.count * KEYS.value_bytes as u64;
/// What the clients put meanwhile.
const SMALL: Keys = Keys::new(10_000);
const PER_SECOND: f64 = 2_000.0;
const CALLERS: usize = 1_000;
/// The load goes on in slices of this, until the member serves.
const SLICE: Duration = Duration::from_secs(2);

pub(super) async fn measure(stand: &Stand) -> Result<Figures> {
    let mut figures = Figures::default();
    let mut servers = stand
        .start(3, &["--quota-backend-bytes=17179869184"])
        .await?;
    servers.fill(KEYS, 0).await?;
    servers.come_to_rest().await?;
    // After as much writing as the new member will find behind it: a disk that rested is quicker.
    let disk = usual_speed(&stand.dir)?;
    let connections = servers.connections(&servers.followers(), CALLERS).await?;
    let warm = KvCaller::many(&connections, Call::Put, SMALL, 64);
    closed_loop(warm, Stand::WARM_UP).await?;
    let usual = puts(&connections, stand.duration).await?.quantile_ms(0.99);

    let start = Instant::now();
    let joined = join(&mut servers).await?;
    let cluster = servers.cluster()?;
    let is_serving = Cell::new(false);
    let serving = async {
        let serving = cluster.wait_serving(&[joined], PATIENCE * 10).await;
        is_serving.set(true);
        serving.map(|()| start.elapsed())
    };
    let load = async {
        let mut all = Outcome::new()?;
        while !is_serving.get() {
            all.add(&puts(&connections, SLICE).await?)?;
        }
        anyhow::Ok(all)
    };
    let (meanwhile, took) = tokio::join!(load, serving);
    let took = took?.as_secs_f64();
    let rate = approximate(BYTES) / 1e6 / took;
    let mut add =
        |what: &str, unit, value| figures.add(format!("snapshot of 2 GB, {what}"), unit, value);
    add("took", Unit::Seconds, took);
    add("rate", Unit::MegabytesPerSecond, rate);
    add("disk alone", Unit::MegabytesPerSecond, disk);
    add("share of the disk", Unit::Ratio, rate / disk);
    add(
        "p99 ratio",
        Unit::Ratio,
        meanwhile?.quantile_ms(0.99) / usual,
    );
    Ok(figures)
}

async fn puts(connections: &[Connection], duration: Duration) -> Result<Outcome> {
    let callers = KvCaller::many(connections, Call::Put, SMALL, CALLERS);
    let arrivals = Arrivals {
        per_second: PER_SECOND,
        duration,
    };
    open_loop(callers, arrivals).await?.outcome.flawless()
}

/// Adds a member and starts it; answers its number.
async fn join(servers: &mut Running) -> Result<usize> {
    let mut client = servers.connect(servers.leader).await?.cluster();
    let cluster = servers.cluster()?;
    let node = cluster.enlist().await?;
    let request = MemberAddRequest {
        peer_ur_ls: vec![cluster.peer_url(node)],
        is_learner: false,
    };
    client.member_add(request).await.context("add a member")?;
    cluster.member(node)?.start()?;
    Ok(node)
}

/// The median of three looks: some disks take three times as much as a moment before.
fn usual_speed(dir: &Path) -> Result<f64> {
    let mut looks = [disk(dir)?, disk(dir)?, disk(dir)?];
    looks.sort_by(f64::total_cmp);
    Ok(looks[1])
}

/// Megabytes a second that the disk takes of one large file.
fn disk(dir: &Path) -> Result<f64> {
    static CHUNK: [u8; 1 << 20] = [7; 1 << 20];
    let path = dir.join("disk");
    let start = Instant::now();
    let mut file = std::fs::File::create(&path).context("make a file")?;
    let chunks = BYTES >> 20;
    for _ in 0..chunks {
        file.write_all(&CHUNK).context("write")?;
    }
    file.sync_all().context("sync")?;
    let took = start.elapsed().as_secs_f64();
    std::fs::remove_file(&path).context("remove the file")?;
    Ok(approximate(chunks << 20) / 1e6 / took)
}

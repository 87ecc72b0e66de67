//! Rows 14 and 15: the leader is killed, and told to stop, under clients of the other two members.
//!
//! What counts is the longest time in which one client was answered nothing, requests in flight included.

use crate::bench::figures::{Figures, Unit};
use crate::bench::load::{Call, Keys, KvCaller, Outcome, approximate, closed_loop};
use crate::bench::stand::{Running, Stand};
use crate::cluster::local::PATIENCE;
use anyhow::Result;
use std::time::Duration;

const KEYS: Keys = Keys::new(10_000);
const CLIENTS: usize = 16;
/// What is in flight hangs on etcd for seven seconds.
const WINDOW: Duration = Duration::from_secs(9);
const UNTIL_THEN: Duration = Duration::from_secs(1);

pub(super) async fn measure(stand: &Stand) -> Result<Figures> {
    let mut figures = Figures::default();
    let mut servers = stand.start(3, &[]).await?;
    servers.fill(KEYS, 0).await?;

    let killed = load_meanwhile(&mut servers, How::Killed).await?;
    tell(&mut figures, "leader killed", &killed);

    let leader = servers.leader;
    let all = servers.nodes();
    let cluster = servers.cluster()?;
    cluster.member(leader)?.start()?;
    cluster.wait_serving(&all, PATIENCE).await?;
    servers.leader = cluster.wait_leader(&all, PATIENCE).await?;

    let stopped = load_meanwhile(&mut servers, How::Stopped).await?;
    tell(&mut figures, "leader stopped", &stopped);
    Ok(figures)
}

#[derive(Clone, Copy)]
enum How {
    Killed,
    Stopped,
}

async fn load_meanwhile(servers: &mut Running, how: How) -> Result<Outcome> {
    let connections = servers.connections(&servers.followers(), CLIENTS).await?;
    let callers = KvCaller::many(&connections, Call::Put, KEYS, CLIENTS);
    let leader = servers.leader;
    let member = servers.cluster()?.member(leader)?;
    let end = async {
        tokio::time::sleep(UNTIL_THEN).await;
        match how {
            How::Killed => {
                member.kill();
                Ok(())
            }
            How::Stopped => member.terminate(PATIENCE).await,
        }
    };
    let (loaded, ended) = tokio::join!(closed_loop(callers, WINDOW), end);
    ended?;
    Ok(loaded?.1)
}

fn tell(figures: &mut Figures, what: &str, seen: &Outcome) {
    let gap = seen.gap.as_secs_f64();
    figures.add(format!("{what}, worst gap"), Unit::Seconds, gap);
    let failed = approximate(seen.failed());
    figures.add(format!("{what}, failed"), Unit::Times, failed);
}

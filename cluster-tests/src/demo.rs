//! The tour that `scripts/demo` gives: what is done, what is seen; an error if anything was lost.

use crate::cluster::carrier::Wiring;
use crate::cluster::layout::Layout;
use crate::cluster::local::{Cluster, PATIENCE, Spec};
use crate::cluster::program::Program;
use crate::cluster::topology::Topology;
use crate::cluster::weather::{Cut, Weather};
use crate::door::Door;
use crate::wait::until_ok;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// An attempt may meet a member that has just lost its leader.
const ATTEMPT: Duration = Duration::from_secs(2);

/// Writes `puts` keys through every member, then takes members away.
///
/// # Errors
/// Something acknowledged is not there.
pub async fn run(dir: &Path, puts: usize) -> Result<()> {
    let dir = dir.join("demo");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).context("erase what an earlier demo left")?;
    }
    say("Starting three members, on addresses of their own.");
    let spec = Spec {
        wiring: Wiring::Proxies,
        ..Spec::new(Program::Quorate, 3, Layout::claim()?, dir.clone())
    };
    let mut cluster = Cluster::start(spec).await?;
    let all: Vec<usize> = cluster.nodes().collect();
    cluster.wait_serving(&all, PATIENCE).await?;
    for node in &all {
        println!(
            "    n{node} serves clients at {}",
            cluster.client_url(*node)
        );
    }
    let leader = cluster.wait_leader(&all, PATIENCE).await?;
    println!("    n{leader} leads");

    let mut written = Vec::new();
    say(&format!(
        "Writing {puts} keys through every member, leader or not."
    ));
    for node in &all {
        put_many(&cluster, *node, "calm", puts, &mut written).await?;
    }

    say(&format!("Killing the leader, n{leader}, with SIGKILL."));
    cluster.member(leader)?.kill();
    let killed = Instant::now();
    let survivors: Vec<usize> = all.iter().copied().filter(|node| *node != leader).collect();
    let new = cluster.wait_leader(&survivors, PATIENCE).await?;
    let witness = survivors
        .iter()
        .copied()
        .find(|node| *node != new)
        .unwrap_or(new);
    put_many(&cluster, witness, "first", 1, &mut written).await?;
    println!(
        "    n{new} leads; a write was acknowledged {} ms later",
        killed.elapsed().as_millis()
    );
    for node in &survivors {
        put_many(&cluster, *node, "one-down", puts, &mut written).await?;
        read_back(&cluster, *node, &written).await?;
    }

    say(&format!("Starting n{leader} again on its data."));
    cluster.member(leader)?.start()?;
    cluster.wait_serving(&[leader], PATIENCE).await?;
    read_back(&cluster, leader, &written).await?;

    let alone = cluster.wait_leader(&all, PATIENCE).await?;
    say(&format!(
        "Cutting n{alone}, which leads now, off from the other two; clients reach it still."
    ));
    let cut = Weather::cut(&Topology::isolated(alone, all.len()), Cut::Drop);
    cluster.set_weather(&cut).await?;
    let others: Vec<usize> = all.iter().copied().filter(|node| *node != alone).collect();
    let new = cluster.wait_leader(&others, PATIENCE).await?;
    println!("    n{new} leads the other two");
    put_many(&cluster, new, "split", puts, &mut written).await?;
    let refused = cluster
        .door(alone, ATTEMPT)?
        .put("nobody/heard", "this")
        .await;
    ensure!(
        refused.is_err(),
        "n{alone} acknowledged a write that nobody else has"
    );
    let refused = cluster.door(alone, ATTEMPT)?.get("nobody/heard").await;
    ensure!(
        refused.is_err(),
        "n{alone} answered a linearizable read that nobody confirmed"
    );
    println!("    n{alone} acknowledges no write and answers no read: it knows that it is alone");

    say("Healing the links.");
    cluster.set_weather(&Weather::clear()).await?;
    cluster.wait_serving(&all, PATIENCE).await?;
    for node in &all {
        read_back(&cluster, *node, &written).await?;
    }
    let hash = cluster.wait_same_state(&all, PATIENCE).await?;
    println!("    all three hold the same state: hash and log position are {hash}");
    drop(cluster);
    std::fs::remove_dir_all(&dir).context("erase the demo's data")?;
    say(&format!(
        "{} writes were acknowledged and none was lost.",
        written.len()
    ));
    Ok(())
}

fn say(text: &str) {
    println!("==> {text}");
}

/// Puts through one member; what was acknowledged is noted.
async fn put_many(
    cluster: &Cluster,
    node: usize,
    part: &str,
    puts: usize,
    written: &mut Vec<(String, String)>,
) -> Result<()> {
    let mut door: Door = cluster.door(node, ATTEMPT)?;
    let start = Instant::now();
    for count in 0..puts {
        let (key, value) = (
            format!("demo/{part}/n{node}/{count:05}"),
            format!("value {count}"),
        );
        // The same key and value again is harmless; an election may be on.
        until_ok("a write to be acknowledged", PATIENCE, async || {
            door.put(key.clone(), value.clone()).await.context("put")
        })
        .await?;
        written.push((key, value));
    }
    println!(
        "    n{node} acknowledged {puts} in {} ms",
        start.elapsed().as_millis()
    );
    Ok(())
}

/// Everything that was acknowledged, read linearizably from one member.
async fn read_back(cluster: &Cluster, node: usize, written: &[(String, String)]) -> Result<()> {
    let mut door = cluster.door(node, PATIENCE)?;
    let (revision, all) = until_ok(
        format!("n{node} to read everything"),
        PATIENCE,
        async || door.dump(0).await,
    )
    .await?;
    let there: std::collections::HashMap<&[u8], &[u8]> = all
        .iter()
        .map(|kv| (kv.key.as_ref(), kv.value.as_ref()))
        .collect();
    for (key, value) in written {
        let found = there.get(key.as_bytes());
        ensure!(
            found == Some(&value.as_bytes()),
            "lost: {key} = {value:?}; n{node} has {found:?}"
        );
    }
    println!(
        "    n{node} has all {} acknowledged writes, at revision {revision}",
        written.len()
    );
    Ok(())
}

//! A follower is away while 200,000 keys are written and the log that it lacks is purged: it comes
//! back by snapshot, while the leader serves, and holds the very same state.

use super::Context;
use super::arena::Arena;
use crate::cluster::local::PATIENCE;
use crate::history::{Action, Outcome};
use crate::wait::until_ok;
use anyhow::{Context as _, Result, ensure};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

const KEYS: usize = 200_000;
const KEYS_PER_TXN: usize = 100;
const WRITERS: usize = 4;
/// While a snapshot is built and sent no write may wait longer.
const WRITE_STALL_MAX: Duration = Duration::from_secs(2);

/// # Errors
/// The log is not purged, the follower does not come back, or it holds another state.
pub async fn tell(context: &Context) -> Result<String> {
    let mut arena = Arena::open(context, "snapshot", 3, &["--snapshot-count", "100"]).await?;
    let all: Vec<usize> = arena.cluster.nodes().collect();
    let leader = arena.cluster.wait_leader(&all, PATIENCE).await?;
    let away = all
        .iter()
        .copied()
        .find(|node| *node != leader)
        .context("no follower")?;
    let had = arena.cluster.observe(away, false).await?.last_log_index;
    arena.cluster.member(away)?.kill();

    let start = Instant::now();
    fill(&arena, leader).await?;
    arena.say(&format!(
        "{KEYS} keys written in {:.1} s",
        start.elapsed().as_secs_f64()
    ));
    let cluster = &arena.cluster;
    let purged = until_ok("the log to be purged", PATIENCE, async || {
        let purged = cluster.observe(leader, false).await?.purged_index;
        ensure!(
            purged > had,
            "purged up to {purged}; the follower has {had}"
        );
        Ok(purged)
    })
    .await?;
    arena.say(&format!(
        "n{away} has the log up to {had}; the leader purged it up to {purged}"
    ));

    arena.start_load(3, false, 10)?;
    arena.wait_acknowledged(50, PATIENCE).await?;
    let back = Instant::now();
    arena.cluster.member(away)?.start()?;
    let cluster = &arena.cluster;
    let snapshots = until_ok("the follower to catch up", 2 * PATIENCE, async || {
        let ahead = cluster.observe(leader, false).await?.applied_index;
        let seen = cluster.observe(away, false).await?;
        ensure!(seen.snapshots_installed > 0, "no snapshot installed");
        ensure!(
            seen.applied_index + 200 >= ahead,
            "it applied {}, the leader {ahead}",
            seen.applied_index
        );
        Ok(seen.snapshots_installed)
    })
    .await?;
    let took = back.elapsed();
    arena.stop_load().await;
    let writes = arena.history.acknowledged_since(back, &all);
    let slowest = writes
        .iter()
        .map(|write| write.completed - write.invoked)
        .max();
    let slowest = slowest.context("nothing was written while the snapshot was sent")?;
    arena.say(&format!(
        "n{away} is back after {:.1} s and {snapshots} snapshot(s); meanwhile {} writes, the \
         slowest {} ms",
        took.as_secs_f64(),
        writes.len(),
        slowest.as_millis()
    ));
    ensure!(
        slowest <= WRITE_STALL_MAX,
        "a write waited {slowest:?} for a snapshot"
    );
    let verdict = arena.close().await?;
    ensure!(verdict.keys >= KEYS, "only {} keys", verdict.keys);
    Ok(format!(
        "back by snapshot in {:.1} s; {verdict}",
        took.as_secs_f64()
    ))
}

/// Writes the keys through the leader, and into the history.
async fn fill(arena: &Arena, leader: usize) -> Result<()> {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let mut door = arena.cluster.door(leader, PATIENCE)?;
        let history = arena.history.clone();
        writers.spawn(async move {
            for txn in (0..KEYS / KEYS_PER_TXN).filter(|txn| txn % WRITERS == writer) {
                let pairs: Vec<_> = (0..KEYS_PER_TXN)
                    .map(|nth| {
                        let number = txn * KEYS_PER_TXN + nth;
                        (
                            format!("fill/{number:06}").into(),
                            format!("{number:032} thirty-two bytes and a little more").into(),
                        )
                    })
                    .collect();
                let invoked = Instant::now();
                let revision = door.put_all(pairs.clone()).await.context("fill")?;
                let written = Outcome::Written { revision };
                history.record(leader, Action::Write(pairs), invoked, written);
            }
            anyhow::Ok(())
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.context("a writer")??;
    }
    Ok(())
}

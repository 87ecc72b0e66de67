//! A follower is away while 200,000 keys are written and the log that it lacks is purged: it comes
//! back by snapshot, while the leader serves, and holds the very same state.

use super::Context;
use super::arena::Arena;
use crate::cluster::local::PATIENCE;
use crate::door::Door;
use crate::faults::history::{Action, History, Outcome};
use crate::wait::until_ok;
use anyhow::{Context as _, Result, bail, ensure};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

const KEYS: usize = 200_000;
const KEYS_PER_TXN: usize = 100;
const WRITERS: usize = 4;
/// While a snapshot is built and sent, writes are acknowledged all the time. Less than the clients'
/// deadline, so that a stall shows here or as a failed request.
const SILENCE_MAX: Duration = Duration::from_millis(1_500);
/// A batch of keys is tried so often.
const FILL_ATTEMPTS: usize = 10;

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
    // The clients that began with the absent member have moved on by then.
    arena.wait_acknowledged(200, PATIENCE).await?;
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
    let there = Instant::now();
    let took = there - back;
    arena.stop_load().await;
    let silence = arena.history.longest_silence(back, there);
    let meanwhile = arena.history.since(back);
    let writes = meanwhile.iter().filter(|o| o.is_acknowledged_write());
    let writes = writes.count();
    let failed = meanwhile
        .iter()
        .find(|o| o.node != away && matches!(o.outcome, Outcome::Unknown(_)));
    arena.say(&format!(
        "n{away} is back after {:.1} s and {snapshots} snapshot(s); meanwhile {writes} writes, the \
         longest silence {} ms",
        took.as_secs_f64(),
        silence.as_millis()
    ));
    ensure!(
        silence <= SILENCE_MAX,
        "for {silence:?} nothing was acknowledged while a snapshot was sent"
    );
    if let Some(failed) = failed {
        bail!("while a snapshot was sent a request failed: {failed:?}");
    }
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
                fill_one(&mut door, leader, txn, &history).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.context("a writer")??;
    }
    Ok(())
}

/// Writes one batch; after a failure again, with other values, because nobody knows what became of
/// the first.
async fn fill_one(door: &mut Door, node: usize, txn: usize, history: &History) -> Result<()> {
    let mut why = String::new();
    for attempt in 0..FILL_ATTEMPTS {
        let pairs: Vec<_> = (0..KEYS_PER_TXN)
            .map(|nth| {
                let number = txn * KEYS_PER_TXN + nth;
                (
                    format!("fill/{number:06}").into(),
                    format!("{number:032}.{attempt} thirty-two bytes and a little more").into(),
                )
            })
            .collect();
        let invoked = Instant::now();
        match door.put_all(pairs.clone()).await {
            Ok(revision) => {
                let written = Outcome::Written { revision };
                history.record(node, Action::Write(pairs), invoked, written);
                return Ok(());
            }
            Err(status) => {
                why = status.to_string();
                let unknown = Outcome::Unknown(why.clone());
                history.record(node, Action::Write(pairs), invoked, unknown);
            }
        }
    }
    bail!("a batch failed {FILL_ATTEMPTS} times: {why}")
}

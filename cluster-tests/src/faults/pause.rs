//! The leader stands still (SIGSTOP) until another one leads, and wakes up believing that it still
//! does: its clocks, its timers and its sockets never noticed. It must not answer one read from the
//! past, nor acknowledge a write that its successor does not know.

use super::Context;
use super::arena::Arena;
use crate::cluster::local::{ELECTION_TIMEOUT, PATIENCE};
use crate::cluster::program::Program;
use crate::faults::history::Outcome;
use crate::faults::workload::first_acknowledged;
use crate::wait::until_ok;
use anyhow::{Context as _, Result, ensure};
use std::time::Duration;
use tokio::time::Instant;

const ROUNDS: usize = 5;

/// # Errors
/// The survivors do not serve, or the sleeper tells something that is no longer true.
pub async fn tell(context: &Context) -> Result<String> {
    let mut arena = Arena::open(context, "pause", 3, &[]).await?;
    let all: Vec<usize> = arena.cluster.nodes().collect();
    let mut slowest = Duration::ZERO;
    let mut asked = 0;
    for round in 1..=ROUNDS {
        // Pinned, so that the sleeper's clients have calls waiting at its door when it wakes.
        arena.start_load(12, true, 60)?;
        arena.wait_acknowledged(100, PATIENCE).await?;
        let sleeper = arena.cluster.wait_leader(&all, PATIENCE).await?;
        let others: Vec<usize> = all
            .iter()
            .copied()
            .filter(|node| *node != sleeper)
            .collect();
        let urls: Vec<(usize, String)> = others
            .iter()
            .map(|node| (*node, arena.cluster.client_url(*node)))
            .collect();

        arena.cluster.member(sleeper)?.pause()?;
        let paused = Instant::now();
        let gap = first_acknowledged(&urls, &arena.history, PATIENCE).await? - paused;
        slowest = slowest.max(gap);
        let next = arena.cluster.wait_leader(&others, PATIENCE).await?;
        // Enough that a read of the past would show.
        arena.wait_acknowledged(300, PATIENCE).await?;

        arena.cluster.member(sleeper)?.resume()?;
        let awake = Instant::now();
        let answered = until_ok("the sleeper to answer again", PATIENCE, async || {
            let since = arena.history.since(awake);
            let answered = since.iter().filter(|operation| {
                operation.node == sleeper && !matches!(operation.outcome, Outcome::Unknown(_))
            });
            let answered = answered.count();
            ensure!(answered >= 20, "{answered} answers so far");
            Ok(answered)
        })
        .await?;
        asked += answered;
        let after = arena.cluster.wait_leader(&all, PATIENCE).await?;
        let (verdict, hash) = arena
            .judge()
            .await
            .with_context(|| format!("round {round}"))?;
        arena.say(&format!(
            "round {round}/{ROUNDS}: n{sleeper} stood still, n{next} led after {} ms; awake again, \
             n{after} leads; {verdict}; hash {hash}",
            gap.as_millis()
        ));
        if context.program == Program::Quorate {
            ensure!(
                after == next,
                "n{sleeper}, awake again, took the leadership from a healthy n{next}"
            );
            ensure!(
                gap <= 8 * ELECTION_TIMEOUT,
                "the survivors served after {gap:?}: more than 8 election timeouts"
            );
        }
    }
    let verdict = arena.close().await?;
    Ok(format!(
        "{ROUNDS} rounds, survivors serving within {} ms, {asked} answers of sleepers just awake; \
         {verdict}",
        slowest.as_millis()
    ))
}

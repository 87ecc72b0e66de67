//! kill -9 of any member, of the leader, and of all, at random moments under load.

use super::Context;
use super::arena::Arena;
use crate::cluster::local::PATIENCE;
use crate::faults::workload::first_acknowledged;
use anyhow::{Context as _, Result, ensure};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::time::Duration;
use tokio::time::Instant;

const CLIENTS: usize = 8;

/// A cluster without one member serves again well within this, clients' deadlines included.
const SURVIVORS_SERVE: Duration = Duration::from_secs(10);

/// It takes about half a second where the machine has time; this is for one that has not.
const REPLACED_WITHIN: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
enum Victim {
    Any,
    Leader,
    All,
}

/// # Errors
/// Something acknowledged was lost, or the cluster did not come back.
pub async fn tell(context: &Context) -> Result<String> {
    let mut random = StdRng::seed_from_u64(context.seed);
    let mut arena = Arena::open(context, "kill", 3, &[]).await?;
    let mut slowest = Duration::ZERO;
    let mut replaced = Vec::new();
    // Each kind of kill in turn, in a random order, so that even a short run has them all.
    let kinds = [Victim::Any, Victim::Leader, Victim::All];
    let mut next = Vec::new();
    for round in 1..=context.rounds {
        if next.is_empty() {
            next = kinds
                .choose_multiple(&mut random, kinds.len())
                .copied()
                .collect();
        }
        let victim = next.pop().unwrap_or(Victim::All);
        let before = Kill {
            victim,
            after: random.random_range(50..600),
            away: random.random_range(1..300),
            any: random.random_range(1..=3),
        };
        let (gap, words) = before.carry_out(&mut arena).await.with_context(|| {
            format!(
                "round {round} of {}, seed {}: {before:?}",
                context.rounds, context.seed
            )
        })?;
        slowest = slowest.max(gap);
        if matches!(victim, Victim::Leader) {
            replaced.push(gap);
        }
        let (verdict, hash) = arena
            .judge()
            .await
            .with_context(|| format!("round {round}"))?;
        arena.say(&format!(
            "round {round}/{}: {words} after {} writes, serving again in {} ms; {} acknowledged \
             so far, all there; hash {hash}",
            context.rounds,
            before.after,
            gap.as_millis(),
            verdict.acknowledged
        ));
    }
    let verdict = arena.close().await?;
    ensure!(
        verdict.acknowledged >= 100 * context.rounds,
        "too few writes to mean anything"
    );
    replaced.sort_unstable();
    let median = replaced.get(replaced.len() / 2).copied();
    let median = median.unwrap_or_default();
    ensure!(
        median <= REPLACED_WITHIN,
        "a killed leader is replaced in {median:?} (median of {})",
        replaced.len()
    );
    Ok(format!(
        "{} rounds, a killed leader replaced in {} ms (median of {}), slowest return {} ms; \
         {verdict}",
        context.rounds,
        median.as_millis(),
        replaced.len(),
        slowest.as_millis()
    ))
}

/// One round's schedule.
#[derive(Clone, Copy, Debug)]
struct Kill {
    victim: Victim,
    /// Acknowledged writes before the kill.
    after: usize,
    /// Acknowledged writes before the victim returns.
    away: usize,
    /// The victim, if it is to be any.
    any: usize,
}

impl Kill {
    /// How long nothing was acknowledged, and what was done.
    async fn carry_out(&self, arena: &mut Arena) -> Result<(Duration, String)> {
        let all: Vec<usize> = arena.cluster.nodes().collect();
        arena.start_load(CLIENTS, false, 20)?;
        arena.wait_acknowledged(self.after, PATIENCE).await?;
        let victim = match self.victim {
            Victim::All => {
                arena.cluster.restart_all()?;
                let gap = arena.wait_first_acknowledged(&all, PATIENCE).await?;
                arena.wait_acknowledged(self.away, PATIENCE).await?;
                return Ok((gap, "kill -9 of all".to_owned()));
            }
            Victim::Leader => arena.cluster.wait_leader(&all, PATIENCE).await?,
            Victim::Any => self.any,
        };
        let survivors: Vec<(usize, String)> = all
            .iter()
            .filter(|node| **node != victim)
            .map(|node| (*node, arena.cluster.client_url(*node)))
            .collect();
        arena.cluster.member(victim)?.kill();
        let killed = Instant::now();
        let first = first_acknowledged(&survivors, &arena.history, SURVIVORS_SERVE).await?;
        let gap = first - killed;
        arena.wait_acknowledged(self.away, PATIENCE).await?;
        arena.cluster.member(victim)?.start()?;
        arena.cluster.wait_serving(&[victim], PATIENCE).await?;
        // So little was missed that the log has it.
        let snapshots = arena
            .cluster
            .observe(victim, false)
            .await?
            .snapshots_installed;
        ensure!(
            snapshots == 0,
            "n{victim} missed some hundred writes and needed a snapshot"
        );
        let kind = if matches!(self.victim, Victim::Leader) {
            "the leader"
        } else {
            "a member"
        };
        Ok((gap, format!("kill -9 of {kind}, n{victim},")))
    }
}

//! The leader is cut from everybody: the others elect and serve; it acknowledges nothing, reads
//! nothing and stops calling itself leader; afterwards there is one history.

use super::Context;
use super::arena::Arena;
use crate::cluster::local::{ELECTION_TIMEOUT, PATIENCE};
use crate::cluster::topology::Topology;
use crate::history::Outcome;
use crate::wait::until_ok;
use crate::workload::first_acknowledged;
use anyhow::{Context as _, Result, ensure};
use std::time::Duration;
use tokio::time::Instant;

const ROUNDS: usize = 3;
/// Within this many election timeouts the majority serves.
const SERVES_WITHIN: u32 = 5;

/// # Errors
/// The majority does not serve, the minority does, or the histories differ.
pub async fn tell(context: &Context) -> Result<String> {
    let mut arena = Arena::open(context, "leader-cut", 3, &[]).await?;
    let all: Vec<usize> = arena.cluster.nodes().collect();
    let mut slowest = Duration::ZERO;
    let mut refused = 0;
    for round in 1..=ROUNDS {
        let old = arena.cluster.wait_leader(&all, PATIENCE).await?;
        // Pinned, with many reads: the old leader's clients keep asking it.
        arena.start_load(6, true, 50)?;
        arena.wait_acknowledged(200, PATIENCE).await?;

        arena
            .cluster
            .links()?
            .cut(Topology::isolated(old, all.len()));
        let cut = Instant::now();
        let majority: Vec<usize> = all.iter().copied().filter(|node| *node != old).collect();
        let urls: Vec<(usize, String)> = majority
            .iter()
            .map(|node| (*node, arena.cluster.client_url(*node)))
            .collect();
        let first = first_acknowledged(&urls, &arena.history, PATIENCE).await?;
        let gap = first - cut;
        slowest = slowest.max(gap);

        let cluster = &arena.cluster;
        until_ok(
            "the old leader to step down",
            8 * ELECTION_TIMEOUT,
            async || {
                let seen = cluster.observe(old, false).await?;
                ensure!(
                    !seen.is_leader(),
                    "node {old} calls itself leader of term {}",
                    seen.term
                );
                Ok(())
            },
        )
        .await?;
        let new = cluster.wait_leader(&majority, PATIENCE).await?;
        arena.wait_acknowledged(500, PATIENCE).await?;
        // The clients of the old leader must have been told something, so that "no answer" means it.
        let asked = until_ok(
            "the old leader's clients to be refused",
            PATIENCE,
            async || {
                let asked = arena.history.since(cut);
                let refused = asked
                    .iter()
                    .filter(|operation| operation.node == old)
                    .count();
                ensure!(refused >= 2, "{refused} so far");
                Ok(asked)
            },
        )
        .await?;
        for operation in asked.iter().filter(|operation| operation.node == old) {
            ensure!(
                matches!(operation.outcome, Outcome::Unknown(_)),
                "node {old}, cut off, answered {:?} {:?} after the cut",
                operation.action,
                operation.outcome
            );
            refused += 1;
        }

        arena.cluster.links()?.heal();
        arena.cluster.wait_serving(&[old], PATIENCE).await?;
        let (verdict, hash) = arena
            .judge()
            .await
            .with_context(|| format!("round {round}"))?;
        arena.say(&format!(
            "round {round}/{ROUNDS}: n{old} cut off, n{new} leads, serving again in {} ms; \
             {verdict}; hash {hash}",
            gap.as_millis()
        ));
        ensure!(
            gap <= SERVES_WITHIN * ELECTION_TIMEOUT,
            "the majority served after {gap:?}: more than {SERVES_WITHIN} election timeouts"
        );
    }
    let verdict = arena.close().await?;
    Ok(format!(
        "{ROUNDS} rounds, majority serving within {} ms, {refused} requests refused by old \
         leaders, none answered; {verdict}",
        slowest.as_millis()
    ))
}

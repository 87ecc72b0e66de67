//! The leader is cut from everybody: the others elect and serve; it acknowledges nothing, reads
//! nothing and stops calling itself leader; afterwards there is one history.

use super::Context;
use super::arena::Arena;
use crate::cluster::local::{ELECTION_TIMEOUT, PATIENCE};
use crate::cluster::topology::Topology;
use crate::cluster::weather::{Cut, Weather};
use crate::faults::workload::{Probes, first_acknowledged};
use crate::wait::until_ok;
use anyhow::{Context as _, Result, ensure};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const ROUNDS: usize = 3;
/// Within this many election timeouts the majority serves.
const SERVES_WITHIN: u32 = 5;
/// So many the cut lasts at least.
const CUT_LASTS: u32 = 6;
/// Writes and reads, each, that the old leader must have been asked for in one cut.
const ASKED_MIN: usize = 10;

/// # Errors
/// The majority does not serve, the minority does, or the histories differ.
pub async fn tell(context: &Context) -> Result<String> {
    let mut arena = Arena::open(context, "leader-cut", 3, &[]).await?;
    let mut slowest = Duration::ZERO;
    let mut refused = (0, 0);
    for round in 1..=ROUNDS {
        let (gap, (writes, reads)) = act(&mut arena, round)
            .await
            .with_context(|| format!("round {round}"))?;
        slowest = slowest.max(gap);
        refused = (refused.0 + writes, refused.1 + reads);
    }
    let verdict = arena.close().await?;
    Ok(format!(
        "{ROUNDS} rounds, majority serving within {} ms, {} writes and {} reads asked of old \
         leaders, none answered; {verdict}",
        slowest.as_millis(),
        refused.0,
        refused.1
    ))
}

/// One cut: how long nobody served, and how many writes and reads the old leader left unanswered.
async fn act(arena: &mut Arena, round: usize) -> Result<(Duration, (usize, usize))> {
    let all: Vec<usize> = arena.cluster.nodes().collect();
    // Pinned, with many reads: the old leader's clients keep asking it.
    arena.start_load(6, true, 50)?;
    arena.wait_acknowledged(200, PATIENCE).await?;
    // Under the load, at the last moment: it may have moved.
    let old = arena.cluster.wait_leader(&all, PATIENCE).await?;
    let old_term = arena.cluster.observe(old, false).await?.term;
    let majority: Vec<usize> = all.iter().copied().filter(|node| *node != old).collect();
    let urls: Vec<(usize, String)> = majority
        .iter()
        .map(|node| (*node, arena.cluster.client_url(*node)))
        .collect();

    let alone = Weather::cut(&Topology::isolated(old, all.len()), Cut::Drop);
    arena.cluster.set_weather(&alone).await?;
    let cut = Instant::now();
    // Open loop, from the first moment: the time before it steps down is the dangerous one.
    let url = arena.cluster.client_url(old);
    let probes = Probes::start(old, &url, &arena.register(), &arena.history)?;
    let gap = first_acknowledged(&urls, &arena.history, PATIENCE).await? - cut;

    let cluster = &arena.cluster;
    let what = "the old leader to step down";
    until_ok(what, 8 * ELECTION_TIMEOUT, async || {
        let seen = cluster.observe(old, false).await?;
        ensure!(
            !seen.is_leader(),
            "node {old} calls itself leader of term {}",
            seen.term
        );
        Ok(())
    })
    .await?;
    // Clients ask at its door, and it says the same there.
    let status = cluster.door(old, PATIENCE)?.status().await;
    let status = status.context("the status of the old leader")?;
    let own = status.header.as_ref().map_or(0, |header| header.member_id);
    ensure!(
        status.leader != own,
        "node {old} has stepped down, and its door still names it leader"
    );
    let new = cluster.wait_leader(&majority, PATIENCE).await?;
    let new_term = cluster.observe(new, false).await?.term;
    ensure!(
        new_term > old_term,
        "n{old} led term {old_term}, n{new} leads term {new_term}"
    );
    arena.wait_acknowledged(500, PATIENCE).await?;
    // The passing of time is the condition here: the old leader must be asked for a while.
    sleep_until(cut + CUT_LASTS * ELECTION_TIMEOUT).await;

    let healed = Instant::now();
    arena.cluster.set_weather(&Weather::clear()).await?;
    probes.stop().await;
    arena.cluster.wait_serving(&[old], PATIENCE).await?;
    let (verdict, hash) = arena.judge().await?;
    let asked = arena.history.unanswered(old, cut, healed)?;
    let soon = arena.history.unanswered(old, cut, cut + ELECTION_TIMEOUT)?;
    arena.say(&format!(
        "round {round}/{ROUNDS}: n{old} cut off, n{new} leads, serving again in {} ms; {} writes \
         and {} reads asked of n{old}, none answered; {verdict}; hash {hash}",
        gap.as_millis(),
        asked.0,
        asked.1
    ));
    ensure!(
        asked.0 >= ASKED_MIN && asked.1 >= ASKED_MIN && soon.0 > 0 && soon.1 > 0,
        "the old leader was asked too little: {asked:?} (writes, reads), {soon:?} of them within \
         an election timeout"
    );
    ensure!(
        gap <= SERVES_WITHIN * ELECTION_TIMEOUT,
        "the majority served after {gap:?}: more than {SERVES_WITHIN} election timeouts"
    );
    Ok((gap, asked))
}

//! Partial partitions: everybody hears somebody, nobody agrees who. A cluster that is available
//! only once the cut is over has failed; one whose terms race is about to.

use super::Context;
use super::arena::Arena;
use crate::cluster::local::{Cluster, ELECTION_TIMEOUT, PATIENCE};
use crate::cluster::topology::Topology;
use crate::workload::first_acknowledged;
use anyhow::{Context as _, Result, ensure};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Within so many election timeouts the cluster serves, while the cut lasts.
const SERVES_WITHIN: u32 = 8;
/// So many it lasts at least: time enough for terms to race.
const CUT_LASTS: u32 = 16;
/// Elections that one cut may cost.
const ELECTIONS_MAX: u64 = 4;

/// A cut, given who leads, and what it may cost.
struct Scenario {
    name: &'static str,
    nodes: usize,
    topology: fn(leader: usize, others: &[usize]) -> Topology,
    /// The leader keeps its quorum and must not be disturbed.
    leader_stays: bool,
    /// The cut comes and goes, this often.
    flaps: usize,
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "deaf leader",
        nodes: 3,
        topology: |leader, others| Topology::deaf(leader, others.len() + 1),
        leader_stays: false,
        flaps: 0,
    },
    Scenario {
        name: "mute leader",
        nodes: 3,
        topology: |leader, others| Topology::mute(leader, others.len() + 1),
        leader_stays: false,
        flaps: 0,
    },
    Scenario {
        name: "deaf follower",
        nodes: 3,
        topology: |_, others| Topology::deaf(first(others), others.len() + 1),
        leader_stays: true,
        flaps: 0,
    },
    Scenario {
        name: "mute follower",
        nodes: 3,
        topology: |_, others| Topology::mute(first(others), others.len() + 1),
        leader_stays: true,
        flaps: 0,
    },
    // Cloudflare, November 2020: the leader and one follower do not hear each other, both hear the
    // third.
    Scenario {
        name: "leader--x--follower",
        nodes: 3,
        topology: |leader, others| Topology::link_down(leader, first(others)),
        leader_stays: true,
        flaps: 0,
    },
    Scenario {
        name: "flapping follower",
        nodes: 3,
        topology: |_, others| Topology::isolated(first(others), others.len() + 1),
        leader_stays: true,
        flaps: 5,
    },
    // The leader hears only the bridge; the bridge and two more are a quorum; one is alone.
    Scenario {
        name: "bridge of five",
        nodes: 5,
        topology: |leader, others| match others {
            [bridge, a, b, ..] => {
                Topology::sides(&[vec![leader, *bridge], vec![*bridge, *a, *b]], 5)
            }
            _ => Topology::healed(),
        },
        leader_stays: false,
        flaps: 0,
    },
    // Only the hub hears everybody, and it does not lead.
    Scenario {
        name: "hub of five",
        nodes: 5,
        topology: |leader, others| match others {
            [hub, a, b, c] => Topology::sides(
                &[
                    vec![leader, *hub],
                    vec![*hub, *a],
                    vec![*hub, *b],
                    vec![*hub, *c],
                ],
                5,
            ),
            _ => Topology::healed(),
        },
        leader_stays: false,
        flaps: 0,
    },
];

fn first(nodes: &[usize]) -> usize {
    nodes.first().copied().unwrap_or(1)
}

/// # Errors
/// A cut made the cluster unavailable, its terms race, or its histories differ.
pub async fn tell(context: &Context) -> Result<String> {
    let mut gaps = Vec::new();
    let mut acknowledged = 0;
    for nodes in [3, 5] {
        let mut arena = Arena::open(context, "partial", nodes, &[]).await?;
        for scenario in SCENARIOS.iter().filter(|scenario| scenario.nodes == nodes) {
            let gap = act(&mut arena, scenario).await.with_context(|| {
                format!(
                    "{}; data and logs in {}",
                    scenario.name,
                    context.dir.display()
                )
            })?;
            gaps.push(format!("{} {} ms", scenario.name, gap.as_millis()));
        }
        acknowledged += arena.close().await?.acknowledged;
    }
    Ok(format!(
        "{acknowledged} writes all there; served again after: {}",
        gaps.join(", ")
    ))
}

/// The highest term that any member knows.
async fn highest_term(cluster: &Cluster) -> Result<u64> {
    let mut highest = 0;
    for node in cluster.nodes() {
        highest = highest.max(cluster.observe(node, false).await?.term);
    }
    Ok(highest)
}

/// Cuts, and returns how long the cluster took to serve again.
async fn act(arena: &mut Arena, scenario: &Scenario) -> Result<Duration> {
    let all: Vec<usize> = arena.cluster.nodes().collect();
    let leader = arena.cluster.wait_leader(&all, PATIENCE).await?;
    let others: Vec<usize> = all.iter().copied().filter(|node| *node != leader).collect();
    let topology = (scenario.topology)(leader, &others);
    ensure!(!topology.is_healed(), "the scenario cuts nothing");
    arena.start_load(2 * all.len(), true, 20)?;
    arena.wait_acknowledged(100, PATIENCE).await?;
    let term = highest_term(&arena.cluster).await?;

    let words = topology.to_string();
    let cut = Instant::now();
    arena.cluster.links()?.cut(topology.clone());
    let urls: Vec<(usize, String)> = all
        .iter()
        .map(|node| (*node, arena.cluster.client_url(*node)))
        .collect();
    let bound = SERVES_WITHIN * ELECTION_TIMEOUT;
    let gap = first_acknowledged(&urls, &arena.history, PATIENCE).await? - cut;
    let end = cut + CUT_LASTS * ELECTION_TIMEOUT;
    let mut flaps = 0;
    while Instant::now() < end || flaps < scenario.flaps {
        // The passing of time is the condition here: a cut has a duration.
        sleep(2 * ELECTION_TIMEOUT).await;
        if scenario.flaps > 0 {
            flaps += 1;
            arena.cluster.links()?.heal();
            sleep(ELECTION_TIMEOUT).await;
            arena.cluster.links()?.cut(topology.clone());
        }
    }
    let terms = highest_term(&arena.cluster).await? - term;
    let silence = longest_silence(arena, cut + gap, Instant::now());
    arena.cluster.links()?.heal();
    arena.cluster.wait_serving(&all, PATIENCE).await?;
    let after = arena.cluster.wait_leader(&all, PATIENCE).await?;
    let (verdict, hash) = arena.judge().await?;
    arena.say(&format!(
        "{}: {words}; serving again in {} ms, longest silence after that {} ms, {terms} new terms, \
         leader n{leader} then n{after}; {verdict}; hash {hash}",
        scenario.name,
        gap.as_millis(),
        silence.as_millis()
    ));
    ensure!(
        gap <= bound,
        "it served after {gap:?}: more than {SERVES_WITHIN} election timeouts"
    );
    ensure!(
        silence <= bound,
        "while the cut lasted nothing was acknowledged for {silence:?}"
    );
    if scenario.leader_stays {
        ensure!(
            after == leader,
            "a healthy leader, n{leader}, was replaced by n{after}"
        );
        ensure!(terms == 0, "a healthy leader's term was raised by {terms}");
    }
    ensure!(terms <= ELECTIONS_MAX, "terms race: {terms} in one cut");
    Ok(gap)
}

/// The longest time without an acknowledged write.
fn longest_silence(arena: &Arena, from: Instant, to: Instant) -> Duration {
    let mut last = from;
    let mut longest = Duration::ZERO;
    for operation in arena
        .history
        .since(from)
        .iter()
        .filter(|o| o.is_acknowledged_write())
    {
        longest = longest.max(operation.completed.saturating_duration_since(last));
        last = last.max(operation.completed);
    }
    longest.max(to.saturating_duration_since(last))
}

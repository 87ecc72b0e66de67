//! Partial partitions: everybody hears somebody, nobody agrees who. A cluster that is available
//! only once the cut is over has failed; one whose terms race is about to.

use super::Context;
use super::arena::Arena;
use crate::cluster::local::{Cluster, ELECTION_TIMEOUT, PATIENCE};
use crate::cluster::topology::Topology;
use crate::cluster::weather::{Cut, Weather};
use crate::faults::workload::first_acknowledged;
use crate::wait::until_ok;
use anyhow::{Context as _, Result, bail, ensure};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

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
    outcome: Expected,
    /// The cut comes and goes, this often.
    flaps: usize,
}

/// What a cut must do: one that does not bite proves nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// While it lasts another one leads.
    Replaced,
    /// The leader keeps its quorum and must not be disturbed. The first follower's clients have no
    /// answer meanwhile; if it is `deaf`, it learns nothing either.
    Stays { deaf: bool },
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "deaf leader",
        nodes: 3,
        topology: |leader, others| Topology::deaf(leader, others.len() + 1),
        outcome: Expected::Replaced,
        flaps: 0,
    },
    Scenario {
        name: "mute leader",
        nodes: 3,
        topology: |leader, others| Topology::mute(leader, others.len() + 1),
        outcome: Expected::Replaced,
        flaps: 0,
    },
    Scenario {
        name: "deaf follower",
        nodes: 3,
        topology: |_, others| Topology::deaf(first(others), others.len() + 1),
        outcome: Expected::Stays { deaf: true },
        flaps: 0,
    },
    Scenario {
        name: "mute follower",
        nodes: 3,
        topology: |_, others| Topology::mute(first(others), others.len() + 1),
        outcome: Expected::Stays { deaf: false },
        flaps: 0,
    },
    // Cloudflare, November 2020: the leader and one follower do not hear each other, both hear the
    // third.
    Scenario {
        name: "leader--x--follower",
        nodes: 3,
        topology: |leader, others| Topology::link_down(leader, first(others)),
        outcome: Expected::Stays { deaf: true },
        flaps: 0,
    },
    Scenario {
        name: "flapping follower",
        nodes: 3,
        topology: |_, others| Topology::isolated(first(others), others.len() + 1),
        outcome: Expected::Stays { deaf: true },
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
        outcome: Expected::Replaced,
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
        outcome: Expected::Replaced,
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
    arena.start_load(2 * all.len(), true, 20)?;
    arena.wait_acknowledged(100, PATIENCE).await?;
    // Under the load, at the last moment: it may have moved.
    let leader = arena.cluster.wait_leader(&all, PATIENCE).await?;
    let term = highest_term(&arena.cluster).await?;
    let others: Vec<usize> = all.iter().copied().filter(|node| *node != leader).collect();
    let topology = (scenario.topology)(leader, &others);
    ensure!(!topology.is_healed(), "the scenario cuts nothing");
    let urls: Vec<(usize, String)> = all
        .iter()
        .map(|node| (*node, arena.cluster.client_url(*node)))
        .collect();

    let words = topology.to_string();
    let weather = Weather::cut(&topology, Cut::Drop);
    arena.cluster.set_weather(&weather).await?;
    let cut = Instant::now();
    let severed = Severed::begin(arena, scenario, leader, first(&others)).await?;
    let bound = SERVES_WITHIN * ELECTION_TIMEOUT;
    let gap = first_acknowledged(&urls, &arena.history, PATIENCE).await? - cut;
    // The passing of time is the condition here, and below: a cut has a duration.
    sleep_until(cut + CUT_LASTS * ELECTION_TIMEOUT).await;
    let mut bites = vec![severed.end(arena).await?];
    for flap in 0..scenario.flaps {
        let follower = first(&others);
        let had = arena.cluster.observe(follower, false).await?.applied_index;
        arena.cluster.set_weather(&Weather::clear()).await?;
        let cluster = &arena.cluster;
        let what = format!("the flapping follower to learn something past {had}");
        until_ok(what, PATIENCE, async || {
            let has = cluster.observe(follower, false).await?.applied_index;
            ensure!(has > had, "it has {has}");
            Ok(())
        })
        .await?;
        arena.cluster.set_weather(&weather).await?;
        let severed = Severed::begin(arena, scenario, leader, follower).await?;
        sleep(if flap % 2 == 0 { 2 } else { 5 } * ELECTION_TIMEOUT).await;
        bites.push(severed.end(arena).await?);
    }
    if scenario.outcome == Expected::Replaced {
        another_leads(&arena.cluster, &others, term).await?;
    }
    let silence = arena.history.longest_silence(cut + gap, Instant::now());
    arena.cluster.set_weather(&Weather::clear()).await?;
    arena.cluster.wait_serving(&all, PATIENCE).await?;
    let after = arena.cluster.wait_leader(&all, PATIENCE).await?;
    let (verdict, hash) = arena.judge().await?;
    // Now, so that what a returning member does to the others counts too.
    let terms = highest_term(&arena.cluster).await? - term;
    let asked: usize = bites.into_iter().sum();
    arena.say(&format!(
        "{}: {words}; serving again in {} ms, longest silence after that {} ms, {terms} new terms, \
         leader n{leader} then n{after}; {asked} requests of the severed member's clients \
         unanswered; {verdict}; hash {hash}",
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
    if matches!(scenario.outcome, Expected::Stays { .. }) {
        ensure!(
            after == leader,
            "a healthy leader, n{leader}, was replaced by n{after}"
        );
        ensure!(terms == 0, "a healthy leader's term was raised by {terms}");
        ensure!(asked > 0, "nobody asked the severed member anything");
    }
    ensure!(terms <= ELECTIONS_MAX, "terms race: {terms} in one cut");
    Ok(gap)
}

/// Waits until one of `others` leads a term after `term`, while the cut lasts.
async fn another_leads(cluster: &Cluster, others: &[usize], term: u64) -> Result<()> {
    let what = format!("one of {others:?} to lead while the cut lasts");
    until_ok(what, SERVES_WITHIN * ELECTION_TIMEOUT, async || {
        let mut seen = Vec::new();
        for &node in others {
            let one = cluster.observe(node, false).await?;
            if one.is_leader() && one.term > term {
                return Ok(());
            }
            seen.push((node, one.role, one.term));
        }
        bail!("term {term} was the old one's; seen {seen:?}")
    })
    .await
}

/// A follower between the beginning and the end of a cut that parts it from the leader.
struct Severed {
    leader: usize,
    node: usize,
    since: Instant,
    /// The leader's log when the cut was there: nothing after it can reach a deaf follower.
    knowable: u64,
    outcome: Expected,
}

impl Severed {
    /// Called right after the cut.
    async fn begin(arena: &Arena, scenario: &Scenario, leader: usize, node: usize) -> Result<Self> {
        let since = Instant::now();
        let knowable = arena.cluster.observe(leader, false).await?.last_log_index;
        Ok(Self {
            leader,
            node,
            since,
            knowable,
            outcome: scenario.outcome,
        })
    }

    /// Called right before the heal: how many of the follower's clients' requests had no answer.
    async fn end(self, arena: &Arena) -> Result<usize> {
        let Expected::Stays { deaf } = self.outcome else {
            return Ok(0);
        };
        let (node, knowable) = (self.node, self.knowable);
        if deaf {
            let ahead = arena.cluster.observe(self.leader, false).await?;
            let behind = arena.cluster.observe(node, false).await?;
            ensure!(
                ahead.applied_index > knowable,
                "the leader has applied nothing new: the cut was too short"
            );
            ensure!(
                behind.applied_index <= knowable,
                "n{node} has applied {}, and was cut off at {knowable}",
                behind.applied_index
            );
        }
        let now = Instant::now();
        let (writes, reads) = arena.history.unanswered(node, self.since, now)?;
        Ok(writes + reads)
    }
}

//! Watchers on every member, while members are killed, stand still, are cut off and come back by
//! snapshot: each is told every revision exactly once and in order.

use super::Context;
use super::arena::Arena;
use crate::cluster::local::{ELECTION_TIMEOUT, PATIENCE};
use crate::cluster::topology::Topology;
use crate::cluster::weather::{Cut, Weather};
use crate::faults::history::{Action, Outcome};
use crate::faults::spectator::{self, Kind, Spectator};
use crate::wait::{Look, until, until_ok};
use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

const CLIENTS: usize = 6;
/// So few, that who is away for a while comes back by snapshot; more than it misses otherwise.
const SNAPSHOT_COUNT: &str = "500";

/// What befalls the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    KillFollower,
    KillLeader,
    KillAll,
    PauseFollower,
    PauseLeader,
    CutFollower,
    CutLeader,
    /// Until the log that it lacks is gone; its watchers live through the snapshot.
    CutFollowerUntilSnapshot,
    /// Its watchers come back when it does.
    KillFollowerUntilSnapshot,
}

impl Fault {
    const ALL: [Self; 9] = [
        Self::KillFollower,
        Self::KillLeader,
        Self::KillAll,
        Self::PauseFollower,
        Self::PauseLeader,
        Self::CutFollower,
        Self::CutLeader,
        Self::CutFollowerUntilSnapshot,
        Self::KillFollowerUntilSnapshot,
    ];

    fn is_leaders(self) -> bool {
        matches!(self, Self::KillLeader | Self::PauseLeader | Self::CutLeader)
    }

    fn is_by_snapshot(self) -> bool {
        matches!(
            self,
            Self::CutFollowerUntilSnapshot | Self::KillFollowerUntilSnapshot
        )
    }
}

/// Every fault once, in a random order, and then as often as there are rounds left. Those that end
/// with a snapshot are first and last: for some seconds after a transfer the leader purges nothing.
fn schedule(rounds: usize, random: &mut StdRng) -> Vec<Fault> {
    let all = Fault::ALL.into_iter();
    let (mut ends, mut faults): (Vec<_>, Vec<_>) = all.partition(|it| it.is_by_snapshot());
    ends.shuffle(random);
    for _ in Fault::ALL.len()..rounds {
        faults.extend(Fault::ALL.choose(random));
    }
    faults.shuffle(random);
    faults.splice(0..0, ends.pop());
    faults.extend(ends);
    faults
}

/// # Errors
/// A watcher was told something twice, late, in part, or never.
pub async fn tell(context: &Context) -> Result<String> {
    let mut random = StdRng::seed_from_u64(context.seed);
    let flags = ["--snapshot-count", SNAPSHOT_COUNT];
    let mut arena = Arena::open(context, "watch", 3, &flags).await?;
    let mut spectators = Vec::new();
    for node in arena.cluster.nodes() {
        for kind in Kind::ALL {
            let url = arena.cluster.client_url(node);
            spectators.push(Spectator::start(node, &url, kind)?);
        }
    }
    let faults = schedule(context.rounds, &mut random);
    let rounds = faults.len();
    let mut snapshots = 0;
    for (round, fault) in (1..).zip(faults) {
        let streams: usize = spectators.iter().map(Spectator::streams).sum();
        let round_of = || {
            format!(
                "round {round} of {rounds}, {fault:?}, seed {}",
                context.seed
            )
        };
        arena.start_load(CLIENTS, false, 5)?;
        arena
            .wait_acknowledged(random.random_range(100..400), PATIENCE)
            .await?;
        snapshots += befall(&mut arena, fault, &mut random)
            .await
            .with_context(round_of)?;
        let (_, hash) = arena.judge().await.with_context(round_of)?;
        let last = settled(&arena, &spectators).await.with_context(round_of)?;
        let verdict = spectator::judge(&spectators, &arena.history, last).with_context(round_of)?;
        arena.say(&format!(
            "round {round}/{rounds}: {fault:?}; {} streams opened anew; {verdict}; hash {hash}",
            verdict.streams - streams
        ));
    }
    ensure!(snapshots > 0, "nobody came back by snapshot");
    ensure!(
        spectators.iter().any(|it| it.progress() > 0),
        "nobody was told of progress"
    );
    let last = settled(&arena, &spectators).await?;
    let verdict = spectator::judge(&spectators, &arena.history, last)?;
    drop(spectators);
    arena.close().await?;
    Ok(format!("{rounds} faults, {snapshots} snapshots; {verdict}"))
}

/// Waits until every watcher was told the last revision; writers are at rest.
async fn settled(arena: &Arena, spectators: &[Spectator]) -> Result<i64> {
    // Of a register, so that all of them hear of it.
    let mut door = arena.cluster.door(1, PATIENCE)?;
    let value = format!("after {}", arena.history.acknowledged());
    let (key, value, invoked) = (Bytes::from("r-last"), Bytes::from(value), Instant::now());
    let last = door
        .put(key.clone(), value.clone())
        .await
        .context("a last write")?;
    let (action, outcome) = (
        Action::Write(vec![(key, value)]),
        Outcome::Written { revision: last },
    );
    arena.history.record(1, action, invoked, outcome);
    until(
        "every watcher to be told the last revision",
        PATIENCE,
        async || {
            for spectator in spectators {
                if let Err(violation) = spectator.check() {
                    return Look::Ready(Err(violation));
                }
                if spectator.seen() < last {
                    let seen = spectator.seen();
                    return Look::NotYet(format!("{spectator} was told up to {seen} of {last}"));
                }
            }
            Look::Ready(Ok(last))
        },
    )
    .await?
}

/// Lets it happen, and end; answers how many members came back by snapshot.
async fn befall(arena: &mut Arena, fault: Fault, random: &mut StdRng) -> Result<u64> {
    let all: Vec<usize> = arena.cluster.nodes().collect();
    let leader = arena.cluster.wait_leader(&all, PATIENCE).await?;
    let followers: Vec<usize> = all.iter().copied().filter(|node| *node != leader).collect();
    let victim = match fault.is_leaders() {
        true => leader,
        false => *followers.choose(random).context("no followers")?,
    };
    let others: Vec<usize> = all.iter().copied().filter(|node| *node != victim).collect();
    let had = arena.cluster.observe(victim, false).await?;
    match fault {
        Fault::KillAll => {
            arena.cluster.restart_all()?;
            arena.wait_acknowledged(50, PATIENCE).await?;
            return Ok(0);
        }
        Fault::KillFollower | Fault::KillLeader | Fault::KillFollowerUntilSnapshot => {
            arena.cluster.member(victim)?.kill();
        }
        Fault::PauseFollower | Fault::PauseLeader => arena.cluster.member(victim)?.pause()?,
        Fault::CutFollower | Fault::CutLeader | Fault::CutFollowerUntilSnapshot => {
            let cut = Weather::cut(&Topology::isolated(victim, all.len()), Cut::Drop);
            arena.cluster.set_weather(&cut).await?;
        }
    }
    // Others must lead, and write what the victim does not hear of.
    arena
        .wait_first_acknowledged(&others, PATIENCE)
        .await
        .context("the others serve")?;
    if fault.is_by_snapshot() {
        let cluster = &arena.cluster;
        until_ok("the log to be purged", PATIENCE, async || {
            let leader = cluster.wait_leader(&others, ELECTION_TIMEOUT).await?;
            let purged = cluster.observe(leader, false).await?.purged_index;
            ensure!(
                purged > had.last_log_index,
                "purged up to {purged}; n{victim} has {}",
                had.last_log_index
            );
            Ok(())
        })
        .await?;
    } else {
        let more = random.random_range(50..300);
        arena.wait_acknowledged(more, PATIENCE).await?;
    }
    match fault {
        Fault::KillFollower | Fault::KillLeader | Fault::KillFollowerUntilSnapshot => {
            arena.cluster.member(victim)?.start()?;
        }
        Fault::PauseFollower | Fault::PauseLeader => arena.cluster.member(victim)?.resume()?,
        Fault::CutFollower | Fault::CutLeader | Fault::CutFollowerUntilSnapshot => {
            arena.cluster.set_weather(&Weather::clear()).await?;
        }
        Fault::KillAll => bail!("all are back already"),
    }
    arena.cluster.wait_serving(&[victim], PATIENCE).await?;
    let installed = arena
        .cluster
        .observe(victim, false)
        .await?
        .snapshots_installed;
    // A process that was started anew counts from zero.
    let before = match fault {
        Fault::KillFollower | Fault::KillLeader | Fault::KillFollowerUntilSnapshot => 0,
        _ => had.snapshots_installed,
    };
    let by_snapshot = installed.saturating_sub(before);
    ensure!(
        !fault.is_by_snapshot() || by_snapshot > 0,
        "n{victim} came back without a snapshot"
    );
    Ok(by_snapshot)
}

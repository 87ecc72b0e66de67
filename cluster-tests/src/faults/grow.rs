//! A cluster grows from one member to five and shrinks to three, under load: members are added,
//! one is lost for ever and replaced, the leader is removed. What clients were told holds throughout.

use super::Context;
use super::arena::Arena;
use crate::cluster::local::PATIENCE;
use crate::faults::history::Outcome;
use crate::wait::{Look, until, until_ok};
use anyhow::{Context as _, Result, bail, ensure};
use quorate::proto::etcdserverpb::{MemberAddRequest, MemberListRequest, MemberRemoveRequest};
use std::time::Duration;
use tonic::{Code, Status};

const CLIENTS: usize = 6;
/// Acknowledged writes between two changes.
const WRITES: usize = 300;
/// While a member comes or goes, its leader's way out included, something is acknowledged all the
/// time: one election and a client's turn to another member.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// # Errors
/// A member does not join or leave, or something that clients were told does not hold.
pub async fn tell(context: &Context) -> Result<String> {
    // A small snapshot interval: whoever comes late comes by snapshot.
    let mut arena = Arena::open(context, "grow", 1, &["--snapshot-count", "500"]).await?;
    arena.start_load(CLIENTS, false, 20)?;
    arena.wait_acknowledged(WRITES, PATIENCE).await?;
    for _ in 0..4 {
        let node = add(&mut arena).await?;
        arena.say(&format!(
            "n{node} votes: {} members",
            arena.cluster.nodes().count()
        ));
    }
    let by_snapshot = arena.cluster.observe(5, false).await?.snapshots_installed;
    ensure!(by_snapshot > 0, "n5 came late and needed no snapshot");

    // A disk is lost: the member goes, another one with a new name and address comes.
    let all: Vec<usize> = arena.cluster.nodes().collect();
    let leader = arena.cluster.wait_leader(&all, PATIENCE).await?;
    let lost = all.iter().copied().find(|node| *node != leader);
    let lost = lost.context("no follower")?;
    arena.cluster.member(lost)?.kill();
    arena.say(&format!("n{lost} is lost for ever"));
    remove(&mut arena, lost).await?;
    let replacement = add(&mut arena).await?;
    arena.say(&format!("n{replacement} has replaced n{lost}"));

    for what in ["the leader", "the next leader"] {
        let all: Vec<usize> = arena.cluster.nodes().collect();
        let leader = arena.cluster.wait_leader(&all, PATIENCE).await?;
        remove(&mut arena, leader).await?;
        arena.say(&format!("{what}, n{leader}, was removed"));
    }
    let left: Vec<usize> = arena.cluster.nodes().collect();
    ensure!(left.len() == 3, "{left:?} are left");
    turn_load(&mut arena).await?;
    arena.wait_acknowledged(WRITES, PATIENCE).await?;
    let unknown = arena.history.all();
    let unknown = unknown
        .iter()
        .filter(|o| matches!(o.outcome, Outcome::Unknown(_)))
        .count();
    let verdict = arena.close().await?;
    Ok(format!(
        "1 to 5 to 3; {unknown} requests had to be tried again; {verdict}"
    ))
}

/// Clients turn to the members of now.
async fn turn_load(arena: &mut Arena) -> Result<()> {
    arena.stop_load().await;
    arena.start_load(CLIENTS, false, 20)
}

/// Adds a member, starts it, and waits until it votes.
async fn add(arena: &mut Arena) -> Result<usize> {
    let all: Vec<usize> = arena.cluster.nodes().collect();
    let node = arena.cluster.enlist().await?;
    let request = MemberAddRequest {
        peer_ur_ls: vec![arena.cluster.peer_url(node)],
        is_learner: false,
    };
    // Any member may be asked.
    let asked = all[node % all.len()];
    let mut door = arena.cluster.door(asked, Duration::from_secs(10))?;
    let before = tokio::time::Instant::now();
    when_healthy("the member to be added", async || {
        door.cluster.member_add(request.clone()).await
    })
    .await?;
    arena.cluster.member(node)?.start()?;
    arena.cluster.wait_serving(&[node], PATIENCE).await?;
    let cluster = &arena.cluster;
    until_ok("the new member to vote", PATIENCE, async || {
        let seen = cluster.observe(node, false).await?;
        ensure!(seen.voters.contains(&seen.member_id), "a learner yet");
        Ok(())
    })
    .await?;
    settle(arena, before).await?;
    Ok(node)
}

/// Removes a member, and waits until it has stopped by itself, if it runs.
async fn remove(arena: &mut Arena, node: usize) -> Result<()> {
    let all: Vec<usize> = arena.cluster.nodes().collect();
    let runs = arena.cluster.member(node)?.pid().is_some();
    // The member itself is asked, if it is there to answer.
    let asked = if runs {
        node
    } else {
        all.iter()
            .copied()
            .find(|other| *other != node)
            .context("nobody is left")?
    };
    let mut door = arena.cluster.door(asked, Duration::from_secs(10))?;
    let list = door
        .cluster
        .member_list(MemberListRequest { linearizable: true });
    let members = list.await.context("list the members")?.into_inner().members;
    let url = arena.cluster.peer_url(node);
    let member = members
        .iter()
        .find(|member| member.peer_ur_ls.contains(&url));
    let id = member.context("it is no member")?.id;
    let before = tokio::time::Instant::now();
    when_healthy("the member to be removed", async || {
        door.cluster.member_remove(MemberRemoveRequest { id }).await
    })
    .await?;
    if runs {
        let member = arena.cluster.member(node)?;
        let status = member.exit_status(PATIENCE).await?;
        ensure!(
            status.success(),
            "n{node} was removed and ended with {status}"
        );
        let log = std::fs::read_to_string(member.log()).context("read its log")?;
        ensure!(
            log.contains("the member has been permanently removed from the cluster"),
            "n{node} does not say why it stopped"
        );
    }
    arena.cluster.retire(node)?;
    settle(arena, before).await
}

/// Writes go on, and went on all the time; then clients turn to the members of now.
async fn settle(arena: &mut Arena, since: tokio::time::Instant) -> Result<()> {
    arena.wait_acknowledged(WRITES, PATIENCE).await?;
    let silence = arena
        .history
        .longest_silence(since, tokio::time::Instant::now());
    ensure!(
        silence <= SILENCE_MAX,
        "for {silence:?} nothing was acknowledged"
    );
    turn_load(arena).await
}

/// Asks again while the strict check says that members have not been connected for long enough.
/// Nothing else is asked twice.
async fn when_healthy<T>(
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<T, Status>,
) -> Result<()> {
    let outcome = until(what.to_owned(), PATIENCE, async || match ask().await {
        Ok(_) => Look::Ready(Ok(())),
        Err(status)
            if status.code() == Code::Unavailable
                && status.message() == "etcdserver: unhealthy cluster" =>
        {
            Look::NotYet(status.to_string())
        }
        Err(status) => Look::Ready(Err(status)),
    });
    match outcome.await? {
        Ok(()) => Ok(()),
        Err(status) => bail!("{what}: {status}"),
    }
}

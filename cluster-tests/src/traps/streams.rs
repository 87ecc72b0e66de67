//! Traps of members that have lost the others.

use super::ground::{Ground, MEMBERS, is_status, range};
use super::listener::Listener;
use crate::cluster::local::{Cluster, PATIENCE};
use anyhow::{Result, ensure};
use quorate::proto::etcdserverpb::{RangeRequest, WatchCreateRequest};
use std::time::Duration;
use tokio::time::Instant;
use tonic::Code;

/// A watch for anything.
fn anything() -> WatchCreateRequest {
    WatchCreateRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        ..WatchCreateRequest::default()
    }
}

/// A cluster, and a follower of it.
async fn with_a_follower(ground: &Ground) -> Result<(Cluster, usize)> {
    let cluster = ground.own(MEMBERS, &[]).await?;
    let all: Vec<usize> = cluster.nodes().collect();
    let leader = cluster.wait_leader(&all, PATIENCE).await?;
    let follower = all.into_iter().find(|node| *node != leader).unwrap_or(1);
    Ok((cluster, follower))
}

/// Kills every member but `node`.
fn leave_alone(cluster: &mut Cluster, node: usize) -> Result<()> {
    for other in cluster.nodes().filter(|other| *other != node) {
        cluster.member(other)?.kill();
    }
    Ok(())
}

pub(super) async fn a_stream_that_needs_a_leader_ends_without_one(
    ground: &mut Ground,
) -> Result<()> {
    let (mut cluster, follower) = with_a_follower(ground).await?;
    let door = cluster.door(follower, PATIENCE)?;
    let mut needs = Listener::open_as(&door, anything(), true).await?;
    let mut waits = Listener::open(&door, anything()).await?;
    ensure!(
        needs.next().await?.created && waits.next().await?.created,
        "not created"
    );
    leave_alone(&mut cluster, follower)?;
    let killed = Instant::now();
    let words = "etcdserver: no leader";
    is_status(&needs.end().await?, Code::Unavailable, words)?;
    // Three election timeouts, and the time that it takes to miss a leader.
    let after = killed.elapsed();
    ensure!(
        after > Duration::from_millis(300),
        "ended already after {after:?}"
    );
    ensure!(
        waits
            .next_within(Duration::from_millis(100))
            .await?
            .is_none(),
        "not alone"
    );
    match Listener::open_as(&door, anything(), true).await {
        Ok(_) => anyhow::bail!("opened without a leader"),
        Err(status) => is_status(&status, Code::Unavailable, words),
    }
}

pub(super) async fn a_member_alone_answers_serializable_reads_only(
    ground: &mut Ground,
) -> Result<()> {
    let (mut cluster, follower) = with_a_follower(ground).await?;
    let mut door = cluster.door(follower, PATIENCE)?;
    door.put("a", "x").await?;
    // So that this member has applied it.
    door.get("a").await?;
    leave_alone(&mut cluster, follower)?;
    let read = |serializable| RangeRequest {
        key: "a".into(),
        serializable,
        ..RangeRequest::default()
    };
    for _ in 0..3 {
        let answer = range(&mut door, read(true)).await?;
        ensure!(
            answer.kvs.first().is_some_and(|kv| kv.value == "x"),
            "{answer:?}"
        );
    }
    let mut hurried = cluster.door(follower, Duration::from_secs(2))?;
    let answer = range(&mut hurried, read(false)).await;
    ensure!(
        answer.is_err(),
        "alone, and it answers a linearizable read: {answer:?}"
    );
    let answer = hurried.put("a", "y").await;
    ensure!(answer.is_err(), "alone, and it answers a write: {answer:?}");
    Ok(())
}

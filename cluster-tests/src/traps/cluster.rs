//! Traps of restarts and of changing members.

use super::ground::{Ground, MEMBERS, compact, delete, inner, put, range, refused, revision};
use crate::cluster::local::PATIENCE;
use crate::wait::{Look, until};
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use quorate::proto::etcdserverpb::{
    MemberAddRequest, MemberListRequest, MemberPromoteRequest, RangeRequest,
};
use tonic::Code;

pub(super) async fn a_restart_keeps_the_revision_when_all_was_compacted(
    ground: &mut Ground,
) -> Result<()> {
    let mut cluster = ground.own(1, &[]).await?;
    let mut door = cluster.door(1, PATIENCE)?;
    for _ in 0..20 {
        put(&mut door, Bytes::from_static(b"a"), "x").await?;
    }
    let (_, end) = delete(&mut door, Bytes::from_static(b"a"), Bytes::new()).await?;
    compact(&mut door, end).await?;
    for _ in 0..2 {
        cluster.member(1)?.terminate(PATIENCE).await?;
        cluster.member(1)?.start()?;
        cluster.wait_serving(&[1], PATIENCE).await?;
        let now = revision(&mut cluster.door(1, PATIENCE)?).await?;
        ensure!(now == end, "revision {now} after a restart at {end}");
    }
    let gone = RangeRequest {
        key: "a".into(),
        revision: end - 1,
        ..RangeRequest::default()
    };
    let mut door = cluster.door(1, PATIENCE)?;
    let words = "etcdserver: mvcc: required revision has been compacted";
    refused(range(&mut door, gone).await, Code::OutOfRange, words)
}

pub(super) async fn members_are_added_once_and_promoted_when_in_step(
    ground: &mut Ground,
) -> Result<()> {
    let cluster = ground.own(MEMBERS, &[]).await?;
    let all: Vec<usize> = cluster.nodes().collect();
    let leader = cluster.wait_leader(&all, PATIENCE).await?;
    let mut door = cluster.door(leader, PATIENCE)?;
    let add = |url: &str, is_learner| MemberAddRequest {
        peer_ur_ls: vec![url.to_owned()],
        is_learner,
    };
    let nonsense = door.cluster.member_add(add("localhost:2520", false)).await;
    let words = "etcdserver: given member URLs are invalid";
    refused(nonsense, Code::InvalidArgument, words)?;
    // Nobody listens there. New members are not taken before the others have been up for a while.
    let stranger = "http://127.0.0.1:9";
    let added = until("a learner to be taken", PATIENCE, async || {
        match door.cluster.member_add(add(stranger, true)).await {
            Ok(added) => Look::Ready(Ok(added.into_inner())),
            Err(status) if status.message() == "etcdserver: unhealthy cluster" => {
                Look::NotYet(status.to_string())
            }
            Err(status) => Look::Ready(Err(status)),
        }
    });
    let added = added.await?.context("add a learner")?;
    let learner = added.member.context("no member in the answer")?;
    ensure!(learner.is_learner && learner.name.is_empty(), "{learner:?}");
    ensure!(added.members.len() == MEMBERS + 1, "{:?}", added.members);

    // A member's id is made of its URLs and the second: of both, so that it is another id.
    let known = format!("http://{}", cluster.peer_address(1));
    for urls in [vec![known.clone()], vec![stranger.to_owned(), known]] {
        let twice = MemberAddRequest {
            peer_ur_ls: urls,
            is_learner: false,
        };
        let twice = door.cluster.member_add(twice).await;
        let words = "etcdserver: Peer URLs already exists";
        refused(twice, Code::FailedPrecondition, words)?;
    }
    let second = door
        .cluster
        .member_add(add("http://127.0.0.1:10", true))
        .await;
    let words = "etcdserver: too many learner members in cluster";
    refused(second, Code::FailedPrecondition, words)?;
    let early = door
        .cluster
        .member_promote(MemberPromoteRequest { id: learner.id })
        .await;
    let words = "etcdserver: can only promote a learner member which is in sync with leader";
    refused(early, Code::FailedPrecondition, words)?;
    let members = inner(
        door.cluster
            .member_list(MemberListRequest { linearizable: true })
            .await,
    )?;
    let voter = members.members.iter().find(|member| !member.is_learner);
    let id = voter.map_or(0, |voter| voter.id);
    let again = door
        .cluster
        .member_promote(MemberPromoteRequest { id })
        .await;
    let words = "etcdserver: can only promote a learner member";
    refused(again, Code::FailedPrecondition, words)?;
    let nobody = door
        .cluster
        .member_promote(MemberPromoteRequest { id: 7 })
        .await;
    refused(nobody, Code::NotFound, "etcdserver: member not found")
}

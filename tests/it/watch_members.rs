//! Watchers and what becomes of their members: stopped, removed, alone, brought up by snapshot.

use crate::common::watching::{Watching, all, single, words};
use crate::common::{Cluster, eventually};
use quorate::proto::etcdserverpb::{MemberRemoveRequest, WatchCreateRequest, WatchResponse};
use std::time::Duration;
use tonic::Code;

fn revision(response: &WatchResponse) -> i64 {
    response.header.as_ref().unwrap().revision
}

#[tokio::test]
async fn all_members_tell_the_same() {
    let cluster = Cluster::started(3);
    cluster.leader().await;
    let mut streams = Vec::new();
    for number in 0..3 {
        let mut watching = Watching::open(&cluster, number).await;
        watching
            .create(WatchCreateRequest {
                start_revision: 1,
                ..all()
            })
            .await;
        watching.next().await;
        streams.push(watching);
    }
    for number in 0..60 {
        cluster.put(number % 3, &format!("key-{number}"), "x").await;
    }
    let mut seen = Vec::new();
    for watching in &mut streams {
        seen.push(words(&watching.events(60).await));
    }
    assert!(seen.iter().all(|words| *words == seen[0]));
}

#[tokio::test]
async fn a_member_that_stops_ends_its_streams_so_that_clients_go_elsewhere() {
    let mut cluster = Cluster::started(1);
    cluster.put(0, "first", "x").await;
    let mut watching = Watching::open(&cluster, 0).await;
    watching.create(single("a")).await;
    watching.next().await;
    cluster.stop(0);
    let status = watching.end().await;
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}

#[tokio::test]
async fn a_watch_goes_on_over_an_installed_snapshot() {
    let cluster = Cluster::started_with_snapshots(3, 50);
    let leader = cluster.leader().await;
    let away = (0..3).find(|number| *number != leader).unwrap();
    let mut watching = Watching::open(&cluster, away).await;
    watching.create(all()).await;
    let from = revision(&watching.next().await) + 1;
    let had = cluster.last_log(away).await;
    // Its disk hangs: it falls behind and lives, and so do its watchers.
    cluster.gates[away].hang();
    let count = cluster.put_until_purged_past(leader, had).await;
    cluster.gates[away].release();
    eventually("a snapshot to be installed", async || {
        (cluster.inspect(away).await?.snapshots_installed > 0).then_some(())
    })
    .await;
    cluster.put(leader, "last", "x").await;
    let (mut next, mut is_over) = (from, false);
    while !is_over {
        for event in watching.next().await.events {
            let kv = event.kv.unwrap();
            assert_eq!(kv.mod_revision, next, "every revision once");
            next += 1;
            is_over = kv.key == "last";
        }
    }
    assert!(next > from + i64::try_from(count).unwrap());
}

/// With `hasleader` a client hears of it and goes to another member; without, it waits.
#[tokio::test]
async fn a_member_without_a_leader_tells_those_who_want_one() {
    let cluster = Cluster::started(3);
    cluster.put(0, "before", "1").await;
    let leader = cluster.leader().await;
    let alone = (leader + 1) % 3;
    let mut patient = Watching::open(&cluster, alone).await;
    let mut demanding = Watching::open_with_leader(&cluster, alone).await;
    for watching in [&mut patient, &mut demanding] {
        watching.create(all()).await;
        assert!(watching.next().await.created);
    }
    cluster.cuts.cut_off(alone);
    let refused = demanding.end().await;
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::Unavailable, "etcdserver: no leader")
    );
    cluster.put(leader, "meanwhile", "2").await;
    cluster.cuts.heal();
    let events = patient.events(1).await;
    assert_eq!(words(&events), ["PUT meanwhile=2"]);
}

/// A member that is removed ends its watchers, having told them what it knows; they go on elsewhere
/// at the next revision and miss nothing.
#[tokio::test]
async fn the_watchers_of_a_removed_member_go_on_elsewhere() {
    let mut cluster = Cluster::new(3);
    cluster.strict = false;
    (0..3).for_each(|number| cluster.start(number));
    cluster.put(0, "first", "1").await;
    let leader = cluster.leader().await;
    let (leaver, stays) = ((leader + 1) % 3, (leader + 2) % 3);
    let mut watching = Watching::open(&cluster, leaver).await;
    let from_the_beginning = WatchCreateRequest {
        start_revision: 1,
        ..all()
    };
    watching.create(from_the_beginning).await;
    assert!(watching.next().await.created);
    assert_eq!(words(&watching.events(1).await), ["PUT first=1"]);
    let id = cluster.member_id(leaver).await;
    eventually("the removal", async || {
        let request = MemberRemoveRequest { id };
        cluster.door(leader).member_remove(request).await.ok()
    })
    .await;
    cluster.put(leader, "second", "2").await;
    let refused = watching.end().await;
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    let mut resumed = Watching::open(&cluster, stays).await;
    resumed
        .create(WatchCreateRequest {
            start_revision: 3,
            ..all()
        })
        .await;
    assert!(resumed.next().await.created);
    assert_eq!(words(&resumed.events(1).await), ["PUT second=2"]);
    let ended = cluster.take(leaver);
    tokio::task::spawn_blocking(|| ended.end())
        .await
        .unwrap()
        .unwrap();
}

/// Begun at one member, resumed at one that is behind it: nothing below the start is told, and no
/// progress before it, however far behind the member is.
#[tokio::test]
async fn a_start_that_a_member_has_not_reached_yet_is_waited_for() {
    let cluster = Cluster::started(3);
    cluster.put(0, "first", "1").await;
    let leader = cluster.leader().await;
    let behind = (leader + 1) % 3;
    cluster.converged().await;
    cluster.cuts.cut_off(behind);
    for number in 0..5 {
        cluster.put(leader, "key", &number.to_string()).await;
    }
    let mut watching = Watching::open(&cluster, behind).await;
    watching
        .create(WatchCreateRequest {
            start_revision: 6,
            ..all()
        })
        .await;
    let created = watching.next().await;
    assert!(created.created && revision(&created) < 6);
    watching.progress().await;
    let told = tokio::time::timeout(Duration::from_millis(300), watching.next()).await;
    assert!(told.is_err(), "{told:?}");
    cluster.cuts.heal();
    assert_eq!(words(&watching.events(2).await), ["PUT key=3", "PUT key=4"]);
    watching.progress().await;
    assert_eq!(revision(&watching.next().await), 7);
}

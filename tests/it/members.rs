//! Stories of whole members in one process: real consensus, real disks, a network in memory.

use crate::common::{Cluster, eventually};
use quorate::proto::etcdserverpb::{PutRequest, PutResponse, RangeRequest};
use std::time::Duration;
use tokio::task::JoinHandle;
use tonic::{Response, Status};

/// Internet sockets of this process. (A runtime's own socket pair for signals is not one.)
fn sockets_open() -> usize {
    let tables: String = ["tcp", "tcp6", "udp", "udp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(format!("/proc/self/net/{table}")).ok())
        .collect();
    let inodes: Vec<&str> = tables
        .lines()
        .filter_map(|line| line.split_whitespace().nth(9))
        .collect();
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter(|target| {
            let target = target.to_string_lossy().into_owned();
            let inode = target
                .strip_prefix("socket:[")
                .and_then(|rest| rest.strip_suffix(']'));
            inode.is_some_and(|inode| inodes.contains(&inode))
        })
        .count()
}

#[tokio::test]
async fn three_members_agree_without_opening_a_socket() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let before = sockets_open();
    assert!(
        before >= 1,
        "the count sees a socket that there is: {listener:?}"
    );
    let cluster = Cluster::started(3);
    for number in 0..3 {
        cluster
            .put(number, &format!("key-{number}"), &format!("value-{number}"))
            .await;
    }
    for reader in 0..3 {
        for number in 0..3 {
            let found = cluster.get(reader, &format!("key-{number}"), false).await;
            assert_eq!(
                found,
                Some(format!("value-{number}")),
                "n{reader} reads key-{number}"
            );
        }
    }
    cluster.converged().await;
    assert_eq!(
        sockets_open(),
        before,
        "the outside world comes in through env alone"
    );
    assert_eq!(cluster.network.addresses().len(), 6);
}

/// The disk of member 0 hangs from now on, and a put of "b" there waits for it.
async fn put_on_a_hung_disk(
    cluster: &Cluster,
) -> JoinHandle<Result<Response<PutResponse>, Status>> {
    cluster.gates[0].hang();
    let mut kv = cluster.kv(0);
    let request = PutRequest {
        key: "b".into(),
        value: "1".into(),
        ..PutRequest::default()
    };
    let waiting = tokio::spawn(async move { kv.put(request).await });
    eventually("the write to wait for the disk", async || {
        (cluster.gates[0].waiting() > 0).then_some(())
    })
    .await;
    waiting
}

#[tokio::test]
async fn a_single_member_acknowledges_nothing_before_its_fsync() {
    let mut cluster = Cluster::started(1);
    cluster.put(0, "a", "1").await;
    let waiting = put_on_a_hung_disk(&cluster).await;
    // The member lives and answers what needs no disk; the write's answer would have come with it.
    for _ in 0..20 {
        let seen = eventually("a serializable read", async || {
            cluster.get(0, "a", true).await
        })
        .await;
        assert_eq!(seen, "1");
        assert_eq!(
            cluster.get(0, "b", true).await,
            None,
            "what is not on the disk is not there yet"
        );
    }
    let early = waiting.is_finished();
    cluster.gates[0].release();
    let answer = waiting.await.unwrap();
    // A slow machine may have seen it give up meanwhile: an error is no acknowledgement.
    assert!(
        !early || answer.is_err(),
        "acknowledged while the disk hung: {answer:?}"
    );
    if answer.is_err() {
        cluster.put(0, "b", "1").await;
    }
    cluster.stop(0);
    cluster.start(0);
    let found = eventually("the old value", async || cluster.get(0, "b", false).await).await;
    assert_eq!(found, "1");
}

#[tokio::test]
async fn a_wiped_member_is_not_let_in_again() {
    let mut cluster = Cluster::started(3);
    cluster.put(0, "a", "1").await;
    cluster.stop(2);
    std::fs::remove_dir_all(cluster.data_dir(2)).unwrap();
    cluster.start(2);
    let member = cluster.take(2);
    let end = tokio::task::spawn_blocking(|| member.end()).await.unwrap();
    let reason = format!("{:#}", end.unwrap_err());
    assert!(reason.contains("has already been bootstrapped"), "{reason}");
    cluster.put(1, "b", "2").await;
}

#[tokio::test]
async fn a_member_of_another_cluster_is_refused_by_its_own_directory() {
    let mut cluster = Cluster::started(1);
    cluster.put(0, "a", "1").await;
    cluster.stop(0);
    let mut config = cluster.config(0);
    config.initial_cluster_token = "another".to_owned();
    cluster.start_with(0, config);
    let member = cluster.take(0);
    let end = tokio::task::spawn_blocking(|| member.end()).await.unwrap();
    let reason = format!("{:#}", end.unwrap_err());
    assert!(reason.contains("belongs to"), "{reason}");
    cluster.start(0);
    let found = eventually("the old value", async || cluster.get(0, "a", false).await).await;
    assert_eq!(found, "1");
}

#[tokio::test]
async fn a_stopping_leader_hands_over() {
    let mut cluster = Cluster::started(3);
    cluster.put(0, "a", "1").await;
    let leader = cluster.leader().await;
    let term = cluster.inspect(leader).await.unwrap().term;
    cluster.stop(leader);
    // The first look, not the first success: the old leader ends only after it has handed over. An
    // ordinary election begins when the old leader's heartbeats have been missed for a while.
    let mut leads = Vec::new();
    for number in cluster.running() {
        let seen = cluster.inspect(number).await.unwrap();
        if seen.leader == seen.member_id {
            leads.push((number, seen.term));
        }
    }
    let [(next, next_term)] = leads[..] else {
        panic!("at the end of the old leader these lead: {leads:?}");
    };
    assert_eq!(
        next_term,
        term + 1,
        "one election, and the asked one won it"
    );
    cluster.put(next, "b", "2").await;
    cluster.start(leader);
    cluster.converged().await;
}

#[tokio::test]
async fn a_member_away_past_the_purge_returns_by_snapshot() {
    let mut cluster = Cluster::started_with_snapshots(3, 50);
    cluster.put(0, "before", "1").await;
    let leader = cluster.leader().await;
    let away = (leader + 1) % 3;
    let last = cluster.last_log(away).await;
    cluster.stop(away);
    let count = cluster.put_until_purged_past(leader, last).await;
    cluster.start(away);
    cluster.converged().await;
    eventually("the member to say that it came by snapshot", async || {
        (cluster.inspect(away).await?.snapshots_installed >= 1).then_some(())
    })
    .await;
    assert_eq!(
        cluster
            .get(away, &format!("key-{count}"), true)
            .await
            .as_deref(),
        Some("x")
    );
    // And it goes on from there, over a restart too.
    cluster.stop(away);
    cluster.start(away);
    cluster.put(leader, "after", "2").await;
    cluster.converged().await;
}

#[tokio::test]
async fn a_minority_answers_no_linearizable_read_and_takes_no_write() {
    let mut cluster = Cluster::started(3);
    cluster.put(0, "a", "1").await;
    let leader = cluster.leader().await;
    for number in (0..3).filter(|number| *number != leader) {
        cluster.stop(number);
    }
    eventually("the leader to stop calling itself so", async || {
        (cluster.inspect(leader).await?.leader == 0).then_some(())
    })
    .await;
    let mut kv = cluster.kv(leader);
    let mut demanding = tonic::Request::new(RangeRequest {
        key: "a".into(),
        serializable: true,
        ..RangeRequest::default()
    });
    let metadata = demanding.metadata_mut();
    metadata.insert("hasleader", "true".parse().unwrap());
    let refused = kv.range(demanding).await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: no leader");
    let short = Duration::from_millis(700);
    let mut request = tonic::Request::new(PutRequest {
        key: "a".into(),
        value: "2".into(),
        ..PutRequest::default()
    });
    request.set_timeout(short);
    assert!(
        kv.put(request).await.is_err(),
        "no quorum, no acknowledgement"
    );
    let read = tokio::time::timeout(short, cluster.get(leader, "a", false)).await;
    assert!(
        !matches!(read, Ok(Some(_))),
        "no quorum, no linearizable read"
    );
    assert_eq!(
        cluster.get(leader, "a", true).await.as_deref(),
        Some("1"),
        "serializable still"
    );
}

#[tokio::test]
async fn a_leader_whose_disk_hangs_gives_up_its_leadership() {
    let cluster = Cluster::started(3);
    cluster.put(0, "a", "1").await;
    let leader = cluster.leader().await;
    cluster.gates[leader].hang();
    // Something must wait for that disk; whether it is acknowledged is another question.
    let mut kv = cluster.kv(leader);
    let request = PutRequest {
        key: "b".into(),
        value: "2".into(),
        ..PutRequest::default()
    };
    let waiting = tokio::spawn(async move { kv.put(request).await });
    let next = cluster.leader_instead_of(leader).await;
    cluster.put(next, "c", "3").await;
    cluster.gates[leader].release();
    // It wakes up harmless: one history, and it follows.
    cluster.converged().await;
    assert_ne!(cluster.leader().await, leader);
    assert_eq!(cluster.get(leader, "c", false).await.as_deref(), Some("3"));
    // Either way it had an answer.
    waiting.await.unwrap().ok();
}

#[tokio::test]
async fn a_failed_fsync_ends_the_member() {
    let mut cluster = Cluster::started(3);
    cluster.put(0, "a", "1").await;
    let leader = cluster.leader().await;
    let broken = (leader + 1) % 3;
    cluster.gates[broken].fail();
    cluster.put(leader, "b", "2").await;
    let member = cluster.take(broken);
    let end = tokio::task::spawn_blocking(|| member.end()).await.unwrap();
    let reason = format!("{:#}", end.unwrap_err());
    assert!(reason.contains("the test's disk fails"), "{reason}");
    // What it had acknowledged is there when it comes back.
    cluster.gates[broken].release();
    cluster.start(broken);
    cluster.put(leader, "c", "3").await;
    cluster.converged().await;
}

#[tokio::test]
async fn a_connected_follower_that_is_stuck_does_not_pin_the_leaders_log() {
    let cluster = Cluster::started_with_snapshots(3, 20);
    cluster.put(0, "before", "1").await;
    let leader = cluster.leader().await;
    let stuck = (leader + 1) % 3;
    let last = cluster.last_log(stuck).await;
    cluster.gates[stuck].hang();
    cluster.put_until_purged_past(leader, last + 20).await;
    assert!(
        cluster.members[stuck].is_some(),
        "it was connected all the time"
    );
    cluster.gates[stuck].release();
    cluster.converged().await;
}

#[tokio::test]
async fn a_member_shows_what_it_acknowledged_to_serializable_reads_too() {
    let cluster = Cluster::started(3);
    cluster.put(0, "a", "before").await;
    for number in 0..3 {
        let mut kv = cluster.kv(number);
        for count in 0..200 {
            let value = format!("{number}.{count}");
            let request = PutRequest {
                key: "a".into(),
                value: value.clone().into(),
                ..PutRequest::default()
            };
            kv.put(request).await.unwrap();
            let shown = cluster.get(number, "a", true).await;
            assert_eq!(shown, Some(value), "n{number} acknowledged it");
        }
    }
}

/// A hung fsync cannot be called back: the stop gives it up in time and says so.
#[tokio::test]
async fn a_member_whose_disk_hangs_stops_all_the_same() {
    let mut cluster = Cluster::started(1);
    cluster.put(0, "a", "1").await;
    let unknown = put_on_a_hung_disk(&cluster).await;
    let member = cluster.take(0);
    let end = tokio::task::spawn_blocking(|| member.stop()).await.unwrap();
    let reason = format!("{:#}", end.unwrap_err());
    assert!(reason.contains("the disk hangs"), "{reason}");
    assert!(
        unknown.await.unwrap().is_err(),
        "nobody said that it is there"
    );
}

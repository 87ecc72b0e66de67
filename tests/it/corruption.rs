//! Members whose disk was changed behind their backs, and how the others find out.

use crate::common::{Cluster, eventually};
use quorate::config::Config;
use quorate::mvcc::Head;
use quorate::proto::etcdserverpb::alarm_request::AlarmAction;
use quorate::proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, CompactionRequest, DeleteRangeRequest, LeaseGrantRequest,
    LeaseRevokeRequest, MoveLeaderRequest, PutRequest, StatusRequest,
};
use quorate::storage::{Engine, EngineOptions, Family, keys};
use std::path::Path;
use std::time::Duration;
use tonic::Code;

/// Changes one row of a stopped member's state.
async fn tamper(
    data_dir: &Path,
    family: Family,
    key: &[u8],
    change: impl FnOnce(Vec<u8>) -> Vec<u8>,
) {
    let member = data_dir.join("member");
    let state = std::fs::read_to_string(member.join("state.current")).unwrap();
    let state = member.join(state.trim());
    // A hash that another member asked for may end a moment later than the member.
    let engine = eventually("the end of whoever reads the state", async || {
        Engine::open(&state, &EngineOptions::small()).ok()
    })
    .await;
    let view = engine.latest();
    let row = view.get(family, key).unwrap();
    let row = row.expect("the row is there").to_vec();
    drop(view);
    let row = change(row);
    let mut batch = engine.batch();
    batch.put(family, key, &row);
    engine.write(batch).unwrap();
    engine.flush().unwrap();
}

/// Another value of the same length, as a flipped bit leaves it.
fn flip(mut row: Vec<u8>) -> Vec<u8> {
    *row.last_mut().unwrap() ^= 1;
    row
}

fn checked(cluster: &Cluster, number: usize) -> Config {
    Config {
        corrupt_check_time: Some(Duration::from_millis(100)),
        snapshot_count: 50,
        ..cluster.config(number)
    }
}

async fn a_cluster() -> Cluster {
    let mut cluster = Cluster::new(3);
    for number in 0..3 {
        let config = checked(&cluster, number);
        cluster.start_with(number, config);
    }
    for n in 0..100 {
        cluster.put(n % 3, &format!("k{n:02}"), "value").await;
    }
    let compaction = CompactionRequest {
        revision: 50,
        physical: true,
    };
    cluster.kv(0).compact(compaction).await.unwrap();
    cluster.converged().await;
    cluster
}

async fn alarms(cluster: &Cluster, number: usize) -> Vec<AlarmMember> {
    let request = AlarmRequest {
        action: AlarmAction::Get.into(),
        ..AlarmRequest::default()
    };
    let answer = cluster.maintenance(number).alarm(request).await.unwrap();
    answer.into_inner().alarms
}

/// Waits for the first alarm; it must name the member, and no write is taken any more.
async fn found_out(cluster: &Cluster, number: usize) {
    let raised = eventually("an alarm", async || {
        let alarms = alarms(cluster, 0).await;
        (!alarms.is_empty()).then_some(alarms)
    })
    .await;
    let expected = AlarmMember {
        member_id: cluster.member_id(number).await,
        alarm: AlarmType::Corrupt.into(),
    };
    assert_eq!(raised, [expected]);
    for asked in 0..3 {
        let put = PutRequest {
            key: "k".into(),
            ..PutRequest::default()
        };
        let refused = cluster.kv(asked).put(put).await.unwrap_err();
        assert_eq!(refused.code(), Code::DataLoss);
        assert_eq!(refused.message(), "etcdserver: corrupt cluster");
        let grant = LeaseGrantRequest { id: 0, ttl: 60 };
        let refused = cluster.lease(asked).lease_grant(grant).await.unwrap_err();
        assert_eq!(refused.message(), "etcdserver: corrupt cluster");
        let status = cluster.maintenance(asked).status(StatusRequest {}).await;
        let errors = status.unwrap().into_inner().errors;
        assert!(errors[0].contains("alarm:CORRUPT"), "{errors:?}");
        assert_eq!(cluster.get(asked, "k99", false).await.unwrap(), "value");
    }
}

/// All that makes members differ in how they came to hold the same: restarts, leaders that change,
/// snapshots instead of entries, leases, deletions, compactions.
async fn churn(cluster: &mut Cluster) {
    for round in 0..6 {
        let (away, here) = (round % 3, (round + 1) % 3);
        cluster.stop(away);
        let lease = 100 + i64::try_from(round).unwrap();
        eventually("a lease", async || {
            let grant = LeaseGrantRequest { id: lease, ttl: 60 };
            cluster.lease(here).lease_grant(grant).await.ok()
        })
        .await;
        for n in 0..60 {
            let put = PutRequest {
                key: format!("k{:02}", n % 40).into(),
                value: format!("{round}").into(),
                lease: if n % 7 == 0 { lease } else { 0 },
                ..PutRequest::default()
            };
            cluster.kv(here).put(put).await.unwrap();
        }
        let some = DeleteRangeRequest {
            key: "k10".into(),
            range_end: "k15".into(),
            ..DeleteRangeRequest::default()
        };
        let deleted = cluster.kv(here).delete_range(some).await.unwrap();
        let revision = deleted.into_inner().header.unwrap().revision;
        if round % 2 == 0 {
            let revoke = LeaseRevokeRequest { id: lease };
            cluster.lease(here).lease_revoke(revoke).await.unwrap();
        }
        let compaction = CompactionRequest {
            revision: revision - 30,
            physical: false,
        };
        cluster.kv(here).compact(compaction).await.unwrap();
        let config = checked(cluster, away);
        cluster.start_with(away, config);
        cluster.converged().await;
    }
}

#[tokio::test]
async fn who_is_sound_is_never_accused_and_a_changed_value_is_found() {
    let mut cluster = a_cluster().await;
    churn(&mut cluster).await;
    cluster.put(0, "k16", "value").await;
    cluster.converged().await;
    assert_eq!(alarms(&cluster, 0).await, []);
    let victim = (cluster.leader().await + 1) % 3;
    cluster.stop(victim);
    tamper(&cluster.data_dir(victim), Family::Current, b"k16", flip).await;
    let config = checked(&cluster, victim);
    cluster.start_with(victim, config);
    found_out(&cluster, victim).await;
}

#[tokio::test]
async fn the_leader_is_found_out_too_and_the_digest_suffices() {
    let mut cluster = a_cluster().await;
    let victim = cluster.leader().await;
    cluster.stop(victim);
    // As if some command had done something else here than there. No row differs.
    tamper(&cluster.data_dir(victim), Family::Meta, keys::HEAD, |row| {
        let mut head = Head::decode(&row).unwrap();
        head.digest.changes ^= 1;
        head.encode()
    })
    .await;
    let config = checked(&cluster, victim);
    cluster.start_with(victim, config);
    let id = cluster.member_id(victim).await;
    // Whoever leads by now may hand over; if the alarm comes first, it names the right one anyway.
    let request = MoveLeaderRequest { target_id: id };
    for number in 0..3 {
        cluster.maintenance(number).move_leader(request).await.ok();
    }
    found_out(&cluster, victim).await;
}

#[tokio::test]
async fn a_member_that_differs_does_not_start_if_it_is_to_look_first() {
    let mut cluster = Cluster::started(3);
    for n in 0..20 {
        cluster.put(n % 3, &format!("k{n:02}"), "value").await;
    }
    cluster.converged().await;
    cluster.stop(2);
    // In etcd's hash only the event would count, and reads would be answered with this.
    tamper(&cluster.data_dir(2), Family::Current, b"k10", flip).await;
    let looks = |cluster: &Cluster, number| Config {
        initial_corrupt_check: true,
        ..cluster.config(number)
    };
    let config = looks(&cluster, 2);
    cluster.start_with(2, config);
    let sentence = cluster.take(2).end().unwrap_err().to_string();
    let ends = "found data inconsistency with peers";
    assert!(sentence.ends_with(ends), "{sentence}");

    // Without looking it starts, differs, and keeps no sound member from starting.
    cluster.start(2);
    cluster.put(2, "after", "1").await;
    cluster.stop(1);
    let config = looks(&cluster, 1);
    cluster.start_with(1, config);
    cluster.put(1, "again", "1").await;
}

//! Alarms, the quota, the watermark of the disk, and what an operator may have done; with members in
//! this process.

use crate::common::{Cluster, eventually};
use quorate::config::AutoCompaction;
use quorate::proto::etcdserverpb::alarm_request::AlarmAction;
use quorate::proto::etcdserverpb::downgrade_request::DowngradeAction;
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, CompactionRequest, DefragmentRequest, DeleteRangeRequest,
    DowngradeRequest, MoveLeaderRequest, PutRequest, RangeRequest, RequestOp, StatusRequest,
    TxnRequest,
};
use std::time::Duration;
use tonic::{Code, Status};

fn put(key: &str, value: &[u8]) -> PutRequest {
    PutRequest {
        key: key.to_owned().into(),
        value: value.to_vec().into(),
        ..PutRequest::default()
    }
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status.message().to_owned())
}

fn no_space() -> (Code, String) {
    let text = "etcdserver: mvcc: database space exceeded";
    (Code::ResourceExhausted, text.to_owned())
}

fn corrupt() -> (Code, String) {
    (Code::DataLoss, "etcdserver: corrupt cluster".to_owned())
}

/// Asks for an alarm through one member, which must answer.
async fn alarm(
    cluster: &Cluster,
    number: usize,
    action: AlarmAction,
    member_id: u64,
    kind: AlarmType,
) -> Vec<AlarmMember> {
    let request = AlarmRequest {
        action: action.into(),
        member_id,
        alarm: kind.into(),
    };
    let answer = cluster.maintenance(number).alarm(request).await.unwrap();
    let answer = answer.into_inner();
    assert!(answer.header.unwrap().revision > 0);
    answer.alarms
}

async fn list(cluster: &Cluster, number: usize, kind: AlarmType) -> Vec<AlarmMember> {
    alarm(cluster, number, AlarmAction::Get, 0, kind).await
}

fn of(member_id: u64, kind: AlarmType) -> AlarmMember {
    AlarmMember {
        member_id,
        alarm: kind.into(),
    }
}

#[tokio::test]
async fn an_alarm_is_the_cluster_s_and_survives_restarts() {
    let mut cluster = Cluster::started(3);
    cluster.put(0, "a", "1").await;
    let raised = alarm(&cluster, 0, AlarmAction::Activate, 7, AlarmType::Nospace).await;
    assert_eq!(raised, [of(7, AlarmType::Nospace)]);
    for number in 0..3 {
        // As current as a linearizable read, on every member, filtered by kind alone.
        assert_eq!(list(&cluster, number, AlarmType::None).await, raised);
        assert_eq!(list(&cluster, number, AlarmType::Nospace).await, raised);
        assert_eq!(list(&cluster, number, AlarmType::Corrupt).await, []);
        let answer = cluster.kv(number).put(put("b", b"1")).await;
        assert_eq!(refused(answer), no_space());
        let status = cluster.maintenance(number).status(StatusRequest {}).await;
        let errors = status.unwrap().into_inner().errors;
        assert_eq!(errors, ["memberID:7 alarm:NOSPACE "]);
    }
    // What takes away, and what reads, is let through.
    let mut kv = cluster.kv(1);
    let only_put = |put| RequestOp {
        request: Some(Request::RequestPut(put)),
    };
    let writing = TxnRequest {
        failure: vec![only_put(put("b", b"1"))],
        ..TxnRequest::default()
    };
    assert_eq!(refused(kv.txn(writing).await), no_space());
    let deletion = DeleteRangeRequest {
        key: "a".into(),
        ..DeleteRangeRequest::default()
    };
    let deleting = TxnRequest {
        success: vec![RequestOp {
            request: Some(Request::RequestDeleteRange(deletion.clone())),
        }],
        ..TxnRequest::default()
    };
    kv.txn(deleting).await.unwrap();
    kv.delete_range(deletion).await.unwrap();
    let compaction = CompactionRequest {
        revision: 3,
        ..CompactionRequest::default()
    };
    kv.compact(compaction).await.unwrap();

    for number in 0..3 {
        cluster.stop(number);
        cluster.start(number);
    }
    eventually("the alarm after the restart", async || {
        let answer = cluster.kv(2).put(put("b", b"1")).await;
        (refused(answer) == no_space()).then_some(())
    })
    .await;
    // The wrong member's, and then the right one's.
    let clear = AlarmAction::Deactivate;
    assert_eq!(alarm(&cluster, 2, clear, 8, AlarmType::Nospace).await, []);
    assert_eq!(alarm(&cluster, 2, clear, 7, AlarmType::None).await, []);
    assert_eq!(
        alarm(&cluster, 2, clear, 7, AlarmType::Nospace).await,
        raised
    );
    cluster.kv(2).put(put("b", b"1")).await.unwrap();
    cluster.converged().await;
}

/// What a member refuses for an alarm that it has not heard the end of, it refuses wrongly.
#[tokio::test]
async fn an_alarm_that_was_cleared_elsewhere_is_over_for_a_member_that_lags() {
    let cluster = Cluster::started(3);
    cluster.put(0, "a", "1").await;
    let leader = cluster.leader().await;
    let lags = (leader + 1) % 3;
    alarm(
        &cluster,
        leader,
        AlarmAction::Activate,
        7,
        AlarmType::Nospace,
    )
    .await;
    assert_eq!(list(&cluster, lags, AlarmType::None).await.len(), 1);
    cluster.cuts.cut_off(lags);
    let clear = AlarmAction::Deactivate;
    alarm(&cluster, leader, clear, 7, AlarmType::Nospace).await;
    let mut kv = cluster.kv(lags);
    let mut waiting = tokio::spawn(async move { kv.put(put("b", b"1")).await });
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    assert!(early.is_err(), "a refusal comes at once: {early:?}");
    cluster.cuts.heal();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_damaged_cluster_serves_reads_alone() {
    let cluster = Cluster::started(1);
    cluster.put(0, "a", "1").await;
    let raise = AlarmAction::Activate;
    // There is no alarm of no kind: OK, and nothing happens.
    assert_eq!(alarm(&cluster, 0, raise, 7, AlarmType::None).await, []);
    assert_eq!(list(&cluster, 0, AlarmType::None).await, []);
    alarm(&cluster, 0, raise, 0, AlarmType::Corrupt).await;
    let mut kv = cluster.kv(0);
    assert_eq!(refused(kv.put(put("a", b"2")).await), corrupt());
    let deletion = DeleteRangeRequest {
        key: "a".into(),
        ..DeleteRangeRequest::default()
    };
    assert_eq!(refused(kv.delete_range(deletion.clone()).await), corrupt());
    let deleting = TxnRequest {
        success: vec![RequestOp {
            request: Some(Request::RequestDeleteRange(deletion)),
        }],
        ..TxnRequest::default()
    };
    assert_eq!(refused(kv.txn(deleting).await), corrupt());
    let compaction = CompactionRequest {
        revision: 2,
        ..CompactionRequest::default()
    };
    assert_eq!(refused(kv.compact(compaction).await), corrupt());
    let reading = RangeRequest {
        key: "a".into(),
        ..RangeRequest::default()
    };
    let read_txn = TxnRequest {
        success: vec![RequestOp {
            request: Some(Request::RequestRange(reading)),
        }],
        ..TxnRequest::default()
    };
    kv.txn(read_txn).await.unwrap();
    assert_eq!(cluster.get(0, "a", false).await, Some("1".to_owned()));
    let status = cluster.maintenance(0).status(StatusRequest {}).await;
    assert_eq!(status.unwrap().into_inner().errors, ["alarm:CORRUPT "]);
}

#[tokio::test]
async fn what_is_no_alarm_action_is_refused_before_the_log() {
    let cluster = Cluster::started(1);
    cluster.put(0, "a", "1").await;
    let request = AlarmRequest {
        action: 9,
        ..AlarmRequest::default()
    };
    let answer = cluster.maintenance(0).alarm(request).await;
    let (code, text) = refused(answer);
    assert_eq!(code, Code::InvalidArgument);
    assert_eq!(text, "quorate: 9 is no alarm action");
    // Nor is an alarm that etcd does not know ever raised.
    let request = AlarmRequest {
        action: AlarmAction::Activate.into(),
        member_id: 7,
        alarm: 9,
    };
    cluster.maintenance(0).alarm(request).await.unwrap();
    assert_eq!(list(&cluster, 0, AlarmType::None).await, []);
}

#[tokio::test]
async fn the_quota_refuses_raises_the_alarm_and_is_free_again_after_compaction() {
    let mut cluster = Cluster::new(3);
    cluster.quota_bytes = Some(1 << 20);
    for number in 0..3 {
        cluster.start(number);
    }
    cluster.put(0, "a", "1").await;
    let value = vec![0; 100_000];
    let mut taken = 0;
    let refusal = loop {
        // The same key: what was superseded counts until it is compacted.
        match cluster.kv(1).put(put("big", &value)).await {
            Ok(_) => taken += 1,
            Err(status) => break refused::<()>(Err(status)),
        }
        assert!(taken < 20, "a quota of a megabyte");
    };
    assert_eq!(refusal, no_space());
    assert!(taken >= 5, "and not of less: {taken}");
    // The alarm is of the member whose door it was, and everybody has it.
    let of_second = of(cluster.member_id(1).await, AlarmType::Nospace);
    for number in 0..3 {
        assert_eq!(list(&cluster, number, AlarmType::None).await, [of_second]);
        assert_eq!(
            refused(cluster.kv(number).put(put("b", b"1")).await),
            no_space()
        );
    }
    let status = async |number: usize| {
        let status = cluster.maintenance(number).status(StatusRequest {}).await;
        status.unwrap().into_inner()
    };
    let full = status(0).await;
    assert_eq!(full.db_size_quota, 1 << 20);
    assert!(full.db_size > 600_000 && full.db_size < 1 << 20, "{full:?}");
    // Deleting alone frees nothing, compacting does; no defragmentation.
    let mut kv = cluster.kv(2);
    let deletion = DeleteRangeRequest {
        key: "big".into(),
        ..DeleteRangeRequest::default()
    };
    let deleted = kv.delete_range(deletion).await.unwrap().into_inner();
    let compaction = CompactionRequest {
        revision: deleted.header.unwrap().revision,
        ..CompactionRequest::default()
    };
    kv.compact(compaction).await.unwrap();
    cluster.converged().await;
    let free = status(0).await;
    assert!(free.db_size < 10_000, "{free:?}");
    assert_eq!(free.db_size, status(2).await.db_size, "the same everywhere");
    // The alarm stays until it is cleared by hand.
    assert_eq!(refused(kv.put(put("b", b"1")).await), no_space());
    let clear = AlarmAction::Deactivate;
    alarm(&cluster, 0, clear, of_second.member_id, AlarmType::Nospace).await;
    // Every door goes by what its own member has applied.
    cluster.converged().await;
    kv.put(put("b", b"1")).await.unwrap();
    cluster.converged().await;
}

#[tokio::test]
async fn a_member_whose_disk_fills_up_says_so_before_a_write_fails() {
    let cluster = Cluster::started(3);
    cluster.put(0, "a", "1").await;
    cluster.gates[1].occupy(u64::MAX);
    let of_second = of(cluster.member_id(1).await, AlarmType::Nospace);
    eventually("the alarm", async || {
        (list(&cluster, 0, AlarmType::Nospace).await == [of_second]).then_some(())
    })
    .await;
    for number in 0..3 {
        assert_eq!(
            refused(cluster.kv(number).put(put("b", b"1")).await),
            no_space()
        );
        assert_eq!(cluster.get(number, "a", false).await, Some("1".to_owned()));
    }
    // Cleared in vain while there is no space.
    let clear = AlarmAction::Deactivate;
    alarm(&cluster, 0, clear, of_second.member_id, AlarmType::Nospace).await;
    eventually("the alarm again", async || {
        (list(&cluster, 0, AlarmType::Nospace).await == [of_second]).then_some(())
    })
    .await;
    // Space comes back, and the alarm stays until it is cleared.
    cluster.gates[1].occupy(0);
    assert_eq!(refused(cluster.kv(2).put(put("b", b"1")).await), no_space());
    eventually("a put once there is space", async || {
        alarm(&cluster, 0, clear, of_second.member_id, AlarmType::Nospace).await;
        cluster.kv(2).put(put("b", b"1")).await.ok()
    })
    .await;
}

#[tokio::test]
async fn leadership_moves_to_whom_it_is_asked_for() {
    let mut cluster = Cluster::started(3);
    cluster.put(0, "a", "1").await;
    let leader = cluster.leader().await;
    let (to, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let move_leader = async |cluster: &Cluster, asked: usize, target_id: u64| {
        let request = MoveLeaderRequest { target_id };
        cluster.maintenance(asked).move_leader(request).await
    };
    let target = cluster.member_id(to).await;
    let not_leader = (
        Code::FailedPrecondition,
        "etcdserver: not leader".to_owned(),
    );
    let answer = move_leader(&cluster, other, target).await;
    assert_eq!(refused(answer), not_leader);
    let bad = (
        Code::FailedPrecondition,
        "etcdserver: bad leader transferee".to_owned(),
    );
    let answer = eventually("the leader to be sure of itself", async || {
        let answer = refused(move_leader(&cluster, leader, 7).await);
        (answer != not_leader).then_some(answer)
    })
    .await;
    assert_eq!(answer, bad);
    let itself = cluster.member_id(leader).await;
    let answer = move_leader(&cluster, leader, itself).await;
    assert_eq!(answer.unwrap().into_inner().header, None);
    assert_eq!(cluster.leader().await, leader);

    move_leader(&cluster, leader, target).await.unwrap();
    assert_eq!(cluster.leader().await, to);
    cluster.put(leader, "b", "2").await;

    // Whoever does not answer is not handed anything, and costs nobody his leader.
    cluster.stop(leader);
    let term = cluster.inspect(to).await.unwrap().term;
    let mut asked = tonic::Request::new(MoveLeaderRequest { target_id: itself });
    asked.set_timeout(crate::common::ELECTION * 4);
    let answer = cluster.maintenance(to).move_leader(asked).await;
    let late = "etcdserver: request timed out, leader transfer took too long";
    // The client's own clock may have been the quicker one.
    let (code, text) = refused(answer);
    assert!(
        (code, text.as_str()) == (Code::Unknown, late) || text == "Timeout expired",
        "{code:?} {text}"
    );
    cluster.put(other, "c", "3").await;
    let seen = cluster.inspect(to).await.unwrap();
    assert_eq!((seen.leader, seen.term), (target, term));
}

#[tokio::test]
async fn defragmenting_answers_at_once_and_blocks_nobody() {
    let cluster = Cluster::started(1);
    for number in 0..100 {
        cluster.put(0, &format!("key-{number}"), "value").await;
    }
    let mut maintenance = cluster.maintenance(0);
    for number in 0..20 {
        let answer = maintenance.defragment(DefragmentRequest {}).await.unwrap();
        assert_eq!(answer.into_inner().header, None);
        cluster.put(0, &format!("key-{number}"), "more").await;
    }
    let hash = cluster.converged().await;
    maintenance.defragment(DefragmentRequest {}).await.unwrap();
    assert_eq!(cluster.converged().await, hash);
    assert_eq!(
        cluster.get(0, "key-3", false).await,
        Some("more".to_owned())
    );
}

#[tokio::test]
async fn a_downgrade_is_validated_noted_and_cancelled() {
    let mut cluster = Cluster::started(3);
    cluster.put(0, "a", "1").await;
    let ask = async |cluster: &Cluster, number: usize, action: DowngradeAction, version: &str| {
        let request = DowngradeRequest {
            action: action.into(),
            version: version.to_owned(),
        };
        let answer = cluster.maintenance(number).downgrade(request).await;
        answer.map(|answer| answer.into_inner().version)
    };
    use DowngradeAction::{Cancel, Enable, Validate};
    let said = |code, text: &str| (code, text.to_owned());
    let wrong = said(
        Code::InvalidArgument,
        "etcdserver: wrong downgrade target version format",
    );
    let invalid = said(
        Code::InvalidArgument,
        "etcdserver: invalid downgrade target version",
    );
    for action in [Validate, Enable] {
        assert_eq!(refused(ask(&cluster, 0, action, "old").await), wrong);
        for version in ["3.4.0", "3.6.0", "3.7"] {
            assert_eq!(refused(ask(&cluster, 0, action, version).await), invalid);
        }
    }
    let none = said(
        Code::FailedPrecondition,
        "etcdserver: no inflight downgrade job",
    );
    assert_eq!(refused(ask(&cluster, 0, Cancel, "").await), none);
    for version in ["3.5", "3.5.0"] {
        assert_eq!(ask(&cluster, 1, Validate, version).await.unwrap(), "3.6");
    }
    assert_eq!(ask(&cluster, 1, Enable, "3.5").await.unwrap(), "3.6");
    let busy = said(
        Code::FailedPrecondition,
        "etcdserver: cluster has a downgrade job in progress",
    );
    for action in [Validate, Enable] {
        assert_eq!(refused(ask(&cluster, 2, action, "3.5").await), busy);
    }
    cluster.stop(2);
    cluster.start(2);
    let shown = async |cluster: &Cluster| {
        let status = cluster.maintenance(2).status(StatusRequest {}).await;
        let shown = status.ok()?.into_inner().downgrade_info?;
        Some((shown.enabled, shown.target_version))
    };
    eventually("the downgrade in the status", async || {
        (shown(&cluster).await? == (true, "3.5.0".to_owned())).then_some(())
    })
    .await;
    assert_eq!(ask(&cluster, 2, Cancel, "").await.unwrap(), "3.6");
    assert_eq!(shown(&cluster).await, Some((false, String::new())));
    cluster.converged().await;
}

#[tokio::test]
async fn the_leader_compacts_what_is_older_than_the_retention() {
    let mut cluster = Cluster::new(3);
    cluster.auto_compaction = AutoCompaction::Periodic(Duration::from_secs(1));
    for number in 0..3 {
        cluster.start(number);
    }
    cluster.put(0, "a", "1").await;
    cluster.put(0, "a", "2").await;
    let first = RangeRequest {
        key: "a".into(),
        revision: 2,
        ..RangeRequest::default()
    };
    let compacted = (
        Code::OutOfRange,
        "etcdserver: mvcc: required revision has been compacted".to_owned(),
    );
    for number in 0..3 {
        eventually("the compaction everywhere", async || {
            cluster.put(0, "b", "x").await;
            let answer = cluster.kv(number).range(first.clone()).await;
            (refused::<()>(Err(answer.err()?)) == compacted).then_some(())
        })
        .await;
    }
    cluster.converged().await;
}

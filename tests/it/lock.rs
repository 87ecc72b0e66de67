//! Locks and elections, as clients of whole members see them.

use crate::common::{Cluster, eventually};
use quorate::proto::etcdserverpb::{
    DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest,
    RangeRequest,
};
use quorate::proto::mvccpb::KeyValue;
use quorate::proto::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, ProclaimRequest, ResignRequest,
};
use quorate::proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest};
use std::time::Duration;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

async fn grant(cluster: &Cluster, id: i64, ttl: i64) {
    let request = LeaseGrantRequest { ttl, id };
    cluster.lease(0).lease_grant(request).await.unwrap();
}

async fn revoke(cluster: &Cluster, id: i64) {
    let request = LeaseRevokeRequest { id };
    cluster.lease(1).lease_revoke(request).await.unwrap();
}

/// Everything that begins with `from`, by create revision.
async fn line(cluster: &Cluster, from: &str) -> Vec<KeyValue> {
    let request = RangeRequest {
        key: from.to_owned().into(),
        range_end: format!("{from}\u{7f}").into(),
        ..RangeRequest::default()
    };
    let answer = cluster.kv(0).range(request).await.unwrap().into_inner();
    let mut kvs = answer.kvs;
    kvs.sort_by_key(|kv| kv.create_revision);
    kvs
}

/// Waits until so many stand in line.
async fn stand(cluster: &Cluster, from: &str, count: usize) {
    eventually("so many in line", async || {
        (line(cluster, from).await.len() == count).then_some(())
    })
    .await;
}

type Waiting<T> = JoinHandle<Result<T, Status>>;

fn lock(cluster: &Cluster, member: usize, name: &str, lease: i64) -> Waiting<LockResponse> {
    let mut client = cluster.lock(member);
    let name = name.to_owned().into();
    tokio::spawn(async move {
        let answer = client.lock(LockRequest { name, lease }).await?;
        Ok(answer.into_inner())
    })
}

async fn unlock(cluster: &Cluster, member: usize, key: &str) -> Result<(), Status> {
    let key = key.to_owned().into();
    cluster.lock(member).unlock(UnlockRequest { key }).await?;
    Ok(())
}

fn campaign(
    cluster: &Cluster,
    member: usize,
    lease: i64,
    value: &str,
) -> Waiting<CampaignResponse> {
    let mut client = cluster.election(member);
    let value = value.to_owned().into();
    tokio::spawn(async move {
        let name = "e".into();
        let answer = client
            .campaign(CampaignRequest { name, lease, value })
            .await?;
        Ok(answer.into_inner())
    })
}

async fn started() -> Cluster {
    let cluster = Cluster::started(3);
    for member in 0..3 {
        cluster.put(member, "before", "1").await;
    }
    cluster
}

#[tokio::test]
async fn a_lock_goes_from_hand_to_hand_in_the_order_of_asking() {
    let cluster = started().await;
    for id in [0xa, 0xb, 0xc] {
        grant(&cluster, id, 60).await;
    }
    let first = lock(&cluster, 0, "l", 0xa).await.unwrap().unwrap();
    assert_eq!(first.key, "l/a");
    let mut revision = first.header.unwrap().revision;
    let second = lock(&cluster, 1, "l", 0xb);
    stand(&cluster, "l/", 2).await;
    let third = lock(&cluster, 2, "l", 0xc);
    stand(&cluster, "l/", 3).await;
    // The holder asks again and has it.
    let again = lock(&cluster, 2, "l", 0xa).await.unwrap().unwrap();
    assert_eq!(again.key, "l/a");
    assert!(!second.is_finished() && !third.is_finished());
    for (waiting, holder, next) in [(second, "l/a", "l/b"), (third, "l/b", "l/c")] {
        unlock(&cluster, 1, holder).await.unwrap();
        let answer = waiting.await.unwrap().unwrap();
        assert_eq!(answer.key, next);
        // The token of each holder is larger than that of any before.
        let tokens: Vec<i64> = line(&cluster, "l/")
            .await
            .iter()
            .map(|kv| kv.create_revision)
            .collect();
        assert!(tokens.is_sorted());
        let now = answer.header.unwrap().revision;
        assert!(now > revision);
        revision = now;
    }
    unlock(&cluster, 0, "l/c").await.unwrap();
    unlock(&cluster, 0, "l/c").await.unwrap();
    assert_eq!(line(&cluster, "l/").await, []);
    // What waits behind another name waits for nobody here.
    assert_eq!(
        lock(&cluster, 0, "l2", 0xa).await.unwrap().unwrap().key,
        "l2/a"
    );
}

#[tokio::test]
async fn a_holders_end_passes_the_lock_on_and_a_waiters_end_does_not() {
    let cluster = started().await;
    for id in [1, 2, 3] {
        grant(&cluster, id, 60).await;
    }
    lock(&cluster, 0, "l", 1).await.unwrap().unwrap();
    let second = lock(&cluster, 1, "l", 2);
    stand(&cluster, "l/", 2).await;
    let third = lock(&cluster, 2, "l", 3);
    stand(&cluster, "l/", 3).await;
    // The one in the middle loses its lease: it waits on, and so does the one behind it, which now
    // waits for the holder.
    revoke(&cluster, 2).await;
    stand(&cluster, "l/", 2).await;
    revoke(&cluster, 1).await;
    assert_eq!(third.await.unwrap().unwrap().key, "l/3");
    let refused = second.await.unwrap().unwrap_err();
    assert_eq!(refused.message(), "mutex: session is expired");
    assert_eq!(refused.code(), Code::Unknown);
}

#[tokio::test]
async fn a_waiter_that_goes_leaves_the_line() {
    let cluster = started().await;
    for id in [1, 2, 3] {
        grant(&cluster, id, 60).await;
    }
    lock(&cluster, 0, "l", 1).await.unwrap().unwrap();
    // One client hangs up, one has a deadline.
    let second = lock(&cluster, 1, "l", 2);
    stand(&cluster, "l/", 2).await;
    second.abort();
    stand(&cluster, "l/", 1).await;
    let mut request = tonic::Request::new(LockRequest {
        name: "l".into(),
        lease: 3,
    });
    request.set_timeout(Duration::from_millis(300));
    assert!(cluster.lock(2).lock(request).await.is_err());
    stand(&cluster, "l/", 1).await;
    assert_eq!(
        line(&cluster, "l/").await[0].key,
        "l/1",
        "the holder's stays"
    );
}

#[tokio::test]
async fn what_is_wrong_is_unknown_with_the_text_of_what_it_was() {
    let cluster = started().await;
    let refused = lock(&cluster, 0, "l", 99).await.unwrap().unwrap_err();
    assert_eq!(refused.message(), "etcdserver: requested lease not found");
    assert_eq!(refused.code(), Code::Unknown);
    let refused = unlock(&cluster, 0, "").await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: key is not provided");
    assert_eq!(refused.code(), Code::Unknown);
    // Without a lease the member grants one for a minute.
    let key = lock(&cluster, 0, "l", 0).await.unwrap().unwrap().key;
    let key = String::from_utf8(key.to_vec()).unwrap();
    let id = i64::from_str_radix(key.strip_prefix("l/").unwrap(), 16).unwrap();
    let request = LeaseTimeToLiveRequest { id, keys: true };
    let seen = cluster
        .lease(1)
        .lease_time_to_live(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((seen.granted_ttl, &seen.keys[..]), (60, &[key.into()][..]));

    let mut election = cluster.election(1);
    let name = || "nobody".into();
    let refused = election
        .leader(LeaderRequest { name: name() })
        .await
        .unwrap_err();
    assert_eq!(refused.message(), "election: no leader");
    let refused = election
        .resign(ResignRequest { leader: None })
        .await
        .unwrap_err();
    assert_eq!(refused.message(), "\"leader\" field must be provided");
    let proclaim = |leader| ProclaimRequest {
        leader,
        value: "v".into(),
    };
    let refused = election.proclaim(proclaim(None)).await.unwrap_err();
    assert_eq!(refused.message(), "\"leader\" field must be provided");
    assert_eq!(refused.code(), Code::Unknown);
    grant(&cluster, 5, 60).await;
    let stale = LeaderKey {
        name: name(),
        key: "nobody/5".into(),
        rev: 3,
        lease: 5,
    };
    let refused = election
        .proclaim(proclaim(Some(stale.clone())))
        .await
        .unwrap_err();
    assert_eq!(refused.message(), "election: not leader");
    assert_eq!(refused.code(), Code::Unknown);
    election
        .resign(ResignRequest {
            leader: Some(stale),
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn an_election_and_those_who_observe_it() {
    let cluster = started().await;
    for id in [1, 2] {
        grant(&cluster, id, 60).await;
    }
    let name = || "e".into();
    let mut observed = [0, 2].map(|member| cluster.election(member));
    let mut told = Vec::new();
    for client in &mut observed {
        told.push(
            client
                .observe(LeaderRequest { name: name() })
                .await
                .unwrap()
                .into_inner(),
        );
    }
    let first = campaign(&cluster, 0, 1, "one")
        .await
        .unwrap()
        .unwrap()
        .leader
        .unwrap();
    assert_eq!((&first.key[..], first.lease), (&b"e/1"[..], 1));
    assert_eq!(first.name, "e");
    let second = campaign(&cluster, 1, 2, "two");
    stand(&cluster, "e/", 2).await;
    let mut election = cluster.election(2);
    let leader = election
        .leader(LeaderRequest { name: name() })
        .await
        .unwrap()
        .into_inner();
    let leader = leader.kv.unwrap();
    assert_eq!(
        (&leader.value[..], leader.create_revision),
        (&b"one"[..], first.rev)
    );
    let proclaim = |leader: &LeaderKey, value: &'static str| ProclaimRequest {
        leader: Some(leader.clone()),
        value: value.into(),
    };
    election.proclaim(proclaim(&first, "uno")).await.unwrap();
    // Who stands already and stands again, for something else, proclaims it.
    let again = campaign(&cluster, 2, 1, "eins")
        .await
        .unwrap()
        .unwrap()
        .leader
        .unwrap();
    assert_eq!(again, first);
    assert!(!second.is_finished());
    election
        .resign(ResignRequest {
            leader: Some(first.clone()),
        })
        .await
        .unwrap();
    let second = second.await.unwrap().unwrap().leader.unwrap();
    assert_eq!((&second.key[..], second.lease), (&b"e/2"[..], 2));
    assert!(second.rev > first.rev);
    let refused = election
        .proclaim(proclaim(&first, "late"))
        .await
        .unwrap_err();
    assert_eq!(refused.message(), "election: not leader");
    election.proclaim(proclaim(&second, "deux")).await.unwrap();
    for told in &mut told {
        for value in ["one", "uno", "eins", "two", "deux"] {
            let leader = told.message().await.unwrap().unwrap().kv.unwrap();
            assert_eq!(leader.value, value);
        }
    }
    // Nobody leads, then somebody does: observers are told when there is something to tell.
    revoke(&cluster, 2).await;
    grant(&cluster, 3, 60).await;
    campaign(&cluster, 0, 3, "three").await.unwrap().unwrap();
    for told in &mut told {
        let leader = told.message().await.unwrap().unwrap().kv.unwrap();
        assert_eq!(leader.value, "three");
    }
}

/// A holder whose lease has ended, and who does not know it, writes nothing that counts: what it
/// guards is compared with its token.
#[tokio::test]
async fn a_holder_of_the_past_is_fenced_off_by_its_token() {
    use quorate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
    use quorate::proto::etcdserverpb::{Compare, RequestOp, TxnRequest, request_op::Request};

    let cluster = started().await;
    for id in [1, 2] {
        grant(&cluster, id, 60).await;
    }
    let write = |key: &bytes::Bytes, token: i64, value: &'static str| TxnRequest {
        compare: vec![Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Create.into(),
            key: key.clone(),
            target_union: Some(TargetUnion::CreateRevision(token)),
            ..Compare::default()
        }],
        success: vec![RequestOp {
            request: Some(Request::RequestPut(PutRequest {
                key: "guarded".into(),
                value: value.into(),
                ..PutRequest::default()
            })),
        }],
        ..TxnRequest::default()
    };
    let token = async || line(&cluster, "l/").await[0].create_revision;
    let mut kv = cluster.kv(1);
    let old = lock(&cluster, 0, "l", 1).await.unwrap().unwrap().key;
    let old_token = token().await;
    let done = kv
        .txn(write(&old, old_token, "by the first"))
        .await
        .unwrap();
    assert!(done.into_inner().succeeded);
    let next = lock(&cluster, 1, "l", 2);
    stand(&cluster, "l/", 2).await;
    revoke(&cluster, 1).await;
    let next = next.await.unwrap().unwrap().key;
    let next_token = token().await;
    assert!(next_token > old_token);
    let done = kv.txn(write(&old, old_token, "too late")).await.unwrap();
    assert!(!done.into_inner().succeeded);
    let done = kv
        .txn(write(&next, next_token, "by the second"))
        .await
        .unwrap();
    assert!(done.into_inner().succeeded);
    assert_eq!(
        cluster.get(2, "guarded", false).await.as_deref(),
        Some("by the second")
    );
    // Whoever deletes the key without asking takes the lock away.
    let delete = DeleteRangeRequest {
        key: next.clone(),
        ..DeleteRangeRequest::default()
    };
    kv.delete_range(delete).await.unwrap();
    let done = kv.txn(write(&next, next_token, "too late")).await.unwrap();
    assert!(!done.into_inner().succeeded);
}

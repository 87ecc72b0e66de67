//! Traps of Put, DeleteRange and Txn.

use super::ground::{
    Ground, delete, delete_op, inner, just, op, put, put_op, range, range_op, refused, revision,
    txn, value_is,
};
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use quorate::proto::etcdserverpb::compare::CompareResult;
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::response_op::Response;
use quorate::proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
    MemberListRequest, PutRequest, RangeRequest, ResponseHeader, TxnRequest,
};
use tonic::Code;

pub(super) async fn what_changes_nothing_makes_no_revision(ground: &mut Ground) -> Result<()> {
    let mut door = ground.door(1)?;
    let before = revision(&mut door).await?;
    let nothing = delete(&mut door, ground.key(""), ground.end()).await?;
    ensure!(nothing == (0, before), "{nothing:?} at {before}");
    txn(&mut door, TxnRequest::default()).await?;
    txn(&mut door, just(vec![delete_op(ground.key("a"))])).await?;
    let lease = LeaseGrantRequest { ttl: 600, id: 501 };
    door.lease.lease_grant(lease).await?;
    door.lease
        .lease_revoke(LeaseRevokeRequest { id: 501 })
        .await?;
    ensure!(
        revision(&mut door).await? == before,
        "a revision without a change"
    );

    door.lease.lease_grant(lease).await?;
    for name in ["a", "b", "c"] {
        door.kv.put(leased(ground.key(name), 501)).await?;
    }
    door.lease
        .lease_revoke(LeaseRevokeRequest { id: 501 })
        .await?;
    let after = revision(&mut door).await?;
    // Three puts, and one for all three deletions.
    ensure!(after == before + 4, "{after} after {before}");
    Ok(())
}

fn leased(key: Bytes, lease: i64) -> PutRequest {
    PutRequest {
        key,
        value: "x".into(),
        lease,
        ..PutRequest::default()
    }
}

pub(super) async fn comparing_the_value_of_a_missing_key_is_false_whatever_is_asked(
    ground: &mut Ground,
) -> Result<()> {
    let mut door = ground.door(2)?;
    for result in [
        CompareResult::Equal,
        CompareResult::NotEqual,
        CompareResult::Less,
        CompareResult::Greater,
    ] {
        let request = TxnRequest {
            compare: vec![value_is(ground.key("missing"), result, "")],
            ..TxnRequest::default()
        };
        let answer = txn(&mut door, request).await?;
        ensure!(!answer.succeeded, "{result:?} holds");
    }
    Ok(())
}

pub(super) async fn comparisons_see_the_state_before_and_errors_leave_no_trace(
    ground: &mut Ground,
) -> Result<()> {
    let mut door = ground.door(3)?;
    let key = ground.key("a");
    put(&mut door, key.clone(), "before").await?;
    let nested = TxnRequest {
        compare: vec![value_is(key.clone(), CompareResult::Equal, "after")],
        success: vec![put_op(ground.key("wrong"), "x")],
        failure: vec![put_op(ground.key("right"), "x")],
    };
    let outer = just(vec![
        put_op(key.clone(), "after"),
        op(Request::RequestTxn(nested)),
    ]);
    txn(&mut door, outer).await?;
    let all = range(&mut door, ground.all()).await?;
    let keys: Vec<Bytes> = all.kvs.into_iter().map(|kv| kv.key).collect();
    ensure!(keys == [key.clone(), ground.key("right")], "{keys:?}");

    // The last operation cannot be done, so the first is not either.
    let now = revision(&mut door).await?;
    let future = RangeRequest {
        key: key.clone(),
        revision: now + 1,
        ..RangeRequest::default()
    };
    let half = just(vec![
        put_op(ground.key("half"), "x"),
        op(Request::RequestRange(future)),
    ]);
    let words = "etcdserver: mvcc: required revision is a future revision";
    refused(txn(&mut door, half).await, Code::OutOfRange, words)?;
    let keep = PutRequest {
        key: ground.key("nothing"),
        ignore_value: true,
        ..PutRequest::default()
    };
    let half = just(vec![
        put_op(ground.key("half"), "x"),
        op(Request::RequestPut(keep)),
    ]);
    refused(
        txn(&mut door, half).await,
        Code::InvalidArgument,
        "etcdserver: key not found",
    )?;
    let half = just(vec![
        put_op(ground.key("half"), "x"),
        op(Request::RequestPut(leased(ground.key("b"), 777))),
    ]);
    let words = "etcdserver: requested lease not found";
    refused(txn(&mut door, half).await, Code::NotFound, words)?;
    ensure!(
        revision(&mut door).await? == now,
        "a refused transaction left a trace"
    );
    Ok(())
}

pub(super) async fn duplicate_keys_are_refused_in_the_branch_not_taken_too(
    ground: &mut Ground,
) -> Result<()> {
    let mut door = ground.door(1)?;
    let key = ground.key("a");
    let twice = vec![put_op(key.clone(), "1"), put_op(key.clone(), "2")];
    let request = TxnRequest {
        failure: twice,
        ..TxnRequest::default()
    };
    let words = "etcdserver: duplicate key given in txn request";
    refused(txn(&mut door, request).await, Code::InvalidArgument, words)?;
    let under = just(vec![put_op(key.clone(), "1"), delete_op(key.clone())]);
    refused(txn(&mut door, under).await, Code::InvalidArgument, words)?;
    let both_branches = TxnRequest {
        success: vec![put_op(key.clone(), "1")],
        failure: vec![put_op(key.clone(), "2")],
        ..TxnRequest::default()
    };
    txn(&mut door, both_branches).await?;
    txn(
        &mut door,
        just(vec![delete_op(key.clone()), delete_op(key)]),
    )
    .await?;
    Ok(())
}

pub(super) async fn a_put_without_a_lease_detaches_and_ignore_lease_keeps(
    ground: &mut Ground,
) -> Result<()> {
    let mut door = ground.door(2)?;
    let (detached, kept) = (ground.key("detached"), ground.key("kept"));
    door.lease
        .lease_grant(LeaseGrantRequest { ttl: 600, id: 1001 })
        .await?;
    for key in [&detached, &kept] {
        door.kv.put(leased(key.clone(), 1001)).await?;
    }
    put(&mut door, detached.clone(), "y").await?;
    let keep = PutRequest {
        key: kept.clone(),
        value: "y".into(),
        ignore_lease: true,
        ..PutRequest::default()
    };
    door.kv.put(keep).await?;
    let request = LeaseTimeToLiveRequest {
        id: 1001,
        keys: true,
    };
    let answer = inner(door.lease.lease_time_to_live(request).await)?;
    ensure!(answer.keys == [kept.clone()], "{answer:?}");
    door.lease
        .lease_revoke(LeaseRevokeRequest { id: 1001 })
        .await?;
    let left = range(&mut door, ground.all()).await?;
    let keys: Vec<&Bytes> = left.kvs.iter().map(|kv| &kv.key).collect();
    ensure!(keys == [&detached], "{left:?}");
    Ok(())
}

pub(super) async fn headers_carry_the_revision_at_their_place(ground: &mut Ground) -> Result<()> {
    let mut door = ground.door(3)?;
    let at = |header: Option<ResponseHeader>| header.map(|header| header.revision);
    let before = revision(&mut door).await?;
    let inside = just(vec![range_op(ground.key("a"))]);
    let request = just(vec![
        range_op(ground.key("a")),
        put_op(ground.key("a"), "x"),
        range_op(ground.key("a")),
        op(Request::RequestTxn(inside)),
    ]);
    let answer = txn(&mut door, request).await?;
    ensure!(at(answer.header) == Some(before + 1), "{answer:?}");
    let inner_headers: Vec<_> = answer
        .responses
        .into_iter()
        .filter_map(|one| one.response)
        .map(|one| match one {
            Response::ResponseRange(one) => one.header,
            Response::ResponsePut(one) => one.header,
            Response::ResponseDeleteRange(one) => one.header,
            Response::ResponseTxn(one) => one.header,
        })
        .collect();
    // Only the revision: the old one, the new one twice, and of the transaction an empty header.
    let wanted = [before, before + 1, before + 1, 0].map(|revision| {
        Some(ResponseHeader {
            revision,
            ..ResponseHeader::default()
        })
    });
    ensure!(inner_headers == wanted, "{inner_headers:?}");

    door.lease
        .lease_grant(LeaseGrantRequest { ttl: 600, id: 1101 })
        .await?;
    let once = futures_util::stream::iter([LeaseKeepAliveRequest { id: 1101 }]);
    let mut renewed = door.lease.lease_keep_alive(once).await?.into_inner();
    let renewed = renewed
        .message()
        .await?
        .context("no answer to a keep-alive")?;
    ensure!(
        at(renewed.header) == Some(before + 1) && renewed.ttl == 600,
        "{renewed:?}"
    );
    door.lease
        .lease_revoke(LeaseRevokeRequest { id: 1101 })
        .await?;
    let members = inner(
        door.cluster
            .member_list(MemberListRequest { linearizable: true })
            .await,
    )?;
    let header = members.header.context("a member list without a header")?;
    ensure!(header.revision == 0 && header.cluster_id != 0, "{header:?}");
    Ok(())
}

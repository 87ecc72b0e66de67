//! Traps of what is refused, and how.

use super::ground::{
    Ground, compact, delete, delete_op, inner, just, op, put, put_op, range, range_op, refused,
    revision, txn,
};
use crate::cluster::local::PATIENCE;
use crate::cluster::program::Program;
use crate::raw::{call, dial};
use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use prost::Message as _;
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::{
    AlarmRequest, DeleteRangeRequest, LeaseGrantRequest, MemberListRequest, MemberRemoveRequest,
    PutRequest, RangeRequest, StatusRequest, TxnRequest,
};
use quorate::proto::v3electionpb::{LeaderRequest, ProclaimRequest, ResignRequest};
use quorate::proto::v3lockpb::LockRequest;
use tonic::Code;

/// `--max-request-bytes` of etcd, and of Quorate.
const REQUEST_BYTES_MAX: usize = 1_572_864;
/// And half a megabyte.
const MESSAGE_BYTES_MAX: usize = 2_097_152;

/// Transactions in each other, each with one operation; the innermost has `inside`.
fn nested(levels: usize, inside: Vec<quorate::proto::etcdserverpb::RequestOp>) -> TxnRequest {
    (1..levels).fold(just(inside), |inner, _| {
        just(vec![op(Request::RequestTxn(inner))])
    })
}

pub(super) async fn a_path_of_128_operations_is_taken_and_129_is_refused(
    ground: &mut Ground,
) -> Result<()> {
    let mut door = ground.door(1)?;
    let puts = |count| {
        (0..count)
            .map(|n| put_op(ground.key(&n.to_string()), "x"))
            .collect()
    };
    let words = "etcdserver: too many operations in txn request";
    txn(&mut door, just(puts(128))).await?;
    refused(
        txn(&mut door, just(puts(129))).await,
        Code::InvalidArgument,
        words,
    )?;
    // What counts is the longest way down; the answers are nested deeper than a client decodes.
    let channel = dial(&ground.shared().client_address(2)).await?;
    let path = "/etcdserverpb.KV/Txn";
    let send = |txn: TxnRequest| call(channel.clone(), path, txn.encode_to_vec().into());
    send(nested(127, vec![range_op(ground.key("0"))])).await?;
    send(nested(128, vec![range_op(ground.key("0"))])).await?;
    send(nested(28, puts(101))).await?;
    let deep = nested(129, vec![range_op(ground.key("0"))]);
    refused(send(deep).await, Code::InvalidArgument, words)?;
    refused(
        send(nested(28, puts(102))).await,
        Code::InvalidArgument,
        words,
    )?;
    delete(&mut door, ground.key(""), ground.end()).await?;
    Ok(())
}

pub(super) async fn permissions_hold_at_apply_in_both_branches(_: &mut Ground) -> Result<()> {
    bail!("there are no users yet")
}

pub(super) async fn what_crashes_etcd_is_refused_before_it_is_proposed(
    ground: &mut Ground,
) -> Result<()> {
    let mut door = ground.door(2)?;
    let before = revision(&mut door).await?;
    let words = "etcdserver: invalid sort option";
    for (sort_order, sort_target) in [(0, 9), (9, 0), (1, -1)] {
        let unknown = RangeRequest {
            sort_order,
            sort_target,
            ..ground.all()
        };
        refused(
            range(&mut door, unknown.clone()).await,
            Code::InvalidArgument,
            words,
        )?;
        let inside = just(vec![
            put_op(ground.key("a"), "x"),
            op(Request::RequestRange(unknown)),
        ]);
        refused(txn(&mut door, inside).await, Code::InvalidArgument, words)?;
    }
    // etcd panics when it applies this: the key is gone by then. It looks for puts of keys that the same
    // transaction deletes, and takes the end of all keys for that of an empty range.
    put(&mut door, "\u{10ffff}".into(), "x").await?;
    let everything_after = DeleteRangeRequest {
        key: "\u{10ffff}".into(),
        range_end: "\0".into(),
        ..DeleteRangeRequest::default()
    };
    let keep = PutRequest {
        key: "\u{10ffff}".into(),
        ignore_value: true,
        ..PutRequest::default()
    };
    let gone = just(vec![
        put_op(ground.key("a"), "x"),
        op(Request::RequestDeleteRange(everything_after)),
        op(Request::RequestPut(keep)),
    ]);
    let answer = txn(&mut door, just(vec![op(Request::RequestTxn(gone))])).await;
    let words = "etcdserver: key not found";
    refused(answer, Code::InvalidArgument, words)?;
    // Nothing was changed, and everybody is well.
    for node in 1..=3 {
        let mut door = ground.door(node)?;
        ensure!(
            revision(&mut door).await? == before + 1,
            "something was changed"
        );
    }
    delete(&mut door, "\u{10ffff}".into(), Bytes::new()).await?;
    Ok(())
}

pub(super) async fn some_refusals_have_the_code_unknown(ground: &mut Ground) -> Result<()> {
    let mut door = ground.door(3)?;
    let no_lease = LockRequest {
        name: ground.key("lock"),
        lease: 2101,
    };
    let words = "etcdserver: requested lease not found";
    refused(door.lock.lock(no_lease).await, Code::Unknown, words)?;
    let nobody = LeaderRequest {
        name: ground.key("election"),
    };
    refused(
        door.election.leader(nobody).await,
        Code::Unknown,
        "election: no leader",
    )?;
    let words = "\"leader\" field must be provided";
    let proclaim = ProclaimRequest::default();
    refused(door.election.proclaim(proclaim).await, Code::Unknown, words)?;
    let resign = ResignRequest::default();
    refused(door.election.resign(resign).await, Code::Unknown, words)?;
    let stale = ProclaimRequest {
        leader: Some(quorate::proto::v3electionpb::LeaderKey {
            name: ground.key("election"),
            key: ground.key("election/1"),
            rev: 1,
            lease: 1,
        }),
        value: "x".into(),
    };
    refused(
        door.election.proclaim(stale).await,
        Code::Unknown,
        "election: not leader",
    )?;

    // The last member cannot be removed.
    let cluster = ground.own(1, &[]).await?;
    let mut door = cluster.door(1, PATIENCE)?;
    let members = inner(
        door.cluster
            .member_list(MemberListRequest { linearizable: true })
            .await,
    )?;
    let id = members.members.first().map_or(0, |member| member.id);
    let words = "etcdserver: re-configuration failed due to not enough started members";
    refused(
        door.cluster.member_remove(MemberRemoveRequest { id }).await,
        Code::Unknown,
        words,
    )
}

pub(super) async fn too_large_is_said_in_two_ways_at_two_limits(ground: &mut Ground) -> Result<()> {
    let mut door = ground.door(1)?;
    let of = |bytes: usize| PutRequest {
        key: ground.key("a"),
        value: vec![b'x'; bytes].into(),
        ..PutRequest::default()
    };
    door.kv.put(of(REQUEST_BYTES_MAX - 200)).await?;
    let words = "etcdserver: request is too large";
    let answer = door.kv.put(of(REQUEST_BYTES_MAX)).await;
    refused(answer, Code::InvalidArgument, words)?;
    let largest = MESSAGE_BYTES_MAX - of(0).encoded_len() - 5;
    ensure!(
        of(largest).encoded_len() <= MESSAGE_BYTES_MAX,
        "the sum is wrong"
    );
    refused(door.kv.put(of(largest)).await, Code::InvalidArgument, words)?;
    let over = of(MESSAGE_BYTES_MAX);
    let words = format!(
        "grpc: received message larger than max ({} vs. {MESSAGE_BYTES_MAX})",
        over.encoded_len()
    );
    refused(door.kv.put(over).await, Code::ResourceExhausted, &words)?;
    delete(&mut door, ground.key("a"), Bytes::new()).await?;
    Ok(())
}

pub(super) async fn without_space_deletions_and_reads_go_through(
    ground: &mut Ground,
) -> Result<()> {
    let mut door = ground.door(2)?;
    put(&mut door, ground.key("a"), "x").await?;
    put(&mut door, ground.key("b"), "x").await?;
    let before = revision(&mut door).await?;
    let alarm = |action| AlarmRequest {
        action,
        member_id: 2601,
        alarm: 1,
    };
    door.maintenance.alarm(alarm(1)).await?;
    let checked = full(ground, before).await;
    // Whatever came of it: the traps after this one need space.
    door.maintenance.alarm(alarm(2)).await?;
    checked?;
    put(&mut door, ground.key("c"), "x").await?;
    Ok(())
}

/// What must hold while there is no space.
async fn full(ground: &Ground, before: i64) -> Result<()> {
    for node in 1..=3 {
        let mut door = ground.door(node)?;
        let (code, words) = (
            Code::ResourceExhausted,
            "etcdserver: mvcc: database space exceeded",
        );
        refused(put(&mut door, ground.key("c"), "x").await, code, words)?;
        let lease = LeaseGrantRequest { ttl: 600, id: 2601 };
        refused(door.lease.lease_grant(lease).await, code, words)?;
        // In the branch that is not taken, too.
        let request = TxnRequest {
            success: vec![delete_op(ground.key("a"))],
            failure: vec![put_op(ground.key("c"), "x")],
            ..TxnRequest::default()
        };
        refused(txn(&mut door, request).await, code, words)?;
        let answer = range(&mut door, ground.all()).await?;
        ensure!(answer.count >= 1, "{answer:?}");
        let status = inner(door.maintenance.status(StatusRequest {}).await)?;
        ensure!(
            status.errors.iter().any(|error| error.contains("NOSPACE")),
            "{:?}",
            status.errors
        );
    }
    let mut door = ground.door(3)?;
    let first = txn(&mut door, just(vec![delete_op(ground.key("a"))])).await?;
    let first = first.header.map_or(0, |header| header.revision);
    let (deleted, second) = delete(&mut door, ground.key("b"), Bytes::new()).await?;
    ensure!(
        deleted == 1 && second == first + 1,
        "{second} after {first}"
    );
    // One revision each, whatever was refused before. (After a restart a member of etcd 3.4 may lag
    // behind the others by one for good.)
    let expected = if ground.program() == Program::Etcd {
        first
    } else {
        before + 1
    };
    ensure!(first == expected, "{first} after {before}");
    compact(&mut door, second).await?;
    Ok(())
}

pub(super) async fn a_transaction_that_only_reads_is_no_write_and_a_nested_one_is(
    ground: &mut Ground,
) -> Result<()> {
    let mut door = ground.door(1)?;
    // What the log holds grows by itself only while something is to do.
    let index = async |door: &mut crate::door::Door| {
        let status = inner(door.maintenance.status(StatusRequest {}).await)?;
        anyhow::Ok(status.raft_index)
    };
    put(&mut door, ground.key("a"), "x").await?;
    let before = index(&mut door).await?;
    for _ in 0..5 {
        txn(&mut door, just(vec![range_op(ground.key("a"))])).await?;
    }
    let read = index(&mut door).await?;
    ensure!(
        read == before,
        "reading made the log grow from {before} to {read}"
    );
    let inside = nested(2, vec![range_op(ground.key("a"))]);
    txn(&mut door, inside).await?;
    let written = index(&mut door).await?;
    ensure!(written > read, "a nested transaction is not in the log");
    Ok(())
}

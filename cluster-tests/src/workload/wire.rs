//! The history's words and the wire's.

use super::client::DEADLINE;
use crate::door::Door;
use crate::history::call::{
    Act, Answer, Call, Compare, Done, Found, Pair, Range, Relation, Target, Txn,
};
use crate::history::operation::Header;
use bytes::Bytes;
use quorate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::response_op::Response;
use quorate::proto::etcdserverpb::{
    self as pb, CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseKeepAliveRequest,
    LeaseRevokeRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, ResponseHeader,
    ResponseOp, TxnRequest,
};
use quorate::proto::mvccpb::KeyValue;
use tonic::Status;

/// Makes the call at one member.
///
/// # Errors
/// Whatever the member or the way to it says.
pub async fn perform(door: &mut Door, call: &Call) -> Result<(Header, Answer), Status> {
    match call {
        Call::Range(range) => {
            let answer = door.kv.range(range_request(range)).await?.into_inner();
            Ok((header(answer.header.as_ref()), Answer::Range(found(answer))))
        }
        Call::Txn(txn) => match (txn.compares.as_slice(), txn.then.as_slice()) {
            ([], [Act::Put { key, value, lease }]) => {
                let request = put_request(key, value, *lease);
                let answer = door.kv.put(request).await?.into_inner();
                let done = Done::Put {
                    previous: answer.prev_kv.map(pair),
                };
                Ok((header(answer.header.as_ref()), alone(done)))
            }
            ([], [Act::Delete(range)]) => {
                let request = delete_request(range);
                let answer = door.kv.delete_range(request).await?.into_inner();
                let previous = answer.prev_kvs.into_iter().map(pair).collect();
                let done = Done::Deleted { previous };
                Ok((header(answer.header.as_ref()), alone(done)))
            }
            _ => transaction(door, txn).await,
        },
        Call::Compact { revision } => {
            let request = CompactionRequest {
                revision: *revision,
                physical: false,
            };
            let answer = door.kv.compact(request).await?.into_inner();
            Ok((header(answer.header.as_ref()), Answer::Compacted))
        }
        Call::Grant { id, ttl } => {
            let request = LeaseGrantRequest { ttl: *ttl, id: *id };
            let answer = door.lease.lease_grant(request).await?.into_inner();
            let lease = Answer::Lease {
                id: answer.id,
                ttl: answer.ttl,
            };
            Ok((header(answer.header.as_ref()), lease))
        }
        Call::Revoke { id } => {
            let request = LeaseRevokeRequest { id: *id };
            let answer = door.lease.lease_revoke(request).await?.into_inner();
            Ok((header(answer.header.as_ref()), Answer::Revoked))
        }
        Call::KeepAlive { id } => {
            // A stream of one question. The door's deadline ends with the head of the answer: the
            // message would be waited for as long as a machine without power is silent.
            let question = tokio_stream::once(LeaseKeepAliveRequest { id: *id });
            let answered = async {
                let mut answers = door.lease.lease_keep_alive(question).await?.into_inner();
                let answer = answers.message().await?;
                answer.ok_or_else(|| Status::unavailable("the stream ended"))
            };
            let answer = tokio::time::timeout(DEADLINE, answered).await;
            let answer = answer.map_err(|_| Status::deadline_exceeded("no renewal in time"))??;
            let lease = Answer::Lease {
                id: answer.id,
                ttl: answer.ttl,
            };
            Ok((header(answer.header.as_ref()), lease))
        }
    }
}

async fn transaction(door: &mut Door, txn: &Txn) -> Result<(Header, Answer), Status> {
    let request = TxnRequest {
        compare: txn.compares.iter().map(compare).collect(),
        success: txn.then.iter().map(act).collect(),
        failure: txn.otherwise.iter().map(act).collect(),
    };
    let answer = door.kv.txn(request).await?.into_inner();
    let answered = Answer::Txn {
        succeeded: answer.succeeded,
        done: answer.responses.into_iter().filter_map(done).collect(),
    };
    Ok((header(answer.header.as_ref()), answered))
}

fn alone(done: Done) -> Answer {
    Answer::Txn {
        succeeded: true,
        done: vec![done],
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn end(range: &Range) -> Bytes {
    range.end.as_deref().map(bytes).unwrap_or_default()
}

fn range_request(range: &Range) -> RangeRequest {
    RangeRequest {
        key: bytes(&range.key),
        range_end: end(range),
        limit: range.limit,
        revision: range.revision,
        serializable: range.serializable,
        ..RangeRequest::default()
    }
}

fn put_request(key: &str, value: &str, lease: i64) -> PutRequest {
    PutRequest {
        key: bytes(key),
        value: bytes(value),
        lease,
        prev_kv: true,
        ..PutRequest::default()
    }
}

fn delete_request(range: &Range) -> DeleteRangeRequest {
    DeleteRangeRequest {
        key: bytes(&range.key),
        range_end: end(range),
        prev_kv: true,
    }
}

fn act(act: &Act) -> RequestOp {
    let request = match act {
        Act::Put { key, value, lease } => Request::RequestPut(put_request(key, value, *lease)),
        Act::Get(range) => Request::RequestRange(range_request(range)),
        Act::Delete(range) => Request::RequestDeleteRange(delete_request(range)),
    };
    RequestOp {
        request: Some(request),
    }
}

fn compare(compare: &Compare) -> pb::Compare {
    let result = match compare.relation {
        Relation::Equal => CompareResult::Equal,
        Relation::NotEqual => CompareResult::NotEqual,
        Relation::Greater => CompareResult::Greater,
        Relation::Less => CompareResult::Less,
    };
    let (target, union) = match &compare.target {
        Target::Value(value) => (CompareTarget::Value, TargetUnion::Value(bytes(value))),
        Target::ModRevision(at) => (CompareTarget::Mod, TargetUnion::ModRevision(*at)),
        Target::CreateRevision(at) => (CompareTarget::Create, TargetUnion::CreateRevision(*at)),
        Target::Version(version) => (CompareTarget::Version, TargetUnion::Version(*version)),
    };
    pb::Compare {
        result: result.into(),
        target: target.into(),
        key: bytes(&compare.key),
        target_union: Some(union),
        ..pb::Compare::default()
    }
}

fn header(header: Option<&ResponseHeader>) -> Header {
    header.map_or_else(Header::default, |header| Header {
        revision: header.revision,
        term: header.raft_term,
        member: header.member_id,
    })
}

/// A pair as the store holds it.
#[allow(
    clippy::needless_pass_by_value,
    reason = "it is mapped over answers that are used up"
)]
pub fn pair(kv: KeyValue) -> Pair {
    Pair {
        key: text(&kv.key),
        value: text(&kv.value),
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
    }
}

fn found(answer: RangeResponse) -> Found {
    Found {
        kvs: answer.kvs.into_iter().map(pair).collect(),
        more: answer.more,
        count: answer.count,
    }
}

/// Nothing here asks for a nested transaction.
fn done(answer: ResponseOp) -> Option<Done> {
    match answer.response? {
        Response::ResponseRange(answer) => Some(Done::Get(found(answer))),
        Response::ResponsePut(answer) => Some(Done::Put {
            previous: answer.prev_kv.map(pair),
        }),
        Response::ResponseDeleteRange(answer) => Some(Done::Deleted {
            previous: answer.prev_kvs.into_iter().map(pair).collect(),
        }),
        Response::ResponseTxn(_) => None,
    }
}

//! Wire messages to commands and queries; outcomes to wire messages. `Bytes` move, nothing is
//! copied. What these functions get has passed `validate`; what they cannot express is refused
//! here once more rather than guessed.

use super::header;
use super::validate::Invalid;
use crate::proto::etcdserverpb::compare::{
    CompareResult, CompareTarget as WireTarget, TargetUnion,
};
use crate::proto::etcdserverpb::range_request::{
    SortOrder as WireOrder, SortTarget as WireSortTarget,
};
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::response_op::Response;
use crate::proto::etcdserverpb::{self as wire, ResponseHeader};
use crate::proto::mvccpb;
use crate::state_machine::command::{
    Compare, CompareTarget, DeleteRange, Operation, Put, Relation, Txn,
};
use crate::state_machine::outcome::{OperationOutcome, OperationResult, TxnOutcome};
use crate::types::{KeyRange, KeyValue, RangeQuery, RangeResult, SortOrder, SortTarget};
use bytes::Bytes;

pub(super) fn range_query(request: wire::RangeRequest) -> Result<RangeQuery, Invalid> {
    let sort_order = match WireOrder::try_from(request.sort_order) {
        Ok(WireOrder::None) => SortOrder::None,
        Ok(WireOrder::Ascend) => SortOrder::Ascend,
        Ok(WireOrder::Descend) => SortOrder::Descend,
        Err(_) => return Err(Invalid::SortOption),
    };
    let sort_target = match WireSortTarget::try_from(request.sort_target) {
        Ok(WireSortTarget::Key) => SortTarget::Key,
        Ok(WireSortTarget::Version) => SortTarget::Version,
        Ok(WireSortTarget::Create) => SortTarget::Create,
        Ok(WireSortTarget::Mod) => SortTarget::Mod,
        Ok(WireSortTarget::Value) => SortTarget::Value,
        Err(_) => return Err(Invalid::SortOption),
    };
    Ok(RangeQuery {
        range: KeyRange::from_wire(request.key, request.range_end),
        limit: request.limit,
        revision: request.revision,
        sort_order,
        sort_target,
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod_revision: request.min_mod_revision,
        max_mod_revision: request.max_mod_revision,
        min_create_revision: request.min_create_revision,
        max_create_revision: request.max_create_revision,
    })
}

pub(super) fn put(request: wire::PutRequest) -> Put {
    Put {
        key: request.key,
        value: request.value,
        lease: request.lease,
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    }
}

pub(super) fn delete_range(request: wire::DeleteRangeRequest) -> DeleteRange {
    DeleteRange {
        range: KeyRange::from_wire(request.key, request.range_end),
        prev_kv: request.prev_kv,
    }
}

/// How a transaction that holds nothing but ranges may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadOnly {
    pub(super) serializable: bool,
}

/// `None` if it writes; a nested transaction counts as a write.
pub(super) fn read_only(request: &wire::TxnRequest) -> Option<ReadOnly> {
    let mut ranges = 0;
    let mut serializable = 0;
    for operation in request.success.iter().chain(&request.failure) {
        let Some(Request::RequestRange(range)) = &operation.request else {
            return None;
        };
        ranges += 1;
        serializable += usize::from(range.serializable);
    }
    Some(ReadOnly {
        serializable: ranges > 0 && serializable == ranges,
    })
}

pub(super) fn txn(request: wire::TxnRequest) -> Result<Txn, Invalid> {
    let operations = |list: Vec<wire::RequestOp>| {
        list.into_iter()
            .map(operation)
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(Txn {
        compare: request.compare.into_iter().map(compare).collect(),
        success: operations(request.success)?,
        failure: operations(request.failure)?,
    })
}

fn operation(operation: wire::RequestOp) -> Result<Operation, Invalid> {
    match operation.request {
        Some(Request::RequestRange(request)) => range_query(request).map(Operation::Range),
        Some(Request::RequestPut(request)) => Ok(Operation::Put(put(request))),
        Some(Request::RequestDeleteRange(request)) => {
            Ok(Operation::DeleteRange(delete_range(request)))
        }
        Some(Request::RequestTxn(request)) => txn(request).map(Operation::Txn),
        None => Err(Invalid::NoOperation),
    }
}

/// A value missing from the union, or another target's, compares as 0 or empty.
///
/// Numbers of targets and results that etcd does not know are not refused by etcd: an unknown
/// target compares as equal, an unknown result holds (unless it is the value of a key that does not
/// exist, which never holds). There are ordinary comparisons that say exactly that.
fn compare(compare: wire::Compare) -> Compare {
    let range = KeyRange::from_wire(compare.key, compare.range_end);
    let union = compare.target_union;
    let number = |wanted: WireTarget| match (&union, wanted) {
        (Some(TargetUnion::Version(n)), WireTarget::Version)
        | (Some(TargetUnion::CreateRevision(n)), WireTarget::Create)
        | (Some(TargetUnion::ModRevision(n)), WireTarget::Mod)
        | (Some(TargetUnion::Lease(n)), WireTarget::Lease) => *n,
        _ => 0,
    };
    let target = WireTarget::try_from(compare.target)
        .ok()
        .map(|target| match target {
            WireTarget::Version => CompareTarget::Version(number(target)),
            WireTarget::Create => CompareTarget::Create(number(target)),
            WireTarget::Mod => CompareTarget::Mod(number(target)),
            WireTarget::Lease => CompareTarget::Lease(number(target)),
            WireTarget::Value => CompareTarget::Value(match &union {
                Some(TargetUnion::Value(value)) => value.clone(),
                _ => Bytes::new(),
            }),
        });
    let relation = CompareResult::try_from(compare.result)
        .ok()
        .map(|result| match result {
            CompareResult::Equal => Relation::Equal,
            CompareResult::Greater => Relation::Greater,
            CompareResult::Less => Relation::Less,
            CompareResult::NotEqual => Relation::NotEqual,
        });
    let (relation, target) = match (relation, target) {
        (Some(relation), Some(target)) => (relation, target),
        (Some(Relation::Equal), None) => ALWAYS,
        (Some(Relation::Greater | Relation::Less | Relation::NotEqual), None) => NEVER,
        (None, Some(CompareTarget::Value(_))) => EXISTS,
        (None, _) => ALWAYS,
    };
    Compare {
        range,
        relation,
        target,
    }
}

/// A version is never negative, and 0 if the key does not exist.
const ALWAYS: (Relation, CompareTarget) = (Relation::NotEqual, CompareTarget::Version(-1));
const NEVER: (Relation, CompareTarget) = (Relation::Equal, CompareTarget::Version(-1));
const EXISTS: (Relation, CompareTarget) = (Relation::NotEqual, CompareTarget::Version(0));

pub(super) fn key_value(kv: KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        value: kv.value,
        lease: kv.lease,
    }
}

pub(super) fn key_values(kvs: Vec<KeyValue>) -> Vec<mvccpb::KeyValue> {
    kvs.into_iter().map(key_value).collect()
}

pub(super) fn range_response(header: ResponseHeader, result: RangeResult) -> wire::RangeResponse {
    wire::RangeResponse {
        header: Some(header),
        kvs: key_values(result.kvs),
        more: result.more,
        count: result.count,
    }
}

/// A nested answer has an empty header, as in etcd.
pub(super) fn txn_response(
    header: Option<ResponseHeader>,
    outcome: TxnOutcome,
) -> wire::TxnResponse {
    wire::TxnResponse {
        header,
        succeeded: outcome.succeeded,
        responses: outcome.responses.into_iter().map(response_op).collect(),
    }
}

fn response_op(outcome: OperationOutcome) -> wire::ResponseOp {
    let header = header::of_operation(outcome.revision);
    wire::ResponseOp {
        response: Some(match outcome.result {
            OperationResult::Range(result) => {
                Response::ResponseRange(range_response(header, result))
            }
            OperationResult::Put { prev_kv } => Response::ResponsePut(wire::PutResponse {
                header: Some(header),
                prev_kv: prev_kv.map(key_value),
            }),
            OperationResult::DeleteRange { deleted, prev_kvs } => {
                Response::ResponseDeleteRange(wire::DeleteRangeResponse {
                    header: Some(header),
                    deleted,
                    prev_kvs: key_values(prev_kvs),
                })
            }
            OperationResult::Txn(outcome) => {
                Response::ResponseTxn(txn_response(Some(ResponseHeader::default()), outcome))
            }
        }),
    }
}

#[cfg(test)]
mod tests;

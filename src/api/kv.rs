//! `etcdserverpb.KV`.

use super::dispatch::Call;
use super::{convert, header, status, validate};
use crate::proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};
use crate::state_machine::{Command, Outcome};
use crate::types::Revision;
use tonic::Status;

pub(super) async fn range(call: Call, request: RangeRequest) -> Result<RangeResponse, Status> {
    validate::range(&request).map_err(status::invalid)?;
    let serializable = request.serializable;
    if !serializable && call.node().is_learner() {
        return Err(status::not_for_learners());
    }
    let query = convert::range_query(request).map_err(status::invalid)?;
    let (revision, result) = call
        .node()
        .range(query, serializable, call.deadline.at)
        .await
        .map_err(|error| status::failed(error, call.deadline))?;
    let result = result.map_err(status::refused)?;
    Ok(convert::range_response(
        header::at(call.node(), revision),
        result,
    ))
}

pub(super) async fn put(call: Call, request: PutRequest) -> Result<PutResponse, Status> {
    validate::put(&request).map_err(status::invalid)?;
    let (revision, outcome) = propose(&call, Command::Put(convert::put(request))).await?;
    match outcome {
        Outcome::Put { prev_kv } => Ok(PutResponse {
            header: Some(header::at(call.node(), revision)),
            prev_kv: prev_kv.map(convert::key_value),
        }),
        other => Err(wrong_outcome(&other)),
    }
}

pub(super) async fn delete_range(
    call: Call,
    request: DeleteRangeRequest,
) -> Result<DeleteRangeResponse, Status> {
    validate::delete_range(&request).map_err(status::invalid)?;
    let command = Command::DeleteRange(convert::delete_range(request));
    let (revision, outcome) = propose(&call, command).await?;
    match outcome {
        Outcome::DeleteRange { deleted, prev_kvs } => Ok(DeleteRangeResponse {
            header: Some(header::at(call.node(), revision)),
            deleted,
            prev_kvs: convert::key_values(prev_kvs),
        }),
        other => Err(wrong_outcome(&other)),
    }
}

/// A transaction of nothing but ranges is read, not logged; a nested one counts as a write.
///
/// etcd answers a transaction without any operation from local state, possibly stale. Here it is
/// read behind a barrier: nobody can tell but by getting the truth.
pub(super) async fn txn(call: Call, request: TxnRequest) -> Result<TxnResponse, Status> {
    validate::txn(&request, call.limits().max_txn_ops).map_err(status::invalid)?;
    let read = convert::read_only(&request);
    let txn = convert::txn(request).map_err(status::invalid)?;
    let (revision, outcome) = match read {
        Some(read) => {
            let reply = call
                .node()
                .read_only_txn(txn, read.serializable, call.deadline.at)
                .await
                .map_err(|error| status::failed(error, call.deadline))?;
            (reply.revision, reply.result.map_err(status::refused)?)
        }
        None => propose(&call, Command::Txn(txn)).await?,
    };
    match outcome {
        Outcome::Txn(outcome) => Ok(convert::txn_response(
            Some(header::at(call.node(), revision)),
            outcome,
        )),
        other => Err(wrong_outcome(&other)),
    }
}

/// `physical` is not waited for: what is compacted is unreadable at once, and freeing the space is
/// the storage engine's own business.
pub(super) async fn compact(
    call: Call,
    request: CompactionRequest,
) -> Result<CompactionResponse, Status> {
    let command = Command::Compact {
        revision: request.revision,
    };
    let (revision, outcome) = propose(&call, command).await?;
    match outcome {
        Outcome::Compacted => Ok(CompactionResponse {
            header: Some(header::at(call.node(), revision)),
        }),
        other => Err(wrong_outcome(&other)),
    }
}

/// Carries out a command that the size of its message lets into the log.
pub(super) async fn propose(call: &Call, command: Command) -> Result<(Revision, Outcome), Status> {
    validate::entry_size(call.message_bytes, call.limits().max_request_bytes)
        .map_err(status::invalid)?;
    let reply = call
        .node()
        .propose(command, call.deadline.at)
        .await
        .map_err(|error| status::failed(error, call.deadline))?;
    match reply.result.map_err(status::refused)? {
        Outcome::TooLong { bytes } => Err(status::answer_too_long(bytes)),
        outcome => Ok((reply.revision, outcome)),
    }
}

/// An answer to another question: a bug of ours that must not look like a refusal.
pub(super) fn wrong_outcome(outcome: &Outcome) -> Status {
    tracing::error!(?outcome, "an outcome of the wrong kind");
    Status::internal("quorate: an outcome of the wrong kind")
}

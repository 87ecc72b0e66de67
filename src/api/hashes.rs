//! `Maintenance.HashKV` and `Hash`: of this member's own state, without a deadline of ours. A hash
//! takes as long as it takes, and ends when the client does.

use super::dispatch::Call;
use super::{header, status as refusals};
use crate::proto::etcdserverpb::{HashKvRequest, HashKvResponse, HashRequest, HashResponse};
use tonic::Status;

pub(super) async fn hash_kv(call: Call, request: HashKvRequest) -> Result<HashKvResponse, Status> {
    let node = call.node();
    let hashed = node.hash_kv(request.revision).await;
    let hashed = hashed.map_err(|error| refusals::failed(error, call.deadline))?;
    let hash = hashed.map_err(refusals::refused)?;
    Ok(HashKvResponse {
        header: Some(header::at(node, hash.latest)),
        hash: hash.hash,
        compact_revision: hash.compacted,
        hash_revision: hash.revision,
    })
}

pub(super) async fn hash(call: Call, _request: HashRequest) -> Result<HashResponse, Status> {
    let node = call.node();
    let hashed = node.state_hash().await;
    let (revision, hash) = hashed.map_err(|error| refusals::failed(error, call.deadline))?;
    Ok(HashResponse {
        header: Some(header::at(node, revision)),
        hash,
    })
}

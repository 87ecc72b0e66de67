//! `etcdserverpb.Maintenance`: what this member knows of itself. The rest is not there yet.

use super::dispatch::Call;
use super::header;
use crate::config::{ETCD_STORAGE_VERSION, ETCD_VERSION};
use crate::proto::etcdserverpb::{DowngradeInfo, StatusRequest, StatusResponse};
use tonic::Status;

/// Local: asks nobody and waits for nobody. A quota is not enforced yet, so none is claimed.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the shape that every call has"
)]
pub(super) fn status(
    call: Call,
    _request: StatusRequest,
) -> std::future::Ready<Result<StatusResponse, Status>> {
    let node = call.node();
    let status = node.status();
    let mut errors = status.errors;
    if status.leader == 0 {
        errors.insert(0, "etcdserver: no leader".to_owned());
    }
    std::future::ready(Ok(StatusResponse {
        header: Some(header::at(node, node.revision())),
        version: ETCD_VERSION.to_owned(),
        db_size: status.db_bytes,
        leader: status.leader,
        raft_index: status.committed_index,
        raft_term: status.term,
        raft_applied_index: status.applied_index,
        errors,
        db_size_in_use: status.db_bytes_in_use,
        is_learner: status.is_learner,
        storage_version: ETCD_STORAGE_VERSION.to_owned(),
        db_size_quota: 0,
        downgrade_info: Some(DowngradeInfo::default()),
    }))
}

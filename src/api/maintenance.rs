//! `etcdserverpb.Maintenance`: what this member knows of itself. The rest is not there yet.

use super::dispatch::Call;
use super::{header, status as refusals};
use crate::config::{ETCD_STORAGE_VERSION, ETCD_VERSION};
use crate::proto::etcdserverpb::alarm_request::AlarmAction;
use crate::proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, DowngradeInfo, StatusRequest, StatusResponse,
};
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
    std::future::ready(Ok(StatusResponse {
        header: Some(header::at(node, node.revision())),
        version: ETCD_VERSION.to_owned(),
        db_size: status.db_bytes,
        leader: status.leader,
        raft_index: status.committed_index,
        raft_term: status.term,
        raft_applied_index: status.applied_index,
        errors: status.errors,
        db_size_in_use: status.db_bytes_in_use,
        is_learner: status.is_learner,
        storage_version: ETCD_STORAGE_VERSION.to_owned(),
        db_size_quota: 0,
        downgrade_info: Some(DowngradeInfo::default()),
    }))
}

/// There are no alarms, and nothing yet that raises one: `etcdctl endpoint health` asks.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the shape that every call has"
)]
pub(super) fn alarm(
    call: Call,
    request: AlarmRequest,
) -> std::future::Ready<Result<AlarmResponse, Status>> {
    let node = call.node();
    std::future::ready(if request.action() == AlarmAction::Get {
        Ok(AlarmResponse {
            header: Some(header::at(node, node.revision())),
            alarms: Vec::new(),
        })
    } else {
        Err(refusals::not_there_yet("etcdserverpb.Maintenance", "Alarm"))
    })
}

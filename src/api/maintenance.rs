//! `etcdserverpb.Maintenance`: what this member knows of itself, alarms, and what an operator may
//! have done. Its downgrades are in `downgrade`.

use super::dispatch::Call;
use super::{header, kv, status as refusals};
use crate::config::{ETCD_STORAGE_VERSION, ETCD_VERSION};
use crate::proto::etcdserverpb::alarm_request::AlarmAction;
use crate::proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, DefragmentRequest, DefragmentResponse,
    DowngradeInfo, MoveLeaderRequest, MoveLeaderResponse, StatusRequest, StatusResponse,
};
use crate::state_machine::command::{Alarm, AlarmChange, AlarmKind};
use crate::state_machine::{Command, Outcome};
use crate::types::Revision;
use tonic::Status;

/// Local: asks nobody and waits for nobody.
///
/// Both sizes are the bytes that count towards the quota, the same on every member: what a
/// dashboard compares with the quota is what is compared with it, and as nothing is ever gained by
/// defragmenting, nothing is not in use.
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
    let target = node.downgrade_target();
    let downgrade_info = DowngradeInfo {
        enabled: target.is_some(),
        target_version: target
            .map(|version| version.to_string())
            .unwrap_or_default(),
    };
    let wire_bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    std::future::ready(Ok(StatusResponse {
        header: Some(header::at(node, node.revision())),
        version: ETCD_VERSION.to_owned(),
        db_size: wire_bytes(status.bytes_in_use),
        leader: status.leader,
        raft_index: status.committed_index,
        raft_term: status.term,
        raft_applied_index: status.applied_index,
        errors: status.errors,
        db_size_in_use: wire_bytes(status.bytes_in_use),
        is_learner: status.is_learner,
        storage_version: ETCD_STORAGE_VERSION.to_owned(),
        db_size_quota: wire_bytes(node.quota_bytes().unwrap_or(0)),
        downgrade_info: Some(downgrade_info),
    }))
}

/// Answers when it is begun: nothing waits for it, and nobody is blocked. No header, as in etcd.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the shape that every call has"
)]
pub(super) fn defragment(
    call: Call,
    _request: DefragmentRequest,
) -> std::future::Ready<Result<DefragmentResponse, Status>> {
    call.node().defragment();
    std::future::ready(Ok(DefragmentResponse { header: None }))
}

/// Asks this member, which must lead, to hand over. No header, as in etcd.
pub(super) async fn move_leader(
    call: Call,
    request: MoveLeaderRequest,
) -> Result<MoveLeaderResponse, Status> {
    let moved = call.node().move_leader(request.target_id, call.deadline.at);
    moved.await.map_err(refusals::not_moved)?;
    Ok(MoveLeaderResponse { header: None })
}

/// Lists, raises and clears alarms. As in etcd a list is filtered by kind alone, and it is as
/// current as a linearizable read.
pub(super) async fn alarm(call: Call, request: AlarmRequest) -> Result<AlarmResponse, Status> {
    let Ok(action) = AlarmAction::try_from(request.action) else {
        return Err(refusals::unknown_alarm_action(request.action));
    };
    let on = match action {
        AlarmAction::Get => return list(call, &request).await,
        AlarmAction::Activate => true,
        AlarmAction::Deactivate => false,
    };
    let Some(kind) = kind(&request) else {
        // There is no such alarm: nothing to raise, nothing to clear, and no error in etcd.
        return Ok(answer(&call, call.node().revision(), []));
    };
    let member = request.member_id;
    let alarm = Alarm { kind, member };
    let command = Command::Alarm(AlarmChange { alarm, on });
    match kv::propose(&call, command).await? {
        (revision, Outcome::Alarm(alarm)) => Ok(answer(&call, revision, alarm)),
        (_, other) => Err(kv::wrong_outcome(&other)),
    }
}

async fn list(call: Call, request: &AlarmRequest) -> Result<AlarmResponse, Status> {
    let barrier = call.node().read_barrier(call.deadline.at).await;
    barrier.map_err(|error| refusals::failed(error, call.deadline))?;
    let all = request.alarm == i32::from(AlarmType::None);
    let wanted = kind(request);
    let alarms = call.node().alarms();
    let found = alarms
        .iter()
        .filter(|alarm| all || Some(alarm.kind) == wanted);
    Ok(answer(&call, call.node().revision(), found))
}

fn kind(request: &AlarmRequest) -> Option<AlarmKind> {
    match AlarmType::try_from(request.alarm) {
        Ok(AlarmType::Nospace) => Some(AlarmKind::NoSpace),
        Ok(AlarmType::Corrupt) => Some(AlarmKind::Corrupt),
        Ok(AlarmType::None) | Err(_) => None,
    }
}

fn answer(
    call: &Call,
    revision: Revision,
    alarms: impl IntoIterator<Item = Alarm>,
) -> AlarmResponse {
    let wire = |alarm: Alarm| AlarmMember {
        member_id: alarm.member,
        alarm: match alarm.kind {
            AlarmKind::NoSpace => AlarmType::Nospace.into(),
            AlarmKind::Corrupt => AlarmType::Corrupt.into(),
        },
    };
    AlarmResponse {
        header: Some(header::at(call.node(), revision)),
        alarms: alarms.into_iter().map(wire).collect(),
    }
}

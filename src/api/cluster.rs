//! `etcdserverpb.Cluster`: who the members are, and changes of them.
//!
//! The header's revision is 0 on every answer of this service, as in etcd.

use super::dispatch::Call;
use super::{header, status};
use crate::config::check_peer_urls;
use crate::node::{Member, Reconfiguration, Refused};
use crate::proto::etcdserverpb::{
    self as wire, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
    MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
    MemberUpdateRequest, MemberUpdateResponse,
};
use tonic::Status;

/// Sorted by id.
pub(super) async fn member_list(
    call: Call,
    request: MemberListRequest,
) -> Result<MemberListResponse, Status> {
    if request.linearizable {
        call.node()
            .read_barrier(call.deadline.at)
            .await
            .map_err(|error| status::failed(error, call.deadline))?;
    }
    Ok(MemberListResponse {
        header: Some(header::at(call.node(), 0)),
        members: on_wire(call.node().members()),
    })
}

/// Answers the new member too: its id is made here.
pub(super) async fn member_add(
    call: Call,
    request: MemberAddRequest,
) -> Result<MemberAddResponse, Status> {
    let peer_urls = check_peer_urls(&request.peer_ur_ls).ok_or_else(status::bad_member_urls)?;
    let id = call.node().new_member_id(&peer_urls);
    let change = Reconfiguration::Add {
        id,
        peer_urls,
        is_learner: request.is_learner,
    };
    let members = reconfigure(&call, change).await?;
    Ok(MemberAddResponse {
        header: Some(header::at(call.node(), 0)),
        member: members.iter().find(|member| member.id == id).cloned(),
        members,
    })
}

pub(super) async fn member_remove(
    call: Call,
    request: MemberRemoveRequest,
) -> Result<MemberRemoveResponse, Status> {
    let members = reconfigure(&call, Reconfiguration::Remove { id: request.id }).await?;
    Ok(MemberRemoveResponse {
        header: Some(header::at(call.node(), 0)),
        members,
    })
}

/// etcd takes whatever is given for the new URLs; what nobody could dial is refused here.
pub(super) async fn member_update(
    call: Call,
    request: MemberUpdateRequest,
) -> Result<MemberUpdateResponse, Status> {
    let peer_urls = check_peer_urls(&request.peer_ur_ls).ok_or_else(|| {
        let mut members = call.node().members().into_iter();
        if members.any(|member| member.id == request.id) {
            status::bad_member_urls()
        } else {
            status::not_reconfigured(Refused::NotFound.into(), call.deadline)
        }
    })?;
    let change = Reconfiguration::Update {
        id: request.id,
        peer_urls,
    };
    let members = reconfigure(&call, change).await?;
    Ok(MemberUpdateResponse {
        header: Some(header::at(call.node(), 0)),
        members,
    })
}

pub(super) async fn member_promote(
    call: Call,
    request: MemberPromoteRequest,
) -> Result<MemberPromoteResponse, Status> {
    let members = reconfigure(&call, Reconfiguration::Promote { id: request.id }).await?;
    Ok(MemberPromoteResponse {
        header: Some(header::at(call.node(), 0)),
        members,
    })
}

async fn reconfigure(call: &Call, change: Reconfiguration) -> Result<Vec<wire::Member>, Status> {
    let changed = call.node().reconfigure(change, call.deadline.at).await;
    let members = changed.map_err(|error| status::not_reconfigured(error, call.deadline))?;
    Ok(on_wire(members))
}

fn on_wire(members: Vec<Member>) -> Vec<wire::Member> {
    let member = |member: Member| wire::Member {
        id: member.id,
        name: member.name,
        peer_ur_ls: member.peer_urls,
        client_ur_ls: member.client_urls,
        is_learner: member.is_learner,
    };
    members.into_iter().map(member).collect()
}

//! `etcdserverpb.Cluster`: who the members are. Changing them is not there yet.

use super::dispatch::Call;
use super::{header, status};
use crate::node::Member;
use crate::proto::etcdserverpb::{self as wire, MemberListRequest, MemberListResponse};
use tonic::Status;

/// Sorted by id. The header's revision is 0, as on every answer of this service.
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
    let mut members: Vec<_> = call.node().members().into_iter().map(member).collect();
    members.sort_by_key(|member| member.id);
    Ok(MemberListResponse {
        header: Some(header::at(call.node(), 0)),
        members,
    })
}

fn member(member: Member) -> wire::Member {
    wire::Member {
        id: member.id,
        name: member.name,
        peer_ur_ls: member.peer_urls,
        client_ur_ls: member.client_urls,
        is_learner: member.is_learner,
    }
}

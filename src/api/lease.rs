//! `etcdserverpb.Lease`.

use super::dispatch::Call;
use super::stream::{Messages, Replies};
use super::{header, kv, status, validate};
use crate::node::NodeError;
use crate::proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use crate::state_machine::Outcome;
use futures_util::stream::{FuturesOrdered, StreamExt};
use tonic::Status;

/// Renewals of one stream that are under way; the next message is read when one is answered.
const KEEP_ALIVES_MAX: usize = 1024;

pub(super) async fn grant(
    call: Call,
    request: LeaseGrantRequest,
) -> Result<LeaseGrantResponse, Status> {
    validate::lease_ttl(request.ttl).map_err(status::invalid)?;
    let granted = call
        .node()
        .lease_grant(request.id, request.ttl, call.deadline.at)
        .await;
    let (id, ttl, reply) = granted.map_err(|error| status::failed(error, call.deadline))?;
    match reply.result.map_err(status::refused)? {
        Outcome::LeaseGranted => Ok(LeaseGrantResponse {
            header: Some(header::at(call.node(), reply.revision)),
            id,
            ttl,
            error: String::new(),
        }),
        other => Err(kv::wrong_outcome(&other)),
    }
}

pub(super) async fn revoke(
    call: Call,
    request: LeaseRevokeRequest,
) -> Result<LeaseRevokeResponse, Status> {
    let revoked = call.node().lease_revoke(request.id, call.deadline.at).await;
    let reply = revoked.map_err(|error| status::failed(error, call.deadline))?;
    match reply.result.map_err(status::refused)? {
        Outcome::LeaseRevoked { .. } => Ok(LeaseRevokeResponse {
            header: Some(header::at(call.node(), reply.revision)),
        }),
        other => Err(kv::wrong_outcome(&other)),
    }
}

/// A lease that is not there has -1 seconds left, and that is no error.
pub(super) async fn time_to_live(
    call: Call,
    request: LeaseTimeToLiveRequest,
) -> Result<LeaseTimeToLiveResponse, Status> {
    let asked = call
        .node()
        .lease_time_to_live(request.id, request.keys, call.deadline.at)
        .await;
    let found = asked.map_err(|error| status::failed(error, call.deadline))?;
    let (ttl, granted_ttl) = found.left.unwrap_or((-1, 0));
    Ok(LeaseTimeToLiveResponse {
        header: Some(header::at(call.node(), found.revision)),
        id: request.id,
        ttl,
        granted_ttl,
        keys: found.keys,
    })
}

/// Local: asks nobody, as in etcd.
pub(super) async fn leases(
    call: Call,
    _request: LeaseLeasesRequest,
) -> Result<LeaseLeasesResponse, Status> {
    let listed = call.node().leases(call.deadline.at).await;
    let (revision, leases) = listed.map_err(|error| status::failed(error, call.deadline))?;
    Ok(LeaseLeasesResponse {
        header: Some(header::at(call.node(), revision)),
        leases: leases.into_iter().map(|id| LeaseStatus { id }).collect(),
    })
}

/// One answer a question, in their order. Questions that wait are asked of the leader together:
/// a client with a thousand leases on one stream costs a few rounds, not a thousand.
pub(super) async fn keep_alive(
    call: Call,
    mut messages: Messages,
    replies: Replies,
) -> Result<(), Status> {
    let mut renewals = FuturesOrdered::new();
    let mut goes_on = true;
    loop {
        let room = renewals.len() < KEEP_ALIVES_MAX;
        tokio::select! {
            Some(answer) = renewals.next() => {
                let answer: LeaseKeepAliveResponse = answer?;
                if replies.send(&answer).await.is_err() {
                    return Ok(());
                }
            }
            message = messages.next::<LeaseKeepAliveRequest>(), if goes_on && room => match message? {
                Some(request) => renewals.push_back(renew(call.clone(), request.id)),
                None => goes_on = false,
            },
            else => return Ok(()),
        }
    }
}

async fn renew(call: Call, id: i64) -> Result<LeaseKeepAliveResponse, Status> {
    let deadline = call.next_deadline();
    let renewed = call.node().lease_renew(id, deadline.at).await;
    let ttl = renewed.map_err(|error: NodeError| status::failed(error, deadline))?;
    Ok(LeaseKeepAliveResponse {
        header: Some(header::at(call.node(), call.node().revision())),
        id,
        // 0: there is no such lease. The stream goes on.
        ttl: ttl.unwrap_or(0),
    })
}

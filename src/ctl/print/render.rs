//! What there is to print, and which format prints it.

use super::{fields, json, simple, table};
use crate::ctl::run::Failure;
use crate::proto::etcdserverpb::{
    AlarmResponse, DeleteRangeResponse, HashKvResponse, LeaseGrantResponse, LeaseKeepAliveResponse,
    LeaseLeasesResponse, LeaseRevokeResponse, LeaseTimeToLiveResponse, Member, MemberAddResponse,
    MemberListResponse, MemberPromoteResponse, MemberRemoveResponse, MemberUpdateResponse,
    MoveLeaderResponse, PutResponse, RangeResponse, ResponseHeader, StatusResponse, TxnResponse,
    WatchResponse,
};
use crate::types::{HexId, LeaseId};
use prost::Message;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ctl) enum Format {
    Simple,
    Fields,
    Json,
    Table,
    Protobuf,
}

impl Format {
    pub(in crate::ctl) fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "simple" => Ok(Self::Simple),
            "fields" => Ok(Self::Fields),
            "json" => Ok(Self::Json),
            "table" => Ok(Self::Table),
            "protobuf" => Ok(Self::Protobuf),
            _ => Err(Failure::bad_feature("unsupported output format")),
        }
    }
}

pub(in crate::ctl) enum Answer {
    /// And whether only the values are wanted.
    Range(RangeResponse, bool),
    Put(PutResponse),
    Delete(DeleteRangeResponse),
    Txn(TxnResponse),
    Watch(WatchResponse),
    LeaseGrant(LeaseGrantResponse),
    /// And which.
    LeaseRevoke(LeaseRevokeResponse, LeaseId),
    LeaseKeepAlive(LeaseKeepAliveResponse),
    /// And whether the keys were asked for.
    LeaseTimeToLive(LeaseTimeToLiveResponse, bool),
    Leases(LeaseLeasesResponse),
    Members(MemberListResponse),
    MemberAdd(MemberAddResponse),
    /// And which; so the next two.
    MemberRemove(MemberRemoveResponse, u64),
    MemberUpdate(MemberUpdateResponse, u64),
    MemberPromote(MemberPromoteResponse, u64),
    EndpointStatus(Vec<EndpointStatus>),
    EndpointHealth(Vec<EndpointHealth>),
    EndpointHash(Vec<EndpointHash>),
    Alarms(AlarmResponse),
    /// From whom to whom.
    MoveLeader(MoveLeaderResponse, u64, u64),
}

pub(in crate::ctl) struct EndpointStatus {
    pub(in crate::ctl) endpoint: String,
    pub(in crate::ctl) status: StatusResponse,
}

pub(in crate::ctl) struct EndpointHealth {
    pub(in crate::ctl) endpoint: String,
    pub(in crate::ctl) took: Duration,
    pub(in crate::ctl) error: Option<String>,
}

pub(in crate::ctl) struct EndpointHash {
    pub(in crate::ctl) endpoint: String,
    pub(in crate::ctl) hash: HashKvResponse,
}

pub(in crate::ctl) fn render(
    format: Format,
    hex: bool,
    answer: &Answer,
) -> Result<Vec<u8>, Failure> {
    match format {
        Format::Simple => Ok(simple::render(hex, answer)),
        Format::Fields => fields::render(answer)
            .map(String::into_bytes)
            .ok_or_else(|| no("fields")),
        Format::Json => Ok(json::render(answer).into_bytes()),
        Format::Table => table::render(answer)
            .map(String::into_bytes)
            .ok_or_else(|| no("table")),
        Format::Protobuf => protobuf(answer).ok_or_else(|| no("protobuf")),
    }
}

/// The answer as it came. Of what its Go types embed a header in, etcdctl prints the header alone.
fn protobuf(answer: &Answer) -> Option<Vec<u8>> {
    let header = |header: &Option<ResponseHeader>| header.unwrap_or_default().encode_to_vec();
    Some(match answer {
        Answer::Range(response, _) => response.encode_to_vec(),
        Answer::Put(response) => response.encode_to_vec(),
        Answer::Delete(response) => response.encode_to_vec(),
        Answer::Txn(response) => response.encode_to_vec(),
        Answer::Watch(response) => WatchResponse {
            watch_id: 0,
            cancel_reason: String::new(),
            header: Some(response.header.unwrap_or_default()),
            ..response.clone()
        }
        .encode_to_vec(),
        Answer::LeaseGrant(response) => header(&response.header),
        Answer::LeaseKeepAlive(response) => header(&response.header),
        Answer::LeaseTimeToLive(response, _) => header(&response.header),
        Answer::Leases(response) => header(&response.header),
        Answer::Members(response) => response.encode_to_vec(),
        Answer::MemberAdd(response) => response.encode_to_vec(),
        Answer::MemberRemove(response, _) => response.encode_to_vec(),
        Answer::MemberUpdate(response, _) => response.encode_to_vec(),
        Answer::MemberPromote(response, _) => response.encode_to_vec(),
        Answer::Alarms(response) => response.encode_to_vec(),
        Answer::MoveLeader(response, ..) => response.encode_to_vec(),
        Answer::LeaseRevoke(..)
        | Answer::EndpointStatus(_)
        | Answer::EndpointHealth(_)
        | Answer::EndpointHash(_) => return None,
    })
}

fn no(format: &str) -> Failure {
    Failure::bad_feature(format!("{format} not supported as output format"))
}

/// A member's columns, for simple and table.
pub(super) fn member_row(member: &Member) -> [String; 6] {
    let state = if member.name.is_empty() {
        "unstarted"
    } else {
        "started"
    };
    [
        HexId(member.id).to_string(),
        state.to_owned(),
        member.name.clone(),
        member.peer_ur_ls.join(","),
        member.client_ur_ls.join(","),
        member.is_learner.to_string(),
    ]
}

/// An endpoint's columns, for simple and table.
pub(super) fn status_row(of: &EndpointStatus) -> [String; 10] {
    let status = &of.status;
    let member = status.header.as_ref().map_or(0, |header| header.member_id);
    [
        of.endpoint.clone(),
        HexId(member).to_string(),
        status.version.clone(),
        crate::ctl::go::size(status.db_size),
        (status.leader == member).to_string(),
        status.is_learner.to_string(),
        status.raft_term.to_string(),
        status.raft_index.to_string(),
        status.raft_applied_index.to_string(),
        status.errors.join(", "),
    ]
}

/// An endpoint's columns, for simple and table.
pub(super) fn hash_row(of: &EndpointHash) -> [String; 2] {
    [of.endpoint.clone(), of.hash.hash.to_string()]
}

//! What there is to print, and which format prints it.

use super::{fields, json, simple, table};
use crate::ctl::run::Failure;
use crate::proto::etcdserverpb::{
    DeleteRangeResponse, Member, MemberListResponse, PutResponse, RangeResponse, StatusResponse,
    TxnResponse,
};
use crate::types::HexId;
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
    Members(MemberListResponse),
    EndpointStatus(Vec<EndpointStatus>),
    EndpointHealth(Vec<EndpointHealth>),
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

pub(in crate::ctl) fn render(
    format: Format,
    hex: bool,
    answer: &Answer,
) -> Result<Vec<u8>, Failure> {
    match format {
        Format::Simple => Ok(simple::render(hex, answer)),
        Format::Fields => Ok(fields::render(answer).into_bytes()),
        Format::Json => Ok(json::render(answer).into_bytes()),
        Format::Table => table::render(answer)
            .map(String::into_bytes)
            .ok_or_else(|| no("table")),
        Format::Protobuf => match answer {
            Answer::Range(response, _) => Ok(response.encode_to_vec()),
            Answer::Put(response) => Ok(response.encode_to_vec()),
            Answer::Delete(response) => Ok(response.encode_to_vec()),
            Answer::Txn(response) => Ok(response.encode_to_vec()),
            Answer::Members(response) => Ok(response.encode_to_vec()),
            Answer::EndpointStatus(_) | Answer::EndpointHealth(_) => Err(no("protobuf")),
        },
    }
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

//! Raft's values as bytes: entry payloads on disk and wire, votes and positions in `peer.proto`.
//!
//! The first byte of a payload says what it is, and its format version:
//!
//! | first byte | then |
//! |---|---|
//! | `0x01..=0x7f` | an encoded batch of commands in that format (`state_machine/codec`), untouched |
//! | `0xf0` | nothing: the blank entry that opens a leader's term |
//! | `0xf1` | format version, then a membership as JSON: small, rare, readable with any tool |

use super::type_config::{
    Batch, Entry, LogId, MemberNode, Membership, TypeConfig, Vote, log_id_of, position_of, vote_of,
};
use crate::proto::peer;
use crate::state_machine::COMMAND_FORMAT_VERSION;
use crate::types::{NodeId, Position};
use bytes::Bytes;
use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The format of memberships. A member refuses versions that it does not know.
pub(super) const MEMBERSHIP_FORMAT_VERSION: u8 = 1;

const BLANK: u8 = 0xf0;
const MEMBERSHIP: u8 = 0xf1;
const COMMANDS_MAX: u8 = 0x7f;

#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("a log entry has format {found}, newer than the {known} this build knows: upgrade it")]
    NewerFormat { found: u8, known: u8 },
    #[error("malformed {0}")]
    Malformed(&'static str),
}

impl From<WireError> for std::io::Error {
    fn from(error: WireError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

type Payload = EntryPayload<Batch, NodeId, MemberNode>;

pub(super) fn encode_payload(payload: &Payload) -> Bytes {
    match payload {
        EntryPayload::Blank => Bytes::from_static(&[BLANK]),
        EntryPayload::Normal(batch) => batch.0.clone(),
        EntryPayload::Membership(membership) => {
            let mut bytes = vec![MEMBERSHIP];
            bytes.extend_from_slice(&encode_membership(membership));
            bytes.into()
        }
    }
}

pub(super) fn decode_payload(bytes: Bytes) -> Result<Payload, WireError> {
    match bytes.first() {
        None => Err(WireError::Malformed("log entry: empty payload")),
        Some(&BLANK) => Ok(EntryPayload::Blank),
        Some(&MEMBERSHIP) => Ok(EntryPayload::Membership(decode_membership(&bytes[1..])?)),
        Some(&COMMAND_FORMAT_VERSION) => Ok(EntryPayload::Normal(Batch(bytes))),
        Some(&found) if found <= COMMANDS_MAX => Err(WireError::NewerFormat {
            found,
            known: COMMAND_FORMAT_VERSION,
        }),
        Some(_) => Err(WireError::Malformed("log entry: unknown kind")),
    }
}

#[derive(Serialize, Deserialize)]
struct MembershipForm {
    /// One set, or two while a change is in flight (joint consensus).
    voters: Vec<BTreeSet<NodeId>>,
    nodes: BTreeMap<NodeId, NodeForm>,
}

#[derive(Serialize, Deserialize)]
struct NodeForm {
    name: String,
    peer_urls: Vec<String>,
    votes: bool,
}

pub(super) fn encode_membership(membership: &Membership) -> Bytes {
    let form = MembershipForm {
        voters: membership.get_joint_config().clone(),
        nodes: membership
            .nodes()
            .map(|(id, node)| {
                (
                    *id,
                    NodeForm {
                        name: node.name.clone(),
                        peer_urls: node.peer_urls.clone(),
                        votes: node.votes,
                    },
                )
            })
            .collect(),
    };
    let mut bytes = vec![MEMBERSHIP_FORMAT_VERSION];
    serde_json::to_writer(&mut bytes, &form).expect("plain data into memory always serializes");
    bytes.into()
}

pub(super) fn decode_membership(bytes: &[u8]) -> Result<Membership, WireError> {
    let (&version, body) = bytes
        .split_first()
        .ok_or(WireError::Malformed("membership: empty"))?;
    if version != MEMBERSHIP_FORMAT_VERSION {
        return Err(WireError::NewerFormat {
            found: version,
            known: MEMBERSHIP_FORMAT_VERSION,
        });
    }
    let form: MembershipForm =
        serde_json::from_slice(body).map_err(|_| WireError::Malformed("membership"))?;
    let nodes: BTreeMap<NodeId, MemberNode> = form
        .nodes
        .into_iter()
        .map(|(id, node)| {
            (
                id,
                MemberNode {
                    name: node.name,
                    peer_urls: node.peer_urls,
                    votes: node.votes,
                },
            )
        })
        .collect();
    Membership::new(form.voters, nodes).map_err(|_| WireError::Malformed("membership: voters"))
}

pub(super) fn vote_to_proto(vote: &Vote) -> peer::Vote {
    peer::Vote {
        term: vote.leader_id.term,
        node: vote.leader_id.voted_for,
        committed: vote.committed,
    }
}

pub(super) fn vote_from_proto(vote: Option<peer::Vote>) -> Result<Vote, WireError> {
    let vote = vote.ok_or(WireError::Malformed("peer message: no vote"))?;
    Ok(vote_of(vote.term, vote.node, vote.committed))
}

pub(super) fn position_to_proto(position: Position) -> peer::Position {
    peer::Position {
        term: position.term,
        index: position.index,
    }
}

pub(super) fn position_from_proto(position: peer::Position) -> Position {
    Position {
        term: position.term,
        index: position.index,
    }
}

pub(super) fn log_id_to_proto(log_id: &LogId) -> peer::Position {
    position_to_proto(position_of(log_id))
}

pub(super) fn log_id_from_proto(position: peer::Position) -> LogId {
    log_id_of(position_from_proto(position))
}

/// `acknowledged`: how far the receiver has acknowledged this leader's entries.
pub(super) fn append_to_proto(
    request: &AppendEntriesRequest<TypeConfig>,
    acknowledged: Option<LogId>,
) -> peer::AppendRequest {
    peer::AppendRequest {
        vote: Some(vote_to_proto(&request.vote)),
        previous: request.prev_log_id.as_ref().map(log_id_to_proto),
        entries: request
            .entries
            .iter()
            .map(|entry| peer::Entry {
                term: entry.log_id.leader_id.term,
                index: entry.log_id.index,
                payload: encode_payload(&entry.payload),
            })
            .collect(),
        leader_commit: request.leader_commit.as_ref().map(log_id_to_proto),
        acknowledged: acknowledged.as_ref().map(log_id_to_proto),
    }
}

pub(super) fn append_from_proto(
    request: peer::AppendRequest,
) -> Result<AppendEntriesRequest<TypeConfig>, WireError> {
    let mut entries = Vec::with_capacity(request.entries.len());
    let mut previous = request.previous.map(position_from_proto);
    for entry in request.entries {
        let position = Position {
            term: entry.term,
            index: entry.index,
        };
        // openraft trusts its peers to send consecutive entries; bytes are not trusted here.
        let consecutive = match previous {
            None => position.index == 0,
            Some(before) => {
                before.index.checked_add(1) == Some(position.index) && before.term <= position.term
            }
        };
        if !consecutive {
            return Err(WireError::Malformed("append: entries are not consecutive"));
        }
        previous = Some(position);
        let payload = decode_payload(entry.payload)?;
        entries.push(Entry {
            log_id: log_id_of(position),
            payload,
        });
    }
    Ok(AppendEntriesRequest {
        vote: vote_from_proto(request.vote)?,
        prev_log_id: request.previous.map(log_id_from_proto),
        entries,
        leader_commit: request.leader_commit.map(log_id_from_proto),
    })
}

pub(super) fn answer_to_proto(answer: &StreamAppendResult<TypeConfig>) -> peer::AppendResponse {
    use peer::append_response::Answer;
    peer::AppendResponse {
        answer: Some(match answer {
            Ok(last) => Answer::Matched(peer::Matched {
                last: last.as_ref().map(log_id_to_proto),
            }),
            Err(StreamAppendError::Conflict(at)) => Answer::Conflict(log_id_to_proto(at)),
            Err(StreamAppendError::HigherVote(vote)) => Answer::HigherVote(vote_to_proto(vote)),
        }),
    }
}

pub(super) fn answer_from_proto(
    answer: peer::AppendResponse,
) -> Result<StreamAppendResult<TypeConfig>, WireError> {
    use peer::append_response::Answer;
    match answer
        .answer
        .ok_or(WireError::Malformed("append: no answer"))?
    {
        Answer::Matched(matched) => Ok(Ok(matched.last.map(log_id_from_proto))),
        Answer::Conflict(at) => Ok(Err(StreamAppendError::Conflict(log_id_from_proto(at)))),
        Answer::HigherVote(vote) => Ok(Err(StreamAppendError::HigherVote(vote_from_proto(Some(
            vote,
        ))?))),
    }
}

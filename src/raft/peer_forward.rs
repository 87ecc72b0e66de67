//! The peer port's part about proposals: what a follower's clients ask goes into the leader's log.

use super::consensus::{CarriedOut, Consensus, ProposeFailure};
use super::leader_watch::LeaderHint;
use super::links::PEER_MESSAGE_BYTES_MAX;
use super::wire;
use crate::proto::peer;
use crate::proto::peer::forward_response::Answer;
use crate::proto::peer::refused::Reason;
use crate::state_machine::codec::{decode_batch, encode_replies_within};
use crate::types::NodeId;
use bytes::Bytes;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tonic::Status;

/// Forwarded batches in flight; more are refused at once.
pub const FORWARDS_MAX: usize = 256;

/// A batch from another member, for whoever fills the log here: it is carried out by this member, as the
/// leader, or not at all.
pub struct ForwardCall {
    /// Decodable.
    pub batch: Bytes,
    pub commands: usize,
    pub deadline: Instant,
    pub answer: oneshot::Sender<Forwarded>,
}

/// The replies are the batch's own, whatever else its log entry holds.
pub type Forwarded = Result<CarriedOut, ProposeFailure>;

/// Hands a batch to whoever fills the log, once. What became of it may stay unknown: that is said, never
/// guessed.
pub(super) async fn forward(
    consensus: &Consensus,
    calls: &mpsc::Sender<ForwardCall>,
    permits: &Semaphore,
    request: peer::ForwardRequest,
) -> Result<peer::ForwardResponse, Status> {
    match consensus.leader_watch().hint() {
        LeaderHint::Me => {}
        LeaderHint::Nobody => return Ok(refused(Reason::NotLeader, None)),
        LeaderHint::Other(leader, _) => return Ok(refused(Reason::NotLeader, Some(leader))),
    }
    // What reaches the log must be applicable by every member: decoded here, once, because an
    // undecodable entry would stop them all.
    let commands = decode_batch(request.batch.clone())
        .map_err(|error| Status::invalid_argument(format!("forwarded batch: {error}")))?
        .len();
    let Ok(_permit) = permits.try_acquire() else {
        return Ok(refused(Reason::TooManyRequests, None));
    };
    let patience = Duration::from_millis(request.timeout_ms.into());
    let (answer, outcome) = oneshot::channel();
    let call = ForwardCall {
        batch: request.batch,
        commands,
        deadline: Instant::now() + patience,
        answer,
    };
    if calls.try_send(call).is_err() {
        return Ok(refused(Reason::TooManyRequests, None));
    }
    Ok(match timeout(patience, outcome).await {
        Ok(Ok(Ok(done))) => {
            // Room for the message around it.
            let bytes_max = PEER_MESSAGE_BYTES_MAX - 1024;
            let replies = encode_replies_within(done.replies, bytes_max);
            peer::ForwardResponse {
                answer: Some(Answer::Replies(replies)),
                at: Some(wire::position_to_proto(done.at)),
            }
        }
        Ok(Ok(Err(ProposeFailure::NotLeader(leader)))) => refused(Reason::NotLeader, leader),
        Ok(Ok(Err(ProposeFailure::Unknown)) | Err(_)) | Err(_) => {
            let reason = "the entry's fate is not known here".to_owned();
            without_position(Answer::Unknown(peer::Unknown { reason }))
        }
    })
}

fn refused(reason: Reason, leader: Option<NodeId>) -> peer::ForwardResponse {
    without_position(Answer::Refused(peer::Refused {
        reason: reason.into(),
        leader: leader.unwrap_or(0),
    }))
}

fn without_position(answer: Answer) -> peer::ForwardResponse {
    peer::ForwardResponse {
        answer: Some(answer),
        at: None,
    }
}

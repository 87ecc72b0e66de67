//! The peer port's part about proposals: what a follower's clients ask goes into the leader's log.

use super::consensus::{Consensus, ProposeFailure};
use super::links::PEER_MESSAGE_BYTES_MAX;
use super::wire;
use crate::proto::peer;
use crate::proto::peer::forward_response::Answer;
use crate::proto::peer::refused::Reason;
use crate::state_machine::codec::{decode_batch, encode_replies_within};
use crate::types::NodeId;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tonic::Status;

/// Forwarded batches in flight; more are refused at once.
pub const FORWARDS_MAX: usize = 256;

/// Proposes a batch, once. What became of it may stay unknown: that is said, never guessed.
pub(super) async fn forward(
    consensus: &Consensus,
    permits: &Semaphore,
    request: peer::ForwardRequest,
) -> Result<peer::ForwardResponse, Status> {
    // What reaches the log must be applicable by every member: decoded here, once, because an
    // undecodable entry would stop them all.
    decode_batch(request.batch.clone())
        .map_err(|error| Status::invalid_argument(format!("forwarded batch: {error}")))?;
    let Ok(_permit) = permits.try_acquire() else {
        return Ok(refused(Reason::TooManyRequests, None));
    };
    let (done, outcome) = oneshot::channel();
    consensus
        .propose(request.batch, move |result| {
            // The caller's deadline may have passed: nobody listens.
            done.send(result).ok();
        })
        .await;
    let patience = Duration::from_millis(request.timeout_ms.into());
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

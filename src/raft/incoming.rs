//! What comes in from a leader, handed to openraft and answered: single requests, and its stream of
//! entries, which is read only as fast as it is applied.

use super::consensus::Consensus;
use super::peer_service::stopped;
use super::type_config::TypeConfig;
use super::wire;
use crate::proto::peer;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, stream};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, StreamAppendResult,
};
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;
use tonic::{Status, Streaming};

/// Entries taken in and not yet applied before this member stops reading more from its leader.
/// Heartbeats and votes go on; without this gate a slow state machine would block openraft's core.
const APPLY_LAG_MAX: u64 = 2048;

/// Hands a stream of requests to openraft, each read by `read`, and answers them in order. A request
/// that cannot be read ends the stream with its reason.
pub(super) fn answered(
    consensus: &Consensus,
    requests: Streaming<peer::AppendRequest>,
    read: impl Fn(peer::AppendRequest) -> Result<AppendEntriesRequest<TypeConfig>, Status>
    + Send
    + 'static,
) -> BoxStream<'static, Result<peer::AppendResponse, Status>> {
    let error = Arc::new(OnceLock::new());
    let entries = Entries {
        gate: Gate::new(consensus.applied()),
        consensus: consensus.clone(),
        read,
        requests,
        error: error.clone(),
    };
    let entries = Box::pin(stream::unfold(entries, Entries::next).fuse());
    answers(consensus.raft().stream_append(entries), error)
}

/// Hands openraft a single request, and answers it as those of a stream are answered.
pub(super) async fn taken(
    consensus: &Consensus,
    request: AppendEntriesRequest<TypeConfig>,
) -> Result<StreamAppendResult<TypeConfig>, Status> {
    let previous = request.prev_log_id;
    let last = request.entries.last().map(|entry| entry.log_id);
    let last = last.or(previous);
    // A leader asks for its reads (`quorum_round`): to say yes, consensus need not be woken.
    let only_asks = last.is_none() && request.leader_commit.is_none();
    if only_asks && consensus.last_vote().as_ref() == Some(&request.vote) {
        consensus.heard_leader();
        return Ok(Ok(None));
    }
    let answer = consensus.raft().append_entries(request).await;
    let answer = match answer.map_err(stopped)? {
        AppendEntriesResponse::Success => Ok(last),
        AppendEntriesResponse::PartialSuccess(matched) => Ok(matched),
        AppendEntriesResponse::HigherVote(vote) => {
            return Ok(Err(StreamAppendError::HigherVote(vote)));
        }
        AppendEntriesResponse::Conflict => {
            let previous = previous.ok_or_else(|| Status::internal("nothing conflicts"))?;
            Err(StreamAppendError::Conflict(previous))
        }
    };
    consensus.heard_leader();
    Ok(answer)
}

/// Entries as openraft wants them.
struct Entries<R> {
    gate: Gate,
    consensus: Consensus,
    read: R,
    requests: Streaming<peer::AppendRequest>,
    /// Why the stream ended, for the answers' side to tell.
    error: Arc<OnceLock<Status>>,
}

impl<R> Entries<R>
where
    R: Fn(peer::AppendRequest) -> Result<AppendEntriesRequest<TypeConfig>, Status>,
{
    async fn next(mut self) -> Option<(AppendEntriesRequest<TypeConfig>, Self)> {
        match self.next_request().await {
            Ok(Some(request)) => Some((request, self)),
            Ok(None) => None,
            Err(status) => {
                tracing::debug!(%status, "a stream of entries ends");
                self.error.set(status).ok();
                None
            }
        }
    }

    async fn next_request(&mut self) -> Result<Option<AppendEntriesRequest<TypeConfig>>, Status> {
        let Some(request) = self.requests.message().await? else {
            return Ok(None);
        };
        let request = (self.read)(request)?;
        let last = request.entries.last().map(|entry| entry.log_id.index);
        let committed = request.leader_commit.as_ref().map(|at| at.index);
        self.gate.pass(last, committed).await?;
        self.consensus.heard_leader();
        Ok(Some(request))
    }
}

/// Holds back entries that are too far ahead of the state machine.
struct Gate {
    applied: watch::Receiver<u64>,
    /// The last index that the leader called committed in an earlier message.
    committed: u64,
}

impl Gate {
    fn new(applied: watch::Receiver<u64>) -> Self {
        Self {
            applied,
            committed: 0,
        }
    }

    /// Waits until a message may be taken in, whose last entry and commit index are these.
    async fn pass(&mut self, last: Option<u64>, committed: Option<u64>) -> Result<(), Status> {
        if let Some(last) = last {
            // Only what an earlier message called committed can be applied by now: waiting for more
            // would be waiting for this very message.
            let target = last.saturating_sub(APPLY_LAG_MAX).min(self.committed);
            self.applied
                .wait_for(|applied| *applied >= target)
                .await
                .map_err(stopped)?;
        }
        self.committed = self.committed.max(committed.unwrap_or(0));
        Ok(())
    }
}

fn answers(
    results: impl Stream<Item = Result<StreamAppendResult<TypeConfig>, impl std::fmt::Display>>
    + Send
    + 'static,
    error: Arc<OnceLock<Status>>,
) -> BoxStream<'static, Result<peer::AppendResponse, Status>> {
    let results = results.map(|result| match result {
        Ok(answer) => Ok(wire::answer_to_proto(&answer)),
        Err(fatal) => Err(stopped(fatal)),
    });
    let last_word = stream::once(async move { error.get().cloned() });
    Box::pin(results.chain(last_word.filter_map(async |status| status.map(Err))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn entries_far_ahead_of_the_state_machine_wait_for_it() {
        let (applied, following) = watch::channel(100);
        let mut gate = Gate::new(following);
        let mut pass = |last, committed| gate.pass(last, committed).now_or_never().is_some();
        assert!(pass(Some(100 + APPLY_LAG_MAX), Some(5_000)));
        assert!(!pass(Some(101 + APPLY_LAG_MAX), Some(5_000)));
        assert!(pass(None, Some(6_000)), "a notice carries nothing");
        applied.send_replace(101);
        assert!(pass(Some(101 + APPLY_LAG_MAX), Some(6_000)));
    }

    #[test]
    fn nothing_waits_for_what_its_own_message_commits() {
        let (_applied, following) = watch::channel(100);
        let mut gate = Gate::new(following);
        // A follower that was away: nothing after 100 was called committed to it yet.
        let mut pass = |last, committed| gate.pass(last, committed).now_or_never().is_some();
        assert!(pass(None, Some(100)));
        assert!(pass(Some(90_000), Some(90_000)));
        assert!(!pass(Some(90_001), Some(90_000)));
    }
}

//! Commands into the log: what waits becomes one entry, one entry in flight at a time.
//!
//! ```text
//! handlers ──queue──> batcher ──one batch──> consensus (this member leads)
//!                        │                 └─> forward, once and whole (another leads)
//!                        └──one message of replies──> handlers
//! ```
//!
//! No timer and no linger: while a batch is in flight the next one forms by itself. A batch wakes
//! Raft's thread once and this one once, however many commands it holds.
//!
//! What cannot be known is not retried. A batch goes out again only if it certainly is in nobody's
//! log: refused by a member that does not lead, or never sent.

use super::NodeError;
use super::weight::{is_urgent, weight};
use crate::canary::{Canary, planted};
use crate::proto::peer;
use crate::raft::{CarriedOut, Client, Consensus, LeaderHint, Links, MemberNode, ProposeFailure};
use crate::state_machine::codec::{decode_replies, retain_commands};
use crate::state_machine::{BatchBuilder, Command, Reply};
use crate::types::{NodeId, Position};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// Commands that may wait; one more is refused with "too many requests".
pub(super) const QUEUE_COMMANDS_MAX: usize = 16_384;
/// Places that are kept for commands that give something back, or say that something is wrong.
const QUEUE_URGENT_MAX: usize = 1024;
/// Bytes of commands that may wait.
pub(super) const QUEUE_BYTES_MAX: usize = 64 << 20;
/// A batch closes at this many commands or bytes, whichever comes first.
const BATCH_COMMANDS_MAX: usize = 1024;
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Batches that may wait aside for a former leader's answer.
const LEFT_BEHIND_MAX: usize = 16;
/// How long to wait for news of a leader before asking again.
const LEADER_PATIENCE: Duration = Duration::from_millis(20);

struct Proposal {
    command: Command,
    bytes: usize,
    deadline: Instant,
    reply: oneshot::Sender<Result<Reply, NodeError>>,
}

/// The handlers' end of the queue.
#[derive(Clone)]
pub(super) struct Proposer {
    queue: mpsc::Sender<Proposal>,
    queued_bytes: Arc<AtomicUsize>,
}

impl Proposer {
    /// Makes the queue and the batcher; the caller runs [`Batcher::run`].
    pub(super) fn new(consensus: Consensus, links: Links) -> (Self, Batcher) {
        let (queue, waiting) = mpsc::channel(QUEUE_COMMANDS_MAX + QUEUE_URGENT_MAX);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let batcher = Batcher {
            waiting,
            queued_bytes: queued_bytes.clone(),
            carrier: Carrier { consensus, links },
            left_behind: JoinSet::new(),
        };
        (
            Self {
                queue,
                queued_bytes,
            },
            batcher,
        )
    }

    /// Commands that wait, and how many may: less the places of the urgent.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let waiting = self.queue.max_capacity() - self.queue.capacity();
        (waiting, QUEUE_COMMANDS_MAX)
    }

    /// Bytes of the commands that wait.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes.load(Ordering::Relaxed)
    }

    /// Whether the queue is full for a command of so many bytes, where `queued` wait. Room is kept
    /// for the urgent: a cluster that is asked for too much must be able to let go of something.
    fn is_full_for(&self, command: &Command, bytes: usize, queued: usize) -> bool {
        if is_urgent(command) {
            return false;
        }
        let (waiting, _) = self.waiting();
        waiting >= QUEUE_COMMANDS_MAX || (queued + bytes > QUEUE_BYTES_MAX && queued > 0)
    }

    /// Carries out one command.
    pub(super) async fn propose(
        &self,
        command: Command,
        deadline: Instant,
    ) -> Result<Reply, NodeError> {
        let bytes = weight(&command);
        let (reply, outcome) = oneshot::channel();
        let queued = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let is_full = self.is_full_for(&command, bytes, queued);
        let proposal = Proposal {
            command,
            bytes,
            deadline,
            reply,
        };
        let sent = if is_full {
            Err(NodeError::TooManyRequests)
        } else {
            self.queue.try_send(proposal).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => NodeError::TooManyRequests,
                mpsc::error::TrySendError::Closed(_) => NodeError::Stopped,
            })
        };
        if let Err(error) = sent {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(error);
        }
        match timeout_at(deadline, outcome).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(NodeError::Stopped),
            Err(_) => Err(NodeError::Timeout),
        }
    }
}

/// The other end: forms batches and sends them.
pub(super) struct Batcher {
    waiting: mpsc::Receiver<Proposal>,
    queued_bytes: Arc<AtomicUsize>,
    carrier: Carrier,
    /// Batches that were sent to a leader which is none any more, and may still be answered.
    left_behind: JoinSet<()>,
}

/// One log entry to be, and those who wait for its replies, in order.
struct Batch {
    bytes: Bytes,
    waiters: Vec<Waiter>,
    /// The most patient command's.
    deadline: Instant,
}

struct Waiter {
    deadline: Instant,
    reply: oneshot::Sender<Result<Reply, NodeError>>,
}

impl Waiter {
    /// Whether anybody will hear the reply.
    fn waits(&self, now: Instant) -> bool {
        self.deadline > now && !self.reply.is_closed()
    }

    /// In case the late one looks here before it looks at the clock.
    fn tell_that_it_is_late(self) {
        self.reply.send(Err(NodeError::Timeout)).ok();
    }
}

impl Batch {
    /// Takes out, of a batch that is in nobody's log, the commands nobody waits for any more.
    fn leave_out_the_late(&mut self, now: Instant) {
        if self.waiters.iter().all(|waiter| waiter.waits(now)) {
            return;
        }
        let waiting: Vec<bool> = self.waiters.iter().map(|it| it.waits(now)).collect();
        self.bytes = retain_commands(&self.bytes, |at| waiting[at]);
        let waiters = std::mem::take(&mut self.waiters);
        for (waiter, waits) in waiters.into_iter().zip(waiting) {
            if waits {
                self.waiters.push(waiter);
            } else {
                waiter.tell_that_it_is_late();
            }
        }
    }
}

impl Batcher {
    /// Runs until every [`Proposer`] is gone.
    pub(super) async fn run(mut self) {
        while let Some(first) = self.waiting.recv().await {
            let Some(mut batch) = self.gather(first) else {
                continue;
            };
            let carrier = self.carrier.clone();
            let mut carried = Box::pin(async move {
                let outcome = carrier.carry_out(&mut batch).await;
                answer(batch, outcome);
            });
            tokio::select! {
                () = &mut carried => {}
                // A leader that was cut off never answers; one that handed over does. Whichever it
                // is, the batch waits for it aside, and the next one goes to the new leader.
                () = self.carrier.leader_replaced() => {
                    if self.left_behind.len() >= LEFT_BEHIND_MAX {
                        self.left_behind.join_next().await;
                    }
                    self.left_behind.spawn(carried);
                }
            }
            while self.left_behind.try_join_next().is_some() {}
        }
    }

    /// Everything that waits now, up to the limits of a batch, without what nobody waits for.
    fn gather(&mut self, first: Proposal) -> Option<Batch> {
        let now = Instant::now();
        let mut builder = BatchBuilder::new();
        let mut batch = Batch {
            bytes: Bytes::new(),
            waiters: Vec::new(),
            deadline: now,
        };
        let mut next = Some(first);
        while let Some(proposal) = next {
            self.queued_bytes
                .fetch_sub(proposal.bytes, Ordering::Relaxed);
            // Work whose deadline has passed, or whose client has left, is dropped here, before it
            // costs the cluster anything.
            let waiter = Waiter {
                deadline: proposal.deadline,
                reply: proposal.reply,
            };
            if waiter.waits(now) {
                builder.push(&proposal.command);
                batch.deadline = batch.deadline.max(waiter.deadline);
                batch.waiters.push(waiter);
            } else {
                waiter.tell_that_it_is_late();
            }
            let full = builder.len() >= BATCH_COMMANDS_MAX || builder.bytes() >= BATCH_BYTES_MAX;
            next = if full {
                None
            } else {
                self.waiting.try_recv().ok()
            };
        }
        if batch.waiters.is_empty() {
            return None;
        }
        batch.bytes = builder.finish();
        Some(batch)
    }
}

/// Takes a batch to whoever leads.
#[derive(Clone)]
struct Carrier {
    consensus: Consensus,
    links: Links,
}

impl Carrier {
    /// Returns when another member leads than when it was called; a leader that is merely lost is
    /// not replaced yet.
    async fn leader_replaced(&self) {
        let mut leaders = self.consensus.leader_watch();
        let before = leaders.hint();
        loop {
            leaders.changed(Duration::MAX).await;
            let now = leaders.hint();
            if now != before && now != LeaderHint::Nobody {
                return;
            }
        }
    }

    async fn carry_out(&self, batch: &mut Batch) -> Result<Vec<Reply>, NodeError> {
        let mut leaders = self.consensus.leader_watch();
        loop {
            // However long it takes until somebody leads, nothing is proposed too late.
            batch.leave_out_the_late(Instant::now());
            if batch.waiters.is_empty() {
                return Ok(Vec::new());
            }
            let attempt = match leaders.hint() {
                LeaderHint::Nobody => Attempt::NotTaken,
                LeaderHint::Me => self.propose_here(batch).await,
                LeaderHint::Other(leader, member) => self.forward(leader, &member, batch).await,
            };
            match attempt {
                Attempt::Done(outcome) => return outcome,
                Attempt::NotTaken => tokio::select! {
                    () = leaders.changed(LEADER_PATIENCE) => {}
                    // Nobody will ever lead here: whoever waits lets go of this member.
                    _ = self.consensus.stopped() => return Err(NodeError::Stopped),
                },
            }
        }
    }

    async fn propose_here(&self, batch: &Batch) -> Attempt {
        let (done, outcome) = oneshot::channel();
        self.consensus
            .propose(batch.bytes.clone(), move |proposed| {
                // Given up on at its deadline: nobody listens.
                done.send(proposed).ok();
            })
            .await;
        match timeout_at(batch.deadline, outcome).await {
            Ok(Ok(Ok(done))) => Attempt::Done(Ok(done.replies)),
            Ok(Ok(Err(ProposeFailure::NotLeader(_)))) => Attempt::NotTaken,
            // Planted, here and below: once more, it may not have worked.
            Ok(Ok(Err(ProposeFailure::Unknown))) if planted(Canary::UnknownProposalRetried) => {
                Attempt::NotTaken
            }
            Ok(Ok(Err(ProposeFailure::Unknown))) => {
                Attempt::Done(Err(NodeError::TimeoutLeaderFail))
            }
            Ok(Err(_)) => Attempt::Done(Err(NodeError::Stopped)),
            Err(_) => Attempt::Done(Err(NodeError::Timeout)),
        }
    }

    async fn forward(&self, leader: NodeId, member: &MemberNode, batch: &Batch) -> Attempt {
        let Ok(links) = self.links.to(leader, member) else {
            return Attempt::NotTaken;
        };
        match timeout_at(batch.deadline, send(links.entries, batch)).await {
            Ok(Sent::CarriedOut(done)) => {
                // A client reads its own writes from this member, serializably too (as on etcd, where
                // a member answers what it has applied). Past the deadline: done is done.
                let here = self.consensus.applied_here(leader, done.at);
                timeout_at(batch.deadline, here).await.ok();
                Attempt::Done(Ok(done.replies))
            }
            Ok(Sent::Failed(error)) => Attempt::Done(Err(error)),
            Ok(Sent::NotTaken) => Attempt::NotTaken,
            Err(_) => Attempt::Done(Err(NodeError::TimeoutConnectionLost)),
        }
    }
}

enum Attempt {
    Done(Result<Vec<Reply>, NodeError>),
    /// Certainly in nobody's log.
    NotTaken,
}

/// What became of a batch that was sent to the leader.
enum Sent {
    CarriedOut(CarriedOut),
    Failed(NodeError),
    NotTaken,
}

/// Sends a batch to the leader, once.
async fn send(mut client: Client, batch: &Batch) -> Sent {
    use peer::forward_response::Answer;
    use peer::refused::Reason;
    let left = batch.deadline.saturating_duration_since(Instant::now());
    let timeout_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
    let request = peer::ForwardRequest {
        batch: batch.bytes.clone(),
        timeout_ms,
    };
    let answer = match client.forward(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) if crate::raft::was_never_sent(&status) => return Sent::NotTaken,
        // The peer looked at the introduction only: it is starting, or refuses us.
        Err(status) if status.code() == tonic::Code::FailedPrecondition => return Sent::NotTaken,
        Err(_) if planted(Canary::UnknownProposalRetried) => return Sent::NotTaken,
        Err(status) => {
            tracing::debug!(%status, "a forwarded batch has an unknown outcome");
            return Sent::Failed(NodeError::TimeoutLeaderFail);
        }
    };
    match (answer.answer, answer.at) {
        (Some(Answer::Replies(replies)), Some(at)) => match decode_replies(replies) {
            Ok(replies) if replies.len() == batch.waiters.len() => {
                let at = Position {
                    term: at.term,
                    index: at.index,
                };
                Sent::CarriedOut(CarriedOut { at, replies })
            }
            _ => Sent::Failed(NodeError::TimeoutLeaderFail),
        },
        (Some(Answer::Refused(refused)), _) => match refused.reason() {
            Reason::NotLeader => Sent::NotTaken,
            Reason::TooManyRequests => Sent::Failed(NodeError::TooManyRequests),
        },
        _ => Sent::Failed(NodeError::TimeoutLeaderFail),
    }
}

fn answer(batch: Batch, outcome: Result<Vec<Reply>, NodeError>) {
    match outcome {
        Ok(replies) => {
            assert_eq!(replies.len(), batch.waiters.len(), "one reply a command");
            for (waiter, reply) in batch.waiters.into_iter().zip(replies) {
                // The client may have left.
                waiter.reply.send(Ok(reply)).ok();
            }
        }
        Err(error) => {
            for waiter in batch.waiters {
                waiter.reply.send(Err(error)).ok();
            }
        }
    }
}

#[cfg(test)]
mod tests;

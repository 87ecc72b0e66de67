//! Commands into the log: what waits becomes one entry, and a leader has one entry in flight at a time.
//!
//! ```text
//! handlers ──────────queue──> batcher ──one batch──> consensus (this member leads)
//! other members' batches ──────^  │               └─> forward, once and whole (another leads)
//!                                 └──one message of replies──> handlers, other members
//! ```
//!
//! No timer and no linger: while a batch is in flight the next one forms by itself. A batch wakes
//! Raft's thread once and this one once, however many commands it holds. On the leader the batches of
//! all other members go into the same entry: an entry costs every member an append, an fsync and a
//! message, whoever asked for it. So that they are there when it forms, the others send what they have
//! before the last one is answered ([`under_way`]). Who waits for an answer before it asks again
//! keeps its order; there is no other.
//!
//! What cannot be known is not retried. A batch goes out again only if it certainly is in nobody's
//! log: refused by a member that does not lead, or never sent.

mod batch;
mod carrier;
mod intake;
mod under_way;

use super::NodeError;
use super::weight::{is_urgent, weight};
use crate::raft::{Consensus, ForwardCall, LeaderWatch, Links};
use crate::state_machine::{Command, Reply};
use carrier::Carrier;
use intake::{Intake, Proposal};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use under_way::UnderWay;

/// Commands that may wait; one more is refused with "too many requests".
pub(super) const QUEUE_COMMANDS_MAX: usize = 16_384;
/// Places that are kept for commands that give something back, or say that something is wrong.
const QUEUE_URGENT_MAX: usize = 1024;
/// Bytes of commands that may wait.
pub(super) const QUEUE_BYTES_MAX: usize = 64 << 20;

/// The handlers' end of the queue.
#[derive(Clone)]
pub(super) struct Proposer {
    queue: mpsc::Sender<Proposal>,
    queued_bytes: Arc<AtomicUsize>,
}

impl Proposer {
    /// Makes the queue and the batcher, which takes in what other members forward; the caller runs
    /// [`Batcher::run`].
    pub(super) fn new(
        consensus: Consensus,
        links: Links,
        forwarded: mpsc::Receiver<ForwardCall>,
    ) -> (Self, Batcher) {
        let (queue, waiting) = mpsc::channel(QUEUE_COMMANDS_MAX + QUEUE_URGENT_MAX);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let batcher = Batcher {
            intake: Intake::new(waiting, queued_bytes.clone(), forwarded),
            leaders: consensus.leader_watch(),
            carrier: Carrier::new(consensus, links),
            under_way: UnderWay::default(),
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
    intake: Intake,
    carrier: Carrier,
    leaders: LeaderWatch,
    under_way: UnderWay,
}

impl Batcher {
    /// Runs until every [`Proposer`] is gone.
    pub(super) async fn run(mut self) {
        loop {
            self.under_way.follow(self.leaders.hint());
            if !self.under_way.has_place() {
                self.news().await;
                continue;
            }
            let Some(mut batch) = self.intake.next().await else {
                break;
            };
            // It may have waited long, and another member may lead by now.
            self.under_way.follow(self.leaders.hint());
            let carrier = self.carrier.clone();
            self.under_way.begin(async move {
                let outcome = carrier.carry_out(&mut batch).await;
                batch.answer(outcome);
            });
        }
        // What other members have sent is answered still.
        while !self.under_way.is_idle() {
            self.news().await;
            self.under_way.follow(self.leaders.hint());
        }
    }

    /// Returns when a batch has arrived, or something about leadership has changed.
    async fn news(&mut self) {
        tokio::select! {
            () = self.under_way.arrived() => {}
            () = self.leaders.changed(Duration::MAX) => {}
        }
    }
}

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
//! before the last one is answered ([`FORWARDS_AT_ONCE`]). Who waits for an answer before it asks again
//! keeps its order; there is no other.
//!
//! What cannot be known is not retried. A batch goes out again only if it certainly is in nobody's
//! log: refused by a member that does not lead, or never sent.

mod batch;
mod carrier;
mod intake;

use super::NodeError;
use super::weight::{is_urgent, weight};
use crate::raft::{Consensus, ForwardCall, LeaderHint, LeaderWatch, Links};
use crate::state_machine::{Command, Reply};
use carrier::Carrier;
use intake::{Intake, Proposal};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

/// Commands that may wait; one more is refused with "too many requests".
pub(super) const QUEUE_COMMANDS_MAX: usize = 16_384;
/// Places that are kept for commands that give something back, or say that something is wrong.
const QUEUE_URGENT_MAX: usize = 1024;
/// Bytes of commands that may wait.
pub(super) const QUEUE_BYTES_MAX: usize = 64 << 20;
/// Batches on their way to another member that leads. What waits behind one that the leader has not answered
/// misses the leader's next entry: with one at a time 64 callers fill an entry with 21 commands, with four
/// with 25 (`docs/performance.md`).
const FORWARDS_AT_ONCE: usize = 4;
/// Batches that may wait aside for a former leader's answer.
const LEFT_BEHIND_MAX: usize = 16;

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
        let mut leaders = consensus.leader_watch();
        let batcher = Batcher {
            intake: Intake::new(waiting, queued_bytes.clone(), forwarded),
            leader: leaders.hint(),
            leaders,
            carrier: Carrier::new(consensus, links),
            era: 0,
            on_their_way: JoinSet::new(),
            of_this_era: 0,
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
    /// The one that the batches on their way were meant for.
    leader: LeaderHint,
    /// Leaders so far.
    era: u64,
    /// All batches on their way, by the era that they began in.
    on_their_way: JoinSet<u64>,
    /// Those of them that began in this era.
    of_this_era: usize,
}

impl Batcher {
    /// Runs until every [`Proposer`] is gone.
    pub(super) async fn run(mut self) {
        loop {
            self.wait_for_a_place().await;
            let Some(mut batch) = self.intake.next().await else {
                return;
            };
            let (carrier, era) = (self.carrier.clone(), self.era);
            self.of_this_era += 1;
            self.on_their_way.spawn(async move {
                let outcome = carrier.carry_out(&mut batch).await;
                batch.answer(outcome);
                era
            });
        }
    }

    /// Returns when one more batch may go. A leader that was cut off never answers; one that handed over
    /// does. Whichever it is, its batches wait for it aside, and the next one goes to the new leader.
    async fn wait_for_a_place(&mut self) {
        loop {
            let leader = self.leaders.hint();
            if leader != self.leader && leader != LeaderHint::Nobody {
                self.leader = leader;
                self.era += 1;
                self.of_this_era = 0;
            }
            while let Some(done) = self.on_their_way.try_join_next() {
                self.arrived(done);
            }
            let places = match self.leader {
                LeaderHint::Me | LeaderHint::Nobody => 1,
                LeaderHint::Other(..) => FORWARDS_AT_ONCE,
            };
            let left_behind = self.on_their_way.len() - self.of_this_era;
            if self.of_this_era < places && left_behind <= LEFT_BEHIND_MAX {
                return;
            }
            tokio::select! {
                Some(done) = self.on_their_way.join_next() => self.arrived(done),
                () = self.leaders.changed(Duration::MAX) => {}
            }
        }
    }

    fn arrived(&mut self, done: Result<u64, JoinError>) {
        match done {
            Ok(era) if era == self.era => self.of_this_era -= 1,
            Ok(_) => {}
            // Nothing stops them: it panicked.
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

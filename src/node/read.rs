//! Linearizable reads: one quorum round for all who wait, then wait until it is applied here.
//!
//! A read uses only a round that began after it arrived: whoever comes while one is in flight joins
//! the next. A follower asks the leader for the position and serves the data itself. No leader-lease
//! reads: a restarted follower forgets the lease it gave.

use super::{NodeError, NodeMeters};
use crate::canary::{Canary, planted};
use crate::raft::{Consensus, LeaderHint, Links, MemberNode};
use crate::types::{NodeId, Position};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

/// Reads that may wait for a round; one more is refused.
pub(super) const QUEUE_READS_MAX: usize = 65_536;
/// Reads that share one round at most; without a bound they would pile up here, past the queue's,
/// while nobody leads.
const ROUND_READS_MAX: usize = 65_536;
/// How long to wait for news of a leader before asking again.
const LEADER_PATIENCE: Duration = Duration::from_millis(20);

/// A round that takes longer is slow (etcd's time until it asks again).
pub(super) const SLOW_ROUND: Duration = Duration::from_millis(500);

type Waiter = oneshot::Sender<Position>;

#[derive(Clone)]
pub(super) struct Barrier {
    queue: mpsc::Sender<Waiter>,
    meters: Arc<NodeMeters>,
}

impl Barrier {
    /// Makes the queue and its worker; the caller runs [`Rounds::run`].
    pub(super) fn new(
        consensus: Consensus,
        links: Links,
        meters: Arc<NodeMeters>,
    ) -> (Self, Rounds) {
        let (queue, waiting) = mpsc::channel(QUEUE_READS_MAX);
        (
            Self {
                queue,
                meters: meters.clone(),
            },
            Rounds {
                waiting,
                consensus,
                links,
                meters,
            },
        )
    }

    /// Reads that wait for the next round, and how many may.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let limit = self.queue.max_capacity();
        (limit - self.queue.capacity(), limit)
    }

    /// Returns once this member's state includes everything acknowledged before the call: up to the
    /// position that is answered. Its term is that of the leader that a quorum confirmed after the
    /// call began: a leader reads from its own first entry on.
    pub(super) async fn wait(&self, deadline: Instant) -> Result<Position, NodeError> {
        let _place = self.meters.reads_pending.raised();
        let passed = self.pass(deadline).await;
        passed.inspect_err(|error| self.meters.count_turned_away(*error))
    }

    async fn pass(&self, deadline: Instant) -> Result<Position, NodeError> {
        let (waiter, passed) = oneshot::channel();
        self.queue.try_send(waiter).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NodeError::TooManyRequests,
            mpsc::error::TrySendError::Closed(_) => NodeError::Stopped,
        })?;
        match timeout_at(deadline, passed).await {
            Ok(Ok(at)) => Ok(at),
            Ok(Err(_)) => Err(NodeError::Stopped),
            Err(_) => Err(NodeError::Timeout),
        }
    }
}

pub(super) struct Rounds {
    waiting: mpsc::Receiver<Waiter>,
    consensus: Consensus,
    links: Links,
    meters: Arc<NodeMeters>,
}

impl Rounds {
    /// Runs until every [`Barrier`] is gone.
    pub(super) async fn run(mut self) {
        let mut leaders = self.consensus.leader_watch();
        while let Some(first) = self.waiting.recv().await {
            let mut waiters = vec![first];
            loop {
                while waiters.len() < ROUND_READS_MAX
                    && let Ok(more) = self.waiting.try_recv()
                {
                    waiters.push(more);
                }
                waiters.retain(|waiter| !waiter.is_closed());
                if waiters.is_empty() {
                    break;
                }
                let leader = leaders.hint();
                let Some(at) = self.round(&leader).await else {
                    leaders.changed(LEADER_PATIENCE).await;
                    continue;
                };
                let patience = self.consensus.timers().election;
                match timeout(patience, self.applied(&leader, at)).await {
                    Ok(true) => {}
                    Ok(false) => return,
                    // This member lags: look who still waits, and ask again.
                    Err(_) => continue,
                }
                for waiter in waiters.drain(..) {
                    // The client may have left.
                    waiter.send(at).ok();
                }
                break;
            }
        }
    }

    /// Waits until this member's state includes what the leader had committed. False: it never will.
    async fn applied(&self, leader: &LeaderHint, at: Position) -> bool {
        if let LeaderHint::Other(leader, _) = leader {
            return self.consensus.applied_here(*leader, at).await;
        }
        let mut applied = self.consensus.applied();
        let reached = applied.wait_for(|applied| *applied >= at.index).await;
        reached.is_ok()
    }

    /// One confirmation by a quorum: the position to wait for.
    async fn round(&self, leader: &LeaderHint) -> Option<Position> {
        if *leader == LeaderHint::Nobody {
            // Planted: a leader that may be none any more is asked all the same.
            if planted(Canary::LeaseReadWithoutBound) {
                return self.consensus.read_index().await.ok();
            }
            return None;
        }
        let begun = Instant::now();
        let at = self.confirmed(leader).await;
        if at.is_none() {
            self.meters.read_indexes_failed.increment();
        }
        if begun.elapsed() > SLOW_ROUND {
            self.meters.slow_read_indexes.increment();
        }
        at
    }

    async fn confirmed(&self, leader: &LeaderHint) -> Option<Position> {
        match leader {
            LeaderHint::Me => self.consensus.read_index().await.ok(),
            LeaderHint::Other(leader, member) => self.ask(*leader, member).await,
            LeaderHint::Nobody => None,
        }
    }

    async fn ask(&self, leader: NodeId, member: &MemberNode) -> Option<Position> {
        let mut client = self.links.to(leader, member).ok()?.control;
        let patience = self.consensus.timers().election;
        let call = client.read_index(self.consensus.read_index_request());
        let answer = timeout(patience, call).await.ok()?.ok()?.into_inner();
        // An answer of somebody else than the asked leader is no answer.
        let at = answer.position?;
        (answer.leader == leader).then_some(Position {
            term: at.term,
            index: at.index,
        })
    }
}

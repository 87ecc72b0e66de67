//! Takes office when this member leads, ends the leases whose time is over, notes what is left of
//! the long ones, and leaves office when it no longer leads.

use super::calls::{Calls, PeerCalls};
use super::desk::Desk;
use super::doors::Leases;
use crate::canary::{Canary, planted};
use crate::config::request_timeout;
use crate::env::Worker;
use crate::lease::Ended;
use crate::node::core::Running;
use crate::node::propose::Proposer;
use crate::node::read::Barrier;
use crate::node::{NodeError, NodeMeters};
use crate::raft::{Consensus, LeaderHint, LeaderWatch, Links};
use crate::state_machine::command::{Command, Fence};
use crate::state_machine::{Outcome, Refusal};
use crate::types::LeaseMark;
use futures_util::future::Either;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Revokes under way at a time. They share the queue and the batches of everybody's writes, so this
/// is what a mass expiry adds to the wait of one: the time to apply so many.
pub(super) const REVOKES_MAX: usize = 128;
/// Notes of what is left in one command.
const MARKS_MAX: usize = 1024;
/// What ends within this time ends together.
const TICK: Duration = Duration::from_millis(10);
/// Pause before another attempt to revoke what could not be revoked, or to take office.
const RETRY: Duration = Duration::from_millis(500);

/// What keeps the leases of a member.
pub(super) struct Parts {
    pub(super) desk: Arc<Desk>,
    pub(super) consensus: Consensus,
    pub(super) proposer: Proposer,
    pub(super) barrier: Barrier,
    /// Of a command of our own.
    pub(super) patience: Duration,
}

/// What the tasks are given.
pub(in crate::node) struct Keepers<'a> {
    pub(in crate::node) proposer: &'a Proposer,
    pub(in crate::node) barrier: &'a Barrier,
    pub(in crate::node) links: Links,
    pub(in crate::node) readers: &'a Worker,
    pub(in crate::node) meters: Arc<NodeMeters>,
}

/// Starts the tasks on the current runtime.
pub(in crate::node) fn start(
    running: &Running,
    keepers: Keepers<'_>,
    tasks: &mut JoinSet<()>,
) -> Leases {
    let parts = Arc::new(Parts {
        desk: Arc::new(Desk::new(keepers.meters)),
        consensus: running.consensus.clone(),
        proposer: keepers.proposer.clone(),
        barrier: keepers.barrier.clone(),
        patience: request_timeout(running.consensus.timers().election),
    });
    let (calls, asking) = Calls::new(parts.clone(), keepers.links);
    tasks.spawn(calls.run());
    tasks.spawn(PeerCalls::new(parts.clone(), &running.peers).run());
    let clock = Clock {
        parts: parts.clone(),
        readers: keepers.readers.clone(),
    };
    tasks.spawn(clock.run());
    Leases::new(parts, asking)
}

struct Clock {
    parts: Arc<Parts>,
    readers: Worker,
}

impl Clock {
    async fn run(self) {
        let mut leaders = self.parts.consensus.leader_watch();
        loop {
            // Planted, here and below: every member takes office, and none ever leaves it.
            if leaders.hint() != LeaderHint::Me && !planted(Canary::LeaseExpiryByLocalClock) {
                leaders.changed(Duration::MAX).await;
                continue;
            }
            match self.take_office().await {
                Some(term) => {
                    self.serve(term, &mut leaders).await;
                    self.parts.desk.close();
                }
                None => leaders.changed(RETRY).await,
            }
        }
    }

    /// Once a quorum has confirmed that this member leads and all that was acknowledged before is
    /// applied here, the leases get a clock: from then on, and not from the election on, they have
    /// their time. The term, if that came to pass.
    async fn take_office(&self) -> Option<u64> {
        let Parts {
            desk,
            consensus,
            barrier,
            ..
        } = &*self.parts;
        let deadline = Instant::now() + self.parts.patience;
        let term = barrier.wait(deadline).await.ok()?.term;
        if !consensus.leads(term) && !planted(Canary::LeaseExpiryByLocalClock) {
            return None;
        }
        let store = consensus.store().load_full();
        // Weakly: the desk holds the store while it is in office.
        let waker = Arc::downgrade(desk);
        // First listen, then read: what happens in between is told twice, and that is harmless.
        store.lease_feed().listen(Box::new(move || {
            if let Some(desk) = waker.upgrade() {
                desk.wake();
            }
        }));
        let read = store.clone();
        let leases = self.readers.run(move || read.view()?.leases()).await;
        match leases.ok()? {
            Ok(leases) => {
                tracing::info!(term, leases = leases.len(), "keeping the time of leases");
                desk.open(term, store, &leases, consensus.timers().election);
                Some(term)
            }
            Err(error) => {
                tracing::error!(%error, "leases cannot be read: none will end");
                store.lease_feed().stop_listening();
                None
            }
        }
    }

    /// Does what is due until this member no longer leads in `term`.
    async fn serve(&self, term: u64, leaders: &mut LeaderWatch) {
        let Parts {
            desk, consensus, ..
        } = &*self.parts;
        let mut at_work = FuturesUnordered::new();
        let mut revokes = 0;
        while (leaders.hint() == LeaderHint::Me && consensus.leads(term))
            || planted(Canary::LeaseExpiryByLocalClock)
        {
            let Ok(due) = desk.due(term, REVOKES_MAX - revokes, MARKS_MAX) else {
                return;
            };
            revokes += due.ended.len();
            let ended = due.ended.into_iter();
            at_work.extend(ended.map(|ended| Either::Left(self.revoke(term, ended))));
            if !due.marks.is_empty() {
                at_work.push(Either::Right(self.note(term, due.marks)));
            }
            let soon = Instant::now() + TICK;
            let next = due.next.map(|next| next.max(soon));
            tokio::select! {
                Some(was_revoke) = at_work.next() => revokes -= usize::from(was_revoke),
                // With all revokes under way there is nothing to wake up for.
                () = at(next), if revokes < REVOKES_MAX => {}
                () = desk.woken() => {}
                () = leaders.changed(Duration::MAX) => {}
            }
        }
    }

    /// Revokes a lease whose time is over. True, for a revoke.
    async fn revoke(&self, term: u64, ended: Ended) -> bool {
        let Ended { id, granted_at } = ended;
        let fence =
            Some(Fence { term, granted_at }).filter(|_| !planted(Canary::LeaseExpiryByLocalClock));
        let deadline = Instant::now() + self.parts.patience;
        let command = Command::LeaseRevoke { id, fence };
        let reply = self.parts.proposer.propose(command, deadline).await;
        let desk = &self.parts.desk;
        match reply.map(|reply| reply.result) {
            Ok(Ok(Outcome::LeaseRevoked { whole: false })) => {
                desk.not_revoked(term, &ended, Duration::ZERO);
            }
            Ok(Ok(_)) => desk.revoked(),
            // Somebody else revoked it, or it is not ours to decide about.
            Ok(Err(Refusal::LeaseNotFound | Refusal::Fenced)) => {}
            Ok(Err(_)) | Err(_) => desk.not_revoked(term, &ended, RETRY),
        }
        true
    }

    /// Notes what is left of leases. A note that is lost is made again in five minutes.
    async fn note(&self, term: u64, marks: Vec<LeaseMark>) -> bool {
        if let Err(error) = self.parts.mark(term, marks).await {
            tracing::debug!(%error, "what is left of leases was not noted");
        }
        false
    }
}

impl Parts {
    /// Carries marks through the log. Refused if this member no longer leads in `term`.
    pub(super) async fn mark(&self, term: u64, marks: Vec<LeaseMark>) -> Result<(), NodeError> {
        let deadline = Instant::now() + self.patience;
        let command = Command::LeaseCheckpoint { term, marks };
        let reply = self.proposer.propose(command, deadline).await?;
        match reply.result {
            Ok(_) => Ok(()),
            Err(_) => Err(NodeError::TimeoutLeaderFail),
        }
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

//! The facade of this floor: consensus without openraft's types.
//!
//! A [`Consensus`] is made on the runtime that it lives on; its methods may be called from any.

use super::applier::{Applier, SharedStore};
use super::contacts::Contacts;
use super::factory::{Kicks, PeerNetworks};
use super::identity::Pins;
use super::leader_watch::LeaderWatch;
use super::links::Links;
use super::log::SegmentedLog;
use super::log_store::LogStore;
use super::membership;
use super::network::NetworkTimes;
use super::quorum_round::AskingOrder;
use super::renewal::Renewal;
use super::settings;
use super::status::{Role, Status};
use super::type_config::{
    Batch, MemberNode, OnComplete, TypeConfig, Vote, log_id_of, position_of, vote_of,
};
use crate::state_machine::Reply;
use crate::telemetry::metrics::Counter;
use crate::types::{NodeId, Position};
use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, Fatal, InitializeError, RaftError};
use openraft::raft::{AppendEntriesRequest, ClientWriteResult};
use openraft::{Instant as _, Raft, ServerState};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

mod read_index;

pub use read_index::ReadFailure;

/// The timers of consensus. The election timeout is the longest; the shortest is half of it.
#[derive(Clone, Copy, Debug)]
pub struct Timers {
    pub heartbeat: Duration,
    pub election: Duration,
}

/// Why a batch was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposeFailure {
    /// Certainly not in the log. A leader to turn to, if one is known.
    NotLeader(Option<NodeId>),
    /// It was in this member's log and was given up there: it may or may not be carried out.
    Unknown,
}

/// A batch that was carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct CarriedOut {
    /// Its entry.
    pub at: Position,
    /// One a command.
    pub replies: Vec<Reply>,
}

pub type Proposed = Result<CarriedOut, ProposeFailure>;

/// What a member's consensus is made of; all opened by the caller.
pub struct Parts {
    pub log: SegmentedLog,
    pub applier: Applier,
    pub pins: Pins,
    pub links: Links,
    pub timers: Timers,
    /// Between two snapshots.
    pub snapshot_entries: u64,
}

#[derive(Clone)]
pub struct Consensus {
    inner: Arc<Inner>,
}

/// A [`Consensus`] that is not kept alive.
pub struct WeakConsensus {
    inner: Weak<Inner>,
}

impl WeakConsensus {
    pub(super) fn upgrade(&self) -> Option<Consensus> {
        self.inner.upgrade().map(|inner| Consensus { inner })
    }
}

struct Inner {
    raft: Raft<TypeConfig, Applier>,
    log: SegmentedLog,
    store: SharedStore,
    applied: watch::Receiver<u64>,
    installs: Arc<AtomicU64>,
    store_is_slow: Arc<AtomicBool>,
    slow_applies: Arc<Counter>,
    kicks: Kicks,
    contacts: Contacts,
    links: Links,
    asking_order: AskingOrder,
    runtime: Handle,
    timers: Timers,
    started: Instant,
    /// Milliseconds after `started` at which a leader was last heard.
    heard_ms: AtomicU64,
}

impl Consensus {
    /// Builds and runs Raft on the current runtime.
    pub async fn start(parts: Parts) -> io::Result<Self> {
        let Parts {
            log,
            applier,
            pins,
            links,
            timers,
            snapshot_entries,
        } = parts;
        let config = settings::of(timers).validate().map_err(io::Error::other)?;
        let (store, applied, installs) = (applier.store(), applier.applied(), applier.installs());
        let store_is_slow = applier.store_is_slow();
        let slow_applies = applier.slow_applies();
        let kicks = Kicks::default();
        let times = NetworkTimes::from_election_timeout(timers.election);
        let contacts = Contacts::new(timers.election);
        let renewal = Renewal::new(
            applier.snapshots(),
            store.clone(),
            log.clone(),
            snapshot_entries,
        );
        let networks = PeerNetworks::new(
            links.clone(),
            times,
            kicks.clone(),
            contacts.clone(),
            renewal,
        );
        let node = pins.me().node;
        let raft = Raft::new(
            node,
            Arc::new(config),
            networks,
            LogStore::new(log.clone()),
            applier,
        )
        .await
        .map_err(io::Error::other)?;
        let heard_ms = AtomicU64::new(0);
        let started = Instant::now();
        let inner = Inner {
            raft,
            log,
            store,
            applied,
            installs,
            store_is_slow,
            slow_applies,
            kicks,
            contacts,
            links,
            asking_order: AskingOrder::default(),
            runtime: Handle::current(),
            timers,
            started,
            heard_ms,
        };
        let consensus = Self {
            inner: Arc::new(inner),
        };
        tokio::spawn(membership::follow_addresses(
            consensus.inner.raft.server_metrics(),
            consensus.inner.links.clone(),
        ));
        Ok(consensus)
    }

    pub fn downgrade(&self) -> WeakConsensus {
        WeakConsensus {
            inner: Arc::downgrade(&self.inner),
        }
    }

    pub(super) fn raft(&self) -> &Raft<TypeConfig, Applier> {
        &self.inner.raft
    }

    /// How long the others have been answering, as far as this member leads.
    pub fn contacts(&self) -> &Contacts {
        &self.inner.contacts
    }

    pub fn store(&self) -> &SharedStore {
        &self.inner.store
    }

    pub fn log(&self) -> &SegmentedLog {
        &self.inner.log
    }

    pub fn timers(&self) -> Timers {
        self.inner.timers
    }

    /// Tells apply that the store stalls, or no longer does.
    pub fn set_store_is_slow(&self, slow: bool) {
        self.inner.store_is_slow.store(slow, Ordering::Relaxed);
    }

    /// Follows the index of the last applied entry.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.inner.applied.clone()
    }

    /// How many steps of apply took longer than 100 ms.
    pub fn slow_applies(&self) -> u64 {
        self.inner.slow_applies.value()
    }

    pub fn snapshots_installed(&self) -> u64 {
        self.inner.installs.load(Ordering::Relaxed)
    }

    /// Starts a new cluster of these voters. Every founding member may do so: the first log entry
    /// is the same everywhere. Doing it again is no error.
    pub async fn found(&self, members: BTreeMap<NodeId, MemberNode>) -> io::Result<()> {
        match self.inner.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Proposes a batch as one log entry. `done` is called on Raft's runtime, so it must only hand
    /// its value on; it is dropped uncalled if consensus stops.
    pub async fn propose(&self, batch: Bytes, done: impl FnOnce(Proposed) + Send + 'static) {
        let responder = OnComplete(Box::new(move |result: ClientWriteResult<TypeConfig>| {
            done(match result {
                Ok(response) => Ok(CarriedOut {
                    at: position_of(&response.log_id),
                    replies: response.data,
                }),
                Err(ClientWriteError::ForwardToLeader(forward)) => {
                    Err(ProposeFailure::NotLeader(forward.leader_id))
                }
                Err(_) => Err(ProposeFailure::Unknown),
            });
        }));
        if let Err(error) = self
            .inner
            .raft
            .client_write_ff(Batch(batch), Some(responder))
            .await
        {
            // `done` went with the message: whoever waits for it sees its channel close.
            tracing::debug!(%error, "consensus has stopped");
        }
    }

    /// Returns when an entry is applied here that its leader, `leader`, said is committed. Raft is told
    /// so at once, in the words of the leader's next message: waiting for that would take longer.
    /// False: consensus is gone, and it never will be.
    pub async fn applied_here(&self, leader: NodeId, at: Position) -> bool {
        let mut applied = self.applied();
        if *applied.borrow_and_update() >= at.index {
            return true;
        }
        let mut reached = std::pin::pin!(applied.wait_for(|applied| *applied >= at.index));
        let mut told = std::pin::pin!(self.inner.raft.append_entries(AppendEntriesRequest {
            // An entry's term is its leader's (one leader per term).
            vote: vote_of(at.term, leader, true),
            prev_log_id: None,
            entries: Vec::new(),
            leader_commit: Some(log_id_of(at)),
        }));
        tokio::select! {
            reached = &mut reached => return reached.is_ok(),
            // What it answers is for the leader to know.
            _ = &mut told => {}
        }
        reached.await.is_ok()
    }

    /// Asks a voter to take over. Says nothing about success: watch [`Self::status`].
    pub async fn transfer_leadership(&self, to: NodeId) -> io::Result<()> {
        self.inner
            .raft
            .trigger()
            .transfer_leader(to)
            .await
            .map_err(io::Error::other)
    }

    /// Starts building a snapshot, if none is being built.
    pub async fn trigger_snapshot(&self) -> io::Result<()> {
        self.inner
            .raft
            .trigger()
            .snapshot()
            .await
            .map_err(io::Error::other)
    }

    /// Lets the log be purged up to an index; never past the current snapshot.
    pub async fn purge(&self, upto: u64) -> io::Result<()> {
        self.inner
            .raft
            .trigger()
            .purge_log(upto)
            .await
            .map_err(io::Error::other)
    }

    /// Ends the stream of entries to a peer: what was in flight is forgotten, so the log may be
    /// purged past it and the peer gets a snapshot instead.
    pub fn kick(&self, node: NodeId) {
        self.inner.kicks.kick(node);
    }

    /// A leader's call was taken in: it is alive.
    pub(super) fn heard_leader(&self) {
        let ms = u64::try_from(self.inner.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.inner.heard_ms.store(ms, Ordering::Relaxed);
    }

    /// Why this member must never vote again, if a leader rightly says that everything up to entry
    /// `acknowledged` was acknowledged to it. An older leader's word is nothing: what it sent may have
    /// been replaced since.
    pub(super) fn has_lost(&self, leader: &Vote, acknowledged: u64) -> Option<String> {
        // In one look: a later leader's vote is taken in before anything gives way to its entries.
        let log = self.inner.log.state();
        let is_older = log.vote.is_some_and(|own| own.term > leader.leader_id.term);
        let held = log.last.map_or(0, |last| last.index);
        // What came with a snapshot need not be in the log yet.
        let held = held.max(*self.inner.applied.borrow());
        if is_older || held >= acknowledged {
            return None;
        }
        Some(format!(
            "the Raft log ends at entry {held}, and this member had acknowledged all up to entry \
             {acknowledged}: its end was damaged or lost, with a vote perhaps; remove this member from \
             the cluster and add it again with an empty data directory"
        ))
    }

    /// Follows who leads.
    pub fn leader_watch(&self) -> LeaderWatch {
        LeaderWatch::new(self.inner.raft.server_metrics())
    }

    pub fn term(&self) -> u64 {
        self.inner.raft.metrics().borrow_watched().current_term
    }

    /// Whether this member was elected in `term` and has not heard of a later one.
    pub fn leads(&self, term: u64) -> bool {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let vote = metrics.vote;
        vote.committed && vote.leader_id.term == term && vote.leader_id.voted_for == metrics.id
    }

    /// Whether this member is a learner to clients: without a vote, and not just waiting for it.
    pub fn is_learner(&self) -> bool {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let waits = membership.get_node(&metrics.id).is_some_and(|me| me.votes);
        metrics.state == ServerState::Learner && !waits
    }

    /// Waits until this member's state is not older than what it had committed before it started:
    /// until all that its log holds now is applied, or was given up for another leader's log.
    pub async fn recovered(&self) -> bool {
        let mut metrics = self.inner.raft.metrics();
        let mut target = u64::MAX;
        loop {
            {
                let now = metrics.borrow_and_update();
                target = target.min(now.last_log_index.unwrap_or(0));
                let applied = now.last_applied.as_ref().map_or(0, |at| at.index);
                if applied >= target {
                    return true;
                }
            }
            if metrics.changed().await.is_err() {
                return false;
            }
        }
    }

    /// What this member's consensus looks like now.
    pub fn status(&self) -> Status {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let mut status = Status::from_metrics(&metrics);
        let silence = self.inner.timers.election * 2;
        let may_name = match status.role {
            // A leader that has not heard a quorum for an election timeout may have been replaced.
            Role::Leader => {
                status.voters.len() == 1
                    || metrics.last_quorum_acked.is_some_and(|acked| {
                        acked.into_inner().elapsed() < self.inner.timers.election
                    })
            }
            _ => {
                let heard = Duration::from_millis(self.inner.heard_ms.load(Ordering::Relaxed));
                self.inner.started.elapsed().saturating_sub(heard) < silence
            }
        };
        if !may_name {
            status.leader = None;
        }
        status
    }

    /// Returns the reason when consensus stops; waits while it runs. It is woken by changes of
    /// leadership, not by every entry as it would be by all metrics; they end together.
    pub async fn stopped(&self) -> String {
        let mut alive = self.inner.raft.server_metrics();
        while alive.changed().await.is_ok() {}
        match &self.inner.raft.metrics().borrow_watched().running_state {
            Err(Fatal::StorageError(error)) => error.to_string(),
            Err(Fatal::Panicked) => "a panic in consensus".to_owned(),
            Err(Fatal::Stopped) => "consensus stopped".to_owned(),
            Ok(()) => "consensus is gone".to_owned(),
        }
    }

    /// Stops consensus and waits for its tasks.
    pub async fn shutdown(&self) {
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(%error, "consensus did not stop cleanly");
        }
    }
}

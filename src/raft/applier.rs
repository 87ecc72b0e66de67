//! Committed entries into the state machine: in order, on one thread.
//!
//! The state machine blocks (RocksDB may stall a writer), so it runs on its own [`Worker`]: a
//! stalled store then delays answers, never heartbeats or votes. Only a step of a few puts runs
//! inline, and only while the store is known not to stall; on an otherwise idle cluster every step
//! is such a one.

use super::log::LogState;
use super::snapshot::{Snapshot, Snapshots, stored_membership};
use super::snapshot_dir::SnapshotDir;
use super::state_dir::StateDir;
use super::type_config::{
    Entry, LogId, Membership, SnapshotMeta, StoredMembership, TypeConfig, log_id_of, position_of,
};
use super::wire::encode_membership;
use crate::canary::{Canary, planted};
use crate::env::Worker;
use crate::mvcc::Store;
use crate::state_machine::codec::is_puts_only;
use crate::state_machine::{Entry as StateEntry, EntryBody, StateMachine};
use crate::telemetry::metrics::Counter;
use crate::types::NodeId;
use crate::watch::Hub;
use arc_swap::ArcSwap;
use futures_util::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Entries and bytes of them that are applied in one step; a longer backlog goes in several.
const STEP_ENTRIES_MAX: usize = 1024;
const STEP_BYTES_MAX: usize = 8 << 20;

/// A step of at most this many entries, of at most this many bytes each, may be applied inline.
const INLINE_ENTRIES_MAX: usize = 4;
const INLINE_BYTES_MAX: usize = 8 << 10;

/// A step that takes longer, its wait for the worker included, is slow (etcd's
/// `--warning-apply-duration`).
const SLOW_APPLY: Duration = Duration::from_millis(100);

/// The store that readers use now; replaced as a whole when a snapshot is installed.
pub type SharedStore = Arc<ArcSwap<Store>>;

pub struct Applier {
    machine: Arc<Mutex<StateMachine>>,
    store: SharedStore,
    state_dir: Arc<StateDir>,
    snapshots: Snapshots,
    worker: Worker,
    hub: Arc<Hub>,
    applied: watch::Sender<u64>,
    installs: Arc<AtomicU64>,
    store_is_slow: Arc<AtomicBool>,
    slow_applies: Arc<Counter>,
}

impl Applier {
    pub fn new(
        machine: StateMachine,
        state_dir: StateDir,
        snapshots: Snapshots,
        worker: Worker,
        hub: Arc<Hub>,
    ) -> Self {
        let store = Arc::new(ArcSwap::new(machine.store()));
        let (applied, _) = watch::channel(machine.applied().map_or(0, |last| last.index));
        Self {
            machine: Arc::new(Mutex::new(machine)),
            store,
            state_dir: Arc::new(state_dir),
            snapshots,
            worker,
            hub,
            applied,
            installs: Arc::default(),
            store_is_slow: Arc::default(),
            slow_applies: Arc::default(),
        }
    }

    /// Before openraft looks: forgets a snapshot after which the log does not go on.
    pub fn reconcile(&self, log: &LogState) {
        let machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        // An install that was cut off: openraft will purge the log up to what is applied.
        let beyond_log = machine
            .applied()
            .filter(|applied| log.last.is_none_or(|last| last.index < applied.index));
        let needed = log.purged.max(beyond_log);
        if let Some(needed) = needed {
            self.snapshots.forget_older_than(needed);
        }
    }

    pub(super) fn snapshots(&self) -> Snapshots {
        self.snapshots.clone()
    }

    pub fn store(&self) -> SharedStore {
        self.store.clone()
    }

    /// Follows the index of the last applied entry.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Set by whoever watches the store: from then on nothing is applied inline.
    pub fn store_is_slow(&self) -> Arc<AtomicBool> {
        self.store_is_slow.clone()
    }

    /// Counts steps that took longer than [`SLOW_APPLY`].
    pub fn slow_applies(&self) -> Arc<Counter> {
        self.slow_applies.clone()
    }

    /// Counts installed snapshots.
    pub fn installs(&self) -> Arc<AtomicU64> {
        self.installs.clone()
    }

    /// Who is in the membership that was applied last.
    fn members(&self) -> io::Result<BTreeSet<NodeId>> {
        let machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = stored_membership(machine.membership().as_ref())?;
        Ok(ids(stored.membership()))
    }

    async fn step(
        &self,
        entries: Vec<StateEntry>,
        responders: Vec<Option<ApplyResponder<TypeConfig>>>,
    ) -> io::Result<()> {
        let Some(last) = entries.last().map(|entry| entry.position.index) else {
            return Ok(());
        };
        let light = is_light(&entries);
        let (machine, applied) = (self.machine.clone(), self.applied.clone());
        let hub = self.hub.clone();
        let job = move || -> io::Result<()> {
            let mut machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
            let awaited = |at: usize| responders.get(at).is_some_and(Option::is_some);
            let replies = machine.apply_for(&entries, awaited, |events| hub.publish(events));
            let replies = replies.map_err(io::Error::other)?;
            // Answered from this thread: the doors wake at once, without a turn of Raft's.
            for (responder, replies) in responders.into_iter().zip(replies) {
                if let Some(responder) = responder {
                    responder.send(replies);
                }
            }
            applied.send_replace(last);
            Ok(())
        };
        let begun = Instant::now();
        let done = if light && !self.store_is_slow.load(Ordering::Relaxed) {
            job()
        } else {
            self.worker.run(job).await?
        };
        if begun.elapsed() > SLOW_APPLY {
            self.slow_applies.increment();
        }
        done
    }
}

/// Whether a step is surely short: a few puts. It is then applied where it is, because handing it
/// to the worker and back costs more than the work itself (two wake-ups, on every member).
fn is_light(entries: &[StateEntry]) -> bool {
    let few = entries.len() <= INLINE_ENTRIES_MAX;
    few && entries.iter().all(|entry| match &entry.body {
        EntryBody::Blank | EntryBody::Membership { .. } => true,
        EntryBody::Commands(batch) => batch.len() <= INLINE_BYTES_MAX && is_puts_only(batch),
    })
}

/// Bytes that an entry costs a step.
fn weight(entry: &StateEntry) -> usize {
    match &entry.body {
        EntryBody::Blank => 0,
        EntryBody::Membership { bytes, .. } | EntryBody::Commands(bytes) => bytes.len(),
    }
}

/// Turns entries into what the state machine takes; `members` are those of the membership before,
/// once it was needed.
fn state_entry(
    entry: Entry,
    members: &mut Option<BTreeSet<NodeId>>,
    before: impl FnOnce() -> io::Result<BTreeSet<NodeId>>,
) -> io::Result<StateEntry> {
    let position = position_of(&entry.log_id);
    let body = match entry.payload {
        EntryPayload::Blank => EntryBody::Blank,
        EntryPayload::Normal(batch) => EntryBody::Commands(batch.0),
        EntryPayload::Membership(membership) => {
            let before = members.take().map_or_else(before, Ok)?;
            let now = members.insert(ids(&membership));
            EntryBody::Membership {
                bytes: encode_membership(&membership),
                removed: before.difference(now).copied().collect(),
            }
        }
    };
    Ok(StateEntry { position, body })
}

fn ids(membership: &Membership) -> BTreeSet<NodeId> {
    membership.nodes().map(|(node, _)| *node).collect()
}

impl RaftStateMachine<TypeConfig> for Applier {
    type SnapshotData = SnapshotDir;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        let membership = stored_membership(machine.membership().as_ref())?;
        Ok((machine.applied().map(log_id_of), membership))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let (mut step, mut responders, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut members = None;
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let entry = state_entry(entry, &mut members, || self.members())?;
            bytes += weight(&entry);
            step.push(entry);
            responders.push(responder);
            if step.len() >= STEP_ENTRIES_MAX || bytes >= STEP_BYTES_MAX {
                self.step(std::mem::take(&mut step), std::mem::take(&mut responders))
                    .await?;
                bytes = 0;
            }
        }
        self.step(step, responders).await
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            store: self.store.clone(),
            snapshots: self.snapshots.clone(),
        }
    }

    /// Replaces the state: the received directory becomes the new state directory by rename. Any
    /// failure stops the process (invariant 5). Its first snapshot, and the removal of the old
    /// directory, are left to the snapshots' worker: a checkpoint of the old store may be going on
    /// there, and openraft's queue waits for this call.
    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotDir,
    ) -> Result<(), io::Error> {
        let expected = meta.last_log_id.as_ref().map(position_of);
        let (machine, state_dir) = (self.machine.clone(), self.state_dir.clone());
        let (shared, snapshots) = (self.store.clone(), self.snapshots.clone());
        let (last, hub) = (meta.last_log_id, self.hub.clone());
        let install = move || -> io::Result<()> {
            let fresh = state_dir.replace(&snapshot.data_dir(), |dir| {
                let fresh = state_dir.open_machine(dir)?;
                if fresh.applied() == expected {
                    Ok(fresh)
                } else {
                    Err(io::Error::other(format!(
                        "the snapshot is labelled {expected:?} and holds {:?}",
                        fresh.applied()
                    )))
                }
            })?;
            let store = fresh.store();
            let mut machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
            let old = std::mem::replace(&mut *machine, fresh);
            let revision = store.revision();
            shared.store(store);
            // In this order: whoever hears of it reads the new store.
            // Planted: the hub does not hear of it.
            if !planted(Canary::WatchOverSnapshotGap) {
                hub.jump(revision);
            }
            snapshots.installed(last);
            drop(machine);
            // The old engine closes when its last reader is done; its files may go before.
            drop(old);
            // Its name is there no more: the rest of the received directory goes.
            snapshot.retire();
            Ok(())
        };
        self.worker.run(install).await??;
        let (store, snapshots) = (self.store.clone(), self.snapshots.clone());
        let state_dir = self.state_dir.clone();
        self.snapshots.worker().post(move || {
            if let Err(error) = snapshots.build_blocking(&store.load_full()) {
                // Whoever asks for a snapshot meanwhile tries again.
                tracing::error!(%error, "no snapshot of the installed state");
            }
            state_dir.remove_old();
        });
        let applied = expected.map_or(0, |last| last.index);
        self.installs.fetch_add(1, Ordering::Relaxed);
        self.applied.send_replace(applied);
        tracing::info!(index = applied, "applied snapshot");
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        if self.snapshots.is_due() {
            // openraft knows of the installed one and takes its absence for a broken store.
            return Ok(Some(self.snapshots.build(self.store.clone()).await?));
        }
        Ok(self.snapshots.current())
    }
}

/// Builds a snapshot beside apply. What it contains is read from the checkpoint itself.
pub struct Builder {
    store: SharedStore,
    snapshots: Snapshots,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotDir;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let snapshot = self.snapshots.build(self.store.clone()).await?;
        tracing::info!(id = snapshot.snapshot.id(), "saved snapshot");
        Ok(snapshot)
    }
}

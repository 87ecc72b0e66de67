//! Floor 5: a member at work. Tasks, time, leadership, limits.
//!
//! [`Node`] is what the doors see: propose a command, read linearizably, ask who leads. It lives on
//! the doors' runtime; consensus lives on its own ([`core`]), and a batch crosses between the two as
//! one message.
//!
//! | file | what |
//! |---|---|
//! | [`core`] [`peer_port`] | opens the directory, joins the cluster, runs consensus and housekeeping; peers' connections |
//! | [`data_dir`] [`beginning`] | whose directory; founder, joining, or here before |
//! | [`founding`] [`bootstrap`] [`join`] | which ids, the first start of a founder; of one that joins |
//! | [`restore`] | a backup becomes a data directory |
//! | [`propose`] | commands into the log, in batches |
//! | [`read`] [`short`] | read rounds; which reads are short |
//! | [`leases`] | who keeps the time of leases, renews them and ends them |
//! | [`meters`] | what is counted |
//! | [`hashing`] [`backup`] | hashes of the whole state; the whole state as one file |
//! | [`watch`](mod@watch) | streams of watchers, and reading for those that are behind |
//! | [`alarms`] | alarms and the quota, for doors |
//! | [`corrupt_check`] [`initial_check`] [`agreement`] | do members hold the same? now and then, before a start; who is wrong |
//! | [`move_leader`] | leadership moved to a named member |
//! | [`upkeep`] [`disk_watch`] [`auto_compaction`] | what a member does without being asked |
//! | [`membership`] | who is in the cluster, and changes of it, for doors |
//! | [`reconfigurer`] [`reconfigure_rules`] | the leader's side of a change, and which are allowed |
//! | [`removal`] [`hand_over`] | a member that was removed; giving up leadership |
//! | [`housekeeping`] [`sweeper`] | snapshots, purge, laggards, a hung disk; compacted revisions |

mod agreement;
mod alarms;
mod auto_compaction;
mod backup;
mod beginning;
mod bootstrap;
pub mod core;
mod corrupt_check;
mod data_dir;
mod disk_watch;
mod error;
mod founding;
mod hand_over;
mod hashing;
mod housekeeping;
mod initial_check;
mod join;
mod leases;
mod membership;
mod meters;
mod move_leader;
mod peer_port;
mod propose;
mod queues;
mod read;
mod reconfigure_rules;
mod reconfigurer;
mod removal;
pub mod restore;
mod short;
mod sweeper;
mod upkeep;
mod watch;
mod weight;

pub use backup::{Backup, BackupFailure};
pub use error::NodeError;
pub use leases::TimeToLive;
pub use membership::{Member, ReconfigureError};
pub use meters::NodeMeters;
pub use move_leader::MoveFailure;
pub use queues::QueueLevel;
pub use reconfigure_rules::{Reconfiguration, Refused, Rules};
pub use reconfigurer::Reconfigurer;
pub use upkeep::Upkeep;
pub use watch::WatchStream;

use crate::canary::{Canary, planted};
use crate::config::Config;
use crate::env::{Clock, Env, Randomness, Worker};
use crate::mvcc::{Sizes, Store};
use crate::raft::{Consensus, FORWARDS_MAX, Links, PeerMeters, Snapshots};
use crate::state_machine::command::{Command, Txn};
use crate::state_machine::{Refusal, Reply, read_only_txn};
use crate::types::{ClusterId, NodeId, RangeQuery, RangeResult, Revision};
use crate::watch::Hub;
use alarms::etcd_text;
use leases::Leases;
use propose::Proposer;
use read::Barrier;
use std::io;
use std::sync::Arc;
use sweeper::Sweeper;
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// Election timeouts without a leader that a stream survives (etcd's `maxNoLeaderCnt`).
const LEADERLESS_PERIODS_MAX: u32 = 3;

/// A running member. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    identity: Identity,
    consensus: Consensus,
    proposer: Proposer,
    barrier: Barrier,
    leases: Leases,
    readers: Worker,
    recovered: tokio::sync::watch::Receiver<bool>,
    hub: Arc<Hub>,
    randomness: Arc<dyn Randomness>,
    meters: Arc<NodeMeters>,
    peer_meters: PeerMeters,
    quota_bytes: Option<u64>,
    sweeper: Sweeper,
    /// To peers, beside batches and read rounds.
    links: Links,
    /// Held by whoever raises an alarm of this member's own.
    raising: Mutex<()>,
    /// Of this side; they end with the last clone.
    _tasks: JoinSet<()>,
    reconfigurer: Reconfigurer,
    clock: Arc<dyn Clock>,
    hasher: Worker,
    snapshots: Snapshots,
    backups: Arc<Semaphore>,
}

/// Which member this is, of which cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cluster_id: ClusterId,
    pub member_id: NodeId,
    pub name: String,
}

/// What this member knows of itself, without asking anybody.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NodeStatus {
    /// 0 when there is none this member may name.
    pub leader: NodeId,
    pub term: u64,
    pub committed_index: u64,
    pub applied_index: u64,
    pub is_learner: bool,
    /// Bytes of this member's files and memory for the state.
    pub bytes_on_disk: u64,
    /// Bytes that count towards the quota: the same on every member.
    pub bytes_in_use: u64,
    pub errors: Vec<String>,
}

impl Node {
    /// Starts the tasks of the doors' side on the current runtime.
    pub fn start(running: &core::Running, config: &Config, env: &Env) -> io::Result<Self> {
        let consensus = running.consensus.clone();
        let links = running.links.separate();
        let (forward, forwarded) = mpsc::channel(FORWARDS_MAX);
        running.peers.set_forward_calls(forward);
        let (proposer, batcher) = Proposer::new(consensus.clone(), links.clone(), forwarded);
        let meters = Arc::<NodeMeters>::default();
        let round_links = running.links.separate();
        let (barrier, rounds) = Barrier::new(consensus.clone(), round_links, meters.clone());
        let readers = env.threads.worker("readers")?;
        let mut tasks = JoinSet::new();
        let keepers = leases::Keepers {
            proposer: &proposer,
            barrier: &barrier,
            links,
            readers: &readers,
            meters: meters.clone(),
        };
        let leases = leases::start(running, keepers, &mut tasks);
        let leader_changes = meters.leader_changes.clone();
        let (recovered, watch_recovered) = tokio::sync::watch::channel(false);
        let recovering = consensus.clone();
        tasks.spawn(consensus.leader_watch().count_changes(leader_changes));
        tasks.spawn(batcher.run());
        tasks.spawn(rounds.run());
        tasks.spawn(watch::distribute(running.hub.clone()));
        tasks.spawn(async move {
            recovered.send_replace(recovering.recovered().await);
        });
        let inner = Inner {
            identity: running.identity.clone(),
            consensus,
            proposer,
            barrier,
            leases,
            readers,
            hasher: env.threads.worker("hasher")?,
            snapshots: running.snapshots.clone(),
            backups: Arc::new(Semaphore::new(backup::BACKUPS_MAX)),
            recovered: watch_recovered,
            hub: running.hub.clone(),
            randomness: env.randomness.clone(),
            meters,
            peer_meters: running.links.meters().clone(),
            quota_bytes: config.quota_bytes,
            sweeper: running.sweeper.clone(),
            links: running.links.separate(),
            raising: Mutex::default(),
            _tasks: tasks,
            reconfigurer: running.reconfigurer.clone(),
            clock: env.clock.clone(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// Carries out one command through the log, unless an alarm or the quota forbids it. The caller
    /// has validated it.
    ///
    /// # Errors
    /// After [`NodeError::is_unknown_outcome`] errors the command may or may not take effect.
    pub async fn propose(&self, command: Command, deadline: Instant) -> Result<Reply, NodeError> {
        let meters = &self.inner.meters;
        let _pending = meters.proposals_pending.raised();
        let proposed = match self.refused(&command, deadline).await {
            Ok(Some(refusal)) => Ok(Reply {
                revision: self.revision(),
                result: Err(refusal),
            }),
            Ok(None) => {
                let proposed = self.inner.proposer.propose(command, deadline).await;
                proposed.inspect_err(|error| meters.count_turned_away(*error))
            }
            Err(error) => Err(error),
        };
        if proposed.is_err() {
            meters.proposals_failed.increment();
        }
        proposed
    }

    /// Answers a range from one view. Unless `serializable`, after a read-index barrier.
    /// The revision is the view's, for the header.
    pub async fn range(
        &self,
        query: RangeQuery,
        serializable: bool,
        deadline: Instant,
    ) -> Result<(Revision, Result<RangeResult, Refusal>), NodeError> {
        self.current_enough(serializable, deadline).await?;
        let short = short::is_short(&query);
        let store = self.store();
        let read = move || {
            let view = store.view()?;
            store.meters().ranges.increment();
            Ok((view.revision(), view.range(&query)?))
        };
        self.read(short, read, deadline).await
    }

    /// Answers a transaction that holds only ranges (no nested transaction) from one view.
    pub async fn read_only_txn(
        &self,
        txn: Txn,
        serializable: bool,
        deadline: Instant,
    ) -> Result<Reply, NodeError> {
        self.current_enough(serializable, deadline).await?;
        let store = self.store();
        self.read(false, move || read_only_txn(&store.view()?, &txn), deadline)
            .await
    }

    /// Returns once this member's state includes everything acknowledged before the call.
    pub async fn read_barrier(&self, deadline: Instant) -> Result<(), NodeError> {
        self.inner.barrier.wait(deadline).await?;
        Ok(())
    }

    /// Linearizable: a barrier. Serializable: only that this member has replayed what it had
    /// committed before it was started, because its state is not fsynced per write.
    async fn current_enough(&self, serializable: bool, deadline: Instant) -> Result<(), NodeError> {
        // Planted: no barrier.
        if !serializable && !planted(Canary::StaleRead) {
            return self.read_barrier(deadline).await;
        }
        match timeout_at(deadline, self.recovered()).await {
            Ok(recovered) => recovered,
            Err(_) => Err(NodeError::Timeout),
        }
    }

    /// Returns once everything is applied that was committed when this member was last stopped.
    async fn recovered(&self) -> Result<(), NodeError> {
        if *self.inner.recovered.borrow() {
            return Ok(());
        }
        let mut recovered = self.inner.recovered.clone();
        match recovered.wait_for(|recovered| *recovered).await {
            Ok(_) => Ok(()),
            Err(_) => Err(NodeError::Stopped),
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        short: bool,
        read: impl FnOnce() -> Result<T, crate::mvcc::Error> + Send + 'static,
        deadline: Instant,
    ) -> Result<T, NodeError> {
        let outcome = if short {
            read()
        } else {
            let _place = self.inner.meters.long_read()?;
            // Given up at its deadline, or by its client, it is left out of the queue.
            match timeout_at(deadline, self.inner.readers.run(read)).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => return Err(NodeError::Stopped),
                Err(_) => return Err(NodeError::Timeout),
            }
        };
        outcome.map_err(|error| {
            tracing::error!(%error, "the store cannot be read");
            NodeError::Corrupt
        })
    }

    fn store(&self) -> Arc<Store> {
        self.inner.consensus.store().load_full()
    }

    pub fn status(&self) -> NodeStatus {
        let status = self.inner.consensus.status();
        let store = self.store();
        let (sizes, unreadable) = match store.sizes() {
            Ok(sizes) => (sizes, None),
            Err(error) => (Sizes::default(), Some(error.to_string())),
        };
        let leader = status.leader.unwrap_or(0);
        let no_leader = (leader == 0).then(|| "etcdserver: no leader".to_owned());
        let alarms: Vec<_> = store.alarms().iter().map(etcd_text).collect();
        NodeStatus {
            leader,
            term: status.term,
            committed_index: status.committed.map_or(0, |at| at.index),
            applied_index: store.applied().map_or(0, |at| at.index),
            is_learner: self.is_learner(),
            bytes_on_disk: sizes.on_disk,
            bytes_in_use: sizes.logical_in_use,
            errors: no_leader
                .into_iter()
                .chain(alarms)
                .chain(unreadable)
                .collect(),
        }
    }

    /// Has the files of the state rewritten without what is gone. Returns at once, blocks nobody;
    /// while it goes on, asking again changes nothing.
    pub fn defragment(&self) {
        self.inner.sweeper.defragment();
    }

    pub fn is_defragmenting(&self) -> bool {
        self.inner.sweeper.is_defragmenting()
    }

    /// The store's latest revision here, for headers of answers that read nothing.
    pub fn revision(&self) -> Revision {
        self.inner.consensus.store().load().revision()
    }

    pub fn term(&self) -> u64 {
        self.inner.consensus.term()
    }

    /// Whether this member knows a leader it may name.
    pub fn has_leader(&self) -> bool {
        self.inner.consensus.status().leader.is_some()
    }

    /// Returns once this member has known no leader for three election timeouts: etcd then gives up
    /// the streams of clients that ask for a leader.
    pub async fn leaderless(&self) {
        let period = self.inner.consensus.timers().election;
        let mut without = 0;
        while without <= LEADERLESS_PERIODS_MAX {
            tokio::time::sleep(period).await;
            without = if self.has_leader() { 0 } else { without + 1 };
        }
    }

    pub fn is_leader(&self) -> bool {
        self.inner.consensus.status().leader == Some(self.inner.identity.member_id)
    }

    pub fn is_learner(&self) -> bool {
        self.inner.consensus.is_learner()
    }
}

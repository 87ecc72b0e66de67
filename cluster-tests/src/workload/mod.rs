//! What the clients do. Ten workloads, each for a property; they share a cluster on disjoint prefixes.
//!
//! A client has one operation outstanding ([`client`]), asks one member and turns to the next one
//! after an error; what it chooses comes from the seed. Values are written once in a run, so that an
//! answer tells which write it saw. Watchers ([`watcher`]) stay with their member. Beside the workloads
//! that were asked for there are always one watcher of everything on each member, which is how the
//! order of all writes is known, and the probes, which ask in every moment.

pub mod append;
pub mod bank;
pub mod client;
pub mod compaction;
pub mod kubernetes;
pub mod lease;
pub mod lock;
pub mod probe;
pub mod register;
pub mod serializable;
pub mod set;
pub mod watch;
pub mod watcher;
pub mod wire;

use client::{Client, Ground};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::task::JoinSet;
use watcher::Watch;

/// By name; keys of a workload begin with its name and a slash.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// Few registers: read, write, delete, compare-and-swap by value.
    Register,
    /// Elements that are added once and never again; reads of all.
    Set,
    /// Transfers by transaction; reads of all accounts, now and at older revisions.
    Bank,
    /// Lists that grow by transaction.
    Append,
    /// Writers, and watchers on every member, across reconnects.
    Watch,
    /// Keys that live as long as their lease.
    Lease,
    /// A lock, what its holder may do, and what one does that believes it holds it.
    Lock,
    /// Compactions, with readers and watchers at old revisions.
    Compaction,
    /// Serializable reads: stale is allowed, impossible is not.
    Serializable,
    /// The shapes of a Kubernetes control plane: guarded updates, paged lists, watches.
    Kubernetes,
}

impl Workload {
    pub const ALL: [Self; 10] = [
        Self::Register,
        Self::Set,
        Self::Bank,
        Self::Append,
        Self::Watch,
        Self::Lease,
        Self::Lock,
        Self::Compaction,
        Self::Serializable,
        Self::Kubernetes,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Set => "set",
            Self::Bank => "bank",
            Self::Append => "append",
            Self::Watch => "watch",
            Self::Lease => "lease",
            Self::Lock => "lock",
            Self::Compaction => "compaction",
            Self::Serializable => "serializable",
            Self::Kubernetes => "kubernetes",
        }
    }

    /// How many clients work at once.
    fn clients(self) -> usize {
        match self {
            Self::Register => 5,
            Self::Bank | Self::Append | Self::Lease | Self::Lock => 3,
            Self::Set | Self::Watch | Self::Compaction | Self::Serializable | Self::Kubernetes => 2,
        }
    }

    fn start(self, ground: &Ground, pace: Duration, tasks: &mut JoinSet<()>) {
        for number in 0..self.clients() {
            let client = Client::new(ground, self.name(), number, pace);
            match self {
                Self::Register => tasks.spawn(register::work(client)),
                Self::Set => tasks.spawn(set::work(client)),
                Self::Bank => tasks.spawn(bank::work(client, number)),
                Self::Append => tasks.spawn(append::work(client)),
                Self::Watch => tasks.spawn(watch::work(client)),
                Self::Lease => tasks.spawn(lease::work(client)),
                Self::Lock => tasks.spawn(lock::work(client)),
                Self::Compaction => tasks.spawn(compaction::work(client, number)),
                Self::Serializable => tasks.spawn(serializable::work(client, number)),
                Self::Kubernetes => tasks.spawn(kubernetes::work(client)),
            };
        }
    }

    fn watches(self, ground: &Ground) -> Vec<Watch> {
        match self {
            Self::Watch => watch::watches(ground),
            Self::Kubernetes => kubernetes::watches(ground),
            _ => Vec::new(),
        }
    }
}

/// Starts the clients of the workloads, together about `rate` operations a second, and the probes.
/// The tasks end by themselves when the ground's run is over.
pub fn start(workloads: &[Workload], rate: u32, ground: &Ground) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let clients: usize = workloads.iter().map(|workload| workload.clients()).sum();
    let clients = u32::try_from(clients).unwrap_or(u32::MAX);
    let pace = Duration::from_secs(1) * clients / rate.max(1);
    for workload in workloads {
        workload.start(ground, pace, &mut tasks);
    }
    tasks.spawn(probe::work(ground.clone()));
    tasks
}

/// Starts the watchers of the workloads and the observers. They end when the ground's run is over.
pub fn watch(workloads: &[Workload], ground: &Ground) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let members = ground.members.all().into_iter();
    let observers = members.map(|(node, _)| observer(node));
    let theirs = workloads
        .iter()
        .flat_map(|workload| workload.watches(ground));
    for watch in observers.chain(theirs) {
        tasks.spawn(watcher::watch(ground.clone(), watch));
    }
    tasks
}

/// The watcher of everything on one member.
pub fn observer(node: usize) -> Watch {
    Watch {
        name: format!("observer.{node}"),
        workload: "observer",
        node,
        request: crate::history::watch::WatchRequest {
            range: Watch::everything(),
            start_revision: 1,
            prev_kv: true,
            ..Default::default()
        },
        reopens_after: None,
        once: false,
    }
}

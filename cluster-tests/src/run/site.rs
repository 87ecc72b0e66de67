//! The cluster of a run: ours, whatever it is made of, or endpoints that somebody else runs.

use super::plan::{Kind, Plan};
use crate::cluster::carrier::Wiring;
use crate::cluster::endpoints::{self, Endpoints};
use crate::cluster::local::{Cluster, ELECTION_TIMEOUT, PATIENCE, Spec};
use crate::cluster::program::Program;
use crate::cluster::subject::Subject;
use crate::door::Door;
use crate::observe::Observer;
use crate::schedule::effect::World;
use crate::schedule::fault::Fault;
use crate::wait::until_ok;
use anyhow::{Context as _, Result, bail};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};

const STOP_LIMIT: Duration = Duration::from_secs(10);
/// A follower that comes late comes by snapshot, as in Jepsen's tests of etcd, where it is 1000. Here a
/// cut of three seconds is to be enough for it, on a slow machine too.
const SNAPSHOT_COUNT: &str = "300";

#[derive(Debug)]
pub enum Site {
    Ours(Mutex<Box<dyn Subject>>),
    Theirs(Endpoints),
}

impl Site {
    /// Of a cluster of ours that serves.
    pub fn of(subject: Box<dyn Subject>) -> Self {
        Self::Ours(Mutex::new(subject))
    }

    /// Starts the cluster, or finds it, and waits until it serves.
    ///
    /// # Errors
    /// It does not.
    pub async fn open(plan: &Plan) -> Result<Self> {
        let program = match &plan.cluster {
            Kind::Endpoints(endpoints) => {
                endpoints.wait_serving(PATIENCE).await?;
                return Ok(Self::Theirs(endpoints.clone()));
            }
            Kind::Quorate => Program::Quorate,
            Kind::Etcd => Program::Etcd,
            Kind::Simulation => bail!("a simulation is not opened: it opens the laboratory"),
        };
        if plan.data.exists() {
            std::fs::remove_dir_all(&plan.data).context("erase what an earlier run left")?;
        }
        let wiring = if plan.packets {
            Wiring::Packets
        } else {
            Wiring::Proxies
        };
        let mut spec = Spec::new(program, plan.nodes, wiring.layout()?, plan.data.clone());
        spec.wiring = wiring;
        spec.seed = plan.seed;
        spec.journals =
            program == Program::Quorate && plan.schedule.faults().any(Fault::cuts_power);
        spec.flags = vec!["--snapshot-count".to_owned(), SNAPSHOT_COUNT.to_owned()];
        if let Some(canary) = &plan.canary {
            spec.binary = Some(canary_binary()?);
            spec.environment = vec![("QUORATE_CANARY".to_owned(), canary.clone())];
        }
        let mut cluster = Cluster::start(spec).await?;
        let all: Vec<usize> = cluster.nodes().collect();
        cluster.wait_serving(&all, PATIENCE).await?;
        cluster.wait_leader(&all, PATIENCE).await?;
        Ok(Self::of(Box::new(cluster)))
    }

    /// Why this fault, which would make this of the world, cannot be had here; none: it can.
    pub async fn cannot(&self, fault: &Fault, world: &World) -> Option<String> {
        match self {
            Self::Ours(subject) => subject.lock().await.cannot(fault, world),
            Self::Theirs(_) => {
                let by_calls =
                    matches!(fault, Fault::Transfer { .. } | Fault::SlowConsumers { .. });
                (!by_calls).then(|| endpoints::FAULTS.to_owned())
            }
        }
    }

    /// The cluster if it is ours; none of somebody else's.
    pub async fn ours(&self) -> Option<MutexGuard<'_, Box<dyn Subject>>> {
        match self {
            Self::Ours(subject) => Some(subject.lock().await),
            Self::Theirs(_) => None,
        }
    }

    pub async fn client_urls(&self) -> Vec<(usize, String)> {
        match self {
            Self::Ours(subject) => {
                let subject = subject.lock().await;
                let nodes = subject.nodes().into_iter();
                nodes.map(|node| (node, subject.client_url(node))).collect()
            }
            Self::Theirs(endpoints) => (1..).zip(endpoints.client_urls()).collect(),
        }
    }

    pub async fn nodes(&self) -> Vec<usize> {
        let urls = self.client_urls().await;
        urls.into_iter().map(|(node, _)| node).collect()
    }

    /// # Errors
    /// There is no such node.
    pub async fn observer(&self, node: usize) -> Result<Observer> {
        match self {
            Self::Ours(subject) => subject.lock().await.observer(node),
            Self::Theirs(endpoints) => endpoints.observer(node),
        }
    }

    /// # Errors
    /// There is no such node.
    pub async fn door(&self, node: usize, deadline: Duration) -> Result<Door> {
        match self {
            Self::Ours(subject) => subject.lock().await.door(node, deadline),
            Self::Theirs(endpoints) => Door::open(&endpoints.client_url(node)?, deadline),
        }
    }

    /// The store's revision, read linearizably from whoever answers.
    ///
    /// # Errors
    /// Nobody does.
    pub async fn revision(&self) -> Result<i64> {
        let mut doors = Vec::new();
        for node in self.nodes().await {
            doors.push(self.door(node, Duration::from_secs(2)).await?);
        }
        until_ok("a linearizable read", PATIENCE, async || {
            let mut last = anyhow::anyhow!("no members");
            for door in &doors {
                match door.clone().get("revision").await {
                    Ok((revision, _)) => return Ok(revision),
                    Err(status) => last = status.into(),
                }
            }
            Err(last)
        })
        .await
    }

    /// What runs, as it says: "quorate 0.1.0".
    pub async fn server(&self) -> String {
        let program = match self {
            Self::Ours(subject) => subject.lock().await.program(),
            Self::Theirs(_) => "somebody's".to_owned(),
        };
        for node in self.nodes().await {
            if let Ok(mut door) = self.door(node, Duration::from_secs(2)).await
                && let Ok(status) = door.status().await
            {
                return format!("{program} {}", status.version);
            }
        }
        program
    }

    /// What cannot be done to this cluster, in sentences.
    pub async fn limits(&self) -> Vec<String> {
        match self {
            Self::Ours(subject) => subject.lock().await.limits(),
            Self::Theirs(_) => vec![endpoints::FAULTS.to_owned()],
        }
    }

    /// The unit of every liveness bound.
    pub async fn election_timeout(&self) -> Duration {
        match self {
            Self::Ours(subject) => subject.lock().await.election_timeout(),
            Self::Theirs(_) => ELECTION_TIMEOUT,
        }
    }

    /// Ends our members as an operator would: one that does not end when it is told to is trouble.
    pub async fn close(&self, trouble: &mut Vec<String>) {
        if let Some(mut subject) = self.ours().await {
            for (node, error) in subject.end(STOP_LIMIT).await {
                trouble.push(format!("n{node} did not stop as it should: {error:#}"));
            }
        }
    }
}

/// `quorate-canaries` beside this program, or where `QUORATE_CANARIES_BIN` says.
///
/// # Errors
/// There is none.
pub fn canary_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("QUORATE_CANARIES_BIN") {
        return Ok(path.into());
    }
    let here = std::env::current_exe().context("where this program is")?;
    let beside = here.with_file_name("quorate-canaries");
    anyhow::ensure!(
        beside.is_file(),
        "there is no {}: build it with scripts/partition canaries",
        beside.display()
    );
    Ok(beside)
}

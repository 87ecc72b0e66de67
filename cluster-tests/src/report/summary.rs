//! The numbers of a run; another run's, to stand beside it.

use super::figures::{
    Acknowledged, Availability, Counts, Latency, SECOND, clients_stopped, latency, leaders,
};
use super::page::JSON_NAME;
use super::recovery::{FaultRow, rows};
use crate::history::recording::Recording;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// A run in numbers: small enough to keep for every run there ever was. Times are in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// `quorate`, `etcd`, `endpoints`, `simulation`.
    pub cluster: String,
    /// "quorate 0.1.0"
    pub server: String,
    pub nodes: usize,
    pub seed: u64,
    pub workloads: Vec<String>,
    pub nemeses: Vec<String>,
    pub started: String,
    pub canary: String,
    pub interrupted: bool,
    /// What went wrong with the run itself.
    pub trouble: Vec<String>,
    /// How long clients asked.
    pub asked_for: u64,
    pub counts: Counts,
    /// Answers a second, those that are ok.
    pub per_second: u64,
    pub latency: Latency,
    pub availability: Availability,
    /// The longest stretch without an acknowledged write.
    pub silence: u64,
    /// Leaders that followed the first one.
    pub elections: u64,
    pub faults: Vec<FaultRow>,
}

/// What `report.json` holds of it.
#[derive(Deserialize)]
struct Reported {
    summary: Summary,
}

pub fn summary(recording: &Recording) -> Summary {
    let about = &recording.about;
    let acknowledged = Acknowledged::of(recording);
    let asked_for = clients_stopped(recording);
    let counts = Counts::of(&recording.operations);
    let answered = recording.operations.iter().filter(|o| o.is_ok());
    let mut latencies: Vec<u64> = answered.map(latency).collect();
    Summary {
        cluster: about.cluster.clone(),
        server: about.server.clone(),
        nodes: about.nodes,
        seed: about.seed,
        workloads: about.workloads.clone(),
        nemeses: about.nemeses.clone(),
        started: about.started.clone(),
        canary: about.canary.clone(),
        interrupted: about.interrupted,
        trouble: about.trouble.clone(),
        asked_for,
        counts,
        per_second: counts.ok * SECOND / asked_for.max(1),
        latency: Latency::of(&mut latencies),
        availability: acknowledged.availability(0, asked_for),
        silence: acknowledged.silence(0, asked_for),
        elections: (leaders(recording).len() as u64).saturating_sub(1),
        faults: rows(recording, &acknowledged),
    }
}

impl Summary {
    /// Of a run whose report is in `dir`.
    ///
    /// # Errors
    /// There is none, or it is something else.
    pub fn load(dir: &Path) -> Result<Self> {
        let path = dir.join(JSON_NAME);
        let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        let reported: Reported = serde_json::from_reader(BufReader::new(file))
            .with_context(|| format!("read {}", path.display()))?;
        Ok(reported.summary)
    }

    /// Faults that were done.
    pub fn struck(&self) -> impl Iterator<Item = &FaultRow> {
        self.faults.iter().filter(|fault| fault.skipped.is_none())
    }

    /// The fault after which it took longest to serve again, and how long; a fault after which no
    /// write was acknowledged at all counts as the longest, with none.
    pub fn slowest_recovery(&self) -> Option<(&FaultRow, Option<u64>)> {
        let slowest = self
            .struck()
            .filter(|fault| fault.recovers)
            .max_by_key(|fault| fault.recovered.unwrap_or(u64::MAX));
        slowest.map(|fault| (fault, fault.recovered))
    }

    /// Whether both ran the same faults in the same order on as many nodes: only then do their numbers
    /// say something of each other, fault by fault.
    pub fn same_schedule(&self, other: &Self) -> bool {
        let names = |summary: &Self| -> Vec<(usize, String)> {
            let faults = summary.faults.iter();
            faults.map(|f| (f.step, f.nemesis.clone())).collect()
        };
        self.seed == other.seed && self.nodes == other.nodes && names(self) == names(other)
    }
}

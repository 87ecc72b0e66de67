//! What to run.

use crate::cluster::endpoints::Endpoints;
use crate::schedule::Schedule;
use crate::workload::Workload;
use anyhow::{Result, bail};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Which cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Quorate,
    Etcd,
    Endpoints(Endpoints),
    /// Quorate inside this process, in simulated time.
    Simulation,
}

impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if text == "quorate" => Ok(Self::Quorate),
            None if text == "etcd" => Ok(Self::Etcd),
            Some(("endpoints", list)) => Ok(Self::Endpoints(Endpoints::parse(list)?)),
            _ => bail!("{text:?} is none of quorate, etcd, endpoints:host:port,…"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quorate => formatter.write_str("quorate"),
            Self::Etcd => formatter.write_str("etcd"),
            Self::Simulation => formatter.write_str("simulation"),
            Self::Endpoints(endpoints) => {
                let urls = endpoints.client_urls().join(",").replace("http://", "");
                write!(formatter, "endpoints:{urls}")
            }
        }
    }
}

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub cluster: Kind,
    pub nodes: usize,
    pub workloads: Vec<Workload>,
    /// What the schedule was made of, for the report and the command.
    pub nemeses: Vec<String>,
    pub schedule: Schedule,
    /// A schedule that was given as a file is repeated by it.
    pub schedule_file: Option<PathBuf>,
    pub seconds: u64,
    /// Operations a second, all clients together.
    pub rate: u32,
    pub seed: u64,
    /// Packets are cut in a network namespace, instead of connections in proxies.
    pub packets: bool,
    /// A planted bug.
    pub canary: Option<String>,
    /// Where data directories and logs go.
    pub data: PathBuf,
    /// RFC 3339.
    pub started: String,
    /// The command that repeats it, if it is another than the rest of the plan makes.
    pub again: Option<String>,
}

impl Plan {
    /// What carries bytes between members.
    pub fn carrier(&self) -> &'static str {
        match (&self.cluster, self.packets) {
            (Kind::Endpoints(_), _) => "none",
            (Kind::Simulation, _) => "simulation",
            (_, true) => "packets",
            (_, false) => "proxies",
        }
    }

    /// Repeats the run, as far as chance allows.
    pub fn command(&self) -> String {
        if let Some(again) = &self.again {
            return again.clone();
        }
        let mut words = vec!["scripts/partition".to_owned()];
        let mut add = |flag: &str, value: String| words.push(format!("{flag} {value}"));
        if self.cluster != Kind::Quorate {
            add("--cluster", self.cluster.to_string());
        }
        if self.nodes != 3 {
            add("--nodes", self.nodes.to_string());
        }
        if self.workloads != Workload::ALL {
            let names: Vec<&str> = self.workloads.iter().map(|w| w.name()).collect();
            add("--workload", names.join(","));
        }
        match &self.schedule_file {
            Some(file) => add("--schedule", file.display().to_string()),
            None => {
                add("--nemesis", self.nemeses.join(","));
                add("--time", format!("{}s", self.seconds));
            }
        }
        add("--rate", self.rate.to_string());
        add("--seed", self.seed.to_string());
        if let Some(canary) = &self.canary {
            add("--canary", canary.clone());
        }
        if self.packets {
            words.push("--packets".to_owned());
        }
        words.join(" ")
    }
}

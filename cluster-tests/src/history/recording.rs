//! A whole run: what a judge reads, and its directory.

use super::call::Pair;
use super::operation::Operation;
use super::timeline::{LifeChange, Sample, WeatherChange, Window};
use super::watch::WatchStream;
use crate::schedule::Schedule;
use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

/// Of the format of the directory.
const FORMAT_VERSION: u32 = 1;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Recording {
    pub about: About,
    pub schedule: Schedule,
    /// By time of completion.
    pub operations: Vec<Operation>,
    pub watches: Vec<WatchStream>,
    pub windows: Vec<Window>,
    pub weather: Vec<WeatherChange>,
    pub lives: Vec<LifeChange>,
    pub samples: Vec<Sample>,
    /// Each member at the end, clients at rest; empty if they could not be asked.
    pub finale: Vec<Final>,
}

/// What was run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct About {
    pub format_version: u32,
    /// `quorate`, `etcd`, `endpoints`, `simulation`.
    pub cluster: String,
    /// As the server says: "quorate 0.1.0", "etcd 3.4.23".
    pub server: String,
    /// The laboratory's own, with the commit where known.
    pub laboratory: String,
    pub nodes: usize,
    pub seed: u64,
    pub workloads: Vec<String>,
    pub nemeses: Vec<String>,
    /// Repeats the run.
    pub command: String,
    /// RFC 3339, UTC.
    pub started: String,
    /// Microseconds.
    pub duration: u64,
    /// When the last fault was over and the clients were still at work: liveness is counted from here.
    pub healed: u64,
    /// When clients were at rest.
    pub stopped: u64,
    /// The unit of liveness bounds, in milliseconds.
    pub election_timeout_ms: u64,
    /// `proxies`, `packets`, `simulation`, `none`.
    pub carrier: String,
    /// What this cluster cannot express, in sentences.
    pub cannot: Vec<String>,
    /// A planted bug; empty for none.
    pub canary: String,
    /// It was interrupted: judged as far as it went.
    pub interrupted: bool,
    /// What went wrong with the run itself, not with the cluster's answers: a member that did not
    /// start, an end that could not be read.
    pub trouble: Vec<String>,
}

/// A member at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Final {
    pub node: usize,
    pub revision: i64,
    /// Of the whole state at `hashed_at` (Quorate: applied log index; etcd: revision); empty if it
    /// does not say.
    pub hash: String,
    pub hashed_at: u64,
    /// Every key, at the same revision on every member.
    pub state: Vec<Pair>,
    /// Lease ids that are there.
    pub leases: Vec<i64>,
}

impl Recording {
    /// Writes the directory: `about.json`, `schedule.json`, `finale.json`, and JSON lines for the rest.
    ///
    /// # Errors
    /// The disk's.
    pub fn save(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let about = About {
            format_version: FORMAT_VERSION,
            ..self.about.clone()
        };
        one(dir, "about.json", &about)?;
        one(dir, "schedule.json", &self.schedule)?;
        one(dir, "finale.json", &self.finale)?;
        lines(dir, "operations.jsonl", &self.operations)?;
        lines(dir, "watches.jsonl", &self.watches)?;
        lines(dir, "windows.jsonl", &self.windows)?;
        lines(dir, "weather.jsonl", &self.weather)?;
        lines(dir, "lives.jsonl", &self.lives)?;
        lines(dir, "samples.jsonl", &self.samples)
    }

    /// # Errors
    /// A file is missing, or holds something else.
    pub fn load(dir: &Path) -> Result<Self> {
        let about: About = read_one(dir, "about.json")?;
        anyhow::ensure!(
            about.format_version == FORMAT_VERSION,
            "{} has format {}, this program reads format {FORMAT_VERSION}",
            dir.display(),
            about.format_version
        );
        Ok(Self {
            about,
            schedule: read_one(dir, "schedule.json")?,
            finale: read_one(dir, "finale.json")?,
            operations: read_lines(dir, "operations.jsonl")?,
            watches: read_lines(dir, "watches.jsonl")?,
            windows: read_lines(dir, "windows.jsonl")?,
            weather: read_lines(dir, "weather.jsonl")?,
            lives: read_lines(dir, "lives.jsonl")?,
            samples: read_lines(dir, "samples.jsonl")?,
        })
    }

    pub fn election_timeout_us(&self) -> u64 {
        self.about.election_timeout_ms * 1000
    }
}

fn create(dir: &Path, name: &str) -> Result<BufWriter<File>> {
    let path = dir.join(name);
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    Ok(BufWriter::new(file))
}

fn one<T: Serialize>(dir: &Path, name: &str, value: &T) -> Result<()> {
    let mut file = create(dir, name)?;
    serde_json::to_writer_pretty(&mut file, value).with_context(|| format!("write {name}"))?;
    file.write_all(b"\n")
        .and_then(|()| file.flush())
        .with_context(|| format!("write {name}"))
}

fn lines<T: Serialize>(dir: &Path, name: &str, values: &[T]) -> Result<()> {
    let mut file = create(dir, name)?;
    for value in values {
        serde_json::to_writer(&mut file, value).with_context(|| format!("write {name}"))?;
        file.write_all(b"\n")
            .with_context(|| format!("write {name}"))?;
    }
    file.flush().with_context(|| format!("write {name}"))
}

fn open(dir: &Path, name: &str) -> Result<BufReader<File>> {
    let path = dir.join(name);
    let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
    Ok(BufReader::new(file))
}

fn read_one<T: DeserializeOwned>(dir: &Path, name: &str) -> Result<T> {
    serde_json::from_reader(open(dir, name)?).with_context(|| format!("read {name}"))
}

fn read_lines<T: DeserializeOwned>(dir: &Path, name: &str) -> Result<Vec<T>> {
    let mut values = Vec::new();
    for (number, line) in open(dir, name)?.lines().enumerate() {
        let line = line.with_context(|| format!("read {name}"))?;
        let value = serde_json::from_str(&line);
        values.push(value.with_context(|| format!("{name}, line {}", number + 1))?);
    }
    Ok(values)
}

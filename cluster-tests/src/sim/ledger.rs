//! The ledger of sweeps: a line for every run, so that a sweep can be interrupted and goes on, and what all
//! of them come to.
//!
//! What passed counts for the build that ran it: another build runs it again. What failed is not forgotten:
//! it is owed, whatever seeds are asked for, until the present build runs it green.

use super::asked::Run;
use super::summary::Summary;
use crate::report::words::counted;
use anyhow::{Context as _, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;

#[derive(Debug)]
pub struct Ledger {
    file: Option<File>,
    build: String,
    /// Green at this build.
    passed: BTreeSet<Run>,
    /// Failed, at whatever build, and not green since; the last failure.
    owed: BTreeMap<Run, Summary>,
    /// Of this build.
    pub here: Total,
    /// Of all builds.
    pub ever: Total,
}

/// Of many runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Total {
    pub runs: u64,
    pub failed: u64,
    pub simulated_ms: u64,
    pub faults: u64,
    pub operations: u64,
    pub watch_events: u64,
    pub terms_led: u64,
    pub snapshots_installed: u64,
    pub cpu_ms: u64,
    pub slowest_recovery_ms: u64,
    /// By nemesis.
    pub struck: BTreeMap<String, u64>,
    /// Faults that a simulation cannot have, by nemesis.
    pub impossible: BTreeMap<String, u64>,
}

impl Total {
    pub fn add(&mut self, one: &Summary) {
        self.runs += 1;
        self.failed += u64::from(!one.passed);
        self.simulated_ms += one.simulated_ms;
        self.faults += one.faults;
        self.operations += one.operations;
        self.watch_events += one.watch_events;
        self.terms_led += one.terms_led;
        self.snapshots_installed += one.snapshots_installed;
        self.cpu_ms += one.cpu_ms;
        self.slowest_recovery_ms = self.slowest_recovery_ms.max(one.slowest_recovery_ms);
        for (name, times) in &one.struck {
            *self.struck.entry(name.clone()).or_default() += times;
        }
        for (name, times) in &one.impossible {
            *self.impossible.entry(name.clone()).or_default() += times;
        }
    }

    /// Simulated cluster-seconds for each second of a processor.
    pub fn speed(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a figure to look at")]
        let ratio = self.simulated_ms as f64 / self.cpu_ms.max(1) as f64;
        ratio
    }
}

impl fmt::Display for Total {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[allow(clippy::cast_precision_loss, reason = "a figure to look at")]
        let hours = self.simulated_ms as f64 / 3_600_000.0;
        write!(
            formatter,
            "{}, {hours:.2} cluster-hours, {} faults of {} kinds, {} operations, {} watch events, {} \
             terms with a leader, {} snapshots installed, slowest recovery {} ms; {:.1} cluster-seconds a \
             CPU-second",
            counted(self.runs, "run", "runs"),
            self.faults,
            self.struck.len(),
            self.operations,
            self.watch_events,
            self.terms_led,
            self.snapshots_installed,
            self.slowest_recovery_ms,
            self.speed()
        )
    }
}

impl Ledger {
    /// Opens or begins one, for runs of the build `build`; without a path nothing is kept.
    ///
    /// # Errors
    /// The file cannot be read or written. A last line that was cut off by an interruption is no error.
    pub fn open(path: Option<&Path>, build: &str) -> Result<Self> {
        let mut ledger = Self {
            file: None,
            build: build.to_owned(),
            passed: BTreeSet::new(),
            owed: BTreeMap::new(),
            here: Total::default(),
            ever: Total::default(),
        };
        let Some(path) = path else {
            return Ok(ledger);
        };
        let mut whole = true;
        if path.exists() {
            let file = File::open(path).with_context(|| format!("read {}", path.display()))?;
            for line in BufReader::new(file).lines() {
                let line = line.context("read the ledger")?;
                whole = serde_json::from_str::<Summary>(&line)
                    .map(|one| ledger.know(one))
                    .is_ok();
            }
        } else if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path);
        let mut file = file.with_context(|| format!("write {}", path.display()))?;
        if !whole {
            writeln!(file).context("write the ledger")?;
        }
        ledger.file = Some(file);
        Ok(ledger)
    }

    fn know(&mut self, one: Summary) {
        let run = one.run();
        self.ever.add(&one);
        if one.build == self.build {
            self.here.add(&one);
            if one.passed {
                self.passed.insert(run.clone());
            } else {
                self.passed.remove(&run);
            }
        }
        if !one.passed {
            self.owed.insert(run, one);
        } else if one.build == self.build {
            self.owed.remove(&run);
        }
    }

    /// Whether it is more than this process's.
    pub fn is_kept(&self) -> bool {
        self.file.is_some()
    }

    /// What this build has run green.
    pub fn green(&self) -> &BTreeSet<Run> {
        &self.passed
    }

    /// What failed and was not green since, with its last failure.
    pub fn owed(&self) -> &BTreeMap<Run, Summary> {
        &self.owed
    }

    /// The trace that this build's earlier failure of the run has, if it came so far. Whatever the run
    /// comes to now, its trace is that one: runs are exact.
    pub fn earlier_trace(&self, run: &Run) -> Option<&str> {
        let earlier = self.owed.get(run)?;
        let same = earlier.build == self.build && !earlier.trace.is_empty();
        same.then_some(earlier.trace.as_str())
    }

    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, one: &Summary) -> Result<()> {
        self.know(one.clone());
        if let Some(file) = &mut self.file {
            let line = serde_json::to_string(one).context("a summary")?;
            writeln!(file, "{line}").context("write the ledger")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(seed: u64, passed: bool, build: &str) -> Summary {
        Summary {
            seed,
            asked_seconds: 30,
            passed,
            build: build.to_owned(),
            trace: format!("{seed}"),
            faults: 2,
            struck: [("bridge".to_owned(), 2)].into(),
            ..Summary::default()
        }
    }

    fn run(seed: u64) -> Run {
        one(seed, true, "").run()
    }

    #[test]
    fn it_goes_on_after_an_interruption() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/ledger.jsonl");
        let open = || Ledger::open(Some(&path), "a").unwrap();
        let mut ledger = open();
        ledger.add(&one(1, true, "a")).unwrap();
        ledger.add(&one(2, true, "a")).unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"seed\":4,\"as").unwrap();
        let mut again = open();
        assert!(
            again.green().contains(&run(1))
                && again.green().contains(&run(2))
                && !again.green().contains(&run(4))
        );
        let long = Run {
            seconds: 300,
            ..run(1)
        };
        assert!(!again.green().contains(&long));
        again.add(&one(5, true, "a")).unwrap();
        let last = open();
        assert_eq!((last.here.runs, last.here.faults), (3, 6));
        assert_eq!(last.here.struck["bridge"], 6);
        assert_eq!(last.green().len(), 3);
    }

    #[test]
    fn a_failure_is_owed_until_this_build_runs_it_green() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let open = |build| Ledger::open(Some(&path), build).unwrap();
        let owed = |ledger: &Ledger| -> Vec<u64> {
            let runs = ledger.owed().keys();
            runs.map(|run| run.seed).collect()
        };
        let mut first = open("a");
        first.add(&one(3, false, "a")).unwrap();
        first.add(&one(4, true, "a")).unwrap();
        assert_eq!(open("a").earlier_trace(&run(3)), Some("3"));
        let mut mended = open("b");
        assert_eq!(owed(&mended), [3]);
        assert_eq!(mended.earlier_trace(&run(3)), None);
        assert!(
            !mended.green().contains(&run(4)),
            "another build's green is none"
        );
        assert_eq!((mended.here.runs, mended.ever.runs), (0, 2));
        mended.add(&one(3, true, "b")).unwrap();
        assert!(mended.green().contains(&run(3)) && mended.owed().is_empty());
        // Whoever goes back to the old build finds its failure.
        assert_eq!(owed(&open("a")), [3]);
        mended.add(&one(3, false, "b")).unwrap();
        assert!(!mended.green().contains(&run(3)));
        assert_eq!(owed(&open("b")), [3]);
    }
}

//! What is left of a failing run's schedule when all that it does not need is gone: simulators are asked, one
//! after the other, whether a smaller one still breaks the same property.

use super::asked::{Asked, Run};
use super::process::{Simulator, Telling};
use super::shrink::{Case, RECOVERY_MS, Reducer};
use super::summary::{Summary, is_coverage};
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Recovery is no matter of these properties: the run may end right after the last fault.
const SHORT_RECOVERY_MS: u64 = 1000;
/// Being tried, beside the report.
const TRIED: &str = "shrinking.json";
const SHRUNK: &str = "shrunk.json";
/// Of the recording and the report of the smallest run, in the same place.
const SHRUNK_DIR: &str = "shrunk";

/// A run that failed, and what made it.
#[derive(Debug)]
pub struct Culprit<'a> {
    pub simulator: &'a Simulator,
    pub asked: &'a Asked,
    pub failure: &'a Summary,
    /// Where its report is.
    pub dir: PathBuf,
    /// Nothing more is tried after it.
    pub budget: Duration,
}

impl Culprit<'_> {
    /// Shrinks, says what is left, and writes it down: `shrunk.json`, and the recording and report of its run.
    ///
    /// # Errors
    /// The disk's, or the simulator cannot be started.
    pub async fn shrink(&self) -> Result<()> {
        let Some(property) = self.failure.property() else {
            return Ok(());
        };
        let seed = self.failure.seed;
        if is_coverage(property) {
            println!("seed {seed} proves too little ({property}): less of it proves no more");
            return Ok(());
        }
        println!("shrinking seed {seed}, which breaks {property}");
        std::fs::create_dir_all(&self.dir).context("a place for what is left")?;
        let (plan, _) = self
            .asked
            .plan(seed, self.failure.asked_seconds, &self.dir)?;
        let whole = Case {
            schedule: plan.schedule,
            workloads: plan.workloads,
        };
        let begun = Instant::now();
        let mut tries = Tries::new(self, property);
        if !tries.fails(&whole).await? {
            println!(
                "  its schedule, given as a file, does not break it again: {}",
                self.simulator_says(begun)
            );
            return Ok(());
        }
        let reducer = Reducer {
            recovery_ms: if property.starts_with("liveness") {
                RECOVERY_MS
            } else {
                SHORT_RECOVERY_MS
            },
        };
        println!("  {whole}: the whole of it");
        let mut ask = async |case: &Case| tries.fails(case).await;
        let smallest = reducer.reduce(whole, &mut ask).await?;
        let over = if begun.elapsed() >= self.budget {
            "; the time for it was over, it may become smaller"
        } else {
            ""
        };
        println!(
            "  {smallest}: what is left, after {} tries in {} s{over}",
            tries.count,
            begun.elapsed().as_secs()
        );
        std::fs::remove_file(self.dir.join(TRIED)).unwrap_or_default();
        self.tell(&smallest).await
    }

    fn simulator_says(&self, begun: Instant) -> &'static str {
        if begun.elapsed() >= self.budget {
            "there was no time for it"
        } else {
            "the simulation is not exact, which is a finding of its own"
        }
    }

    /// Runs the smallest once more, for its recording and its report.
    async fn tell(&self, smallest: &Case) -> Result<()> {
        let file = self.dir.join(SHRUNK);
        write(&file, smallest)?;
        let run = self.run_of(smallest, &file);
        let telling = Telling {
            lines: true,
            report: Some(self.dir.join(SHRUNK_DIR)),
            only_failed: false,
        };
        let (summary, lines) = self.simulator.run(&run, &telling).await?;
        for line in lines {
            println!("  {line}");
        }
        if summary.events == 0 {
            // It ended without a word on how to see it again.
            for why in &summary.failed {
                println!("  {why}");
            }
            println!("  again:   {}", run.again(self.simulator.canary.as_deref()));
        }
        println!("  schedule: {}", file.display());
        Ok(())
    }

    fn run_of(&self, case: &Case, file: &Path) -> Run {
        let asked = Asked {
            nodes: None,
            workload: case.workloads.clone(),
            nemesis: Vec::new(),
            rate: self.asked.rate,
            schedule: Some(file.to_owned()),
        };
        Run {
            seed: self.failure.seed,
            seconds: self.failure.asked_seconds,
            wishes: asked.words(),
        }
    }
}

fn write(file: &Path, case: &Case) -> Result<()> {
    let text = serde_json::to_string_pretty(&case.schedule).context("a schedule")?;
    std::fs::write(file, text).with_context(|| format!("write {}", file.display()))
}

/// What was tried, and what came of it: nothing is tried twice.
struct Tries<'a> {
    culprit: &'a Culprit<'a>,
    property: &'a str,
    until: Instant,
    known: BTreeMap<String, bool>,
    count: usize,
}

impl<'a> Tries<'a> {
    fn new(culprit: &'a Culprit<'a>, property: &'a str) -> Self {
        Self {
            culprit,
            property,
            until: Instant::now() + culprit.budget,
            known: BTreeMap::new(),
            count: 0,
        }
    }

    /// Whether the case breaks the same property. When the time is over it does not.
    async fn fails(&mut self, case: &Case) -> Result<bool> {
        let key = format!("{:?}", (&case.schedule, &case.workloads));
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        if Instant::now() >= self.until {
            return Ok(false);
        }
        let file = self.culprit.dir.join(TRIED);
        write(&file, case)?;
        let run = self.culprit.run_of(case, &file);
        let simulator = self.culprit.simulator;
        let (summary, _) = simulator.run(&run, &Telling::default()).await?;
        self.count += 1;
        let fails = summary.broken.iter().any(|one| one == self.property);
        if fails && self.count > 1 {
            println!("  {case}: still ({} tries)", self.count);
        }
        self.known.insert(key, fails);
        Ok(fails)
    }
}

//! The planted bugs in the simulation: how many seeds it takes until a judge catches each.
//!
//! As [`crate::canaries`] does with real processes. Each bug gets its own clients and faults, those of its
//! hunt there; everything else, from the size of the cluster to the speed of its disks, is drawn from the
//! seed. With `--swarm` nobody says where to look, and clients and faults are the seed's too: so many seeds
//! of a sweep it takes. The bug is caught when a judge finds a violation; a process that hangs or dies, a
//! run that had nothing to judge, or a judge that cannot decide catches nothing. The control is the same
//! run without the bug, for every run that caught one: it must pass.

use super::asked::Run;
use super::process::{Simulator, Telling};
use super::summary::Summary;
use crate::canaries::{HUNTS, canaries_of, known_to};
use anyhow::{Context as _, Result};
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;
use tokio::task::JoinSet;

/// What to hunt, and for how long.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// Only these; none: all.
    pub only: Vec<String>,
    /// The first seed, and so many for each canary at most.
    pub seeds: (u64, u64),
    /// Simulated, of each seed.
    pub seconds: u64,
    /// Processes at a time.
    pub jobs: usize,
    /// Clients and faults are drawn too, not the canary's own.
    pub swarm: bool,
}

/// What became of one canary.
#[derive(Debug)]
struct Row {
    canary: &'static str,
    catch: Option<Catch>,
    /// Seeds that were run.
    seeds: u64,
    simulated_ms: u64,
    cpu_ms: u64,
    /// What ended without anything to judge.
    odd: Vec<String>,
}

#[derive(Debug)]
struct Catch {
    run: Run,
    judges: Vec<String>,
    /// Simulated milliseconds of the run; when the first violation shows, if it says.
    shown_ms: Option<u64>,
}

impl Hunt {
    /// Prints the table; true if every canary was caught and every control passed.
    ///
    /// # Errors
    /// There is no simulator, or it knows other canaries than the hunts.
    pub async fn run(&self) -> Result<bool> {
        let simulator = Simulator::healthy(None)?;
        known_to(&canaries_of(simulator.path())?, &self.only)?;
        let begun = Instant::now();
        let rows = self.hunt(&simulator).await?;
        println!("\n| canary | caught by | seeds | shows after | simulated | processor |");
        println!("|---|---|---|---|---|---|");
        for row in &rows {
            println!("{}", row.line());
        }
        println!();
        for row in &rows {
            if let Some(catch) = &row.catch {
                println!("{}: {}", row.canary, catch.run.again(Some(row.canary)));
            }
        }
        let failures = self.control(&simulator, &rows).await?;
        let escaped = rows.iter().filter(|row| row.catch.is_none()).count();
        println!(
            "{} of {} canaries were caught within {} seeds; {failures} controls failed; {} s",
            rows.len() - escaped,
            rows.len(),
            self.seeds.1,
            begun.elapsed().as_secs()
        );
        Ok(escaped == 0 && failures == 0)
    }

    /// Every canary, some at a time; the rows in the order of the hunts.
    async fn hunt(&self, simulator: &Simulator) -> Result<Vec<Row>> {
        let wanted = |name: &str| self.only.is_empty() || self.only.iter().any(|it| it == name);
        let mut waiting: VecDeque<usize> = (0..HUNTS.len())
            .filter(|at| wanted(HUNTS[*at].canary))
            .collect();
        let mut running = JoinSet::new();
        let mut rows = BTreeMap::new();
        loop {
            while running.len() < self.jobs.max(1)
                && let Some(at) = waiting.pop_front()
            {
                let (hunt, simulator) = (self.clone(), simulator.clone());
                running.spawn(async move { (at, hunt.hunt_down(&simulator, at).await) });
            }
            let Some(ended) = running.join_next().await else {
                return Ok(rows.into_values().collect());
            };
            let (at, row) = ended.context("a hunt's task")?;
            println!("{}", row.line());
            for odd in &row.odd {
                println!("  {odd}");
            }
            rows.insert(at, row);
        }
    }

    /// Seed after seed, until it is caught.
    async fn hunt_down(&self, simulator: &Simulator, at: usize) -> Row {
        let mut row = Row {
            canary: HUNTS[at].canary,
            catch: None,
            seeds: 0,
            simulated_ms: 0,
            cpu_ms: 0,
            odd: Vec::new(),
        };
        let simulator = simulator.planted(HUNTS[at].canary);
        let (first, count) = self.seeds;
        for seed in first..first.saturating_add(count.max(1)) {
            let run = self.run_of(at, seed);
            row.seeds += 1;
            let summary = match simulator.run(&run, &Telling::default()).await {
                Ok((summary, _)) => summary,
                Err(error) => {
                    row.odd.push(format!("seed {seed}: {error:#}"));
                    continue;
                }
            };
            if summary.simulated_ms == 0 {
                let why = summary.failed.join("; ");
                row.odd.push(format!("seed {seed}: {why}"));
            }
            row.simulated_ms += summary.simulated_ms;
            row.cpu_ms += summary.cpu_ms;
            let judges = caught_by(&summary);
            if !judges.is_empty() {
                row.catch = Some(Catch {
                    run,
                    judges,
                    shown_ms: summary.shown_ms,
                });
                break;
            }
        }
        row
    }

    fn run_of(&self, at: usize, seed: u64) -> Run {
        let wishes = if self.swarm {
            Vec::new()
        } else {
            HUNTS[at].wishes()
        };
        Run {
            seed,
            seconds: self.seconds,
            wishes,
        }
    }

    /// The runs that caught something, with nothing planted. Answers how many do not pass.
    async fn control(&self, simulator: &Simulator, rows: &[Row]) -> Result<usize> {
        let mut waiting: Vec<Run> = rows
            .iter()
            .filter_map(|row| Some(row.catch.as_ref()?.run.clone()))
            .collect();
        waiting.sort();
        waiting.dedup();
        let all = waiting.len();
        let mut running = JoinSet::new();
        let mut failures = 0;
        loop {
            while running.len() < self.jobs.max(1)
                && let Some(run) = waiting.pop()
            {
                let simulator = simulator.clone();
                running.spawn(async move {
                    let ended = simulator.run(&run, &Telling::default()).await;
                    (ended.map(|(summary, _)| summary), run)
                });
            }
            let Some(ended) = running.join_next().await else {
                println!(
                    "control: {} of {all} runs pass with nothing planted",
                    all - failures
                );
                return Ok(failures);
            };
            let (outcome, run) = ended.context("a control's task")?;
            let why = match outcome {
                Ok(summary) if summary.passed => continue,
                Ok(summary) => summary.failed,
                Err(error) => vec![format!("{error:#}")],
            };
            failures += 1;
            println!("control FAILED: {}", run.again(None));
            for why in why {
                println!("  {why}");
            }
        }
    }
}

/// Judges that found a violation. That a run was thin, or its faults did not strike, is none.
fn caught_by(summary: &Summary) -> Vec<String> {
    let found = summary.violated.iter();
    found
        .filter(|judge| !judge.starts_with("coverage"))
        .cloned()
        .collect()
}

impl Row {
    /// Of the table.
    fn line(&self) -> String {
        let (judges, shown) = match &self.catch {
            None => ("**nobody**".to_owned(), String::new()),
            Some(catch) => (
                catch.judges.join(", "),
                catch.shown_ms.map_or_else(String::new, seconds),
            ),
        };
        let (simulated, cpu) = (seconds(self.simulated_ms), seconds(self.cpu_ms));
        let (canary, seeds) = (self.canary, self.seeds);
        format!("| `{canary}` | {judges} | {seeds} | {shown} | {simulated} | {cpu} |")
    }
}

#[allow(clippy::cast_precision_loss, reason = "a figure to look at")]
fn seconds(ms: u64) -> String {
    format!("{:.1} s", ms as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_judges_catch_and_a_thin_run_is_no_violation() {
        let of = |judges: &[&str]| Summary {
            violated: judges.iter().map(|it| (*it).to_owned()).collect(),
            ..Summary::default()
        };
        assert!(caught_by(&of(&[])).is_empty());
        assert!(caught_by(&of(&["coverage-faults"])).is_empty());
        assert_eq!(
            caught_by(&of(&["coverage-faults", "durability"])),
            ["durability"]
        );
    }

    #[test]
    fn a_row_says_what_was_seen_and_how_to_see_it_again() {
        let run = Run {
            seed: 4,
            seconds: 20,
            wishes: vec!["--workload".to_owned(), "set".to_owned()],
        };
        let mut row = Row {
            canary: "stale-read",
            catch: None,
            seeds: 25,
            simulated_ms: 600_000,
            cpu_ms: 40_500,
            odd: Vec::new(),
        };
        assert_eq!(
            row.line(),
            "| `stale-read` | **nobody** | 25 |  | 600.0 s | 40.5 s |"
        );
        assert_eq!(
            run.again(Some("stale-read")),
            "scripts/simulate --seed 4 --time 20s --workload set --canary stale-read"
        );
        row.catch = Some(Catch {
            run,
            judges: vec!["real-time".to_owned()],
            shown_ms: Some(2340),
        });
        assert!(row.line().contains("| real-time | 25 | 2.3 s |"));
    }
}

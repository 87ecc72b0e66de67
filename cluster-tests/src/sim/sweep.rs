//! Many seeds: a fresh process for each, some at a time, a ledger, a line of progress.

use super::asked::Run;
use super::ledger::Ledger;
use super::process::{Ended, Simulator, Telling};
use super::summary::Summary;
use crate::report::words::counted;
use anyhow::{Context as _, Result};
use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// Every so many-th seed is a long one: 5% of them.
const LONG_EVERY: u64 = 20;
/// Between two lines of progress, where it is no terminal that one line could stay on.
const TELL_EVERY: Duration = Duration::from_secs(30);
const ERASE_LINE: &str = "\r\x1b[2K";
/// The property of a run that comes to something else the next time.
pub const DETERMINISM: &str = "determinism";

/// What to sweep.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The first, and the one behind the last; none: there is no last.
    pub seeds: (u64, Option<u64>),
    pub seconds: u64,
    /// Of every twentieth seed; 0: none is longer.
    pub long_seconds: u64,
    pub jobs: usize,
    /// Every run so many times; its trace must be the same every time.
    pub repeat: u64,
    /// No seed is begun after it.
    pub budget: Option<Duration>,
    /// Given to every seed: `--nodes 5`.
    pub wishes: Vec<String>,
    /// The first failure ends it.
    pub until_failure: bool,
    /// Runs in the ledger are run again, and tell what they were.
    pub told: bool,
    /// Where the recordings and reports of failures go: a directory for each seed below it.
    pub reports: PathBuf,
    /// Of the only seed, which is kept if it passes, too.
    pub report: Option<PathBuf>,
}

/// What became of a sweep.
#[derive(Debug, Default)]
pub struct Swept {
    pub runs: u64,
    pub failures: Vec<Summary>,
    /// Seeds that were not run; where there is no last one, none are missed.
    pub left: usize,
    pub interrupted: bool,
}

/// How far it is.
struct Progress {
    begun: Instant,
    told: Instant,
    runs: u64,
    /// Simulated seconds that were run, and that are still to be run where that is known.
    seconds: u64,
    ahead: Option<u64>,
    budget: Option<Duration>,
}

impl Sweep {
    pub fn run_of(&self, seed: u64) -> Run {
        let long = self.long_seconds > 0 && seed.is_multiple_of(LONG_EVERY);
        Run {
            seed,
            seconds: if long {
                self.long_seconds
            } else {
                self.seconds
            },
            wishes: self.wishes.clone(),
        }
    }

    /// Where a seed's recording and report go.
    pub fn report_of(&self, seed: u64) -> PathBuf {
        let usual = || self.reports.join(format!("seed-{seed}"));
        self.report.clone().unwrap_or_else(usual)
    }

    /// How many of the seeds this build has run green already.
    pub fn green(&self, ledger: &Ledger) -> usize {
        let (first, end) = self.seeds;
        let asked = |run: &&Run| {
            let within = run.seed >= first && end.is_none_or(|end| run.seed < end);
            within && self.run_of(run.seed) == **run
        };
        ledger.green().iter().filter(asked).count()
    }

    /// What is to be run: first what failed earlier, then what this build has not run green. It is no list:
    /// there may be no end of it.
    fn waiting<'a>(&'a self, ledger: &Ledger) -> impl Iterator<Item = Run> + use<'a> {
        let (first, end) = self.seeds;
        let asked = (first..end.unwrap_or(u64::MAX)).map(|seed| self.run_of(seed));
        let (mut owed, mut known) = (BTreeSet::new(), BTreeSet::new());
        if !self.told {
            owed = ledger.owed().keys().cloned().collect();
            known = ledger.green().union(&owed).cloned().collect();
        }
        let new = asked.filter(move |run| !known.contains(run));
        owed.into_iter().chain(new)
    }

    /// Runs all that this build has not run green, and what failed earlier.
    ///
    /// # Errors
    /// The simulator cannot be started, or the ledger cannot be written.
    pub async fn run(&self, simulator: &Simulator, ledger: &mut Ledger) -> Result<Swept> {
        let mut progress = Progress::new(self.budget);
        let mut waiting = self.waiting(ledger);
        if self.seeds.1.is_some() {
            let all = self.waiting(ledger).map(|run| run.seconds);
            progress.ahead = Some(all.sum());
        }
        let mut running: JoinSet<(Run, Result<Ended>)> = JoinSet::new();
        let mut swept = Swept::default();
        // Simulators are in groups of their own: nobody else ends them.
        let mut told_to_end = signal(SignalKind::terminate()).context("wait for signals")?;
        let mut interruption = std::pin::pin!(tokio::signal::ctrl_c());
        loop {
            let late = progress.is_late();
            let enough = late || (self.until_failure && !swept.failures.is_empty());
            while running.len() < self.jobs.max(1) && !enough {
                let Some(run) = waiting.next() else { break };
                let (sweep, simulator) = (self.clone(), simulator.clone());
                running.spawn(async move {
                    let outcome = sweep.repeated(&simulator, &run).await;
                    (run, outcome)
                });
            }
            let ended = tokio::select! {
                ended = running.join_next() => ended,
                _ = &mut interruption => {
                    swept.interrupted = true;
                    break;
                }
                _ = told_to_end.recv() => {
                    swept.interrupted = true;
                    break;
                }
            };
            let Some(ended) = ended else { break };
            let (run, outcome) = ended.context("a seed's task")?;
            let (mut summary, lines) = outcome?;
            if let Some(earlier) = ledger.earlier_trace(&run) {
                compare(&mut summary, "an earlier run", earlier, None);
            }
            end_progress();
            for line in lines {
                println!("{line}");
            }
            swept.runs += 1;
            progress.runs += 1;
            progress.seconds += run.seconds;
            ledger.add(&summary)?;
            if !summary.passed {
                self.tell(&summary, simulator);
                swept.failures.push(summary);
            }
            if !self.told {
                progress.tell(ledger, swept.failures.len());
            }
        }
        end_progress();
        if self.seeds.1.is_some() {
            swept.left = running.len() + waiting.count();
        }
        running.shutdown().await;
        Ok(swept)
    }

    /// A run, as often as it is to be repeated: the first one's outcome, and failed if another one differs.
    async fn repeated(&self, simulator: &Simulator, run: &Run) -> Result<Ended> {
        let telling = Telling {
            lines: self.told,
            report: Some(self.report_of(run.seed)),
            only_failed: self.report.is_none(),
        };
        let (mut first, mut lines) = simulator.run(run, &telling).await?;
        let trace = first.trace.clone();
        for again in 2..=self.repeat {
            let (other, _) = simulator.run(run, &Telling::default()).await?;
            let which = format!("run {again}");
            if !compare(&mut first, &which, &other.trace, Some(other.events)) {
                break;
            }
            first.cpu_ms += other.cpu_ms;
            first.simulated_ms += other.simulated_ms;
            if again == self.repeat && self.told {
                lines.push(format!("  {again} runs have the trace {trace}"));
            }
        }
        Ok((first, lines))
    }

    fn tell(&self, failure: &Summary, simulator: &Simulator) {
        let run = failure.run();
        if self.told && failure.broken.iter().all(|it| it != DETERMINISM) && failure.events > 0 {
            return;
        }
        println!("seed {} FAILED", failure.seed);
        for why in &failure.failed {
            println!("  {why}");
        }
        println!("  again:   {}", run.again(simulator.canary.as_deref()));
        let report = self.report_of(run.seed).join("report.html");
        // Another one's may lie there, if this run itself was well.
        let wrote = failure.broken.iter().any(|it| it != DETERMINISM);
        if wrote && failure.events > 0 && report.is_file() {
            println!("  report:  {}", report.display());
        }
    }
}

/// Fails the first of two runs of one seed if they differ. True if they are the same.
fn compare(first: &mut Summary, which: &str, trace: &str, events: Option<u64>) -> bool {
    let same = first.trace == trace && events.is_none_or(|events| events == first.events);
    if !same {
        let events = events.map_or_else(String::new, |events| format!(" of {events} events"));
        let (seed, seconds, wishes) = (first.seed, first.asked_seconds, first.wishes.join(" "));
        first.failed.push(format!(
            "{DETERMINISM}: this run has the trace {} of {} events, {which} has {trace}{events}; to see where \
             they part, compare what two runs write: QUORATE_SIM_TRACE=FILE quorate-sim run --seed {seed} \
             --seconds {seconds} {wishes}",
            first.trace, first.events
        ));
        first.broken.push(DETERMINISM.to_owned());
        first.passed = false;
    }
    same
}

impl Progress {
    fn new(budget: Option<Duration>) -> Self {
        Self {
            begun: Instant::now(),
            told: Instant::now(),
            runs: 0,
            seconds: 0,
            ahead: None,
            budget,
        }
    }

    fn is_late(&self) -> bool {
        self.budget
            .is_some_and(|budget| self.begun.elapsed() >= budget)
    }

    /// What is left, if it goes on like this: until the last seed or the end of the budget.
    fn left(&self) -> Option<Duration> {
        let elapsed = self.begun.elapsed();
        let budget = self.budget.map(|budget| budget.saturating_sub(elapsed));
        let seeds = self.ahead.map(|ahead| {
            let left = ahead.saturating_sub(self.seconds);
            #[allow(clippy::cast_precision_loss, reason = "a guess")]
            let ratio = left as f64 / self.seconds.max(1) as f64;
            elapsed.mul_f64(ratio)
        });
        match (budget, seeds) {
            (Some(budget), Some(seeds)) => Some(budget.min(seeds)),
            (budget, seeds) => budget.or(seeds),
        }
    }

    fn tell(&mut self, ledger: &Ledger, failures: usize) {
        let mut out = std::io::stdout();
        let terminal = out.is_terminal();
        if !terminal && self.told.elapsed() < TELL_EVERY {
            return;
        }
        self.told = Instant::now();
        let left = self
            .left()
            .map_or_else(String::new, |left| format!(", {} left", minutes(left)));
        let line = format!(
            "{}, {failures} failed, {:.1} cluster-seconds a CPU-second, {}{left}",
            counted(self.runs, "run", "runs"),
            ledger.here.speed(),
            minutes(self.begun.elapsed())
        );
        let written = if terminal {
            write!(out, "{ERASE_LINE}{line}").and_then(|()| out.flush())
        } else {
            writeln!(out, "{line}")
        };
        written.unwrap_or_default();
    }
}

/// 2:05
fn minutes(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

fn end_progress() {
    let mut out = std::io::stdout();
    if out.is_terminal() {
        write!(out, "{ERASE_LINE}").unwrap_or_default();
        out.flush().unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(seeds: (u64, Option<u64>)) -> Sweep {
        Sweep {
            seeds,
            seconds: 30,
            long_seconds: 300,
            jobs: 1,
            repeat: 1,
            budget: None,
            wishes: Vec::new(),
            until_failure: false,
            told: false,
            reports: PathBuf::from("target/sim"),
            report: None,
        }
    }

    #[test]
    fn one_in_twenty_is_long() {
        let sweep = sweep((0, Some(2000)));
        let ledger = Ledger::open(None, "a").unwrap();
        let runs: Vec<Run> = sweep.waiting(&ledger).collect();
        assert_eq!(runs.len(), 2000);
        assert_eq!(runs.iter().filter(|run| run.seconds == 300).count(), 100);
    }

    #[test]
    fn what_failed_comes_first_and_what_is_green_not_at_all() {
        let mut ledger = Ledger::open(None, "a").unwrap();
        let sweep = sweep((1, Some(6)));
        for (seed, passed) in [(2, true), (4, false), (77, false)] {
            let run = sweep.run_of(seed);
            let summary = Summary {
                seed,
                asked_seconds: run.seconds,
                passed,
                build: "a".to_owned(),
                ..Summary::default()
            };
            ledger.add(&summary).unwrap();
        }
        let seeds: Vec<u64> = sweep.waiting(&ledger).map(|run| run.seed).collect();
        assert_eq!(seeds, [4, 77, 1, 3, 5]);
        assert_eq!(sweep.green(&ledger), 1);
        let others = Sweep {
            seeds: (3, None),
            ..sweep.clone()
        };
        assert_eq!(others.green(&ledger), 0);
        let told = Sweep {
            told: true,
            ..sweep
        };
        let seeds: Vec<u64> = told.waiting(&ledger).map(|run| run.seed).collect();
        assert_eq!(seeds, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn runs_of_one_seed_are_the_same() {
        let run = || Summary {
            passed: true,
            trace: "aa".to_owned(),
            events: 5,
            ..Summary::default()
        };
        let mut first = run();
        assert!(compare(&mut first, "run 2", "aa", Some(5)) && first.passed);
        assert!(!compare(&mut first, "run 2", "ab", Some(5)));
        assert!(first.failed[0].contains("aa") && first.failed[0].contains("ab"));
        assert_eq!((first.passed, first.property()), (false, Some(DETERMINISM)));
        assert!(!compare(&mut run(), "run 2", "aa", Some(6)));
    }
}

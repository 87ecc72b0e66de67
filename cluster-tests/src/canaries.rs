//! Planted bugs, one after the other, until a judge catches each: the laboratory's own test.
//!
//! `quorate-canaries` is Quorate with the bug that `QUORATE_CANARY` names (`src/canary.rs` of the
//! product says what each is, and which incident it repeats). Each gets the clients and the faults
//! under which it can show, and so many seeds. One that nobody catches is a hole in the laboratory.
//! The first run is of the same binary with nothing planted, under all of that together: it must pass,
//! or being caught means nothing. With `--sim` the hunt is in the simulation ([`crate::sim::hunt`]).

use crate::history::recording::Recording;
use crate::judge::finding::{Finding, Verdict};
use crate::run::command;
use crate::run::plan::{Kind, Plan};
use crate::run::site::canary_binary;
use crate::run::{self, verdict};
use crate::sim;
use crate::workload::Workload;
use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How a canary is looked for.
#[derive(Debug)]
pub(crate) struct Hunt {
    pub(crate) canary: &'static str,
    workloads: &'static [Workload],
    nemeses: &'static [&'static str],
    seconds: u64,
    /// Operations a second.
    rate: u32,
}

const fn hunt(
    canary: &'static str,
    workloads: &'static [Workload],
    nemeses: &'static [&'static str],
) -> Hunt {
    Hunt {
        canary,
        workloads,
        nemeses,
        seconds: 20,
        rate: 400,
    }
}

/// As many operations a second as are worth their processor time in a simulation.
const SIMULATED_RATE: u32 = 400;

pub(crate) const HUNTS: &[Hunt] = &[
    // Whoever reads elsewhere than somebody wrote.
    hunt("stale-read", &[Workload::Register], &["isolate-follower"]),
    // A leader that is cut off, or wakes up, and still answers.
    hunt(
        "lease-read-without-bound",
        &[Workload::Register],
        &["isolate-leader", "pause-leader"],
    ),
    // It shows if no member is lucky enough to keep all.
    Hunt {
        seconds: 30,
        ..hunt(
            "acknowledge-before-fsync",
            &[Workload::Register, Workload::Set],
            &["power-cut"],
        )
    },
    // Those who come back remember an older term.
    hunt("vote-not-durable", &[Workload::Register], &["kill-all"]),
    // Long enough that the follower needs a snapshot, under watchers who stay with it.
    Hunt {
        rate: 2000,
        ..hunt(
            "watch-over-snapshot-gap",
            &[Workload::Watch, Workload::Register, Workload::Append],
            &["isolate-follower"],
        )
    },
    hunt(
        "watch-duplicate-on-resume",
        &[Workload::Watch],
        &["kill-one"],
    ),
    hunt("txn-not-atomic-in-watch", &[Workload::Watch], &["kill-one"]),
    hunt("prev-kv-of-latest", &[Workload::Watch], &["kill-one"]),
    hunt(
        "compaction-loses-delete",
        &[Workload::Compaction],
        &["kill-one"],
    ),
    // Snapshots and compactions flush the state: after some of them a member that was killed has
    // something to go on from.
    Hunt {
        seconds: 30,
        ..hunt(
            "revision-reused-after-crash",
            &[Workload::Register, Workload::Compaction],
            &["kill-one", "crash-loop"],
        )
    },
    hunt(
        "lease-expiry-by-local-clock",
        &[Workload::Lease],
        &["isolate-follower"],
    ),
    // All come back at once, and the leader before anybody else stands for election.
    hunt("leader-restore-on", &[Workload::Register], &["kill-all"]),
    // Only what comes in one batch can change places in it.
    Hunt {
        rate: 2000,
        ..hunt(
            "apply-order-swapped",
            &[Workload::Register, Workload::Set],
            &["isolate-follower"],
        )
    },
    // Ranges are deleted there.
    hunt(
        "non-deterministic-apply",
        &[Workload::Watch],
        &["isolate-follower"],
    ),
    // A batch that is with the leader when its link goes.
    Hunt {
        seconds: 30,
        rate: 2000,
        ..hunt(
            "unknown-proposal-retried",
            &[Workload::Append, Workload::Register, Workload::Set],
            &["flapping", "flapping-leader", "kill-leader"],
        )
    },
];

/// What is asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Only these (default: all, and the control).
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// So many seeds each, at most (default: 4; in the simulation 25).
    #[arg(long)]
    pub seeds: Option<u64>,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// In the simulation: needs quorate-sim, and no cluster.
    #[arg(long)]
    pub sim: bool,
    /// Simulated, of each seed.
    #[arg(long, default_value = "20s", value_parser = command::duration, requires = "sim")]
    pub time: Duration,
    /// Simulations at a time.
    #[arg(long, default_value_t = 2, requires = "sim")]
    pub jobs: usize,
    /// Clients and faults as the seed draws them, not each canary's own.
    #[arg(long, requires = "sim")]
    pub swarm: bool,
}

impl Hunt {
    /// Its clients and faults, for the simulator's command line.
    pub(crate) fn wishes(&self) -> Vec<String> {
        let workloads: Vec<&str> = self.workloads.iter().map(|it| it.name()).collect();
        let pairs = [
            ("--workload", workloads.join(",")),
            ("--nemesis", self.nemeses.join(",")),
            ("--rate", self.rate.min(SIMULATED_RATE).to_string()),
        ];
        let words = pairs.into_iter().map(|(flag, of)| [flag.to_owned(), of]);
        words.flatten().collect()
    }
}

impl Arguments {
    fn seeds(&self) -> u64 {
        self.seeds.unwrap_or(if self.sim { 25 } else { 4 })
    }
}

/// What became of one.
struct Row {
    canary: &'static str,
    outcome: Outcome,
    /// All its runs together.
    took: Duration,
    seed: u64,
    again: String,
}

enum Outcome {
    /// By these judges; when the first violation shows, in seconds of the run, if it says.
    Caught(Vec<String>, Option<f64>),
    /// The control: nothing was planted, nothing was found.
    Clean,
    Missed,
}

/// Runs the control and every canary; true if the one passed and all of the others were caught.
///
/// # Errors
/// There is no `quorate-canaries`, or it knows other canaries than this file.
pub async fn run(arguments: &Arguments) -> Result<bool> {
    if arguments.sim {
        let hunt = sim::hunt::Hunt {
            only: arguments.only.clone(),
            seeds: (arguments.seed, arguments.seeds()),
            seconds: arguments.time.as_secs(),
            jobs: arguments.jobs,
            swarm: arguments.swarm,
        };
        return hunt.run().await;
    }
    known_to(&canaries_of(&canary_binary()?)?, &arguments.only)?;
    let mut rows = Vec::new();
    if arguments.only.is_empty() {
        rows.push(control(arguments.seed).await?);
    }
    let wanted = |hunt: &&Hunt| {
        arguments.only.is_empty() || arguments.only.iter().any(|name| name == hunt.canary)
    };
    for hunt in HUNTS.iter().filter(wanted) {
        let row = hunt_down(hunt, arguments).await?;
        println!("{}", row.line());
        rows.push(row);
    }
    println!("\n| canary | caught by | shows after | its runs took | seed |");
    println!("|---|---|---|---|---|");
    for row in &rows {
        println!("{}", row.line());
    }
    println!();
    for row in &rows {
        println!("{}: {}", row.canary, row.again);
    }
    Ok(rows.iter().all(Row::is_well))
}

/// Whether a binary has the canaries that are hunted here, and there is one of every name in `only`.
pub(crate) fn known_to(binary: &BTreeSet<String>, only: &[String]) -> Result<()> {
    let ours: BTreeSet<String> = HUNTS.iter().map(|hunt| hunt.canary.to_owned()).collect();
    ensure!(
        *binary == ours,
        "the binary knows {binary:?}, and here are hunts for {ours:?}"
    );
    for name in only {
        ensure!(ours.contains(name), "there is no canary {name:?}: {ours:?}");
    }
    Ok(())
}

/// The names that the binary itself gives when it is asked for one that it does not have.
pub(crate) fn canaries_of(binary: &Path) -> Result<BTreeSet<String>> {
    let output = Command::new(binary)
        .arg("--version")
        .env("QUORATE_CANARY", "?")
        .output()
        .with_context(|| format!("run {}", binary.display()))?;
    let sentence = String::from_utf8_lossy(&output.stderr).into_owned();
    let (_, names) = sentence
        .split_once("the canaries are")
        .with_context(|| format!("{} names no canaries: {sentence}", binary.display()))?;
    Ok(names.split_whitespace().map(str::to_owned).collect())
}

/// All hunts at once, with nothing to be found.
async fn control(seed: u64) -> Result<Row> {
    let workloads: BTreeSet<Workload> = HUNTS.iter().flat_map(|it| it.workloads).copied().collect();
    let nemeses: BTreeSet<&str> = HUNTS.iter().flat_map(|it| it.nemeses).copied().collect();
    let arguments = command::Arguments {
        workload: workloads.into_iter().collect(),
        nemesis: nemeses.into_iter().map(str::to_owned).collect(),
        time: Duration::from_secs(60),
        // An empty name plants nothing.
        canary: Some(String::new()),
        ..of_quorate(seed)
    };
    let begun = Instant::now();
    let (plan, outcome) = one_run("none", &arguments).await?;
    Ok(Row {
        canary: "none",
        outcome: outcome.unwrap_or(Outcome::Clean),
        took: begun.elapsed(),
        seed,
        again: plan.command(),
    })
}

/// Runs until it is caught, or the seeds are used up.
async fn hunt_down(hunt: &Hunt, wanted: &Arguments) -> Result<Row> {
    let begun = Instant::now();
    let mut row = Row {
        canary: hunt.canary,
        outcome: Outcome::Missed,
        took: Duration::ZERO,
        seed: wanted.seed,
        again: String::new(),
    };
    for seed in wanted.seed..wanted.seed + wanted.seeds().max(1) {
        let arguments = command::Arguments {
            workload: hunt.workloads.to_vec(),
            nemesis: hunt.nemeses.iter().map(|it| (*it).to_owned()).collect(),
            time: Duration::from_secs(hunt.seconds),
            rate: hunt.rate,
            canary: Some(hunt.canary.to_owned()),
            ..of_quorate(seed)
        };
        println!("\n{}, seed {seed}", hunt.canary);
        let (plan, outcome) = one_run(hunt.canary, &arguments).await?;
        row.seed = seed;
        row.again = plan.command();
        if let Some(caught) = outcome {
            row.outcome = caught;
            break;
        }
    }
    row.took = begun.elapsed();
    Ok(row)
}

/// Three members of our own, as `run` has them by default.
fn of_quorate(seed: u64) -> command::Arguments {
    command::Arguments {
        cluster: Kind::Quorate,
        nodes: 3,
        workload: Vec::new(),
        nemesis: Vec::new(),
        time: Duration::from_secs(60),
        rate: 400,
        seed: Some(seed),
        schedule: None,
        report: None,
        control: None,
        canary: None,
        packets: false,
    }
}

/// One run, recorded and judged: what was found, if anything was.
async fn one_run(name: &str, arguments: &command::Arguments) -> Result<(Plan, Option<Outcome>)> {
    let plan = command::plan(arguments)?;
    println!("{}", plan.schedule);
    let dir = PathBuf::from("target/partition").join(format!("canary-{name}-{}", plan.seed));
    let recording = Box::pin(run::run(&plan)).await?;
    recording.save(&dir)?;
    let judged = tokio::task::block_in_place(|| verdict::conclude(&recording, &dir, None))?;
    verdict::print(&recording, &judged);
    // With nothing planted a judge that cannot decide is as bad as one that finds something.
    let counts = match arguments.canary.as_deref() {
        Some("") => Verdict::fails_run,
        _ => Verdict::is_violation,
    };
    let outcome = found(&judged.findings, &recording, counts);
    verdict::erase_data(&plan)?;
    Ok((plan, outcome))
}

/// Who caught it; trouble of the run itself, a member that does not come back, counts too.
fn found(
    findings: &[Finding],
    recording: &Recording,
    counts: fn(Verdict) -> bool,
) -> Option<Outcome> {
    let failed = findings.iter().filter(|it| counts(it.verdict));
    let mut judges: Vec<String> = failed.clone().map(|it| it.judge.clone()).collect();
    if let (true, Some(trouble)) = (judges.is_empty(), recording.about.trouble.first()) {
        judges.push(format!("the run itself: {}", first_line(trouble)));
    }
    let shown = failed.flat_map(|it| &it.violations).filter_map(|it| it.at);
    #[allow(clippy::cast_precision_loss, reason = "microseconds of a minute")]
    let shown = shown.min().map(|at| at as f64 / 1e6);
    (!judges.is_empty()).then_some(Outcome::Caught(judges, shown))
}

fn first_line(text: &str) -> String {
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(100)
        .collect()
}

impl Row {
    fn is_well(&self) -> bool {
        match self.outcome {
            Outcome::Caught(..) => self.canary != "none",
            Outcome::Clean => true,
            Outcome::Missed => false,
        }
    }

    /// Of the table.
    fn line(&self) -> String {
        let (judges, shown) = match &self.outcome {
            Outcome::Caught(judges, shown) => {
                let shown = shown.map_or_else(String::new, |at| format!("{at:.1} s"));
                (judges.join(", "), shown)
            }
            Outcome::Clean => ("nobody, as it must be".to_owned(), String::new()),
            Outcome::Missed => ("**nobody**".to_owned(), String::new()),
        };
        let (canary, took, seed) = (self.canary, self.took.as_secs(), self.seed);
        format!("| `{canary}` | {judges} | {shown} | {took} s | {seed} |")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::nemesis;

    #[test]
    fn every_canary_has_one_hunt_and_its_faults_exist() {
        let mut seen = BTreeSet::new();
        for hunt in HUNTS {
            assert!(seen.insert(hunt.canary), "{} twice", hunt.canary);
            for name in hunt.nemeses {
                assert!(nemesis::find(name).is_some(), "{}: {name}", hunt.canary);
            }
            let arguments = command::Arguments {
                nemesis: hunt.nemeses.iter().map(|it| (*it).to_owned()).collect(),
                ..of_quorate(1)
            };
            assert!(!command::plan(&arguments).unwrap().schedule.steps.is_empty());
        }
        assert!(seen.len() >= 12);
    }

    #[test]
    fn trouble_catches_where_no_judge_does() {
        let mut recording = Recording::default();
        let passed = Finding::passed("watch-unique", "", 1, "");
        let failed = |verdict| verdict == Verdict::Failed;
        assert!(found(std::slice::from_ref(&passed), &recording, failed).is_none());
        let unknown = [Finding::unknown("linearizable", "", 1, "")];
        assert!(found(&unknown, &recording, failed).is_none());
        assert!(found(&unknown, &recording, Verdict::fails_run).is_some());
        recording.about.trouble = vec!["n1 does not come back\nits log".to_owned()];
        let Some(Outcome::Caught(judges, None)) = found(&[passed], &recording, failed) else {
            panic!()
        };
        assert_eq!(judges, ["the run itself: n1 does not come back"]);
        let row = |canary, outcome| Row {
            canary,
            outcome,
            took: Duration::from_secs(21),
            seed: 3,
            again: String::new(),
        };
        assert!(!row("none", Outcome::Caught(Vec::new(), None)).is_well());
        assert!(!row("stale-read", Outcome::Missed).is_well());
        let line = row(
            "x",
            Outcome::Caught(vec!["a".into(), "b".into()], Some(2.04)),
        )
        .line();
        assert_eq!(line, "| `x` | a, b | 2.0 s | 21 s | 3 |");
    }
}

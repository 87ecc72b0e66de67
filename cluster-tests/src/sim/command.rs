//! The command line of the simulation: one seed, or many.

use super::asked::Asked;
use super::culprit::Culprit;
use super::ledger::Ledger;
use super::process::Simulator;
use super::summary::Summary;
use super::sweep::{DETERMINISM, Sweep, Swept};
use crate::report::words::counted;
use crate::run::command::duration;
use anyhow::{Context as _, Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

/// What can be asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// One seed, told in full (with --schedule: default the schedule's).
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Many: A..B without B, A..=B with it, A.. without an end (with --budget).
    #[arg(long, value_parser = seeds)]
    seeds: Option<Seeds>,
    /// How long each is, simulated, recovery included: 30s, 5m.
    #[arg(long, default_value = "30s", value_parser = duration)]
    time: Duration,
    /// How long every twentieth of --seeds is.
    #[arg(long, value_parser = duration)]
    long: Option<Duration>,
    /// Processes at a time (default: one for each processor).
    #[arg(long)]
    jobs: Option<usize>,
    /// Runs each so many times: all must be the same.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// A line for every run. What this build has run green is not run again; what failed, at whatever
    /// build, is run first.
    #[arg(long)]
    ledger: Option<PathBuf>,
    /// No seed is begun after it.
    #[arg(long, value_parser = duration)]
    budget: Option<Duration>,
    /// Ends with the first failure.
    #[arg(long)]
    until_failure: bool,
    /// Where recording and report go, also of a run that passes (default: of a failure, target/sim/seed-N).
    #[arg(long, conflicts_with = "seeds")]
    report: Option<PathBuf>,
    /// How long the schedule of a failure may be made smaller; of a sweep: the first of each property. 0:
    /// not at all.
    #[arg(long, default_value = "5m", value_parser = duration)]
    shrink_budget: Duration,
    /// Another simulator than the one beside this program.
    #[arg(long)]
    simulator: Option<PathBuf>,
    /// A bug that the members are to have.
    #[arg(long)]
    canary: Option<String>,
    #[command(flatten)]
    asked: Asked,
}

const REPORTS: &str = "target/sim";

/// The first, and the one behind the last.
type Seeds = (u64, Option<u64>);

/// "3..7" without 7, "3..=7" with it, "3..".
fn seeds(text: &str) -> Result<Seeds> {
    let (first, end) = text
        .split_once("..")
        .with_context(|| format!("{text:?} are no seeds: 0..100, 0..=99"))?;
    let number = |text: &str| {
        let number: Result<u64, _> = text.parse();
        number.with_context(|| format!("{text:?} is no seed"))
    };
    let first = number(first)?;
    let end = match end.strip_prefix('=') {
        Some(last) => Some(number(last)?.checked_add(1).context("too many seeds")?),
        None if end.is_empty() => None,
        None => Some(number(end)?),
    };
    ensure!(end.is_none_or(|end| first < end), "no seeds: {text}");
    Ok((first, end))
}

impl Arguments {
    fn sweep(&self) -> Result<Sweep> {
        let told = self.seeds.is_none();
        let seeds = match (self.seeds, self.seed) {
            (Some(seeds), _) => seeds,
            (None, Some(seed)) => (seed, Some(seed.saturating_add(1))),
            (None, None) => match self.asked.recorded()? {
                Some(schedule) => (schedule.seed, Some(schedule.seed.saturating_add(1))),
                None => bail!("which seed? --seed N or --seeds A..B"),
            },
        };
        ensure!(
            seeds.1.is_some() || self.budget.is_some(),
            "seeds without an end want a --budget"
        );
        Ok(Sweep {
            seeds,
            seconds: self.time.as_secs(),
            long_seconds: self.long.filter(|_| !told).map_or(0, |it| it.as_secs()),
            jobs: self
                .jobs
                .unwrap_or_else(|| available_parallelism().map_or(1, usize::from)),
            repeat: self.repeat,
            budget: self.budget,
            wishes: self.asked.words(),
            until_failure: self.until_failure,
            told,
            reports: REPORTS.into(),
            report: self.report.clone(),
        })
    }
}

/// Runs what was asked for; true if every run passed, there was at least one, now or in the ledger, and no
/// earlier failure is owed.
///
/// # Errors
/// The arguments make no run, there is no simulator, or the disk's.
pub async fn run(arguments: &Arguments) -> Result<bool> {
    let simulator = Simulator::find(arguments.simulator.as_deref(), arguments.canary.as_deref())?;
    let sweep = arguments.sweep()?;
    let mut ledger = Ledger::open(arguments.ledger.as_deref(), &simulator.build)?;
    let before = sweep.green(&ledger);
    if !sweep.told {
        introduce(&sweep, &simulator, &ledger);
    }
    let swept = sweep.run(&simulator, &mut ledger).await?;
    if !arguments.shrink_budget.is_zero() && !swept.interrupted {
        for failure in firsts(&swept.failures) {
            shrink(arguments, &sweep, &simulator, failure).await?;
        }
    }
    if !sweep.told {
        sum_up(&sweep, &swept, &ledger, before);
    }
    let green = swept.failures.is_empty() && ledger.owed().is_empty();
    let any = swept.runs > 0 || before > 0;
    Ok(green && any && !swept.interrupted)
}

fn introduce(sweep: &Sweep, simulator: &Simulator, ledger: &Ledger) {
    let (first, end) = sweep.seeds;
    let seeds = match end {
        Some(end) => format!("seeds {first} to {}", end - 1),
        None => format!("seeds from {first} on"),
    };
    println!(
        "{seeds}, {} s each, {} at a time; build {}",
        sweep.seconds, sweep.jobs, simulator.build
    );
    let (here, ever) = (ledger.here.runs, ledger.ever.runs);
    if ever > 0 {
        println!(
            "the ledger has {} of this build; {} of other builds count for nothing here",
            counted(here, "run", "runs"),
            ever - here
        );
    }
    let owed = ledger.owed().len() as u64;
    if owed > 0 {
        println!(
            "first of all {} that failed earlier and was not green since",
            counted(owed, "run", "runs")
        );
    }
}

/// The first failure of each property.
fn firsts(failures: &[Summary]) -> Vec<&Summary> {
    let mut properties = BTreeSet::new();
    let new = failures
        .iter()
        .filter(|it| properties.insert(it.property().map(str::to_owned)));
    new.collect()
}

async fn shrink(
    arguments: &Arguments,
    sweep: &Sweep,
    simulator: &Simulator,
    failure: &Summary,
) -> Result<()> {
    if failure.property() == Some(DETERMINISM) {
        println!(
            "seed {} is not exact: there is nothing to hold on to for shrinking",
            failure.seed
        );
        return Ok(());
    }
    if failure.wishes != sweep.wishes {
        println!(
            "seed {} was owed, and asked for otherwise: to shrink it, {}",
            failure.seed,
            failure.run().again(simulator.canary.as_deref())
        );
        return Ok(());
    }
    let culprit = Culprit {
        simulator,
        asked: &arguments.asked,
        failure,
        dir: sweep.report_of(failure.seed),
        budget: arguments.shrink_budget,
    };
    culprit.shrink().await
}

/// What the sweep came to, and all of this build.
fn sum_up(sweep: &Sweep, swept: &Swept, ledger: &Ledger, before: usize) {
    let failed = swept.failures.len() as u64;
    println!(
        "{} passed, {failed} failed; {before} were green before",
        swept.runs - failed
    );
    if sweep.repeat > 1 {
        let differ = swept.failures.iter();
        let differ = differ.filter(|it| it.broken.iter().any(|one| one == DETERMINISM));
        println!(
            "each was run {} times: {} of them were not the same every time",
            sweep.repeat,
            differ.count()
        );
    }
    if ledger.here.runs > 0 {
        println!("{}", ledger.here);
    }
    let by_name = |what: &str, times: &BTreeMap<String, u64>| {
        let words = times.iter().map(|(name, times)| format!("{name} {times}"));
        if !times.is_empty() {
            println!("{what}: {}", words.collect::<Vec<_>>().join(", "));
        }
    };
    by_name("faults", &ledger.here.struck);
    by_name("faults that cannot be simulated", &ledger.here.impossible);
    if ledger.ever.runs > ledger.here.runs {
        println!("with other builds: {}", ledger.ever);
    }
    if swept.left > 0 {
        let why = if swept.interrupted {
            "somebody interrupted"
        } else if swept.failures.is_empty() {
            "the time was over"
        } else {
            "after the failure, or the time was over"
        };
        let left = counted(swept.left as u64, "seed", "seeds");
        println!("not run: {left}, {why}");
    } else if swept.interrupted {
        println!("interrupted");
    }
    if swept.runs == 0 && before == 0 {
        println!("no seed was run: this says nothing");
    }
    let owed = ledger.owed().iter().filter(|_| ledger.is_kept());
    for (run, failure) in owed {
        println!(
            "owed: seed {} ({})",
            run.seed,
            failure.property().unwrap_or("it did not pass")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn line(text: &str) -> Result<Arguments> {
        let line = Line::try_parse_from(format!("sim {text}").split(' '))?;
        Ok(line.arguments)
    }

    #[test]
    fn seeds_are_as_rust_writes_them() {
        assert_eq!(seeds("3..7").unwrap(), (3, Some(7)));
        assert_eq!(seeds("3..=7").unwrap(), (3, Some(8)));
        assert_eq!(seeds("3..").unwrap(), (3, None));
        for none in ["3", "7..7", "7..=6", "a..b", "..4", ""] {
            assert!(seeds(none).is_err(), "{none}");
        }
    }

    #[test]
    fn one_seed_is_told_and_many_are_swept() {
        let one = line("--seed 7 --time 5m --nodes 5")
            .unwrap()
            .sweep()
            .unwrap();
        assert_eq!(
            (one.seeds, one.seconds, one.told),
            ((7, Some(8)), 300, true)
        );
        assert_eq!(one.wishes, ["--nodes", "5"]);
        assert_eq!(one.report_of(7), PathBuf::from("target/sim/seed-7"));
        let many = line("--seeds 0..40 --long 300s --jobs 3").unwrap();
        let many = many.sweep().unwrap();
        assert!(!many.told && many.jobs == 3);
        assert_eq!(many.run_of(20).seconds, 300);
        assert_eq!(many.run_of(21).seconds, 30);
        assert!(line("--seeds 0..").unwrap().sweep().is_err());
        assert!(line("--seeds 0.. --budget 5m").unwrap().sweep().is_ok());
        assert!(line("").is_err() || line("").unwrap().sweep().is_err());
        assert!(line("--seed 1 --seeds 0..4").is_err());
    }

    #[test]
    fn of_each_property_the_first() {
        let failed = |seed, broken: &[&str]| Summary {
            seed,
            broken: broken.iter().map(|it| (*it).to_owned()).collect(),
            ..Summary::default()
        };
        let failures = [
            failed(1, &["append"]),
            failed(2, &["coverage-load", "append"]),
            failed(3, &["coverage-load"]),
            failed(4, &["lock", "append"]),
        ];
        let seeds: Vec<u64> = firsts(&failures).iter().map(|it| it.seed).collect();
        assert_eq!(seeds, [1, 3, 4]);
    }
}

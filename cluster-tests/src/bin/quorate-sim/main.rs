//! The simulator's own process: one seed's cluster in one thread, with libc's calls in its own hands.
//!
//! `cluster-tests sim` starts one for every seed: nothing that an earlier seed left in the process can
//! reach a later one, and an abort is a finding that has a seed.
#![allow(clippy::print_stdout, reason = "the laboratory talks to a terminal")]

mod self_test;
mod shim;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use cluster_tests::judge::judge;
use cluster_tests::run::plan::Plan;
use cluster_tests::run::verdict;
use cluster_tests::sim::asked::{self, Asked};
use cluster_tests::sim::one::simulate;
use cluster_tests::sim::process::{self, CANARY, Scratch};
use cluster_tests::sim::summary::Summary;
use cluster_tests::sim::telling;
use cluster_tests::sim::world::Setup;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

#[derive(Parser)]
#[command(name = "quorate-sim", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One seed; the last line of its output is its summary, as JSON
    Run(Run),
    /// Whether libc's calls are really the simulation's
    SelfTest,
}

#[derive(clap::Args)]
struct Run {
    /// Default: the schedule's
    #[arg(long, required_unless_present = "schedule")]
    seed: Option<u64>,
    /// Simulated seconds
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Say what is simulated, and what came of it
    #[arg(long)]
    tell: bool,
    /// Where recording and report go; without, they are not kept
    #[arg(long)]
    report: Option<PathBuf>,
    /// Of a run that passed they are not kept either
    #[arg(long, requires = "report")]
    only_failed: bool,
    #[command(flatten)]
    asked: Asked,
}

fn main() -> Result<ExitCode> {
    // For nothing but the hunt for planted bugs is there one to plant.
    if let Err(unknown) = quorate::canary::plant_from_environment() {
        return Ok(quorate::program::fail(&unknown.to_string(), 2));
    }
    match CommandLine::parse().command {
        Command::SelfTest => self_test::run().map(|()| ExitCode::SUCCESS),
        Command::Run(run) => {
            let seed = run.seed()?;
            shim::seed(seed);
            // Whatever has drawn its randomness already, on this thread, has the kernel's.
            let simulation = thread::Builder::new()
                .name("simulation".to_owned())
                .spawn(move || one(seed, &run))
                .context("start the simulation's thread")?;
            simulation
                .join()
                .unwrap_or_else(|_| anyhow::bail!("the simulation panicked"))
        }
    }
}

impl Run {
    fn seed(&self) -> Result<u64> {
        let recorded = || -> Result<Option<u64>> { Ok(self.asked.recorded()?.map(|it| it.seed)) };
        match self.seed {
            Some(seed) => Ok(seed),
            None => recorded()?.context("which seed?"),
        }
    }

    /// What is to be simulated, and what to type to see it again.
    fn plan(&self, seed: u64, root: &Path) -> Result<(Plan, Setup)> {
        let (mut plan, setup) = self.asked.plan(seed, self.seconds, root)?;
        let canary = std::env::var(CANARY).ok();
        plan.canary = canary.filter(|canary| !canary.is_empty());
        let again = asked::Run {
            seed,
            seconds: self.seconds,
            wishes: self.asked.words(),
        };
        plan.again = Some(again.again(plan.canary.as_deref()));
        Ok((plan, setup))
    }
}

fn one(seed: u64, run: &Run) -> Result<ExitCode> {
    let files = Scratch(process::scratch(std::process::id()));
    std::fs::create_dir_all(&files.0).context("a place for the members' files")?;
    let (plan, setup) = run.plan(seed, &files.0)?;
    if run.tell {
        for line in telling::plan(&plan, &setup) {
            println!("{line}");
        }
    }
    let outcome = simulate(&plan, setup, shim::set_clock);
    shim::clock_off();
    drop(files);
    let outcome = outcome?;
    let recording = &outcome.recording;
    let findings = judge(recording);
    let (trace, events) = (outcome.trace, outcome.events);
    let mut summary = Summary::of(recording, &findings, trace, events, outcome.simulated_us);
    summary.asked_seconds = run.seconds;
    let report = match &run.report {
        Some(dir) if !(run.only_failed && summary.passed) => {
            recording.save(dir)?;
            Some(verdict::conclude(recording, dir, None)?.report)
        }
        _ => None,
    };
    summary.cpu_ms = processor_ms();
    if run.tell {
        for line in telling::outcome(recording, &findings, &summary, report.as_deref()) {
            println!("{line}");
        }
    }
    println!("{}", serde_json::to_string(&summary)?);
    Ok(if summary.passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What this process has used of processors.
fn processor_ms() -> u64 {
    use nix::sys::resource::{UsageWho, getrusage};
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return 0;
    };
    let ms = |time: nix::sys::time::TimeVal| time.tv_sec() * 1000 + time.tv_usec() / 1000;
    u64::try_from(ms(usage.user_time()) + ms(usage.system_time())).unwrap_or(0)
}

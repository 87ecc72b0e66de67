//! The same requests to a Quorate cluster and to a real etcd 3.4, in lockstep; every answer must be
//! equal, errors by code and text, and every watcher must hear the same events. Ids and the raft
//! term are masked. Where etcd 3.4 is known to differ from current etcd, `docs/compatibility.md`
//! rules, and the case is listed in [`exceptions`].
//!
//! The cluster has three members, and each request goes to any of them, so that what followers
//! forward and read meets etcd too. The etcd is one member, and so is it as its own subject: before
//! they apply a transaction, those members of etcd 3.4 that did not take the request strike out its
//! ranges. One whose range fails is then refused by one member and carried out by the others.
//!
//! | module | what it does |
//! |---|---|
//! | [`generate`], `generate_services`, `generate_watch`, `budget` | make steps from a seed |
//! | [`call`], [`lease_calls`], [`lock_calls`], [`other_calls`] | send a request and mask the [`answer`] |
//! | [`watch`] | takes watch streams apart and compares them |
//! | [`members`] | the two clusters, and who is asked |
//! | [`lockstep`], `hashes` | carries out a step on both; compares their whole history |
//! | [`exceptions`], `ties`, `survivable` | what may differ, and what is not sent |
//! | [`shrink`], [`revisions`] | the shortest list of steps that still differs |
//!
//! Not compared, because there is no etcd to compare with: Auth (not there yet), RangeStream (3.7),
//! Downgrade (3.5). Observe and Snapshot, the two other streams, have traps of their own.

pub mod answer;
pub mod areas;
mod budget;
pub mod call;
pub mod difference;
pub mod exceptions;
pub mod generate;
mod generate_services;
mod generate_watch;
mod hashes;
pub mod lease_calls;
pub mod lock_calls;
pub mod lockstep;
pub mod members;
pub mod other_calls;
pub mod revisions;
pub mod shrink;
pub mod steps;
mod survivable;
mod ties;
pub mod watch;

use crate::cluster::program::Program;
use answer::Answer;
use anyhow::{Context, Result, bail, ensure};
use areas::{Area, Areas};
use difference::Difference;
use generate::Generator;
use hashes::Hashes;
use lockstep::{Lockstep, Outcome};
use members::{BRISK, CALM};
use revisions::Moved;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use steps::{Done, Step};

/// A run that met fewer kinds of errors than this tested too little.
const ERROR_KINDS_MIN: usize = 9;

/// How often the histories are hashed and compared.
const STEPS_A_HASH: usize = 50;
/// Of a step, as it is printed.
const LINE_CHARS: usize = 1_000;

/// What a run is told.
#[derive(Clone, Debug)]
pub struct Plan {
    pub requests: usize,
    pub seed: u64,
    /// Compared with etcd: Quorate, or etcd itself, which must not differ from itself.
    pub subject: Program,
    /// None: all.
    pub areas: Vec<Area>,
    /// How long a failing run may be shortened.
    pub shrink: Duration,
    pub dir: PathBuf,
}

/// Sends the requests to both and compares.
///
/// # Errors
/// An answer or a watcher differs; then with the shortest list of steps that shows it.
pub async fn run(plan: &Plan) -> Result<()> {
    println!(
        "differential: {} against etcd, seed {}",
        plan.subject, plan.seed
    );
    let dir = plan.dir.join("differential");
    let mut done = Vec::new();
    match generated(plan, &dir, &mut done).await {
        Err(error) if error.is::<Difference>() => {
            println!(
                "a difference at step {} of seed {}: {error:#}\nlooking for the shortest list of \
                 steps that differs, for at most {} s",
                done.len(),
                plan.seed,
                plan.shrink.as_secs()
            );
            let steps = shortest(plan, &dir, done).await?;
            let whole = plan.dir.join("difference.txt");
            std::fs::write(&whole, as_text(&steps, usize::MAX)).context("write it down")?;
            bail!(
                "seed {} differs: {error:#}\n\n{} steps that differ on new clusters, whole in \
                 {}:\n{}",
                plan.seed,
                steps.len(),
                whole.display(),
                as_text(&steps, LINE_CHARS)
            )
        }
        other => other,
    }
}

/// One run of the generator. `done` is what was carried out, to the step that failed.
async fn generated(plan: &Plan, dir: &Path, done: &mut Vec<Done>) -> Result<()> {
    let mut lockstep = start(plan, dir, CALM).await?;
    let mut generator = Generator::new(plan.seed, Areas::of(&plan.areas));
    let mut coverage = Coverage::default();
    let mut hashes = Hashes::new(plan.seed);
    for number in 1..=plan.requests {
        let step = generator.next_step();
        let member = lockstep.choose(&step);
        done.push(Done {
            step: step.clone(),
            member,
            revision: lockstep.revision(),
        });
        let outcome = lockstep.carry_out(&step, member).await;
        let outcome = outcome.with_context(|| format!("step {number} of seed {}", plan.seed))?;
        if let Some(last) = done.last_mut() {
            last.revision = lockstep.revision();
        }
        coverage.count(&step, &outcome);
        generator.learn(&step, &outcome, lockstep.revision());
        if number % STEPS_A_HASH == 0 {
            let compared = lockstep.compare_hashes(&mut hashes).await;
            compared.with_context(|| format!("after step {number} of seed {}", plan.seed))?;
        }
        if number % 2_000 == 0 {
            println!(
                "{number} steps, revision {}, no difference",
                lockstep.revision()
            );
        }
    }
    coverage.heard += lockstep.finish().await?;
    let (followers, all) = lockstep.followers_share();
    println!("{followers} of {all} requests went to followers");
    coverage.report();
    hashes.report()?;
    ensure!(
        coverage.errors.len() >= ERROR_KINDS_MIN,
        "only {} kinds of errors: this run tested too little",
        coverage.errors.len()
    );
    drop(lockstep);
    std::fs::remove_dir_all(dir).context("erase the data")
}

async fn start(plan: &Plan, dir: &Path, timers: &[&str]) -> Result<Lockstep> {
    if dir.exists() {
        std::fs::remove_dir_all(dir).context("erase what an earlier run left")?;
    }
    Lockstep::start(plan.subject, dir, plan.seed ^ 0x3e3b_e125, timers).await
}

/// Shortens a run whose last step differs.
async fn shortest(plan: &Plan, dir: &Path, done: Vec<Done>) -> Result<Vec<Done>> {
    let dir = dir.with_extension("shrink");
    let fails = async |steps: &[Done]| {
        let differs = again(plan, &dir, steps).await?;
        if let Some(needed) = differs {
            println!("{needed} steps still differ");
        }
        Ok(differs)
    };
    let steps = shrink::shrink(done, plan.shrink, fails).await?;
    std::fs::remove_dir_all(&dir).ok();
    Ok(steps)
}

/// Carries steps out on new clusters; how many it took to differ, if they do.
async fn again(plan: &Plan, dir: &Path, steps: &[Done]) -> Result<Option<usize>> {
    let mut lockstep = Box::pin(start(plan, dir, BRISK)).await?;
    let mut moved = Moved::default();
    for (number, done) in (1..).zip(steps) {
        let step = done.step.translated(&moved);
        match lockstep.carry_out(&step, done.member).await {
            Ok(_) => moved.note(done.revision, lockstep.revision()),
            Err(error) if error.is::<Difference>() => return Ok(Some(number)),
            // An election in between, say.
            Err(_) => return Ok(None),
        }
    }
    match lockstep.finish().await {
        Err(error) if error.is::<Difference>() => Ok(Some(steps.len())),
        _ => Ok(None),
    }
}

/// A line for each step, cut to `most` characters: some values are long.
fn as_text(steps: &[Done], most: usize) -> String {
    let lines = steps.iter().map(|done| {
        let Done {
            step,
            member,
            revision,
        } = done;
        let line = format!("member {member}, revision {revision} after it: {step:?}");
        line.chars().take(most).collect::<String>()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What was met, so that an easy run is not taken for a good one.
#[derive(Debug, Default)]
struct Coverage {
    steps: BTreeMap<&'static str, usize>,
    errors: BTreeMap<String, usize>,
    excused: usize,
    skipped: usize,
    /// Revisions, of all watchers together.
    heard: usize,
}

impl Coverage {
    fn count(&mut self, step: &Step, outcome: &Outcome) {
        *self.steps.entry(step.kind()).or_default() += 1;
        match outcome {
            Outcome::Answered { answer, excused } => {
                if let Answer::Error(code, text) = answer {
                    *self.errors.entry(format!("{code:?}: {text}")).or_default() += 1;
                }
                self.excused += usize::from(*excused);
            }
            Outcome::Heard(revisions) => self.heard += revisions,
            Outcome::Skipped => self.skipped += 1,
            Outcome::Created(_) => {}
        }
    }

    fn report(&self) {
        let steps: Vec<String> = self
            .steps
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        println!(
            "no difference: {}; {} revisions heard by watchers; {} known exceptions; {} left out, \
             because they would wait or are a matter of chance",
            steps.join(", "),
            self.heard,
            self.excused,
            self.skipped
        );
        for (error, count) in &self.errors {
            println!("  {count:>6} x {error}");
        }
    }
}

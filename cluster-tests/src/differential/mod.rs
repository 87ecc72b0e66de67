//! The same requests to a Quorate cluster and to a real etcd 3.4, in lockstep; every answer must be
//! equal, errors by code and text. Ids and the raft term are masked. Where etcd 3.4 is known to
//! differ from current etcd, `docs/compatibility.md` rules, and the case is listed in
//! [`exceptions`].
//!
//! The cluster has three members, and each request goes to any of them, so that what followers
//! forward and read meets etcd too. The etcd is one member, and so is it as its own subject: before
//! they apply a transaction, those members of etcd 3.4 that did not take the request strike out its
//! ranges. One whose range fails is then refused by one member and carried out by the others.
//!
//! [`generate`] makes the requests from a seed, those near the limit of operations in `budget`;
//! [`call`] sends them and masks the answers; [`members`] chooses who gets them. Now and then
//! `hashes` compares the whole history of both.

mod budget;
pub mod call;
pub mod exceptions;
pub mod generate;
mod hashes;
pub mod members;
mod ties;

use crate::cluster::program::Program;
use anyhow::{Context, Result, bail, ensure};
use call::{Answer, Call};
use generate::Generator;
use hashes::Hashes;
use members::Members;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A run that met fewer kinds of errors than this tested too little.
const ERROR_KINDS_MIN: usize = 9;

/// How often the histories are hashed and compared.
const REQUESTS_A_HASH: usize = 20;

/// What a run is told.
#[derive(Clone, Debug)]
pub struct Plan {
    pub requests: usize,
    pub seed: u64,
    /// Compared with etcd: Quorate, or etcd itself, which must not differ from itself.
    pub subject: Program,
    pub dir: PathBuf,
}

/// Sends the requests to both and compares.
///
/// # Errors
/// An answer differs.
pub async fn run(plan: &Plan) -> Result<()> {
    println!(
        "differential: {} against etcd, seed {}",
        plan.subject, plan.seed
    );
    let dir = plan.dir.join("differential");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).context("erase what an earlier run left")?;
    }
    let members_seed = plan.seed ^ 0x3e3b_e125;
    let start = |program, nodes, part: &str| {
        Box::pin(Members::start(program, nodes, dir.join(part), members_seed))
    };
    let nodes = match plan.subject {
        Program::Quorate => 3,
        Program::Etcd => 1,
    };
    let mut subject = start(plan.subject, nodes, "subject").await?;
    let mut reference = start(Program::Etcd, 1, "reference").await?;
    let mut right = reference.door(1)?;

    let mut generator = Generator::new(plan.seed);
    let mut coverage = Coverage::default();
    let mut hashes = Hashes::new(plan.seed);
    for number in 1..=plan.requests {
        let call = generator.next_call();
        let member = subject.choose(&call).await?;
        let mut left = subject.door(member)?;
        let (ours, theirs) = tokio::join!(call.send(&mut left), call.send(&mut right));
        let differ = ours != theirs;
        let excused = differ
            && plan.subject == Program::Quorate
            && exceptions::is_known(&call, &ours, &theirs);
        if differ && !excused {
            let what = format!(
                "request {number} of seed {}, to {}: answers differ\n{call:#?}\n{}: \
                 {ours:#?}\netcd: {theirs:#?}",
                plan.seed,
                subject.describe(member),
                plan.subject
            );
            // A process that has ended is what to look at first.
            subject.all_run().with_context(|| what.clone())?;
            reference.all_run().with_context(|| what.clone())?;
            bail!(what);
        }
        coverage.count(&call, &theirs, excused);
        subject.note(member, &call, &ours);
        generator.learn(&call, &theirs);
        if number % REQUESTS_A_HASH == 0 {
            let (member, mut left) = subject.any_current().await?;
            let compared = hashes.compare(&mut left, &mut right).await;
            compared.with_context(|| {
                format!(
                    "after request {number} of seed {}, at {}",
                    plan.seed,
                    subject.describe(member)
                )
            })?;
        }
        if number % 1_000 == 0 {
            println!(
                "{number} requests, revision {}, no difference",
                generator.revision()
            );
        }
    }
    subject.agree().await?;
    let (followers, all) = subject.followers_share();
    println!("{followers} of {all} requests went to followers");
    coverage.report();
    hashes.report()?;
    ensure!(
        coverage.errors.len() >= ERROR_KINDS_MIN,
        "only {} kinds of errors: this run tested too little",
        coverage.errors.len()
    );
    drop((subject, reference));
    std::fs::remove_dir_all(&dir).context("erase the data")
}

/// What was met, so that an easy run is not taken for a good one.
#[derive(Debug, Default)]
struct Coverage {
    calls: BTreeMap<&'static str, usize>,
    errors: BTreeMap<String, usize>,
    excused: usize,
}

impl Coverage {
    fn count(&mut self, call: &Call, answer: &Answer, excused: bool) {
        *self.calls.entry(call.kind()).or_default() += 1;
        if let Answer::Error(code, text) = answer {
            *self.errors.entry(format!("{code:?}: {text}")).or_default() += 1;
        }
        self.excused += usize::from(excused);
    }

    fn report(&self) {
        let calls: Vec<String> = self
            .calls
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        println!(
            "no difference: {}; {} known exceptions",
            calls.join(", "),
            self.excused
        );
        for (error, count) in &self.errors {
            println!("  {count:>6} x {error}");
        }
    }
}

//! The same requests to a Quorate member and to a real etcd 3.4, in lockstep; every answer must be
//! equal, errors by code and text. Ids and the raft term are masked. Where etcd 3.4 is known to
//! differ from current etcd, `docs/compatibility.md` rules, and the case is listed in
//! [`exceptions`].
//!
//! [`generate`] makes the requests from a seed; [`call`] sends them and masks the answers.

pub mod call;
pub mod exceptions;
pub mod generate;
mod ties;

use crate::cluster::layout::Layout;
use crate::cluster::local::{Cluster, PATIENCE, Spec};
use crate::cluster::program::Program;
use anyhow::{Context, Result, bail, ensure};
use call::{Answer, Call};
use generate::Generator;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A run that met fewer kinds of errors than this tested too little.
const ERROR_KINDS_MIN: usize = 9;

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
    let start = async |program, part: &str| {
        let layout = Layout::claim()?;
        let dir = dir.join(part);
        let spec = Spec {
            program,
            nodes: 1,
            layout,
            dir,
            links: false,
            flags: Vec::new(),
        };
        let mut cluster = Cluster::start(spec).await?;
        cluster.wait_serving(&[1], PATIENCE).await?;
        anyhow::Ok(cluster)
    };
    let mut subject = start(plan.subject, "subject").await?;
    let reference = start(Program::Etcd, "reference").await?;
    let mut left = subject.door(1, PATIENCE)?;
    let mut right = reference.door(1, PATIENCE)?;

    let mut generator = Generator::new(plan.seed);
    let mut coverage = Coverage::default();
    for number in 1..=plan.requests {
        let call = generator.next_call();
        let (ours, theirs) = tokio::join!(call.send(&mut left), call.send(&mut right));
        let excused =
            plan.subject == Program::Quorate && exceptions::is_known(&call, &ours, &theirs);
        if ours != theirs && !excused {
            ensure!(
                subject.member(1)?.pid().is_some(),
                "the subject has ended after {call:#?}"
            );
            bail!(
                "request {number} of seed {}: answers differ\n{call:#?}\n{}: {ours:#?}\netcd: \
                 {theirs:#?}",
                plan.seed,
                plan.subject
            );
        }
        coverage.count(&call, &theirs, excused);
        generator.learn(&call, &theirs);
        if number % 1_000 == 0 {
            println!(
                "{number} requests, revision {}, no difference",
                generator.revision()
            );
        }
    }
    coverage.report();
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

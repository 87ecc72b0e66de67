//! What a seed came to, in a line: for the terminal and the ledger.

use super::asked::Run;
use crate::history::operation::Outcome;
use crate::history::recording::Recording;
use crate::history::timeline::Window;
use crate::judge::finding::Finding;
use crate::judge::liveness::{acknowledged, recovered};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One seed's run. What can be counted is added up over a sweep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Summary {
    pub seed: u64,
    /// Simulated seconds that were asked for.
    pub asked_seconds: u64,
    pub passed: bool,
    /// Judges that failed, and what went wrong beside.
    pub failed: Vec<String>,
    pub trace: String,
    pub events: u64,
    pub simulated_ms: u64,
    /// Judges that found a violation: one that could not decide is not among them.
    pub violated: Vec<String>,
    /// Milliseconds of the run: when the first violation shows, if one says.
    pub shown_ms: Option<u64>,
    pub nodes: usize,
    pub workloads: Vec<String>,
    pub nemeses: Vec<String>,
    pub faults: u64,
    pub operations: u64,
    pub acknowledged: u64,
    pub watch_events: u64,
    pub terms_led: u64,
    pub snapshots_installed: u64,
    /// Of the process.
    pub cpu_ms: u64,
    pub slowest_recovery_ms: u64,
    /// What was not drawn from the seed but given, as it is typed.
    pub wishes: Vec<String>,
    /// Of the simulator: see [`super::process::Simulator`].
    pub build: String,
    /// The properties that did not hold: judges by name, and what went wrong beside by its kind. Two runs
    /// that have one in common failed alike.
    pub broken: Vec<String>,
    /// Faults that struck, by nemesis.
    pub struck: BTreeMap<String, u64>,
    /// Faults that this side cannot have, by nemesis.
    pub impossible: BTreeMap<String, u64>,
}

/// What kind of trouble that is: its first words, whoever it befell.
pub fn kind(trouble: &str) -> String {
    let first = trouble.split([':', ';']).next().unwrap_or_default();
    let mut kind = String::new();
    for character in first.chars() {
        if !character.is_ascii_digit() {
            kind.push(character);
        } else if !kind.ends_with('#') {
            kind.push('#');
        }
    }
    kind
}

/// A run that proves too little has broken nothing.
pub fn is_coverage(property: &str) -> bool {
    property.starts_with("coverage")
}

impl Summary {
    /// The property that stands for the failure: the first that is none of coverage, if there is one.
    pub fn property(&self) -> Option<&str> {
        let mut broken = self.broken.iter().map(String::as_str);
        let first = self.broken.first().map(String::as_str);
        broken.find(|one| !is_coverage(one)).or(first)
    }

    /// Simulated cluster-seconds for each second of a processor.
    pub fn speed(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a figure to look at")]
        let ratio = self.simulated_ms as f64 / self.cpu_ms.max(1) as f64;
        ratio
    }

    pub fn run(&self) -> Run {
        Run {
            seed: self.seed,
            seconds: self.asked_seconds,
            wishes: self.wishes.clone(),
        }
    }

    pub fn of(
        recording: &Recording,
        findings: &[Finding],
        trace: u64,
        events: u64,
        simulated_us: u64,
    ) -> Self {
        let about = &recording.about;
        let failing = findings.iter().filter(|one| one.verdict.fails_run());
        let mut failed: Vec<String> = failing
            .map(|one| format!("{}: {}", one.judge, one.summary))
            .collect();
        failed.extend(about.trouble.iter().cloned());
        let failing = findings.iter().filter(|one| one.verdict.fails_run());
        let mut broken: Vec<String> = failing.map(|one| one.judge.clone()).collect();
        broken.extend(about.trouble.iter().map(|trouble| kind(trouble)));
        broken.dedup();
        let by_nemesis = |whether: fn(&Window) -> bool| {
            let mut count: BTreeMap<String, u64> = BTreeMap::new();
            for window in recording.windows.iter().filter(|window| whether(window)) {
                *count.entry(window.nemesis.clone()).or_default() += 1;
            }
            count
        };
        let leaders = recording.samples.iter().filter(|s| s.role == "leader");
        let terms: BTreeSet<u64> = leaders.map(|sample| sample.term).collect();
        let installed = |node: usize| {
            let of_it = recording.samples.iter().filter(|s| s.node == node);
            of_it.map(|sample| sample.snapshots_installed).max()
        };
        let nodes: BTreeSet<usize> = recording.samples.iter().map(|s| s.node).collect();
        let told = recording.watches.iter();
        let done = recording.windows.iter().filter(|w| w.skipped.is_none());
        let answered = recording
            .operations
            .iter()
            .filter(|operation| matches!(operation.outcome, Outcome::Ok { .. }));
        Self {
            seed: about.seed,
            passed: failed.is_empty(),
            failed,
            trace: format!("{trace:016x}"),
            events,
            simulated_ms: simulated_us / 1000,
            violated: violated(findings).map(|one| one.judge.clone()).collect(),
            shown_ms: shown_ms(findings),
            nodes: about.nodes,
            workloads: about.workloads.clone(),
            nemeses: about.nemeses.clone(),
            faults: done.count() as u64,
            operations: recording.operations.len() as u64,
            acknowledged: answered.count() as u64,
            watch_events: told.map(|stream| stream.events().count() as u64).sum(),
            terms_led: terms.len() as u64,
            snapshots_installed: nodes.into_iter().filter_map(installed).sum(),
            slowest_recovery_ms: slowest_recovery(recording) / 1000,
            broken,
            struck: by_nemesis(|window| window.skipped.is_none()),
            impossible: by_nemesis(|window| window.skipped.is_some()),
            ..Self::default()
        }
    }
}

fn violated(findings: &[Finding]) -> impl Iterator<Item = &Finding> {
    findings.iter().filter(|one| one.verdict.is_violation())
}

fn shown_ms(findings: &[Finding]) -> Option<u64> {
    let violations = violated(findings).flat_map(|one| &one.violations);
    violations.filter_map(|it| it.at).min().map(|at| at / 1000)
}

/// The longest that a cluster took to acknowledge a write after a fault was over, in microseconds.
fn slowest_recovery(recording: &Recording) -> u64 {
    let writes = acknowledged(recording);
    let over = recording.windows.iter().filter(|w| w.skipped.is_none());
    let took = over.filter_map(|window| recovered(recording, &writes, window)?);
    took.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_mistake_is_the_same_property() {
        let of = |broken: &[&str]| Summary {
            broken: broken.iter().map(|one| (*one).to_owned()).collect(),
            ..Summary::default()
        };
        assert_eq!(of(&["coverage-load", "append"]).property(), Some("append"));
        assert_eq!(of(&["coverage-load"]).property(), Some("coverage-load"));
        assert_eq!(of(&[]).property(), None);
        let ended = |node: u32| kind(&format!("n{node} has ended by itself; panicked at {node}"));
        assert_eq!(ended(1), "n# has ended by itself");
        assert_eq!(ended(1), ended(12));
    }
}

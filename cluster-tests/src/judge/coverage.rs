//! Did the run prove anything? A run in which nothing could go wrong is vacuous, and fails.
//!
//! | judge | what must have happened |
//! |---|---|
//! | `coverage-faults` | every fault that was asked for struck, unless this cluster cannot have it; a leader was struck, and replaced, if one was aimed at |
//! | `coverage-judges` | each workload's judge had something to judge |
//! | `coverage-load` | clients were answered before the faults, and inside each that leaves a majority; every workload and every member had its share |

use super::finding::{Finding, Violation};
use super::liveness::{acknowledged, longest_silence};
use crate::history::recording::Recording;
use crate::history::timeline::Window;
use crate::schedule::fault::Fault;
use crate::schedule::nemesis;
use crate::workload::probe::PROBE;
use std::collections::{BTreeMap, BTreeSet};

/// Acknowledged writes before the first fault.
const CALM_WRITES: usize = 50;
/// And inside a fault that leaves a majority.
const FAULT_WRITES: usize = 10;
/// Answers that each workload had, at least.
const WORKLOAD_ANSWERS: usize = 10;
/// A leader that was struck for so many election timeouts has a successor.
const REPLACED_AFTER: u64 = 8;

fn vacuous(title: String, explanation: &str) -> Violation {
    Violation {
        title,
        explanation: explanation.to_owned(),
        ..Violation::default()
    }
}

fn happened(recording: &Recording) -> impl Iterator<Item = &Window> {
    recording
        .windows
        .iter()
        .filter(|window| window.skipped.is_none())
}

/// Whether a leader cannot lead on under it: one that is merely slow, or whose clock is wrong, may.
fn deposes(fault: &Fault) -> bool {
    match fault {
        Fault::Throttle { .. } | Fault::Clock { .. } => false,
        Fault::Disk { trouble, .. } => trouble.deposes(),
        _ => true,
    }
}

pub fn faults(recording: &Recording) -> Finding {
    const JUDGE: &str = "coverage-faults";
    const PROMISE: &str = "The faults really struck";
    if recording.schedule.steps.is_empty() {
        return Finding::not_applicable(JUDGE, PROMISE, "no faults were asked for");
    }
    let mut violations = Vec::new();
    let asked: BTreeSet<&str> = recording
        .schedule
        .steps
        .iter()
        .map(|s| s.nemesis.as_str())
        .collect();
    let struck: BTreeSet<&str> = happened(recording).map(|w| w.nemesis.as_str()).collect();
    let impossible: BTreeSet<&str> = recording
        .windows
        .iter()
        .filter(|window| window.skipped.is_some())
        .map(|window| window.nemesis.as_str())
        .collect();
    for name in asked
        .iter()
        .filter(|name| !struck.contains(*name) && !impossible.contains(*name))
    {
        violations.push(vacuous(
            format!("{name} never struck"),
            "the run ended before",
        ));
    }
    if struck.is_empty() {
        violations.push(vacuous(
            "no fault struck".to_owned(),
            "this cluster can have none of those that were asked for",
        ));
    }
    let long = REPLACED_AFTER * recording.election_timeout_us();
    let deposed: Vec<&Window> = happened(recording)
        .filter(|window| {
            window
                .leader
                .is_some_and(|leader| window.struck.contains(&leader))
        })
        .filter(|window| window.ended - window.began > long)
        .filter(|window| deposes(&window.fault))
        .collect();
    let terms: BTreeSet<u64> = recording
        .samples
        .iter()
        .filter(|sample| sample.role == "leader")
        .map(|sample| sample.term)
        .collect();
    if !deposed.is_empty() && terms.len() < 2 {
        violations.push(vacuous(
            format!(
                "a leader was struck {} times and never replaced",
                deposed.len()
            ),
            "members said who led, and it was one all the time: the faults did not bite",
        ));
    }
    let aimed = asked
        .iter()
        .any(|name| nemesis::find(name).is_some_and(|n| n.leader));
    if aimed && happened(recording).all(|window| window.leader.is_none()) {
        violations.push(vacuous(
            "no leader was known when a fault was aimed at it".to_owned(),
            "somebody else was struck in its place",
        ));
    }
    let summary = format!(
        "{} faults of {} kinds; a leader struck {} times; {} terms led{}",
        happened(recording).count(),
        struck.len(),
        deposed.len(),
        terms.len(),
        if impossible.is_empty() {
            String::new()
        } else {
            let names: Vec<&str> = impossible.into_iter().collect();
            format!("; impossible here: {}", names.join(", "))
        }
    );
    let evaluated = recording.windows.len() as u64;
    Finding::of(JUDGE, PROMISE, evaluated, summary, violations)
}

pub fn load(recording: &Recording) -> Finding {
    const JUDGE: &str = "coverage-load";
    const PROMISE: &str = "Clients were at work all the time";
    let mut violations = Vec::new();
    let writes = acknowledged(recording);
    let answered_in = |from: u64, to: u64| {
        let inside = writes
            .iter()
            .filter(|(asked, answered)| *asked >= from && *answered <= to);
        inside.count()
    };
    let first = recording.windows.iter().map(|window| window.began).min();
    let calm = answered_in(0, first.unwrap_or(recording.about.stopped));
    if calm < CALM_WRITES {
        violations.push(vacuous(
            format!("only {calm} writes before the first fault"),
            "clients that never worked prove nothing",
        ));
    }
    let bound = |n: u32| u64::from(n) * recording.election_timeout_us();
    for window in happened(recording) {
        let expects =
            nemesis::find(&window.nemesis).and_then(|nemesis| nemesis.expects.serves_within);
        let Some(within) = expects else { continue };
        let inside = answered_in(window.began, window.ended);
        // Whether it served is the liveness judge's matter; here only whether enough was asked.
        let served = longest_silence(&writes, window.began, window.ended) <= bound(within);
        if served && window.ended - window.began > bound(within) && inside < FAULT_WRITES {
            violations.push(vacuous(
                format!("only {inside} writes during {}", window.nemesis),
                "too few to show anything",
            ));
        }
    }
    let mut by_workload: BTreeMap<&str, usize> = BTreeMap::new();
    let mut by_node: BTreeMap<usize, usize> = BTreeMap::new();
    for operation in &recording.operations {
        *by_node.entry(operation.node).or_default() += 1;
        if operation.is_ok() {
            *by_workload.entry(operation.workload.as_str()).or_default() += 1;
        }
    }
    for workload in recording
        .about
        .workloads
        .iter()
        .map(String::as_str)
        .chain([PROBE])
    {
        let answers = by_workload.get(workload).copied().unwrap_or(0);
        if answers < WORKLOAD_ANSWERS {
            violations.push(vacuous(
                format!("{workload} had {answers} answers"),
                "too few to show anything",
            ));
        }
    }
    for node in (1..=recording.about.nodes).filter(|node| !by_node.contains_key(node)) {
        violations.push(vacuous(
            format!("n{node} was never asked"),
            "clients go to every member",
        ));
    }
    let summary = format!(
        "{} operations, {} writes acknowledged, {} workloads, {} members",
        recording.operations.len(),
        writes.len(),
        recording.about.workloads.len(),
        by_node.len()
    );
    let evaluated = recording.operations.len() as u64;
    Finding::of(JUDGE, PROMISE, evaluated, summary, violations)
}

/// The judge that speaks for each workload.
const SPEAKERS: &[(&str, &str)] = &[
    ("register", "linearizable"),
    ("set", "set"),
    ("bank", "bank"),
    ("append", "append"),
    ("watch", "watch-reliable"),
    ("lease", "lease-late"),
    ("lock", "lock-fenced"),
    ("compaction", "compaction"),
    ("serializable", "serializable"),
    ("kubernetes", "revisions"),
];

/// A workload that ran and whose judge had nothing to judge has shown nothing.
pub fn judges(recording: &Recording, findings: &[Finding]) -> Finding {
    const JUDGE: &str = "coverage-judges";
    const PROMISE: &str = "Every workload gave its judge something to judge";
    if recording.about.interrupted {
        return Finding::not_applicable(JUDGE, PROMISE, "the run was interrupted");
    }
    let asked = &recording.about.workloads;
    let due = SPEAKERS
        .iter()
        .filter(|(workload, _)| asked.iter().any(|asked| asked == workload));
    let (mut evaluated, mut violations) = (0, Vec::new());
    for (workload, judge) in due {
        evaluated += 1;
        let finding = findings.iter().find(|finding| finding.judge == *judge);
        if finding.is_none_or(|finding| finding.evaluated == 0) {
            violations.push(vacuous(
                format!("{judge} had nothing to judge, though {workload} ran"),
                "a property that was never looked at was not shown to hold",
            ));
        }
    }
    if evaluated == 0 {
        return Finding::not_applicable(JUDGE, PROMISE, "no workloads were asked for");
    }
    let summary = format!("the judges of {evaluated} workloads");
    Finding::of(JUDGE, PROMISE, evaluated, summary, violations)
}

#[cfg(test)]
#[path = "coverage_tests.rs"]
mod tests;

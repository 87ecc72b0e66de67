//! What happened during what, and what never did.
//!
//! A run in which nothing happened proves nothing. Three phases of a fault are told apart, because what
//! goes wrong in them differs: as it strikes (connections break, a leader is still believed), while it
//! lasts, as it heals (two worlds meet).

use super::figures::leaders;
use super::summary::Summary;
use crate::history::operation::Outcome;
use crate::history::recording::Recording;
use crate::history::timeline::Life;
use crate::history::watch::Tidings;
use serde::Serialize;
use std::collections::BTreeMap;

/// Of the first and the last phase, in microseconds.
const EDGE_US: u64 = 1_000_000;

#[derive(Clone, Debug, Default, Serialize)]
pub struct Coverage {
    pub workloads: Vec<String>,
    pub rows: Vec<Row>,
    pub sometimes: Vec<Sometimes>,
}

/// A nemesis: what was answered during its faults.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    pub nemesis: String,
    pub family: String,
    /// How often it was done.
    pub struck: u64,
    /// Why it was not, where it was not.
    pub skipped: Option<String>,
    /// By workload, by phase: operations that were answered.
    pub answered: Vec<[u64; 3]>,
    pub elections: u64,
    pub refused: u64,
    pub unknown: u64,
}

/// Something that a good run has seen.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sometimes {
    pub what: &'static str,
    pub times: u64,
    /// This cluster tells of it, or the run asked for it: 0 means that it did not happen.
    pub knowable: bool,
}

pub fn coverage(recording: &Recording, summary: &Summary) -> Coverage {
    let mut workloads: Vec<String> = recording.about.workloads.clone();
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    for operation in &recording.operations {
        if !workloads.contains(&operation.workload) {
            workloads.push(operation.workload.clone());
        }
    }
    for (number, workload) in workloads.iter().enumerate() {
        numbers.insert(workload, number);
    }
    let mut rows: Vec<Row> = Vec::new();
    let asked = recording.about.nemeses.iter().map(String::as_str);
    let done = summary.faults.iter().map(|fault| fault.nemesis.as_str());
    for name in asked.filter(|name| *name != "combined").chain(done) {
        if !rows.iter().any(|row| row.nemesis == name) {
            rows.push(Row {
                nemesis: name.to_owned(),
                answered: vec![[0; 3]; workloads.len()],
                ..Row::default()
            });
        }
    }
    let mut windows: Vec<(u64, u64, usize)> = Vec::new();
    for fault in &summary.faults {
        let Some(at) = rows.iter().position(|row| row.nemesis == fault.nemesis) else {
            continue;
        };
        let row = &mut rows[at];
        row.family.clone_from(&fault.family);
        if fault.skipped.is_some() {
            row.skipped.clone_from(&fault.skipped);
            continue;
        }
        row.struck += 1;
        row.elections += fault.elections;
        row.refused += fault.counts.refused;
        row.unknown += fault.counts.unknown;
        windows.push((fault.began, fault.ended, at));
    }
    for operation in recording.operations.iter().filter(|o| o.is_ok()) {
        let Some(workload) = numbers.get(operation.workload.as_str()) else {
            continue;
        };
        for (began, ended, row) in &windows {
            if let Some(phase) = phase(operation.completed, *began, *ended) {
                rows[*row].answered[*workload][phase] += 1;
            }
        }
    }
    Coverage {
        sometimes: sometimes(recording, summary),
        workloads,
        rows,
    }
}

/// Number of the phase at `at` of a fault.
fn phase(at: u64, began: u64, ended: u64) -> Option<usize> {
    let edge = EDGE_US.min(ended.saturating_sub(began) / 2);
    if at < began || at >= ended + EDGE_US {
        None
    } else if at < began + edge {
        Some(0)
    } else if at < ended {
        Some(1)
    } else {
        Some(2)
    }
}

fn sometimes(recording: &Recording, summary: &Summary) -> Vec<Sometimes> {
    let sometimes = |what, times, knowable| Sometimes {
        what,
        times,
        knowable,
    };
    let sampled = !recording.samples.is_empty();
    let watched = !recording.watches.is_empty();
    let snapshots: u64 = {
        let mut most: BTreeMap<(usize, u32), u64> = BTreeMap::new();
        for sample in &recording.samples {
            let installed = most.entry((sample.node, sample.boot)).or_default();
            *installed = (*installed).max(sample.snapshots_installed);
        }
        most.values().sum()
    };
    let at_leader = |fault: &&super::recovery::FaultRow| {
        fault
            .leader
            .is_some_and(|leader| fault.struck.contains(&leader))
    };
    let life = |wanted: fn(&Life) -> bool| {
        let changes = recording.lives.iter();
        changes.filter(|change| wanted(&change.life)).count() as u64
    };
    let outcome = |wanted: fn(&Outcome) -> bool| {
        let operations = recording.operations.iter();
        operations.filter(|o| wanted(&o.outcome)).count() as u64
    };
    let cancelled = recording.watches.iter().flat_map(|stream| &stream.told);
    let cancelled = cancelled.filter(|told| matches!(told.what, Tidings::Canceled { .. }));
    let reopened = {
        let mut streams: BTreeMap<&str, u64> = BTreeMap::new();
        for stream in &recording.watches {
            *streams.entry(&stream.watcher).or_default() += 1;
        }
        streams.values().map(|streams| streams - 1).sum()
    };
    let two_at_once = two_leaders(recording);
    vec![
        sometimes(
            "a leader was elected in place of another",
            summary.elections,
            sampled,
        ),
        sometimes(
            "the leader was struck",
            summary.struck().filter(at_leader).count() as u64,
            true,
        ),
        sometimes(
            "two members led at once, in different terms",
            two_at_once,
            sampled,
        ),
        sometimes("a one-way or partial cut", partial(recording), true),
        sometimes(
            "a member was down",
            life(|l| matches!(l, Life::Down | Life::PowerCut)),
            true,
        ),
        sometimes(
            "a member stood still",
            life(|l| matches!(l, Life::Paused)),
            true,
        ),
        sometimes(
            "a snapshot was installed",
            snapshots,
            summary.cluster != "etcd" && sampled,
        ),
        sometimes(
            "a call was refused",
            outcome(|o| matches!(o, Outcome::Refused(_))),
            true,
        ),
        sometimes(
            "a call was left unknown",
            outcome(|o| matches!(o, Outcome::Unknown(_))),
            true,
        ),
        sometimes("a watcher came back on another stream", reopened, watched),
        sometimes(
            "a watch was cancelled by the server",
            cancelled.count() as u64,
            watched,
        ),
    ]
}

/// Samples at which an older leader still believed in itself.
fn two_leaders(recording: &Recording) -> u64 {
    let firsts = leaders(recording);
    let mut times = 0;
    for pair in firsts.windows(2) {
        let [(_, old, old_term), (since, new, term)] = pair else {
            continue;
        };
        let still = |sample: &&crate::history::timeline::Sample| {
            sample.node == *old && sample.role == "leader" && sample.term == *old_term
        };
        let mut later = recording.samples.iter().filter(|sample| sample.at > *since);
        times += u64::from(old != new && term > old_term && later.any(|sample| still(&sample)));
    }
    times
}

/// Changes of the weather after which some node is cut from another in one direction, or hears one
/// that another of its own side does not hear.
fn partial(recording: &Recording) -> u64 {
    let nodes = recording.about.nodes;
    let mut times = 0;
    for change in &recording.weather {
        let cut = |a: usize, b: usize| {
            let mut ways = change.ways.iter();
            ways.any(|(from, to, quality)| (*from, *to) == (a, b) && quality.cut.is_some())
        };
        let any = change.ways.iter().any(|(from, to, quality)| {
            quality.cut.is_some()
                && (!cut(*to, *from)
                    || (1..=nodes).any(|third| {
                        third != *from
                            && third != *to
                            && !cut(*from, third)
                            && !cut(third, *from)
                            && !cut(*to, third)
                            && !cut(third, *to)
                    }))
        });
        times += u64::from(any);
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_has_three_phases() {
        let (began, ended) = (10_000_000, 14_000_000);
        let phases: Vec<Option<usize>> =
            [9_999_999, 10_000_000, 11_000_000, 14_000_000, 15_000_000]
                .map(|at| phase(at, began, ended))
                .into();
        assert_eq!(phases, [None, Some(0), Some(1), Some(2), None]);
        // One that is shorter than its edge has both.
        assert_eq!(phase(300_000, 0, 1_000_000), Some(0));
        assert_eq!(phase(600_000, 0, 1_000_000), Some(1));
    }
}

//! The operations around a violation, client by client.

use super::watch_lanes::{Response, near, place};
use super::words::{shortened, told};
use crate::history::call::{Act, Call, Txn};
use crate::history::operation::{Operation, Outcome};
use crate::history::recording::Recording;
use crate::judge::finding::{Finding, Violation};
use serde::Serialize;
use std::collections::BTreeSet;

/// Pictures on a page.
const SCENES_MAX: usize = 12;
/// Operations of one violation that are drawn; the smallest set is a handful, where a judge finds it.
const SHOWN_MAX: usize = 60;
/// Others on the same key around it, for those who ask.
const AROUND_MAX: usize = 60;

/// A violation and what there is to see of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Scene {
    pub judge: String,
    pub title: String,
    pub explanation: String,
    pub contradicts: String,
    pub key: Option<String>,
    /// When it shows, in microseconds: the violation's, else its offender's end.
    pub at: Option<u64>,
    pub operations: Vec<Drawn>,
    /// Of the violation, those that are not drawn.
    pub left_out: usize,
    /// (watcher, when, from revision, to revision) of the response that is wrong.
    pub watch: Option<(String, u64, i64, i64)>,
    /// That response with its neighbours.
    pub responses: Vec<Response>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Drawn {
    /// Its number in `operations.jsonl`, from 0.
    pub number: usize,
    pub client: String,
    pub node: usize,
    pub invoked: u64,
    pub completed: u64,
    /// `ok`, `refused`, `unknown`.
    pub outcome: &'static str,
    /// It may take effect after its end.
    pub open: bool,
    pub call: String,
    pub answer: String,
    /// `offender`, `core`, `around`.
    pub part: &'static str,
}

/// One a violation, worst judges first in the order of the findings, and how many there are more.
pub fn scenes(recording: &Recording, findings: &[Finding]) -> (Vec<Scene>, usize) {
    let failed = findings.iter().filter(|f| f.verdict.fails_run());
    let mut violations: Vec<(usize, &str, &Violation)> = failed
        .flat_map(|finding| {
            let all = finding.violations.iter().enumerate();
            all.map(|(rank, violation)| (rank, finding.judge.as_str(), violation))
        })
        .collect();
    // The first of every judge before the second of any.
    violations.sort_by_key(|(rank, ..)| *rank);
    let more = violations.len().saturating_sub(SCENES_MAX);
    let scenes = violations
        .into_iter()
        .take(SCENES_MAX)
        .map(|(_, judge, violation)| scene(recording, judge, violation))
        .collect();
    (scenes, more)
}

fn scene(recording: &Recording, judge: &str, violation: &Violation) -> Scene {
    let operation = |number: usize| recording.operations.get(number);
    let mut core: BTreeSet<usize> = violation
        .operations
        .iter()
        .chain(&violation.offender)
        .copied()
        .filter(|number| operation(*number).is_some())
        .collect();
    let left_out = core.len().saturating_sub(SHOWN_MAX);
    while core.len() > SHOWN_MAX {
        // The offender stays; what is far before it goes.
        let first = core
            .iter()
            .copied()
            .find(|n| Some(*n) != violation.offender);
        let Some(first) = first else { break };
        core.remove(&first);
    }
    let around = around(recording, violation, &core);
    let mut operations: Vec<Drawn> = core
        .iter()
        .chain(&around)
        .filter_map(|number| {
            let part = if Some(*number) == violation.offender {
                "offender"
            } else if core.contains(number) {
                "core"
            } else {
                "around"
            };
            operation(*number).map(|operation| drawn(*number, operation, part))
        })
        .collect();
    operations.sort_by_key(|drawn| (drawn.invoked, drawn.number));
    let offender = violation.offender.and_then(operation);
    let watch = violation.watch.and_then(|at| place(recording, at));
    Scene {
        judge: judge.to_owned(),
        title: violation.title.clone(),
        explanation: violation.explanation.clone(),
        contradicts: violation.contradicts.clone(),
        key: violation.key.clone(),
        at: violation
            .at
            .or(offender.map(|offender| offender.completed))
            .or(watch.as_ref().map(|(_, at, ..)| *at)),
        operations,
        left_out,
        watch,
        responses: violation
            .watch
            .map_or_else(Vec::new, |at| near(recording, at)),
    }
}

/// The nearest others on the violation's key.
fn around(recording: &Recording, violation: &Violation, core: &BTreeSet<usize>) -> Vec<usize> {
    let Some(key) = &violation.key else {
        return Vec::new();
    };
    let times = core.iter().filter_map(|n| recording.operations.get(*n));
    let times: Vec<(u64, u64)> = times.map(|o| (o.invoked, o.completed)).collect();
    let from = times.iter().map(|(invoked, _)| *invoked).min();
    let to = times.iter().map(|(_, completed)| *completed).max();
    let (Some(from), Some(to)) = (from, to) else {
        return Vec::new();
    };
    let mut near: Vec<(u64, usize)> = recording
        .operations
        .iter()
        .enumerate()
        .filter(|(number, operation)| !core.contains(number) && touches(&operation.call, key))
        .map(|(number, operation)| {
            let before = from.saturating_sub(operation.completed);
            let after = operation.invoked.saturating_sub(to);
            (before.max(after), number)
        })
        .collect();
    near.sort_unstable();
    near.truncate(AROUND_MAX);
    near.into_iter().map(|(_, number)| number).collect()
}

fn drawn(number: usize, operation: &Operation, part: &'static str) -> Drawn {
    Drawn {
        number,
        client: operation.client.clone(),
        node: operation.node,
        invoked: operation.invoked,
        completed: operation.completed,
        outcome: match operation.outcome {
            Outcome::Ok { .. } => "ok",
            Outcome::Refused(_) => "refused",
            Outcome::Unknown(_) => "unknown",
        },
        open: operation.settled() == u64::MAX,
        call: shortened(&operation.call.to_string()),
        answer: told(operation),
        part,
    }
}

fn touches(call: &Call, key: &str) -> bool {
    match call {
        Call::Range(range) => range.contains(key),
        Call::Txn(Txn {
            compares,
            then,
            otherwise,
        }) => {
            compares.iter().any(|compare| compare.key == key)
                || then.iter().chain(otherwise).any(|act| match act {
                    Act::Put { key: put, .. } => put == key,
                    Act::Get(range) | Act::Delete(range) => range.contains(key),
                })
        }
        Call::Compact { .. }
        | Call::Grant { .. }
        | Call::Revoke { .. }
        | Call::KeepAlive { .. } => false,
    }
}

//! Time and revisions agree.
//!
//! When an answer has come, its revision exists. Whoever asks after that must see it, and whoever
//! writes after that must get a larger one. A sweep over the answers by time finds the *floor* of each
//! operation: the largest revision that anybody had been told when it was asked.
//!
//! A serializable read may be old, and so may the header of a renewed lease, which is answered without
//! the log; both still raise the floor for those who come later, for what they saw did exist.

use super::{REAL_TIME, REAL_TIME_PROMISE, SHOWN};
use crate::history::call::{Act, Answer, Call, Done};
use crate::history::operation::Operation;
use crate::judge::case::Case;
use crate::judge::finding::{Finding, Violation};

/// What was known when an operation was asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Floor {
    pub revision: i64,
    /// Who had been told.
    pub by: Option<usize>,
}

/// By operation.
pub fn floors(case: &Case<'_>) -> Vec<Floor> {
    let operations = &case.recording.operations;
    let mut asked: Vec<(u64, usize)> = operations
        .iter()
        .enumerate()
        .map(|(number, operation)| (operation.invoked, number))
        .collect();
    asked.sort_unstable();
    let mut told: Vec<(u64, i64, usize)> = operations
        .iter()
        .enumerate()
        .filter_map(|(number, operation)| {
            let (header, _) = operation.answer()?;
            Some((operation.completed, header.revision, number))
        })
        .collect();
    told.sort_unstable();
    let mut told = told.into_iter().peekable();
    let mut floors = vec![Floor::default(); operations.len()];
    let mut floor = Floor::default();
    for (at, number) in asked {
        while let Some((_, revision, by)) = told.next_if(|(completed, ..)| *completed < at) {
            if revision > floor.revision {
                floor = Floor {
                    revision,
                    by: Some(by),
                };
            }
        }
        if let Some(slot) = floors.get_mut(number) {
            *slot = floor;
        }
    }
    floors
}

/// What time demands of an answer's revision.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Demand {
    Nothing,
    AtLeast,
    More,
}

fn demand(operation: &Operation) -> Demand {
    match (&operation.call, operation.answer()) {
        (Call::Range(range), _) if range.serializable => Demand::Nothing,
        (Call::KeepAlive { .. }, _) => Demand::Nothing,
        (Call::Txn(txn), Some((_, Answer::Txn { done, .. }))) => {
            let wrote = done.iter().any(|done| match done {
                Done::Put { .. } => true,
                Done::Deleted { previous } => !previous.is_empty(),
                Done::Get(_) => false,
            });
            let mut acts = txn.then.iter().chain(&txn.otherwise);
            if wrote {
                Demand::More
            } else if acts.all(|act| matches!(act, Act::Get(range) if range.serializable)) {
                // etcd answers a transaction of serializable reads as one.
                Demand::Nothing
            } else {
                Demand::AtLeast
            }
        }
        _ => Demand::AtLeast,
    }
}

pub fn finding(case: &Case<'_>, floors: &[Floor]) -> Finding {
    let mut evaluated = 0;
    let mut violations = Vec::new();
    for (number, operation) in case.recording.operations.iter().enumerate() {
        let Some((header, _)) = operation.answer() else {
            continue;
        };
        let floor = floors.get(number).copied().unwrap_or_default();
        let demand = demand(operation);
        let fine = match demand {
            Demand::Nothing => continue,
            Demand::AtLeast => header.revision >= floor.revision,
            Demand::More => header.revision > floor.revision,
        };
        evaluated += 1;
        if !fine && violations.len() < SHOWN {
            violations.push(violation(case, number, operation, header.revision, floor));
        }
    }
    let summary = format!("{evaluated} answers, each against all that had been told before it");
    Finding::of(REAL_TIME, REAL_TIME_PROMISE, evaluated, summary, violations)
}

fn violation(
    case: &Case<'_>,
    number: usize,
    operation: &Operation,
    revision: i64,
    floor: Floor,
) -> Violation {
    let by = floor.by.and_then(|by| case.operation(by));
    let earlier = by.map_or(0, |by| operation.invoked.saturating_sub(by.completed));
    let title = if operation.call.writes() {
        "A write was given a revision that was already taken"
    } else {
        "A read shows a state that was already past when it was asked"
    };
    Violation {
        title: title.to_owned(),
        explanation: format!(
            "n{} answered {} ({}) at revision {revision}, but {} us before it was asked, {} had been \
             told revision {}",
            operation.node,
            operation.client,
            operation.call,
            earlier,
            by.map_or("somebody", |by| by.client.as_str()),
            floor.revision
        ),
        contradicts: format!("the store had been at revision {}", floor.revision),
        operations: case.in_order(floor.by.into_iter().chain([number]).collect()),
        offender: Some(number),
        watch: None,
        key: None,
        at: Some(operation.completed),
    }
}

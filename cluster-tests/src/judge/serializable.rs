//! Serializable reads: a member may answer from what it has, but only from what was.
//!
//! Such a read may be old. It must be a state that existed, which the oracle compares at the revision that
//! the answer names; here, without a log: keys that are only ever written together are read alike, and
//! one process of a member never goes back, whoever asks.

use super::case::Case;
use super::finding::{Finding, Violation};
use crate::history::call::{Answer, Call};
use crate::history::operation::Operation;
use crate::history::timeline::Life;
use crate::workload::Workload;
use rustc_hash::FxHashMap;

pub const NAME: &str = "serializable";
const PROMISE: &str =
    "A read that may be old shows a state that was, and a member never goes back.";
const SHOWN: usize = 3;

pub fn judge(case: &Case<'_>) -> Vec<Finding> {
    let mut evaluated = 0;
    let mut violations = Vec::new();
    for (number, operation) in case.of(Workload::Serializable) {
        if let (Call::Range(range), Some((_, Answer::Range(found)))) =
            (&operation.call, operation.answer())
            && range.end.is_some()
            && range.limit == 0
        {
            evaluated += 1;
            let mut values: Vec<&str> = found.kvs.iter().map(|pair| pair.value.as_str()).collect();
            values.dedup();
            if values.len() > 1 && violations.len() < SHOWN {
                let mut writes: Vec<usize> = found
                    .kvs
                    .iter()
                    .filter_map(|pair| super::oracle::writer(case, pair.mod_revision))
                    .collect();
                writes.push(number);
                violations.push(Violation {
                    title: "A read shows half of a transaction".to_owned(),
                    explanation: format!(
                        "n{} shows {}, and all of these are only written together",
                        operation.node,
                        values.join(", ")
                    ),
                    contradicts: "all keys have one value, at every revision".to_owned(),
                    operations: case.in_order(writes),
                    offender: Some(number),
                    at: Some(operation.completed),
                    ..Violation::default()
                });
            }
        }
    }
    let (answers, mut back) = monotone(case);
    evaluated += answers;
    violations.append(&mut back);
    violations.truncate(SHOWN);
    if answers == 0 {
        return vec![Finding::not_applicable(
            NAME,
            PROMISE,
            "nobody asked for a read that may be old",
        )];
    }
    let summary =
        format!("{answers} reads that may be old, each not older than what its member had told");
    vec![Finding::of(NAME, PROMISE, evaluated, summary, violations)]
}

/// What happens to one member, by time. A start comes before what is asked of the new process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Restart,
    Asked(usize),
    Answered(usize),
}

/// Each serializable answer against what the same process had told anybody before it was asked.
fn monotone(case: &Case<'_>) -> (u64, Vec<Violation>) {
    let mut moments: FxHashMap<usize, Vec<(u64, Moment)>> = FxHashMap::default();
    for (number, operation) in case.recording.operations.iter().enumerate() {
        if operation.is_ok() {
            let of = moments.entry(operation.node).or_default();
            of.push((operation.invoked, Moment::Asked(number)));
            of.push((operation.completed, Moment::Answered(number)));
        }
    }
    for change in &case.recording.lives {
        let paused = matches!(change.life, Life::Paused | Life::Slowed(_));
        if !paused {
            let of = moments.entry(change.node).or_default();
            of.push((change.at, Moment::Restart));
        }
    }
    let mut nodes: Vec<usize> = moments.keys().copied().collect();
    nodes.sort_unstable();
    let (mut answers, mut violations) = (0, Vec::new());
    for node in nodes {
        let mut moments = moments.remove(&node).unwrap_or_default();
        moments.sort_unstable();
        let mut told: Option<(i64, usize)> = None;
        let mut starts = 0_u32;
        // By operation that is open: what had been told when it was asked, by which process.
        let mut open: FxHashMap<usize, (Option<(i64, usize)>, u32)> = FxHashMap::default();
        for (_, moment) in moments {
            match moment {
                Moment::Restart => {
                    starts += 1;
                    told = None;
                }
                Moment::Asked(number) => {
                    open.insert(number, (told, starts));
                }
                Moment::Answered(number) => {
                    let Some((before, process)) = open.remove(&number) else {
                        continue;
                    };
                    let Some(operation) = case.operation(number) else {
                        continue;
                    };
                    let Some((header, _)) = operation.answer() else {
                        continue;
                    };
                    // Which process answered is not known if it was started anew in between.
                    if process != starts {
                        continue;
                    }
                    if is_serializable(operation) {
                        answers += 1;
                        if let Some((revision, by)) = before
                            && header.revision < revision
                        {
                            violations.push(back(
                                case,
                                number,
                                operation,
                                header.revision,
                                revision,
                                by,
                            ));
                        }
                    }
                    if told.is_none_or(|(revision, _)| header.revision > revision) {
                        told = Some((header.revision, number));
                    }
                }
            }
        }
    }
    (answers, violations)
}

fn is_serializable(operation: &Operation) -> bool {
    matches!(&operation.call, Call::Range(range) if range.serializable)
}

fn back(
    case: &Case<'_>,
    number: usize,
    operation: &Operation,
    revision: i64,
    told: i64,
    by: usize,
) -> Violation {
    Violation {
        title: format!("n{} goes back in time", operation.node),
        explanation: format!(
            "it answered {} at revision {revision}; before that was asked, the same process had told \
             {told}",
            operation.client
        ),
        contradicts: format!("n{} had been at revision {told}", operation.node),
        operations: case.in_order(vec![by, number]),
        offender: Some(number),
        at: Some(operation.completed),
        ..Violation::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::call::{Range, Txn};
    use crate::history::timeline::LifeChange;
    use crate::judge::finding::Verdict;
    use crate::judge::imagined::{Imagined, found_in, header_of, verdict};

    fn busy() -> (Imagined, usize) {
        let mut store = Imagined::new();
        let mut last = 0;
        for turn in 0..5 {
            let keys = ["serializable/0", "serializable/1"];
            let then = keys
                .map(|key| Txn::put(key, turn.to_string()).then)
                .concat();
            store.call(
                "serializable.0",
                Call::Txn(Txn {
                    then,
                    ..Txn::default()
                }),
            );
            let range = Range {
                serializable: true,
                ..Range::prefix("serializable/")
            };
            last = store.call("serializable.1", Call::Range(range));
        }
        (store, last)
    }

    #[test]
    fn right_ones_pass_and_torn_ones_fail() {
        let (store, last) = busy();
        let mut recording = store.end();
        assert_eq!(verdict(judge, NAME, &recording), Verdict::Passed);
        found_in(&mut recording, last).kvs[0].value = "3".into();
        assert_eq!(verdict(judge, NAME, &recording), Verdict::Failed);
    }

    #[test]
    fn a_member_that_goes_back_fails_unless_it_was_started_anew() {
        let (store, last) = busy();
        let mut recording = store.end();
        header_of(&mut recording, last).revision = 3;
        assert_eq!(verdict(judge, NAME, &recording), Verdict::Failed);
        let at = recording.operations[last].invoked - 1;
        recording.lives.push(LifeChange {
            at,
            node: 1,
            life: Life::Up,
        });
        assert_eq!(verdict(judge, NAME, &recording), Verdict::Passed);
    }
}

//! Compaction: the past is there until somebody gives it up, and gone from then on.
//!
//! - A read of a revision is refused as compacted only if a compaction beyond it had been asked for; so is
//!   a compaction.
//! - A revision that had been told is not refused as the future.
//! - Once a compaction is acknowledged, what is before it is refused: it could be wrong.
//!
//! That what is not compacted is read exactly is the oracle's; that watchers are cut off rightly, the
//! watch judge's.

use super::case::Case;
use super::finding::{Finding, Violation};
use super::oracle::realtime::floors;
use crate::history::call::Call;
use crate::history::operation::{Operation, Outcome};

pub const NAME: &str = "compaction";
const PROMISE: &str = "The past is there until it is compacted, and refused from then on.";
const COMPACTED: &str = "has been compacted";
const FUTURE: &str = "future revision";
const SHOWN: usize = 3;

/// (revision, asked, acknowledged, number).
type Compaction = (i64, u64, Option<u64>, usize);

pub fn judge(case: &Case<'_>) -> Vec<Finding> {
    let compactions: Vec<Compaction> = case
        .recording
        .operations
        .iter()
        .enumerate()
        .filter_map(
            |(number, operation)| match (&operation.call, &operation.outcome) {
                (_, Outcome::Refused(_)) => None,
                (Call::Compact { revision }, outcome) => {
                    let at = matches!(outcome, Outcome::Ok { .. }).then_some(operation.completed);
                    Some((*revision, operation.invoked, at, number))
                }
                _ => None,
            },
        )
        .collect();
    if compactions.is_empty() {
        return vec![Finding::not_applicable(
            NAME,
            PROMISE,
            "nothing was compacted",
        )];
    }
    let floors = floors(case);
    let (mut evaluated, mut refused, mut violations) = (0, 0, Vec::new());
    for (number, operation) in case.recording.operations.iter().enumerate() {
        let (revision, is_read) = match &operation.call {
            Call::Range(range) if range.revision > 0 => (range.revision, true),
            Call::Compact { revision } => (*revision, false),
            _ => continue,
        };
        evaluated += 1;
        let wrong = match &operation.outcome {
            Outcome::Refused(why) if why.contains(COMPACTED) => {
                refused += 1;
                unjust(operation, number, revision, is_read, &compactions)
            }
            Outcome::Refused(why) if why.contains(FUTURE) => {
                let floor = floors.get(number).copied().unwrap_or_default();
                (floor.revision >= revision).then(|| {
                    let why = format!("revision {} had been told before", floor.revision);
                    (
                        "A revision that was told is refused as the future",
                        why,
                        floor.by,
                    )
                })
            }
            Outcome::Ok { .. } if is_read && !is_serializable(operation) => {
                let done = compactions.iter().find(|(at, _, acknowledged, _)| {
                    *at > revision && acknowledged.is_some_and(|at| at < operation.invoked)
                });
                done.map(|(at, .., by)| {
                    let why = format!("the compaction at {at} had been acknowledged before");
                    ("A compacted revision is still answered", why, Some(*by))
                })
            }
            _ => None,
        };
        if let Some((title, why, by)) = wrong
            && violations.len() < SHOWN
        {
            violations.push(Violation {
                title: title.to_owned(),
                explanation: format!(
                    "n{}, asked for \"{}\": {why}",
                    operation.node, operation.call
                ),
                contradicts: why,
                operations: case.in_order(by.into_iter().chain([number]).collect()),
                offender: Some(number),
                at: Some(operation.completed),
                ..Violation::default()
            });
        }
    }
    let acknowledged = compactions.iter().filter(|one| one.2.is_some()).count();
    let summary = format!(
        "{acknowledged} compactions, {evaluated} questions about the past, {refused} refused as compacted"
    );
    vec![Finding::of(NAME, PROMISE, evaluated, summary, violations)]
}

fn is_serializable(operation: &Operation) -> bool {
    matches!(&operation.call, Call::Range(range) if range.serializable)
}

/// Refused although nobody had asked for a compaction so far.
fn unjust(
    operation: &Operation,
    number: usize,
    revision: i64,
    is_read: bool,
    compactions: &[Compaction],
) -> Option<(&'static str, String, Option<usize>)> {
    let mut reasons = compactions.iter();
    let just = reasons.any(|(at, asked, _, by)| {
        let far = if is_read {
            *at > revision
        } else {
            *at >= revision
        };
        far && *asked <= operation.completed && *by != number
    });
    let newest = compactions
        .iter()
        .filter(|one| one.1 <= operation.completed)
        .max();
    (!just).then(|| {
        let why = match newest {
            Some((at, ..)) => format!("the farthest compaction so far was asked for at {at}"),
            None => "no compaction had been asked for".to_owned(),
        };
        (
            "A revision is refused that was not compacted",
            why,
            newest.map(|one| one.3),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::call::Range;
    use crate::judge::finding::Verdict;
    use crate::judge::imagined::{Imagined, finding};

    fn read(revision: i64) -> Call {
        Call::Range(Range {
            revision,
            ..Range::prefix("compaction/")
        })
    }

    fn judged(act: impl FnOnce(&mut Imagined)) -> Verdict {
        let mut store = Imagined::new();
        for turn in 0..10 {
            store.put("compaction.0", "compaction/1", &turn.to_string());
        }
        store.call("compaction.1", read(4));
        store.call("compaction.0", Call::Compact { revision: 5 });
        act(&mut store);
        finding(judge, NAME, &store.end()).verdict
    }

    const GONE: &str = "OutOfRange: etcdserver: mvcc: required revision has been compacted";
    const TO_COME: &str = "OutOfRange: etcdserver: mvcc: required revision is a future revision";

    #[test]
    fn what_is_right_passes() {
        let verdict = judged(|store| {
            store.refused("compaction.1", read(4), GONE);
            store.call("compaction.1", read(5));
            store.refused("compaction.1", Call::Compact { revision: 5 }, GONE);
            store.refused("compaction.1", read(99), TO_COME);
        });
        assert_eq!(verdict, Verdict::Passed);
    }

    #[test]
    fn what_is_wrong_fails() {
        let not_compacted = judged(|store| {
            store.refused("compaction.1", read(5), GONE);
        });
        assert_eq!(not_compacted, Verdict::Failed);
        let answered = judged(|store| {
            store.call("compaction.1", read(4));
        });
        assert_eq!(answered, Verdict::Failed);
        let told = judged(|store| {
            store.refused("compaction.1", read(7), TO_COME);
        });
        assert_eq!(told, Verdict::Failed);
    }
}

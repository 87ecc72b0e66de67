//! The set: what was added stays.
//!
//! Each element is a key that is put once and never deleted. So for a read of a whole set that is not
//! allowed to be old: every element that had been acknowledged when it was asked is in it (one that is
//! missing here and in all later reads is *lost*, one that comes back is *stale*); whatever is in it was
//! added by somebody, not refused, with the value that was put; nothing is in it twice; and what one read
//! has shown, a later one shows. This is Jepsen's `set-full`.

use super::case::Case;
use super::finding::{Finding, Violation};
use crate::history::call::{Act, Answer, Call, Pair, Range};
use crate::history::operation::{Operation, Outcome};
use crate::workload::Workload;
use rustc_hash::{FxHashMap, FxHashSet};

pub const NAME: &str = "set";
const PROMISE: &str = "What was added to a set stays in it, once.";
const SHOWN: usize = 3;

/// When an element was there for sure, and by whom that is known.
#[derive(Clone, Copy)]
struct Element<'a> {
    value: &'a str,
    added: usize,
    refused: bool,
    /// From when on every read shows it: acknowledged, or shown by a read; and which operation says so.
    sure: Option<(u64, usize)>,
}

pub fn judge(case: &Case<'_>) -> Vec<Finding> {
    if !case.ran(Workload::Set) {
        return vec![Finding::not_applicable(
            NAME,
            PROMISE,
            "nothing was added to a set",
        )];
    }
    let mut elements = elements(case);
    let reads: Vec<(usize, &Operation, &Range, &[Pair])> = reads(case).collect();
    let mut violations = Vec::new();
    for (number, operation, _, pairs) in &reads {
        let mut seen = FxHashSet::default();
        for pair in *pairs {
            if !seen.insert(pair.key.as_str()) {
                let why = format!("{} is in an answer twice", pair.key);
                note(
                    &mut violations,
                    case,
                    *number,
                    operation,
                    pair,
                    None,
                    ("An element is there twice", why),
                );
            }
            match elements.get_mut(pair.key.as_str()) {
                None => {
                    let why = format!("nobody ever added {}", pair.key);
                    note(
                        &mut violations,
                        case,
                        *number,
                        operation,
                        pair,
                        None,
                        ("An element that nobody added", why),
                    );
                }
                Some(element) => {
                    if element.refused || element.value != pair.value {
                        let why = format!(
                            "{} = {} is shown; the request for {} {}",
                            pair.key,
                            pair.value,
                            element.value,
                            if element.refused {
                                "was refused"
                            } else {
                                "put another value"
                            }
                        );
                        note(
                            &mut violations,
                            case,
                            *number,
                            operation,
                            pair,
                            Some(element.added),
                            ("An element is there that was not added so", why),
                        );
                    }
                    let shown = (operation.completed, *number);
                    let earlier = element.sure.is_none_or(|sure| shown.0 < sure.0);
                    if earlier {
                        element.sure = Some(shown);
                    }
                }
            }
        }
    }
    let mut evaluated = 0;
    let mut by_set: FxHashMap<&str, Vec<(&str, Element<'_>)>> = FxHashMap::default();
    for (key, element) in &elements {
        by_set.entry(set_of(key)).or_default().push((key, *element));
    }
    for (number, operation, range, pairs) in &reads {
        let shown: FxHashSet<&str> = pairs.iter().map(|pair| pair.key.as_str()).collect();
        for (key, element) in by_set.get(set_of(&range.key)).into_iter().flatten() {
            let due = element.sure.filter(|(since, _)| *since < operation.invoked);
            let (Some((_, by)), true) = (due, range.contains(key)) else {
                continue;
            };
            evaluated += 1;
            if !shown.contains(key) && violations.len() < SHOWN {
                violations.push(missing(case, *number, operation, key, element, by, &reads));
            }
        }
    }
    let summary = format!(
        "{} elements, {} reads of whole sets, {evaluated} times an element that had to be there",
        elements.len(),
        reads.len()
    );
    vec![Finding::of(NAME, PROMISE, evaluated, summary, violations)]
}

/// `set/0003/` of `set/0003/x`.
fn set_of(key: &str) -> &str {
    key.rfind('/')
        .and_then(|slash| key.get(..=slash))
        .unwrap_or(key)
}

fn elements<'a>(case: &Case<'a>) -> FxHashMap<&'a str, Element<'a>> {
    let mut elements = FxHashMap::default();
    for (number, operation) in case.of(Workload::Set) {
        let Call::Txn(txn) = &operation.call else {
            continue;
        };
        for act in &txn.then {
            let Act::Put { key, value, .. } = act else {
                continue;
            };
            let sure = operation.is_ok().then_some((operation.completed, number));
            let refused = matches!(operation.outcome, Outcome::Refused(_));
            elements.insert(
                key.as_str(),
                Element {
                    value,
                    added: number,
                    refused,
                    sure,
                },
            );
        }
    }
    elements
}

/// Reads of whole sets that may not be old.
fn reads<'a>(
    case: &Case<'a>,
) -> impl Iterator<Item = (usize, &'a Operation, &'a Range, &'a [Pair])> {
    case.of(Workload::Set).filter_map(|(number, operation)| {
        let (Call::Range(range), Some((_, Answer::Range(found)))) =
            (&operation.call, operation.answer())
        else {
            return None;
        };
        let whole = range.end.is_some() && range.limit == 0;
        let fresh = range.revision == 0 && !range.serializable;
        (whole && fresh).then_some((number, operation, range, found.kvs.as_slice()))
    })
}

fn note(
    violations: &mut Vec<Violation>,
    case: &Case<'_>,
    number: usize,
    operation: &Operation,
    pair: &Pair,
    other: Option<usize>,
    (title, explanation): (&str, String),
) {
    if violations.len() < SHOWN {
        violations.push(Violation {
            title: title.to_owned(),
            explanation,
            contradicts: "the requests that were made".to_owned(),
            operations: case.in_order(other.into_iter().chain([number]).collect()),
            offender: Some(number),
            key: Some(pair.key.clone()),
            at: Some(operation.completed),
            ..Violation::default()
        });
    }
}

fn missing(
    case: &Case<'_>,
    number: usize,
    operation: &Operation,
    key: &str,
    element: &Element<'_>,
    by: usize,
    reads: &[(usize, &Operation, &Range, &[Pair])],
) -> Violation {
    let later = reads
        .iter()
        .filter(|(_, read, range, _)| read.invoked > operation.completed && range.contains(key));
    let back = later
        .clone()
        .find(|(.., pairs)| pairs.iter().any(|pair| pair.key == key));
    let (title, then) = match back {
        Some((_, read, ..)) => (
            "A read misses an element that is there",
            format!("{} saw it again later", read.client),
        ),
        None => (
            "An element is lost",
            format!("{} later reads miss it too", later.count()),
        ),
    };
    let back = back.map(|(number, ..)| *number);
    Violation {
        title: title.to_owned(),
        explanation: format!(
            "{key} was there before {} asked n{}, and is not in the answer; {then}",
            operation.client, operation.node
        ),
        contradicts: format!("{key} = {} in the set", element.value),
        operations: case.in_order(
            [element.added, by, number]
                .into_iter()
                .chain(back)
                .collect(),
        ),
        offender: Some(number),
        key: Some(key.to_owned()),
        at: Some(operation.completed),
        ..Violation::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::call::Txn;
    use crate::history::recording::Recording;
    use crate::judge::finding::Verdict;
    use crate::judge::imagined::{Imagined, finding, found_in};

    fn judged(spoil: impl FnOnce(&mut Recording, usize)) -> Finding {
        let mut store = Imagined::new();
        store.put("set.0", "set/0000/a", "set.0");
        store.put("set.1", "set/0000/b", "set.1");
        store.unknown("set.1", Call::Txn(Txn::put("set/0000/c", "set.1")), false);
        let read = store.call("set.0", Call::Range(Range::prefix("set/0000/")));
        store.call("set.1", Call::Range(Range::prefix("set/0000/")));
        let mut recording = store.end();
        spoil(&mut recording, read);
        finding(judge, NAME, &recording)
    }

    #[test]
    fn whole_sets_pass() {
        let found = judged(|_, _| {});
        assert_eq!((found.verdict, found.evaluated), (Verdict::Passed, 4));
    }

    #[test]
    fn a_missing_element_fails_as_stale_or_lost() {
        let stale = judged(|one, read| {
            found_in(one, read).kvs.remove(0);
        });
        assert_eq!(stale.verdict, Verdict::Failed);
        assert!(stale.violations[0].title.contains("misses"));
        let lost = judged(|one, read| {
            found_in(one, read).kvs.remove(0);
            found_in(one, read + 1).kvs.remove(0);
        });
        assert!(lost.violations[0].title.contains("lost"));
    }

    #[test]
    fn an_element_twice_unasked_or_changed_fails() {
        let twice = judged(|one, read| {
            let again = found_in(one, read).kvs[0].clone();
            found_in(one, read).kvs.push(again);
        });
        assert_eq!(twice.verdict, Verdict::Failed);
        let unasked = judged(|one, read| found_in(one, read).kvs[0].key = "set/0000/z".into());
        assert_eq!(unasked.verdict, Verdict::Failed);
        let changed = judged(|one, read| found_in(one, read).kvs[0].value = "x".into());
        assert_eq!(changed.verdict, Verdict::Failed);
    }

    #[test]
    fn what_vanishes_after_it_was_seen_fails() {
        let mut store = Imagined::new();
        store.unknown("set.1", Call::Txn(Txn::put("set/0000/c", "set.1")), true);
        store.call("set.0", Call::Range(Range::prefix("set/0000/")));
        let read = store.call("set.1", Call::Range(Range::prefix("set/0000/")));
        let mut recording = store.end();
        assert_eq!(finding(judge, NAME, &recording).verdict, Verdict::Passed);
        found_in(&mut recording, read).kvs.clear();
        assert_eq!(finding(judge, NAME, &recording).verdict, Verdict::Failed);
    }
}

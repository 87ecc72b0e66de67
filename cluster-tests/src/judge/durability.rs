//! Nothing that was acknowledged is lost, on any member; and all members are the same.
//!
//! At the end every member is asked for every key. Three promises:
//!
//! - `durability`: the last acknowledged write of each key is there, or a later one is, on every member
//!   (members that were killed, cut off or without power in between among them).
//! - `same-state`: members have the same pairs at the same revision, and the same hash of their whole
//!   state (leases and members too) at the same position.
//! - `end-state`: what is there is what the log says: nothing more, nothing older.

use super::case::Case;
use super::finding::{Finding, Violation};
use crate::history::recording::Final;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

pub const DURABILITY: &str = "durability";
pub const SAME_STATE: &str = "same-state";
pub const END_STATE: &str = "end-state";
const DURABILITY_PROMISE: &str = "No acknowledged write is lost, on any member.";
const SAME_STATE_PROMISE: &str = "In the end all members hold the same.";
const END_STATE_PROMISE: &str = "In the end there is exactly what the history makes.";
const SHOWN: usize = 3;

pub fn judge(case: &Case<'_>) -> Vec<Finding> {
    let finale = &case.recording.finale;
    if finale.is_empty() {
        let why = "the members' last state is not known";
        return vec![
            Finding::not_applicable(DURABILITY, DURABILITY_PROMISE, why),
            Finding::not_applicable(SAME_STATE, SAME_STATE_PROMISE, why),
            Finding::not_applicable(END_STATE, END_STATE_PROMISE, why),
        ];
    }
    vec![
        durability(case, finale),
        same_state(finale),
        end_state(case, finale),
    ]
}

/// The newest acknowledged change of each key: (revision, operation).
fn acknowledged(case: &Case<'_>) -> FxHashMap<usize, (i64, usize)> {
    let mut newest: FxHashMap<usize, (i64, usize)> = FxHashMap::default();
    for revision in &case.log.revisions {
        if let Some(operation) = revision.operation {
            for key in case.log.changed(revision) {
                newest.insert(*key, (revision.revision, operation));
            }
        }
    }
    newest
}

fn durability(case: &Case<'_>, finale: &[Final]) -> Finding {
    let newest = acknowledged(case);
    let (mut evaluated, mut violations) = (0, Vec::new());
    for last in finale {
        let state: FxHashMap<&str, i64> = last
            .state
            .iter()
            .map(|pair| (pair.key.as_str(), pair.mod_revision))
            .collect();
        for (key, (at, operation)) in &newest {
            let name = case.log.keys.name(*key);
            let versions = case.log.history(*key);
            // Whether it was deleted by a change after it, acknowledged or not.
            let end = versions.last().filter(|version| version.revision >= *at);
            let there = state.get(name).copied();
            evaluated += 1;
            let fine = match (end.map(|version| version.value.is_some()), there) {
                (_, Some(there)) => there >= *at && end.is_none_or(|end| end.value.is_some()),
                (Some(true) | None, None) => case.log.has_gap(*at + 1, last.revision),
                (Some(false), None) => true,
            };
            if !fine && violations.len() < SHOWN {
                violations.push(lost(case, last, name, *at, *operation, there));
            }
        }
    }
    let summary = format!("{} keys on {} members", newest.len(), finale.len());
    Finding::of(
        DURABILITY,
        DURABILITY_PROMISE,
        evaluated,
        summary,
        violations,
    )
}

fn lost(
    case: &Case<'_>,
    last: &Final,
    key: &str,
    at: i64,
    operation: usize,
    there: Option<i64>,
) -> Violation {
    let what = case.operation(operation);
    let who = what.map_or("somebody", |what| what.client.as_str());
    let call = what.map(|what| what.call.to_string()).unwrap_or_default();
    let found = match there {
        Some(there) => format!("a value of revision {there}"),
        None => "nothing".to_owned(),
    };
    Violation {
        title: format!("An acknowledged write of {key} is lost on n{}", last.node),
        explanation: format!(
            "{who} was told that \"{call}\" was done at revision {at}; at the end n{} has {found}",
            last.node
        ),
        contradicts: format!("{key} written at revision {at}"),
        operations: vec![operation],
        offender: Some(operation),
        key: Some(key.to_owned()),
        at: what.map(|what| what.completed),
        ..Violation::default()
    }
}

fn same_state(finale: &[Final]) -> Finding {
    let (mut evaluated, mut violations) = (0, Vec::new());
    let differ = |title: String, explanation: String| Violation {
        title,
        explanation,
        contradicts: "members that applied the same log are the same".to_owned(),
        ..Violation::default()
    };
    if let Some((first, others)) = finale.split_first() {
        for other in others
            .iter()
            .filter(|other| other.revision == first.revision)
        {
            evaluated += 1;
            let mine: BTreeMap<&str, _> = first
                .state
                .iter()
                .map(|pair| (pair.key.as_str(), pair))
                .collect();
            let theirs: BTreeMap<&str, _> = other
                .state
                .iter()
                .map(|pair| (pair.key.as_str(), pair))
                .collect();
            let mut keys = mine.keys().chain(theirs.keys());
            let odd = keys.find(|key| mine.get(*key) != theirs.get(*key));
            if let Some(key) = odd {
                let words = |pair: Option<&&crate::history::call::Pair>| {
                    pair.map_or("nothing".to_owned(), |pair| format!("{pair:?}"))
                };
                violations.push(differ(
                    format!("n{} and n{} differ in {key}", first.node, other.node),
                    format!("{} and {}", words(mine.get(key)), words(theirs.get(key))),
                ));
            }
        }
    }
    let mut hashes: BTreeMap<u64, &Final> = BTreeMap::new();
    for last in finale.iter().filter(|last| !last.hash.is_empty()) {
        evaluated += 1;
        let first = hashes.entry(last.hashed_at).or_insert(last);
        if first.hash != last.hash {
            violations.push(differ(
                format!("n{} and n{} have different hashes", first.node, last.node),
                format!("at {}: {} and {}", last.hashed_at, first.hash, last.hash),
            ));
        }
    }
    violations.truncate(SHOWN);
    let summary = format!(
        "{} members, {} positions of hashes",
        finale.len(),
        hashes.len()
    );
    Finding::of(
        SAME_STATE,
        SAME_STATE_PROMISE,
        evaluated,
        summary,
        violations,
    )
}

fn end_state(case: &Case<'_>, finale: &[Final]) -> Finding {
    let (mut evaluated, mut unchecked, mut violations) = (0_u64, 0_u64, Vec::new());
    for last in finale {
        let state: FxHashMap<&str, _> = last
            .state
            .iter()
            .map(|pair| (pair.key.as_str(), pair))
            .collect();
        for key in 0..case.log.keys.len() {
            let name = case.log.keys.name(key);
            let Ok(expected) = case.log.at(key, last.revision) else {
                unchecked += 1;
                continue;
            };
            evaluated += 1;
            let there = state.get(name);
            let fine = match (&expected, there) {
                (None, None) => true,
                (Some(expected), Some(there)) => expected.is(there),
                _ => false,
            };
            if !fine && violations.len() < SHOWN {
                let log = expected.map_or(format!("{name} not there"), |view| view.to_string());
                let operation =
                    expected.and_then(|view| super::oracle::writer(case, view.mod_revision));
                violations.push(Violation {
                    title: format!(
                        "At the end n{} holds another {name} than the history makes",
                        last.node
                    ),
                    explanation: format!(
                        "at revision {} it has {}; the log has {log}",
                        last.revision,
                        there.map_or("nothing".to_owned(), ToString::to_string)
                    ),
                    contradicts: log,
                    operations: operation.into_iter().collect(),
                    offender: operation,
                    key: Some(name.to_owned()),
                    ..Violation::default()
                });
            }
        }
    }
    let mut summary = format!("{evaluated} keys of {} members", finale.len());
    if unchecked > 0 {
        summary.push_str(&format!("; {unchecked} could not be checked"));
    }
    Finding::of(END_STATE, END_STATE_PROMISE, evaluated, summary, violations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::call::{Call, Txn};
    use crate::history::recording::Recording;
    use crate::judge::finding::Verdict;
    use crate::judge::imagined::Imagined;

    fn recording() -> Recording {
        let mut store = Imagined::new();
        store.put("register.0", "register/a", "1");
        store.put("register.0", "register/b", "1");
        store.delete("register.0", "register/b");
        store.unknown("register.0", Call::Txn(Txn::put("register/a", "2")), true);
        store.end()
    }

    fn failed(recording: &Recording) -> Vec<String> {
        let findings = judge(&Case::new(recording)).into_iter();
        let failed = findings.filter(|one| one.verdict == Verdict::Failed);
        failed.map(|one| one.judge).collect()
    }

    #[test]
    fn a_right_end_passes() {
        assert_eq!(failed(&recording()), [] as [String; 0]);
    }

    #[test]
    fn a_lost_write_on_one_member_fails() {
        let mut recording = recording();
        recording.finale[1].state.clear();
        assert_eq!(failed(&recording), [DURABILITY, SAME_STATE, END_STATE]);
    }

    #[test]
    fn an_old_value_on_all_members_fails() {
        let mut recording = recording();
        recording.finale.truncate(1);
        let pair = &mut recording.finale[0].state[0];
        (pair.value, pair.mod_revision) = ("0".into(), 1);
        assert_eq!(failed(&recording), [DURABILITY, END_STATE]);
    }

    #[test]
    fn a_deleted_key_that_is_back_fails() {
        let mut recording = recording();
        for last in &mut recording.finale {
            let mut pair = last.state[0].clone();
            (pair.key, pair.mod_revision) = ("register/b".into(), 3);
            last.state.push(pair);
        }
        assert_eq!(failed(&recording), [DURABILITY, END_STATE]);
    }

    #[test]
    fn another_hash_at_the_same_position_fails() {
        let mut recording = recording();
        recording.finale[2].hash = "other".into();
        assert_eq!(failed(&recording), [SAME_STATE]);
        recording.finale[2].hashed_at = 11;
        assert_eq!(failed(&recording), [] as [String; 0]);
    }
}

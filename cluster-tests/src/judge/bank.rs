//! The bank: money moves, and none is made or lost.
//!
//! Accounts are opened by one transaction; each transfer takes from one account and gives to another in
//! one transaction. So whoever reads all accounts, now or as they were at an older revision, from the
//! newest member or from one that lags, must find the same total. A snapshot that is torn across a
//! transfer shows another. The oracle would find that too; this judge needs no log, no revisions and no
//! watchers for it, only sums.

use super::case::Case;
use super::finding::{Finding, Violation};
use crate::history::call::{Answer, Call, Done, Pair};
use crate::history::operation::Operation;
use crate::workload::Workload;
use crate::workload::bank::{ACCOUNTS, BALANCE};

pub const NAME: &str = "bank";
const PROMISE: &str = "Money is neither made nor lost, whenever and wherever one counts it.";
const PREFIX: &str = "bank/";
const SHOWN: usize = 3;

pub fn judge(case: &Case<'_>) -> Vec<Finding> {
    if !case.ran(Workload::Bank) {
        return vec![Finding::not_applicable(NAME, PROMISE, "no bank was opened")];
    }
    let total = i64::try_from(ACCOUNTS).unwrap_or(0) * BALANCE;
    let (mut counted, mut past, mut violations) = (0, 0, Vec::new());
    for (number, operation) in case.of(Workload::Bank) {
        for (revision, pairs) in counts(operation) {
            // Before the bank is opened there is nothing.
            if pairs.is_empty() {
                continue;
            }
            counted += 1;
            past += u64::from(revision != 0);
            let sum = sum(pairs);
            let whole = pairs.len() == ACCOUNTS;
            if (!whole || sum != Some(total)) && violations.len() < SHOWN {
                violations.push(violation(case, number, operation, revision, pairs, total));
            }
        }
    }
    for last in &case.recording.finale {
        let pairs: Vec<&Pair> = last
            .state
            .iter()
            .filter(|pair| pair.key.starts_with(PREFIX))
            .collect();
        let sum: i64 = pairs
            .iter()
            .filter_map(|pair| pair.value.parse::<i64>().ok())
            .sum();
        if !pairs.is_empty() && sum != total && violations.len() < SHOWN {
            violations.push(Violation {
                title: format!("At the end n{} has {sum} in all accounts", last.node),
                explanation: format!(
                    "there were {total} at the beginning, and transfers keep them"
                ),
                contradicts: format!("{total} in {ACCOUNTS} accounts"),
                ..Violation::default()
            });
        }
    }
    let summary = format!("all accounts counted {counted} times, {past} of them as they had been");
    vec![Finding::of(NAME, PROMISE, counted, summary, violations)]
}

fn sum(pairs: &[Pair]) -> Option<i64> {
    let mut sum = 0;
    for pair in pairs {
        sum += pair.value.parse::<i64>().ok()?;
    }
    Some(sum)
}

/// Reads of all accounts in an answer, with the revision that was asked for.
fn counts(operation: &Operation) -> Vec<(i64, &[Pair])> {
    match (&operation.call, operation.answer()) {
        (Call::Range(range), Some((_, Answer::Range(found)))) if is_all(range) => {
            vec![(range.revision, found.kvs.as_slice())]
        }
        (Call::Txn(txn), Some((_, Answer::Txn { succeeded, done }))) => {
            let acts = if *succeeded {
                &txn.then
            } else {
                &txn.otherwise
            };
            let both = acts.iter().zip(done);
            both.filter_map(|(act, done)| match (act, done) {
                (crate::history::call::Act::Get(range), Done::Get(found)) if is_all(range) => {
                    Some((range.revision, found.kvs.as_slice()))
                }
                _ => None,
            })
            .collect()
        }
        _ => Vec::new(),
    }
}

fn is_all(range: &crate::history::call::Range) -> bool {
    range.key == PREFIX && range.end.is_some() && range.limit == 0
}

fn violation(
    case: &Case<'_>,
    number: usize,
    operation: &Operation,
    revision: i64,
    pairs: &[Pair],
    total: i64,
) -> Violation {
    let words: Vec<String> = pairs
        .iter()
        .map(|pair| format!("{}={}", pair.key, pair.value))
        .collect();
    let newest = pairs
        .iter()
        .map(|pair| pair.mod_revision)
        .max()
        .unwrap_or(0);
    // The last transfers that it shows.
    let mut shown: Vec<i64> = pairs.iter().map(|pair| pair.mod_revision).collect();
    shown.sort_unstable();
    let mut operations: Vec<usize> = shown
        .iter()
        .rev()
        .take(3)
        .filter_map(|at| super::oracle::writer(case, *at))
        .collect();
    operations.push(number);
    let at = if revision == 0 {
        String::new()
    } else {
        format!(" as of revision {revision}")
    };
    let found = sum(pairs).map_or("no number".to_owned(), |sum| sum.to_string());
    Violation {
        title: format!("A count of the bank comes to {found} instead of {total}"),
        explanation: format!(
            "n{} told {}{at}: {} (newest of revision {newest})",
            operation.node,
            operation.client,
            words.join(", ")
        ),
        contradicts: format!("{total} in {ACCOUNTS} accounts, at every revision"),
        operations: case.in_order(operations),
        offender: Some(number),
        at: Some(operation.completed),
        ..Violation::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::call::{Act, Range, Txn};
    use crate::judge::finding::Verdict;
    use crate::judge::imagined::{Imagined, found_in, verdict};

    fn account(number: usize, balance: i64) -> Act {
        let (key, value) = (format!("bank/{number}"), balance.to_string());
        Act::Put {
            key,
            value,
            lease: 0,
        }
    }

    fn put(acts: Vec<Act>) -> Call {
        Call::Txn(Txn {
            then: acts,
            ..Txn::default()
        })
    }

    fn read(revision: i64) -> Call {
        Call::Range(Range {
            revision,
            ..Range::prefix(PREFIX)
        })
    }

    fn transfers(torn: bool) -> Verdict {
        let mut store = Imagined::new();
        store.call("bank.1", read(0));
        store.call(
            "bank.0",
            put((0..ACCOUNTS).map(|one| account(one, BALANCE)).collect()),
        );
        store.call(
            "bank.0",
            put(vec![account(0, BALANCE - 5), account(1, BALANCE + 5)]),
        );
        let now = store.call("bank.1", read(0));
        store.call("bank.1", read(2));
        let mut recording = store.end();
        if torn {
            found_in(&mut recording, now).kvs[1].value = BALANCE.to_string();
        }
        verdict(judge, NAME, &recording)
    }

    #[test]
    fn whole_counts_pass_and_torn_ones_fail() {
        assert_eq!(transfers(false), Verdict::Passed);
        assert_eq!(transfers(true), Verdict::Failed);
    }

    #[test]
    fn half_a_bank_fails() {
        let mut store = Imagined::new();
        store.call(
            "bank.0",
            put((0..ACCOUNTS - 1).map(|one| account(one, BALANCE)).collect()),
        );
        store.call("bank.1", read(0));
        assert_eq!(verdict(judge, NAME, &store.end()), Verdict::Failed);
    }
}

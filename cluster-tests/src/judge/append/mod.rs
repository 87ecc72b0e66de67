//! Lists that grow: an order of transactions, found from what they saw.
//!
//! An element is appended once in a run, and lists only grow, so a list read tells which appends came
//! before, in which order (Kingsbury and Alvaro, "Elle", 2020). From that, between transactions:
//!
//! - *ww*: this append comes next after that one;
//! - *wr*: this read saw that append last;
//! - *rw*: this read did not see that append, which comes next after what it saw;
//! - *rt*: this was asked after that was answered.
//!
//! If the store is strictly serializable, "comes before" has no circle ([`cycles`]). Beside circles there
//! are things that no order can have at all: two reads of which neither begins with the other
//! (*incompatible orders*), an element twice, one that nobody appended or whose append was refused
//! (Adya's G1a), one that was acknowledged and is missing from a later read (a *lost update*).
//!
//! Revisions are not looked at.

mod cycles;

use super::case::Case;
use super::finding::{Finding, Violation};
use crate::history::call::{Act, Answer, Call, Done, Found};
use crate::history::operation::{Operation, Outcome};
use crate::workload::Workload;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeMap;

pub const NAME: &str = "append";
const PROMISE: &str = "Transactions over several keys happen in one order, which time respects.";
const SHOWN: usize = 4;

/// What a transaction saw of a list and what it added.
#[derive(Debug)]
struct Access<'a> {
    list: &'a str,
    saw: Option<Vec<&'a str>>,
    adds: Option<&'a str>,
}

#[derive(Debug)]
struct Transaction<'a> {
    number: usize,
    asked: u64,
    /// None: without an answer; it counts where somebody saw what it added.
    answered: Option<u64>,
    accesses: Vec<Access<'a>>,
}

pub fn judge(case: &Case<'_>) -> Vec<Finding> {
    if !case.ran(Workload::Append) {
        return vec![Finding::not_applicable(
            NAME,
            PROMISE,
            "nothing was appended",
        )];
    }
    let mut violations = Vec::new();
    let transactions = transactions(case);
    let refused = refused(case);
    let orders = orders(case, &transactions, &refused, &mut violations);
    lost(case, &transactions, &mut violations);
    let graph = cycles::Graph::new(&transactions, &orders);
    let edges = graph.edges();
    if let Some(circle) = graph.circle() {
        violations.push(circular(case, &transactions, &circle));
    }
    violations.truncate(SHOWN);
    let summary = format!(
        "{} transactions on {} lists, {edges} times one came before another; no circle",
        transactions.len(),
        orders.len()
    );
    let evaluated = transactions.len() as u64;
    vec![Finding::of(NAME, PROMISE, evaluated, summary, violations)]
}

fn elements(value: &str) -> Vec<&str> {
    value
        .split(',')
        .filter(|element| !element.is_empty())
        .collect()
}

fn seen(found: &Found) -> Vec<&str> {
    found
        .kvs
        .first()
        .map_or(Vec::new(), |pair| elements(&pair.value))
}

fn transactions<'a>(case: &Case<'a>) -> Vec<Transaction<'a>> {
    let of = case.of(Workload::Append);
    of.filter_map(|(number, operation)| transaction(number, operation))
        .collect()
}

fn transaction(number: usize, operation: &Operation) -> Option<Transaction<'_>> {
    let Call::Txn(txn) = &operation.call else {
        return None;
    };
    let (acts, done, answered) = match &operation.outcome {
        Outcome::Ok {
            answer: Answer::Txn { succeeded, done },
            ..
        } => {
            let acts = if *succeeded {
                &txn.then
            } else {
                &txn.otherwise
            };
            (acts, done.as_slice(), Some(operation.completed))
        }
        Outcome::Unknown(_) => (&txn.then, &[] as &[Done], None),
        _ => return None,
    };
    let mut accesses = Vec::new();
    for (at, act) in acts.iter().enumerate() {
        match (act, done.get(at)) {
            (Act::Get(range), Some(Done::Get(found))) => accesses.push(Access {
                list: &range.key,
                saw: Some(seen(found)),
                adds: None,
            }),
            (Act::Put { key, value, .. }, _) => {
                // Its comparison says that the list was what it had read.
                let mut all = elements(value);
                let adds = all.pop();
                accesses.push(Access {
                    list: key,
                    saw: Some(all),
                    adds,
                });
            }
            _ => {}
        }
    }
    (!accesses.is_empty()).then_some(Transaction {
        number,
        asked: operation.invoked,
        answered,
        accesses,
    })
}

/// Elements whose append is known not to have been done: refused, or its comparison failed.
fn refused<'a>(case: &Case<'a>) -> FxHashMap<&'a str, usize> {
    let mut refused = FxHashMap::default();
    for (number, operation) in case.of(Workload::Append) {
        let Call::Txn(txn) = &operation.call else {
            continue;
        };
        let undone = matches!(
            &operation.outcome,
            Outcome::Refused(_)
                | Outcome::Ok {
                    answer: Answer::Txn {
                        succeeded: false,
                        ..
                    },
                    ..
                }
        );
        for act in txn.then.iter().filter(|_| undone) {
            if let Act::Put { value, .. } = act
                && let Some(element) = elements(value).pop()
            {
                refused.insert(element, number);
            }
        }
    }
    refused
}

/// The longest version of each list, with the transaction that added each element.
fn orders<'a>(
    case: &Case<'_>,
    transactions: &[Transaction<'a>],
    refused: &FxHashMap<&'a str, usize>,
    violations: &mut Vec<Violation>,
) -> BTreeMap<&'a str, Vec<usize>> {
    let mut adders: FxHashMap<&str, usize> = FxHashMap::default();
    for (at, transaction) in transactions.iter().enumerate() {
        for access in &transaction.accesses {
            if let Some(element) = access.adds {
                adders.insert(element, at);
            }
        }
    }
    let mut longest: BTreeMap<&str, (&[&str], usize)> = BTreeMap::new();
    // Versions that were seen, not those that an unanswered append would make.
    for transaction in transactions.iter().filter(|one| one.answered.is_some()) {
        for access in &transaction.accesses {
            let Some(saw) = &access.saw else { continue };
            let entry = longest
                .entry(access.list)
                .or_insert((saw, transaction.number));
            let (short, long) = if saw.len() < entry.0.len() {
                (saw.as_slice(), entry.0)
            } else {
                (entry.0, saw.as_slice())
            };
            if !long.starts_with(short) {
                let why = format!(
                    "{} was seen as [{}] and as [{}]",
                    access.list,
                    saw.join(" "),
                    entry.0.join(" ")
                );
                let operations = vec![entry.1, transaction.number];
                violations.push(impossible(
                    case,
                    "A list is seen in two orders",
                    why,
                    operations,
                    access.list,
                ));
            }
            let mut once = FxHashSet::default();
            if let Some(twice) = saw.iter().find(|element| !once.insert(**element)) {
                let why = format!("{twice} is in {} twice", access.list);
                let operations = vec![transaction.number];
                violations.push(impossible(
                    case,
                    "An element is there twice",
                    why,
                    operations,
                    access.list,
                ));
            }
            if saw.len() > entry.0.len() {
                *entry = (saw, transaction.number);
            }
        }
    }
    let mut orders = BTreeMap::new();
    for (list, (elements, seen_by)) in longest {
        let mut order = Vec::new();
        for element in elements {
            match adders.get(element) {
                Some(at) if !refused.contains_key(element) => order.push(*at),
                _ => {
                    let by = refused.get(element).copied();
                    let title = if by.is_some() {
                        "An append that was not done is seen"
                    } else {
                        "An element that nobody appended"
                    };
                    let why = format!("{element} is in {list}");
                    let operations = by.into_iter().chain([seen_by]).collect();
                    violations.push(impossible(case, title, why, operations, list));
                }
            }
        }
        orders.insert(list, order);
    }
    orders
}

fn impossible(
    case: &Case<'_>,
    title: &str,
    explanation: String,
    operations: Vec<usize>,
    list: &str,
) -> Violation {
    let offender = operations.last().copied();
    Violation {
        title: title.to_owned(),
        contradicts: explanation.clone(),
        explanation,
        operations: case.in_order(operations),
        offender,
        key: Some(list.to_owned()),
        at: offender
            .and_then(|number| case.operation(number))
            .map(|one| one.completed),
        ..Violation::default()
    }
}

/// Acknowledged, and not in what was read after that.
fn lost(case: &Case<'_>, transactions: &[Transaction<'_>], violations: &mut Vec<Violation>) {
    let mut added: FxHashMap<&str, Vec<(u64, &str, usize)>> = FxHashMap::default();
    for transaction in transactions {
        for access in &transaction.accesses {
            if let (Some(element), Some(at)) = (access.adds, transaction.answered) {
                let list = added.entry(access.list).or_default();
                list.push((at, element, transaction.number));
            }
        }
    }
    for transaction in transactions.iter().filter(|one| one.answered.is_some()) {
        for access in &transaction.accesses {
            let Some(saw) = &access.saw else { continue };
            let before = added.get(access.list).into_iter().flatten();
            let missing = before
                .filter(|(at, ..)| *at < transaction.asked)
                .find(|(_, element, _)| !saw.contains(element));
            if let Some((_, element, number)) = missing {
                let why = format!(
                    "{element} was appended to {} and acknowledged before this was asked, which saw [{}]",
                    access.list,
                    saw.join(" ")
                );
                let operations = vec![*number, transaction.number];
                violations.push(impossible(
                    case,
                    "An acknowledged append is missing",
                    why,
                    operations,
                    access.list,
                ));
                return;
            }
        }
    }
}

fn circular(
    case: &Case<'_>,
    transactions: &[Transaction<'_>],
    circle: &[(usize, cycles::Edge)],
) -> Violation {
    let number = |at: usize| transactions.get(at).map_or(0, |one| one.number);
    let steps: Vec<String> = circle
        .iter()
        .map(|(at, edge)| {
            let operation = case.operation(number(*at));
            let who = operation.map_or("somebody", |operation| operation.client.as_str());
            let call = operation.map(|operation| operation.call.to_string());
            format!("{who} ({}) {}", call.unwrap_or_default(), edge.in_words())
        })
        .collect();
    let numbers: Vec<usize> = circle.iter().map(|(at, _)| number(*at)).collect();
    let offender = numbers.last().copied();
    Violation {
        title: format!(
            "{} transactions each come before the next, in a circle",
            circle.len()
        ),
        explanation: format!("{}, which is the first", steps.join(" ")),
        contradicts: "one order of all transactions".to_owned(),
        operations: case.in_order(numbers),
        offender,
        at: offender
            .and_then(|number| case.operation(number))
            .map(|one| one.completed),
        ..Violation::default()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

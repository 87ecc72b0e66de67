//! Linearizable: every key behaves as if its operations happened one at a time, each at some moment
//! between its question and its answer.
//!
//! This judge trusts nothing but requests, answers and clocks: it knows no revisions. Because keys are
//! independent objects, a history is linearizable exactly if each key's is (Herlihy and Wing's locality;
//! P-compositionality), so each key is searched for itself. A write whose outcome is not known may take
//! effect at any moment after it was asked, or never. If nobody ever saw its value, then any order with
//! it is one without it, and it is left out: such writes are what makes the search explode.
//!
//! Reads of several keys and of older revisions are left to the oracle; leaving out reads accuses nobody
//! wrongly. A key that was ever written together with another, or through a lease, or under comparisons
//! of revisions, is not a register, and is left out whole.
//!
//! The search has a budget, counted in steps and not in time, so that a judgement can be repeated. Over
//! budget is *unknown*, and unknown fails the run. What fails is made small before it is shown
//! ([`shrink`]): a stale read among ten thousand operations comes out as two or three of them.
//!
//! | file | idea |
//! |---|---|
//! | [`register`] | what a call is to its key |
//! | [`search`] | is there an order? Wing, Gong and Lowe |
//! | [`shrink`] | fewer operations that still have none |

pub mod register;
pub mod search;
pub mod shrink;

use super::case::Case;
use super::finding::{Finding, Violation};
use crate::history::call::{Act, Call};
use crate::history::operation::{Operation, Outcome};
use register::{ABSENT, Step, Values};
use rustc_hash::FxHashSet;
use search::{Calls, Span, State};
use std::collections::BTreeMap;

pub const NAME: &str = "linearizable";
const PROMISE: &str = "Every read shows the newest acknowledged value, as if there were one copy.";

/// Steps of the search for one key, and for all. Ten million take about a second in a release build;
/// a healthy key takes a few for each operation.
const KEY_BUDGET: u64 = 20_000_000;
const BUDGET: u64 = 100_000_000;

/// So many keys are shown.
const SHOWN: usize = 5;

pub fn judge(case: &Case<'_>) -> Vec<Finding> {
    vec![find(case, KEY_BUDGET, BUDGET)]
}

fn find(case: &Case<'_>, key_budget: u64, mut budget: u64) -> Finding {
    let registers = registers(&case.recording.operations);
    let evaluated = registers.values().map(|one| one.steps.len() as u64).sum();
    if evaluated == 0 {
        return Finding::not_applicable(NAME, PROMISE, "nobody used a key as a register");
    }
    let mut violations = Vec::new();
    let mut over = Vec::new();
    let mut most = 0.0_f64;
    for (key, register) in &registers {
        let allowed = key_budget.min(budget);
        let mut left = allowed;
        let outcome = register.search(&mut left);
        let used = allowed - left;
        budget -= used;
        most = most.max(used as f64 / register.steps.len().max(1) as f64);
        match outcome {
            search::Outcome::Legal => {}
            search::Outcome::OverBudget => over.push((*key).to_owned()),
            search::Outcome::Illegal { longest, stuck } => {
                if violations.len() < SHOWN {
                    violations.push(register.violation(case, key, &longest, stuck));
                }
            }
        }
    }
    let summary = format!("{evaluated} operations on {} keys", registers.len());
    if violations.is_empty() && !over.is_empty() {
        let why = format!(
            "the search gave up after {key_budget} steps on {}",
            over.join(", ")
        );
        return Finding::unknown(NAME, PROMISE, evaluated, why);
    }
    let margin = format!("at most {most:.1} steps of the search for an operation");
    Finding::of(NAME, PROMISE, evaluated, summary, violations).with_margin(margin)
}

/// The history of one key.
#[derive(Debug, Default)]
pub struct Register<'a> {
    values: Values<'a>,
    steps: Vec<Step>,
    spans: Vec<Span>,
    /// By step: its number in the recording.
    numbers: Vec<usize>,
}

/// By key. Steps are in the order of invocation.
fn registers(operations: &[Operation]) -> BTreeMap<&str, Register<'_>> {
    let mut registers: BTreeMap<&str, Register<'_>> = BTreeMap::new();
    let mut unfit = Unfit::default();
    let mut by_time: Vec<(usize, &Operation)> = operations.iter().enumerate().collect();
    by_time.sort_by_key(|(_, operation)| operation.invoked);
    for (number, operation) in by_time {
        if matches!(operation.outcome, Outcome::Refused(_)) {
            continue;
        }
        let leases = unfit.note_leases(&operation.call);
        let step = register::only_key(&operation.call)
            .filter(|_| !leases)
            .and_then(|key| {
                let register = registers.entry(key).or_default();
                let step = register::step(operation, &mut register.values)?;
                register.steps.push(step);
                register
                    .spans
                    .push((operation.invoked, operation.settled()));
                register.numbers.push(number);
                Some(())
            });
        if step.is_none() {
            unfit.note(&operation.call);
        }
    }
    registers.retain(|key, register| {
        !unfit.covers(key)
            && register
                .steps
                .iter()
                .any(|step| step.written().next().is_some())
    });
    for register in registers.values_mut() {
        register.leave_out_what_nobody_saw();
    }
    registers
}

/// Keys that were written in ways that a register does not know.
#[derive(Default)]
struct Unfit<'a> {
    keys: FxHashSet<&'a str>,
    ranges: Vec<&'a crate::history::call::Range>,
}

impl<'a> Unfit<'a> {
    fn note_leases(&mut self, call: &'a Call) -> bool {
        let Call::Txn(txn) = call else { return false };
        let mut any = false;
        for act in txn.then.iter().chain(&txn.otherwise) {
            if let Act::Put { key, lease, .. } = act
                && *lease != 0
            {
                self.keys.insert(key);
                any = true;
            }
        }
        any
    }

    fn note(&mut self, call: &'a Call) {
        let Call::Txn(txn) = call else { return };
        for act in txn.then.iter().chain(&txn.otherwise) {
            match act {
                Act::Put { key, .. } => {
                    self.keys.insert(key);
                }
                Act::Delete(range) if !self.ranges.contains(&range) => self.ranges.push(range),
                Act::Delete(_) | Act::Get(_) => {}
            }
        }
    }

    fn covers(&self, key: &str) -> bool {
        self.keys.contains(key) || self.ranges.iter().any(|range| range.contains(key))
    }
}

impl Register<'_> {
    fn search(&self, budget: &mut u64) -> search::Outcome {
        let apply = |call: usize, state: State| self.steps.get(call)?.apply(state, &self.values);
        let hides: Vec<bool> = self.steps.iter().map(Step::hides).collect();
        let calls = Calls {
            spans: &self.spans,
            twins: &self.twins(),
            hides: &hides,
            initial: ABSENT,
            apply: &apply,
        };
        search::search(calls, budget)
    }

    /// By step that was not answered: the one before it, of those that ask the same.
    fn twins(&self) -> Vec<Option<usize>> {
        let mut last: Vec<usize> = Vec::new();
        let mut twins = vec![None; self.steps.len()];
        let unanswered = self.steps.iter().zip(&self.spans).zip(&mut twins);
        for (number, ((step, (_, settled)), twin)) in unanswered.enumerate() {
            if *settled != u64::MAX {
                continue;
            }
            let same = last
                .iter_mut()
                .find(|other| self.steps.get(**other) == Some(step));
            match same {
                Some(other) => *twin = Some(std::mem::replace(other, number)),
                None => last.push(number),
            }
        }
        twins
    }

    /// Unknown writes of values that no answer shows. Safe where every answer that depends on the state
    /// shows the state: else a comparison may have failed because of one of them.
    fn leave_out_what_nobody_saw(&mut self) {
        if self.steps.iter().any(Step::is_blind) {
            return;
        }
        let seen: FxHashSet<State> = self.steps.iter().filter_map(Step::found).collect();
        let keep: Vec<bool> = self
            .steps
            .iter()
            .zip(&self.spans)
            .map(|(step, (_, settled))| {
                *settled != u64::MAX || step.written().any(|value| seen.contains(&value))
            })
            .collect();
        self.retain(&keep);
    }

    fn retain(&mut self, keep: &[bool]) {
        fn sift<T>(list: &mut Vec<T>, keep: &[bool]) {
            let mut keep = keep.iter();
            list.retain(|_| keep.next().copied().unwrap_or(true));
        }
        sift(&mut self.steps, keep);
        sift(&mut self.spans, keep);
        sift(&mut self.numbers, keep);
    }

    fn number(&self, step: usize) -> usize {
        self.numbers.get(step).copied().unwrap_or_default()
    }

    fn violation(&self, case: &Case<'_>, key: &str, longest: &[usize], stuck: usize) -> Violation {
        let few = shrink::shrink(self, stuck);
        let mut state = ABSENT;
        for call in longest {
            state = self
                .steps
                .get(*call)
                .and_then(|step| step.apply(state, &self.values))
                .unwrap_or(state);
        }
        let number = self.number(stuck);
        let offender = case.operation(number);
        let value = self.values.name(state).unwrap_or("nothing");
        let told = self.steps.get(stuck).and_then(Step::found);
        let told = told.map(|told| self.values.name(told).unwrap_or("nothing"));
        let who = offender.map_or("", |operation| operation.client.as_str());
        let node = offender.map_or(0, |operation| operation.node);
        let explanation = match told {
            Some(told) => format!(
                "{who} was told {told} by n{node}, but no order of the operations on {key} that \
                 respects their times leads there: {} of {} can be ordered",
                longest.len(),
                self.steps.len()
            ),
            None => format!(
                "the answer that n{node} gave {who} fits no order of the operations on {key}: {} of \
                 {} can be ordered",
                longest.len(),
                self.steps.len()
            ),
        };
        let title = match (offender.map(|operation| operation.call.writes()), told) {
            (Some(false), Some(told)) => {
                format!("A read of {key} shows {told}, which cannot be the newest value")
            }
            _ => format!("An answer about {key} that no order of the operations explains"),
        };
        Violation {
            title,
            explanation,
            contradicts: format!("{key} = {value} after the longest order that works"),
            operations: case.in_order(few.into_iter().map(|step| self.number(step)).collect()),
            offender: Some(number),
            watch: None,
            key: Some(key.to_owned()),
            at: offender.map(|operation| operation.completed),
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

#[cfg(test)]
#[path = "golden.rs"]
mod golden;

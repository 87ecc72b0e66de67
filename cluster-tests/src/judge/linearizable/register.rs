//! One key as a register: what each call expects of it, and what it makes of it.
//!
//! A register is a value or nothing. A step is what a transaction is to one key: comparisons, acts on
//! either branch, and what the client was told of each. Revisions and versions are not looked at, so
//! this judge shares nothing with the oracle; a comparison of a revision with 0 is the question whether
//! the key is there.

use super::search::State;
use crate::history::call::{Act, Answer, Call, Compare, Done, Found, Pair, Relation, Target};
use crate::history::operation::{Operation, Outcome};
use rustc_hash::FxHashMap;

/// Of a key that is not there.
pub const ABSENT: State = 0;

/// Values by number.
#[derive(Debug, Default)]
pub struct Values<'a> {
    numbers: FxHashMap<&'a str, State>,
    names: Vec<&'a str>,
}

impl<'a> Values<'a> {
    fn intern(&mut self, value: &'a str) -> State {
        let next = State::try_from(self.names.len() + 1).unwrap_or(State::MAX);
        let names = &mut self.names;
        *self.numbers.entry(value).or_insert_with(|| {
            names.push(value);
            next
        })
    }

    fn pair(&mut self, pair: Option<&'a Pair>) -> State {
        pair.map_or(ABSENT, |pair| self.intern(&pair.value))
    }

    pub fn name(&self, state: State) -> Option<&'a str> {
        let at = usize::try_from(state).ok()?.checked_sub(1)?;
        self.names.get(at).copied()
    }
}

/// What a call is to its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    compares: Vec<Test>,
    /// As the client was told; none: it was not told.
    succeeded: Option<bool>,
    then: Vec<Micro>,
    otherwise: Vec<Micro>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Value(Relation, State),
    IsThere(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Micro {
    /// What was there before it, as the client was told.
    saw: Option<State>,
    /// What is there after it.
    writes: Option<State>,
}

impl Step {
    /// The register after this step; none: it cannot be next.
    pub fn apply(&self, state: State, values: &Values<'_>) -> Option<State> {
        let holds = self.compares.iter().all(|test| test.holds(state, values));
        if self.succeeded.is_some_and(|told| told != holds) {
            return None;
        }
        let acts = if holds { &self.then } else { &self.otherwise };
        acts.iter().try_fold(state, |state, act| {
            let fits = act.saw.is_none_or(|saw| saw == state);
            fits.then(|| act.writes.unwrap_or(state))
        })
    }

    /// Whether it makes the same of any state.
    pub fn hides(&self) -> bool {
        let first = self.then.first();
        let writes_unseen = first.is_some_and(|act| act.saw.is_none() && act.writes.is_some());
        self.compares.is_empty() && writes_unseen
    }

    /// States that it may leave behind.
    pub fn written(&self) -> impl Iterator<Item = State> + '_ {
        let otherwise = self.succeeded != Some(true);
        let then = self.succeeded != Some(false);
        let acts = self.then.iter().filter(move |_| then);
        let acts = acts.chain(self.otherwise.iter().filter(move |_| otherwise));
        acts.filter_map(|act| act.writes)
    }

    /// What it found before it wrote; none: it did not say.
    pub fn found(&self) -> Option<State> {
        let acts = match self.succeeded? {
            true => &self.then,
            false => &self.otherwise,
        };
        let first = acts.first().and_then(|act| act.saw);
        first.or_else(|| {
            let equal = self.compares.iter().find_map(|test| match test {
                Test::Value(Relation::Equal, value) => Some(*value),
                Test::IsThere(false) => Some(ABSENT),
                _ => None,
            });
            equal.filter(|_| self.succeeded == Some(true))
        })
    }

    /// The same write by somebody who was told nothing: whatever has no order with it has none with the
    /// step itself.
    #[must_use]
    pub fn blindfolded(&self) -> Self {
        let last = self.written().last();
        match (self.succeeded, last) {
            (Some(_), Some(writes)) => Self {
                succeeded: Some(true),
                then: vec![Micro {
                    saw: None,
                    writes: Some(writes),
                }],
                ..Self::default()
            },
            _ => self.clone(),
        }
    }

    /// Whether it was told something of the state without being told the state.
    pub fn is_blind(&self) -> bool {
        self.succeeded.is_some() && !self.compares.is_empty() && self.found().is_none()
    }
}

impl Test {
    fn holds(self, state: State, values: &Values<'_>) -> bool {
        match self {
            Self::IsThere(wanted) => wanted == (state != ABSENT),
            Self::Value(relation, value) => {
                if state == ABSENT {
                    return false;
                }
                match relation {
                    Relation::Equal => state == value,
                    Relation::NotEqual => state != value,
                    Relation::Greater => values.name(state) > values.name(value),
                    Relation::Less => values.name(state) < values.name(value),
                }
            }
        }
    }
}

/// The one key that a call is about; none: several, or older states, or none.
pub fn only_key(call: &Call) -> Option<&str> {
    match call {
        Call::Range(range) => {
            let now = range.end.is_none() && range.revision == 0 && !range.serializable;
            now.then_some(range.key.as_str())
        }
        Call::Txn(txn) => {
            let acts = txn.then.iter().chain(&txn.otherwise).map(|act| match act {
                Act::Put { key, .. } => Some(key.as_str()),
                Act::Get(range) | Act::Delete(range) => {
                    let now = range.end.is_none() && range.revision == 0;
                    now.then_some(range.key.as_str())
                }
            });
            let compares = txn
                .compares
                .iter()
                .map(|compare| Some(compare.key.as_str()));
            let mut keys = compares.chain(acts);
            let first = keys.next()??;
            keys.all(|key| key == Some(first)).then_some(first)
        }
        Call::Compact { .. }
        | Call::Grant { .. }
        | Call::Revoke { .. }
        | Call::KeepAlive { .. } => None,
    }
}

/// What an operation on one key is; none: it says nothing about a register of values.
pub fn step<'a>(operation: &'a Operation, values: &mut Values<'a>) -> Option<Step> {
    match (&operation.call, &operation.outcome) {
        (Call::Range(_), Outcome::Ok { answer, .. }) => {
            let Answer::Range(found) = answer else {
                return None;
            };
            let saw = Micro {
                saw: Some(values.pair(found.kvs.first())),
                writes: None,
            };
            Some(Step {
                succeeded: Some(true),
                then: vec![saw],
                ..Step::default()
            })
        }
        (Call::Txn(txn), outcome) => {
            let told = match outcome {
                Outcome::Ok {
                    answer: Answer::Txn { succeeded, done },
                    ..
                } => Some((*succeeded, done.as_slice())),
                Outcome::Unknown(_) if txn.writes() => None,
                _ => return None,
            };
            let compares = txn.compares.iter().map(|one| test(one, values));
            let compares = compares.collect::<Option<Vec<Test>>>()?;
            let of = |branch: bool| {
                let done = told.filter(|(succeeded, _)| *succeeded == branch);
                done.map(|(_, done)| done)
            };
            Some(Step {
                compares,
                succeeded: told.map(|(succeeded, _)| succeeded),
                then: micros(&txn.then, of(true), values),
                otherwise: micros(&txn.otherwise, of(false), values),
            })
        }
        _ => None,
    }
}

fn test<'a>(compare: &'a Compare, values: &mut Values<'a>) -> Option<Test> {
    match &compare.target {
        Target::Value(value) => Some(Test::Value(compare.relation, values.intern(value))),
        Target::ModRevision(0) | Target::CreateRevision(0) | Target::Version(0) => {
            match compare.relation {
                Relation::Equal => Some(Test::IsThere(false)),
                Relation::NotEqual | Relation::Greater => Some(Test::IsThere(true)),
                Relation::Less => None,
            }
        }
        Target::ModRevision(_) | Target::CreateRevision(_) | Target::Version(_) => None,
    }
}

fn micros<'a>(acts: &'a [Act], done: Option<&'a [Done]>, values: &mut Values<'a>) -> Vec<Micro> {
    let first = |found: &'a Found| found.kvs.first();
    let mut micros = Vec::with_capacity(acts.len());
    for (at, act) in acts.iter().enumerate() {
        let saw = done.and_then(|done| done.get(at)).map(|done| match done {
            Done::Put { previous } => values.pair(previous.as_ref()),
            Done::Get(found) => values.pair(first(found)),
            Done::Deleted { previous } => values.pair(previous.first()),
        });
        let writes = match act {
            Act::Put { value, .. } => Some(values.intern(value)),
            Act::Get(_) => None,
            Act::Delete(_) => Some(ABSENT),
        };
        micros.push(Micro { saw, writes });
    }
    micros
}

/// Writes, reads and compare-and-sets as the published histories have them, for the judge's own test.
#[cfg(test)]
pub mod plain {
    use super::{Micro, Relation, State, Step, Test, Values};

    pub fn value<'a>(values: &mut Values<'a>, name: &'a str) -> State {
        values.intern(name)
    }

    pub fn read(saw: State) -> Step {
        Step {
            succeeded: Some(true),
            then: vec![Micro {
                saw: Some(saw),
                writes: None,
            }],
            ..Step::default()
        }
    }

    pub fn write(writes: State) -> Step {
        Step {
            succeeded: Some(true),
            then: vec![Micro {
                saw: None,
                writes: Some(writes),
            }],
            ..Step::default()
        }
    }

    pub fn compare_and_set(from: State, to: State, succeeded: Option<bool>) -> Step {
        Step {
            compares: vec![Test::Value(Relation::Equal, from)],
            succeeded,
            then: write(to).then,
            otherwise: Vec::new(),
        }
    }
}

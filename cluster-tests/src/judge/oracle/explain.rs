//! Every change was asked for.
//!
//! Most revisions were told to the client who made them. Those that were not must have been made by a
//! request that nobody knows the end of, or by a lease that ended. So each needs a cause of its own: an
//! unanswered request whose effect, on the state before, is exactly the change (all of it: a
//! transaction is there whole or not at all), whose comparisons hold there, and which was asked before
//! anybody knew a later revision. No request may be the cause of two: that would be a write that
//! happened twice. Which cause goes with which revision is a matching (Kuhn's augmenting paths; there are
//! few of either).

use super::realtime::Floor;
use super::{EXACTLY_ONCE, EXACTLY_ONCE_PROMISE, SHOWN};
use crate::history::call::{Act, Call, Txn};
use crate::history::operation::Outcome;
use crate::judge::case::Case;
use crate::judge::finding::{Finding, Violation};
use crate::judge::log::Revision;
use crate::judge::log::state::Change;
use crate::workload::Workload;
use crate::workload::probe::PROBE;
use rustc_hash::{FxHashMap, FxHashSet};

/// Requests without an acknowledgement, by what they might have done.
#[derive(Default)]
struct Suspects<'a> {
    /// By key and value of a put.
    puts: FxHashMap<(&'a str, &'a str), Vec<usize>>,
    deletes: Vec<usize>,
}

impl<'a> Suspects<'a> {
    fn note(&mut self, number: usize, txn: &'a Txn) {
        let mut deletes = false;
        for act in txn.then.iter().chain(&txn.otherwise) {
            match act {
                Act::Put { key, value, .. } => {
                    self.puts.entry((key, value)).or_default().push(number);
                }
                Act::Delete(_) => deletes = true,
                Act::Get(_) => {}
            }
        }
        if deletes {
            self.deletes.push(number);
        }
    }

    fn of(&self, changes: &[Change<'a>]) -> &[usize] {
        let put = changes
            .iter()
            .find_map(|(key, put)| put.map(|(value, _)| (*key, value)));
        match put {
            Some(put) => self.puts.get(&put).map_or(&[], Vec::as_slice),
            None => &self.deletes,
        }
    }
}

pub fn finding(case: &Case<'_>, floors: &[Floor]) -> Finding {
    let operations = &case.recording.operations;
    let (mut unknown, mut refused) = (Suspects::default(), Suspects::default());
    for (number, operation) in operations.iter().enumerate() {
        if let Call::Txn(txn) = &operation.call {
            match &operation.outcome {
                Outcome::Ok { .. } => {}
                Outcome::Refused(_) => refused.note(number, txn),
                Outcome::Unknown(_) => unknown.note(number, txn),
            }
        }
    }
    let leased = leased(case);
    let mut unmade: Vec<(&Revision, Vec<usize>)> = Vec::new();
    let (mut expired, mut foreign, mut told) = (0, 0, 0);
    for revision in case.log.revisions.iter().filter(|one| one.whole) {
        if revision.operation.is_some() {
            told += 1;
            continue;
        }
        let changes = changes(case, revision);
        if !changes.iter().any(|(key, _)| is_ours(key)) {
            foreign += 1;
        } else if is_end_of_a_lease(case, &leased, revision) {
            expired += 1;
        } else {
            let may = unknown.of(&changes).iter().copied();
            let may = may.filter(|number| fits(case, floors, *number, revision.revision, &changes));
            unmade.push((revision, may.collect()));
        }
    }
    let unmatched = unmatched(&unmade);
    let mut violations = Vec::new();
    for at in unmatched.iter().take(SHOWN) {
        if let Some((revision, may)) = unmade.get(*at) {
            let changes = changes(case, revision);
            violations.push(violation(case, revision, may, &changes, &refused, &unknown));
        }
    }
    let placed = unmade.len() - unmatched.len();
    let mut summary = format!(
        "{told} acknowledged writes, each at its own revision; {placed} of {} without an answer took \
         effect, once each; {expired} ends of leases",
        unanswered(case)
    );
    if foreign > 0 {
        summary.push_str(&format!("; {foreign} changes by others"));
    }
    let evaluated = (told + unmade.len() + expired) as u64;
    Finding::of(
        EXACTLY_ONCE,
        EXACTLY_ONCE_PROMISE,
        evaluated,
        summary,
        violations,
    )
}

fn unanswered(case: &Case<'_>) -> usize {
    let operations = case.recording.operations.iter();
    operations
        .filter(|one| matches!((&one.call, &one.outcome), (Call::Txn(txn), Outcome::Unknown(_)) if txn.writes()))
        .count()
}

/// Keys of workloads; others are somebody else's.
fn is_ours(key: &str) -> bool {
    let workload = key.split_once('/').map(|(workload, _)| workload);
    workload.is_some_and(|name| name == PROBE || Workload::ALL.iter().any(|one| one.name() == name))
}

fn changes<'a>(case: &Case<'a>, revision: &Revision) -> Vec<Change<'a>> {
    let log = &case.log;
    let mut changes: Vec<Change<'a>> = log
        .changed(revision)
        .iter()
        .filter_map(|key| {
            let versions = log.history(*key);
            let at = versions.binary_search_by_key(&revision.revision, |one| one.revision);
            let version = versions.get(at.ok()?)?;
            let put = version.value.map(|value| (value, version.lease));
            Some((log.keys.name(*key), put))
        })
        .collect();
    changes.sort_unstable();
    changes
}

/// Keys that ever had a lease, by lease.
fn leased(case: &Case<'_>) -> FxHashMap<i64, FxHashSet<usize>> {
    let mut leased: FxHashMap<i64, FxHashSet<usize>> = FxHashMap::default();
    for key in 0..case.log.keys.len() {
        for version in case.log.history(key) {
            if version.lease != 0 {
                leased.entry(version.lease).or_default().insert(key);
            }
        }
    }
    leased
}

/// All keys of one lease, and no other, are deleted. Whether its time had come is the lease judge's
/// matter.
fn is_end_of_a_lease(
    case: &Case<'_>,
    leased: &FxHashMap<i64, FxHashSet<usize>>,
    revision: &Revision,
) -> bool {
    let before = revision.revision - 1;
    let mut lease = None;
    for key in case.log.changed(revision) {
        let deleted = matches!(case.log.at(*key, revision.revision), Ok(None));
        let Ok(Some(view)) = case.log.at(*key, before) else {
            return false;
        };
        if !deleted || view.lease == 0 || lease.is_some_and(|lease| lease != view.lease) {
            return false;
        }
        lease = Some(view.lease);
    }
    let Some(lease) = lease else { return false };
    let attached = leased.get(&lease).into_iter().flatten().filter(|key| {
        let view = case.log.at(**key, before);
        matches!(view, Ok(Some(view)) if view.lease == lease)
    });
    attached.count() == case.log.changed(revision).len()
}

/// Whether the request may have made this revision.
fn fits(
    case: &Case<'_>,
    floors: &[Floor],
    number: usize,
    revision: i64,
    changes: &[Change<'_>],
) -> bool {
    let floor = floors.get(number).copied().unwrap_or_default();
    let Some(Call::Txn(txn)) = case.operation(number).map(|operation| &operation.call) else {
        return false;
    };
    if floor.revision >= revision {
        return false;
    }
    let before = revision - 1;
    let branches: &[&Vec<Act>] = match case.log.holds(txn, before) {
        Ok(true) => &[&txn.then],
        Ok(false) => &[&txn.otherwise],
        // Over a gap either may be.
        Err(_) => &[&txn.then, &txn.otherwise],
    };
    branches.iter().any(|acts| {
        let effects = case.log.effects(acts, before);
        effects.map_or(true, |effects| effects == changes)
    })
}

/// Revisions that are left without a cause when as many as possible have one.
fn unmatched(unmade: &[(&Revision, Vec<usize>)]) -> Vec<usize> {
    let mut cause_of: FxHashMap<usize, usize> = FxHashMap::default();
    let mut left = Vec::new();
    for at in 0..unmade.len() {
        let mut tried = FxHashSet::default();
        if !augment(unmade, at, &mut cause_of, &mut tried) {
            left.push(at);
        }
    }
    left
}

/// Gives a revision a cause, by way of giving others another one.
fn augment(
    unmade: &[(&Revision, Vec<usize>)],
    at: usize,
    cause_of: &mut FxHashMap<usize, usize>,
    tried: &mut FxHashSet<usize>,
) -> bool {
    let Some((_, may)) = unmade.get(at) else {
        return false;
    };
    for cause in may {
        if !tried.insert(*cause) {
            continue;
        }
        let free = match cause_of.get(cause).copied() {
            None => true,
            Some(other) => augment(unmade, other, cause_of, tried),
        };
        if free {
            cause_of.insert(*cause, at);
            return true;
        }
    }
    false
}

fn violation<'a>(
    case: &Case<'a>,
    revision: &Revision,
    may: &[usize],
    changes: &[Change<'a>],
    refused: &Suspects<'a>,
    unknown: &Suspects<'a>,
) -> Violation {
    let at = revision.revision;
    let words = changes.iter().map(|(key, put)| match put {
        Some((value, _)) => format!("{key} = {value}"),
        None => format!("{key} is deleted"),
    });
    let words = words.collect::<Vec<String>>().join(", ");
    let guilty = refused.of(changes);
    let near = unknown.of(changes);
    let (title, explanation, operations) = if !may.is_empty() {
        (
            "A write happened twice",
            format!(
                "at revision {at} {words}; every request that might have done it did so before"
            ),
            may.to_vec(),
        )
    } else if !guilty.is_empty() {
        (
            "A write happened that the client was told was refused",
            format!("at revision {at} {words}; the one request for it was answered with a refusal"),
            guilty.to_vec(),
        )
    } else if !near.is_empty() {
        (
            "A write happened in part, too early, or against its comparisons",
            format!(
                "at revision {at} {words}; the requests without an answer that speak of it do not \
                 make this change there"
            ),
            near.to_vec(),
        )
    } else {
        (
            "A change that nobody asked for",
            format!(
                "at revision {at} {words}; no client asked for that, and no lease ended with it"
            ),
            Vec::new(),
        )
    };
    Violation {
        title: title.to_owned(),
        explanation,
        contradicts: format!("revision {at}: {words}"),
        operations: case.in_order(operations.into_iter().take(8).collect()),
        offender: None,
        watch: revision.told,
        key: changes.first().map(|(key, _)| (*key).to_owned()),
        at: revision.told.and_then(|(stream, response)| {
            let told = case.recording.watches.get(stream)?.told.get(response)?;
            Some(told.at)
        }),
    }
}

//! Was that allowed? A history against the state at the end.
//!
//! etcd's answers carry revisions: the order of all writes is *claimed*, and a claim is checked in
//! linear time. The rules, each with the violation that names it:
//!
//! 1. Every acknowledged write is there, at the revision that was told; what is there was written
//!    by somebody, and a write of unknown outcome happened at most once.
//! 2. A transaction is there whole or not at all.
//! 3. No two acknowledged writes have the same revision.
//! 4. An operation invoked after another completed sees no smaller revision; a write, a larger one.
//! 5. A read shows a value at least as new as everything acknowledged before it began, and as every
//!    write of that key, whenever acknowledged, at or below the revision that the read claims.

use crate::faults::history::{Action, Operation, Outcome};
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use quorate::proto::mvccpb::KeyValue;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use tokio::time::Instant;

/// How much was judged, so that nobody mistakes an empty run for a good one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verdict {
    pub acknowledged: usize,
    pub unknown: usize,
    pub reads: usize,
    pub keys: usize,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            acknowledged,
            unknown,
            reads,
            keys,
        } = self;
        write!(
            formatter,
            "{acknowledged} acknowledged writes all there, {unknown} of unknown outcome, \
             {reads} reads, {keys} keys"
        )
    }
}

/// The writes of one key, as its one writer saw them.
#[derive(Default)]
struct KeyWrites<'a> {
    /// Value and revision of the acknowledged ones, in order.
    acknowledged: Vec<(&'a Bytes, i64)>,
    unknown: HashSet<&'a Bytes>,
}

/// Judges a whole history. `at_end` is every key at the end, read at `revision`.
///
/// # Errors
/// A violation, in words.
pub fn judge(operations: &[Operation], at_end: &[KeyValue], revision: i64) -> Result<Verdict> {
    let writes = by_key(operations);
    let state: HashMap<&Bytes, &KeyValue> = at_end.iter().map(|kv| (&kv.key, kv)).collect();
    for (key, writes) in &writes {
        check_key(key, writes, state.get(key).copied())?;
    }
    if let Some(kv) = at_end.iter().find(|kv| !writes.contains_key(&kv.key)) {
        bail!("nobody wrote {:?}", kv.key);
    }
    check_transactions(operations, &state)?;
    check_revisions(operations, revision)?;
    check_reads(operations, &writes)?;
    let count = |wanted: fn(&Operation) -> bool| operations.iter().filter(|o| wanted(o)).count();
    Ok(Verdict {
        acknowledged: count(Operation::is_acknowledged_write),
        unknown: count(|o| {
            matches!(
                (&o.action, &o.outcome),
                (Action::Write(_), Outcome::Unknown(_))
            )
        }),
        reads: count(|o| matches!(o.outcome, Outcome::Read { .. })),
        keys: at_end.len(),
    })
}

fn by_key(operations: &[Operation]) -> BTreeMap<&Bytes, KeyWrites<'_>> {
    let mut writes: BTreeMap<&Bytes, KeyWrites<'_>> = BTreeMap::new();
    for operation in operations {
        let Action::Write(pairs) = &operation.action else {
            continue;
        };
        for (key, value) in pairs {
            let writes = writes.entry(key).or_default();
            match operation.outcome {
                Outcome::Written { revision } => writes.acknowledged.push((value, revision)),
                _ => {
                    writes.unknown.insert(value);
                }
            }
        }
    }
    writes
}

/// Rule 1. A write of unknown outcome may take effect late, even over an acknowledged one that was
/// invoked after it; so the end may be the last acknowledged write or any unknown one.
fn check_key(key: &Bytes, writes: &KeyWrites<'_>, at_end: Option<&KeyValue>) -> Result<()> {
    let last = writes.acknowledged.last();
    let Some(kv) = at_end else {
        return match last {
            None => Ok(()),
            Some((value, at)) => bail!("lost: {key:?} = {value:?}, acknowledged at {at}"),
        };
    };
    let fewest = writes.acknowledged.len().max(1);
    let most = writes.acknowledged.len() + writes.unknown.len();
    let version = usize::try_from(kv.version).context("a negative version")?;
    ensure!(
        (fewest..=most).contains(&version),
        "{key:?} was written {version} times; acknowledged {}, unknown {}",
        writes.acknowledged.len(),
        writes.unknown.len()
    );
    match last {
        Some((value, at)) if kv.value == **value => ensure!(
            kv.mod_revision == *at,
            "{key:?}: acknowledged at {at}, stored at {}",
            kv.mod_revision
        ),
        Some((value, at)) => ensure!(
            writes.unknown.contains(&kv.value) && kv.mod_revision > *at,
            "lost: {key:?} = {value:?}, acknowledged at {at}; there is {:?} at {}",
            kv.value,
            kv.mod_revision
        ),
        None => ensure!(
            writes.unknown.contains(&kv.value),
            "{key:?} holds {:?}, which nobody wrote",
            kv.value
        ),
    }
    Ok(())
}

/// Rule 2, for transactions on keys that nobody else writes.
fn check_transactions(operations: &[Operation], state: &HashMap<&Bytes, &KeyValue>) -> Result<()> {
    for operation in operations {
        let Action::Write(pairs) = &operation.action else {
            continue;
        };
        let revisions: HashSet<Option<i64>> = pairs
            .iter()
            .map(|(key, _)| state.get(key).map(|kv| kv.mod_revision))
            .collect();
        ensure!(
            revisions.len() == 1,
            "a transaction is there in part: {pairs:?}"
        );
    }
    Ok(())
}

/// Rules 3 and 4, and that the end is not before any of it.
fn check_revisions(operations: &[Operation], at_end: i64) -> Result<()> {
    let mut seen = HashSet::new();
    let mut told: Vec<(&Operation, i64, bool)> = Vec::new();
    for operation in operations {
        match operation.outcome {
            Outcome::Written { revision } => {
                ensure!(
                    seen.insert(revision),
                    "two writes were told revision {revision}"
                );
                told.push((operation, revision, true));
            }
            Outcome::Read { revision, .. } => told.push((operation, revision, false)),
            Outcome::Unknown(_) => continue,
        }
    }
    let latest = told
        .iter()
        .map(|(_, revision, _)| *revision)
        .max()
        .unwrap_or(0);
    ensure!(
        latest <= at_end,
        "revision {latest} was told, the end is at {at_end}"
    );

    // Sweep over time: what had completed when each operation was invoked?
    let mut completed: Vec<(Instant, i64)> = told
        .iter()
        .map(|(operation, revision, _)| (operation.completed, *revision))
        .collect();
    completed.sort_unstable_by_key(|(at, _)| *at);
    told.sort_unstable_by_key(|(operation, ..)| operation.invoked);
    let mut completed = completed.into_iter().peekable();
    let mut floor = 0;
    for (operation, revision, is_write) in told {
        while let Some((_, earlier)) = completed.next_if(|(at, _)| *at < operation.invoked) {
            floor = floor.max(earlier);
        }
        let fine = if is_write {
            revision > floor
        } else {
            revision >= floor
        };
        ensure!(
            fine,
            "revisions go backwards: {floor} was told before node {} was asked {:?}, which \
             answered {revision}",
            operation.node,
            operation.action
        );
    }
    Ok(())
}

/// Rule 5. Keys have one writer each, so what it had been told when the read began is a prefix of
/// its acknowledged writes.
fn check_reads(operations: &[Operation], writes: &BTreeMap<&Bytes, KeyWrites<'_>>) -> Result<()> {
    let mut acknowledged: HashMap<&Bytes, Vec<(Instant, i64)>> = HashMap::new();
    for operation in operations {
        if let (Action::Write(pairs), Outcome::Written { revision }) =
            (&operation.action, &operation.outcome)
        {
            for (key, _) in pairs {
                acknowledged
                    .entry(key)
                    .or_default()
                    .push((operation.completed, *revision));
            }
        }
    }
    for operation in operations {
        let (Action::Read(key), Outcome::Read { revision, kv }) =
            (&operation.action, &operation.outcome)
        else {
            continue;
        };
        let told = acknowledged.get(key).map_or(&[] as &[_], Vec::as_slice);
        let before = told.partition_point(|(at, _)| *at < operation.invoked);
        let floor = before
            .checked_sub(1)
            .and_then(|last| told.get(last))
            .map_or(0, |(_, r)| *r);
        // The revisions of one key grow with time: it has one writer, and rule 4 holds.
        let claimed = told.partition_point(|(_, at)| at <= revision);
        let claimed = claimed.checked_sub(1).and_then(|last| told.get(last));
        let claimed = claimed.map_or(0, |(_, at)| *at);
        let shown = kv.as_ref().map_or(0, |kv| kv.mod_revision);
        ensure!(
            shown >= floor,
            "stale read on node {}: {key:?} was at {floor}, shown {shown}",
            operation.node
        );
        ensure!(
            shown >= claimed,
            "node {} claims revision {revision}, at which {key:?} was at {claimed}, and shows \
             {shown}",
            operation.node
        );
        ensure!(
            shown <= *revision,
            "a read at {revision} shows a value of {shown}"
        );
        if let Some(kv) = kv {
            let known = writes
                .get(key)
                .context("a read of a key that nobody wrote")?;
            let told = known
                .acknowledged
                .iter()
                .find(|(value, _)| **value == kv.value);
            let fine = match told {
                Some((_, at)) => *at == kv.mod_revision,
                None => known.unknown.contains(&kv.value),
            };
            ensure!(
                fine,
                "a read shows {:?} at {shown}: {key:?} never was that",
                kv.value
            );
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;

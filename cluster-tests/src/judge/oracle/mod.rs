//! The revision oracle: every answer is the state at the revision that it claims.
//!
//! etcd promises more than linearizable keys: all writes of the store have one order, and every answer
//! says where in it it stands. The order is claimed, so it need not be searched for: the claimed log
//! ([`super::log`]) is replayed, and *every* answer compared with it. The state at the header's revision,
//! or at the revision that a read asked for; the branch of a transaction, by its comparisons, on the
//! state just before it; previous pairs, counts, `more`, lists, create revisions, versions, leases. This
//! decides strict serializability of transactions over many keys, for a million operations in a
//! moment; the two judges of consistency share no idea, so that one may find the other's faults.
//!
//! Three promises come out of it, each a finding:
//!
//! - `revisions`: every answer is right at its revision ([`answers`]), and the log's own numbers follow
//!   from each other ([`numbers`]).
//! - `real-time`: what was asked after an answer was there sees at least that answer's revision; a write
//!   gets a larger one ([`realtime`]).
//! - `exactly-once`: every change was asked for; what was refused never happened, what was not answered
//!   happened once at most, whole, where its comparisons hold ([`explain`]).
//!
//! Over a gap of the log nothing is guessed; what was left unchecked is counted in the summary.

pub mod answers;
pub mod explain;
pub mod numbers;
pub mod realtime;

use super::case::Case;
use super::finding::{Finding, Violation};

pub const REVISIONS: &str = "revisions";
pub const REAL_TIME: &str = "real-time";
pub const EXACTLY_ONCE: &str = "exactly-once";

const REVISIONS_PROMISE: &str =
    "Every answer is exactly the store's state at the revision that it names.";
const REAL_TIME_PROMISE: &str =
    "Nobody is shown a state older than one that was already acknowledged when they asked.";
const EXACTLY_ONCE_PROMISE: &str =
    "What was acknowledged happened once, what was refused never, and nothing happened unasked.";

/// So many of a kind are shown.
pub const SHOWN: usize = 5;

pub fn judge(case: &Case<'_>) -> Vec<Finding> {
    if case.recording.operations.is_empty() {
        let none = |name, promise| Finding::not_applicable(name, promise, "nothing was asked");
        return vec![
            none(REVISIONS, REVISIONS_PROMISE),
            none(REAL_TIME, REAL_TIME_PROMISE),
            none(EXACTLY_ONCE, EXACTLY_ONCE_PROMISE),
        ];
    }
    let floors = realtime::floors(case);
    vec![
        revisions(case),
        realtime::finding(case, &floors),
        explain::finding(case, &floors),
    ]
}

fn revisions(case: &Case<'_>) -> Finding {
    let mut replay = answers::replay(case);
    let chained = numbers::check(case, &mut replay.violations);
    for conflict in &case.log.conflicts {
        replay.violations.push(Violation {
            title: format!("Revision {} is two things at once", conflict.revision),
            explanation: conflict.explanation.clone(),
            contradicts: format!("a revision is one change, and {} is two", conflict.revision),
            operations: case.in_order(conflict.operations.clone()),
            offender: conflict.operations.last().copied(),
            watch: conflict.told,
            key: None,
            at: None,
        });
    }
    let unknown = case.log.unknown_revisions();
    let mut summary = format!(
        "{} answers compared with the state at their revision, {chained} changes with the one before, \
         {} revisions",
        replay.checked,
        case.log.revisions.len()
    );
    if unknown > 0 {
        summary.push_str(&format!(
            "; {unknown} revisions are not known, {} answers could not be checked",
            replay.unchecked
        ));
    }
    let evaluated = replay.checked + chained;
    Finding::of(
        REVISIONS,
        REVISIONS_PROMISE,
        evaluated,
        summary,
        replay.violations,
    )
}

/// The write that made a revision, if a client was told of it.
pub fn writer(case: &Case<'_>, revision: i64) -> Option<usize> {
    case.log.revision(revision)?.operation
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

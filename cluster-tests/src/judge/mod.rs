//! What a run must not show. A judge reads a [`Case`] (the [`Recording`], with the log that it claims)
//! and answers with [`Finding`]s.
//!
//! A judge is a pure function, so what it says of a recording it will say again. It must reject what
//! is wrong (each has histories made by hand that it must reject) and accept what is right (a real
//! etcd's). One that cannot decide within its budget says *unknown*, which fails the run; one that had
//! nothing to judge says so, which does not pass for having judged.
//!
//! | judge | what it holds |
//! |---|---|
//! | [`linearizable`] | every key behaves as one copy; knows no revisions |
//! | [`oracle`] | every answer is the state at the revision that it claims |
//! | [`watch`] | nine promises of etcd's to watchers, five of ours |
//! | [`durability`] | nothing acknowledged is lost, on any member; all members are the same |
//! | [`append`] | transactions over several lists have one order: no circles |
//! | [`bank`] | the total is what it was |
//! | [`set`] | what was added stays |
//! | [`serializable`] | what may be old was, and a member never goes back |
//! | [`lease`] | a key lives as long as its lease, not less and not much more |
//! | [`lock`] | guarded work happens in the order of its tokens |
//! | [`compaction`] | the past is there until it is compacted |
//! | [`liveness`] | the cluster serves while a majority can talk, and soon after each fault |
//! | [`raft`] | one leader a term; terms, order and progress of indices |
//! | [`coverage`] | a run that proves nothing fails |
//!
//! Beneath them: [`known`] (real faults of old servers), [`case`], [`log`] (the order of all writes, as the run claims it), [`finding`].

pub mod append;
pub mod bank;
pub mod case;
pub mod compaction;
pub mod coverage;
pub mod durability;
pub mod finding;
pub mod known;
pub mod lease;
pub mod linearizable;
pub mod liveness;
pub mod lock;
pub mod log;
pub mod oracle;
pub mod raft;
pub mod serializable;
pub mod set;
pub mod watch;

#[cfg(test)]
pub mod imagined;

use crate::history::recording::Recording;
use case::Case;
use finding::Finding;

/// A judge may hold several promises: a finding for each.
pub type Judge = fn(&Case<'_>) -> Vec<Finding>;

/// All of them, in the order of the report.
pub const JUDGES: &[Judge] = &[
    linearizable::judge,
    oracle::judge,
    durability::judge,
    watch::judge,
    append::judge,
    bank::judge,
    set::judge,
    serializable::judge,
    lease::judge,
    lock::judge,
    compaction::judge,
    |case| vec![liveness::during(case.recording)],
    |case| vec![liveness::recovery(case.recording)],
    |case| vec![liveness::deposed(case.recording)],
    |case| vec![liveness::elections(case.recording)],
    |case| vec![raft::one_leader(case.recording)],
    |case| vec![raft::terms_rise(case.recording)],
    |case| vec![raft::order(case.recording)],
    |case| vec![raft::progress(case.recording)],
    |case| vec![coverage::faults(case.recording)],
    |case| vec![coverage::load(case.recording)],
];

/// Asks every judge.
pub fn judge(recording: &Recording) -> Vec<Finding> {
    let case = Case::new(recording);
    let mut findings: Vec<Finding> = JUDGES.iter().flat_map(|judge| judge(&case)).collect();
    findings.push(coverage::judges(recording, &findings));
    known::mark(&recording.about.server, &mut findings);
    findings
}

//! What a run must not show. A judge reads a [`Recording`] and answers a [`Finding`].
//!
//! A judge is a pure function, so what it says of a recording it will say again. It must reject what
//! is wrong (each has histories made by hand that it must reject) and accept what is right (a real
//! etcd's). One that cannot decide within its budget says *unknown*, which fails the run; one that had
//! nothing to judge says so, which does not pass for having judged.

pub mod coverage;
pub mod finding;
pub mod liveness;
pub mod raft;

use crate::history::recording::Recording;
use finding::Finding;

/// A judge's name and what it does.
pub type Judge = (&'static str, fn(&Recording) -> Finding);

/// All of them, in the order of the report.
pub const JUDGES: &[Judge] = &[
    ("liveness-during", liveness::during),
    ("liveness-recovery", liveness::recovery),
    ("liveness-elections", liveness::elections),
    ("raft-one-leader", raft::one_leader),
    ("raft-terms-rise", raft::terms_rise),
    ("raft-order", raft::order),
    ("raft-progress", raft::progress),
    ("coverage-faults", coverage::faults),
    ("coverage-load", coverage::load),
];

/// Asks every judge.
pub fn judge(recording: &Recording) -> Vec<Finding> {
    JUDGES.iter().map(|(_, judge)| judge(recording)).collect()
}

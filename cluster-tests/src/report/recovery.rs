//! What each fault did to those who asked.

use super::figures::{Acknowledged, Availability, Counts, leaders};
use crate::history::recording::Recording;
use crate::history::timeline::Window;
use crate::schedule::fault::Fault;
use crate::schedule::nemesis;
use serde::{Deserialize, Serialize};

/// One fault, times in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FaultRow {
    pub step: usize,
    pub nemesis: String,
    /// `cut`, `link`, `crash`, `pause`, `change`: its colour.
    pub family: String,
    /// In words, with the nodes that it hit.
    pub text: String,
    pub began: u64,
    pub ended: u64,
    pub leader: Option<usize>,
    pub struck: Vec<usize>,
    /// Why it was not done.
    pub skipped: Option<String>,
    /// Seconds of it that served.
    pub availability: Availability,
    /// The longest stretch of it without an acknowledged write.
    pub silence: u64,
    /// From its end to the first acknowledged write; none was seen: none.
    pub recovered: Option<u64>,
    /// Of operations that ended while it lasted.
    pub counts: Counts,
    /// Leaders that were first seen while it lasted, or within the bound after.
    pub elections: u64,
    /// Whether the cluster must serve while it lasts; it may stand still otherwise.
    pub must_serve: bool,
}

/// How it is drawn.
pub fn family(fault: &Fault) -> &'static str {
    match fault {
        Fault::Partition { .. } | Fault::Flapping { .. } | Fault::Swizzle => "cut",
        Fault::Degrade { .. } => "link",
        Fault::Kill { .. }
        | Fault::CrashLoop { .. }
        | Fault::PowerCut { .. }
        | Fault::RollingRestart => "crash",
        Fault::Pause { .. } | Fault::Throttle { .. } | Fault::SlowConsumers { .. } => "pause",
        Fault::Members { .. } | Fault::Transfer { .. } => "change",
    }
}

/// One row a window, in their order.
pub fn rows(recording: &Recording, acknowledged: &Acknowledged) -> Vec<FaultRow> {
    let mut rows: Vec<FaultRow> = recording
        .windows
        .iter()
        .map(|window| row(window, acknowledged))
        .collect();
    for operation in &recording.operations {
        let at = operation.completed;
        for row in rows.iter_mut().filter(|row| lasts(row, at)) {
            row.counts.add(operation);
        }
    }
    // The first leader of all was not elected in a fault's wake, even where a fault came early.
    for (at, ..) in leaders(recording).into_iter().skip(1) {
        let first = rows
            .iter_mut()
            .rev()
            .find(|row| row.skipped.is_none() && row.began <= at && at < row.ended + 2_000_000);
        if let Some(row) = first {
            row.elections += 1;
        }
    }
    rows
}

fn lasts(row: &FaultRow, at: u64) -> bool {
    row.skipped.is_none() && row.began <= at && at < row.ended
}

fn row(window: &Window, acknowledged: &Acknowledged) -> FaultRow {
    let must_serve = nemesis::find(&window.nemesis)
        .is_some_and(|nemesis| nemesis.expects.serves_within.is_some());
    let mut row = FaultRow {
        step: window.step,
        nemesis: window.nemesis.clone(),
        family: family(&window.fault).to_owned(),
        text: window.text.clone(),
        began: window.began,
        ended: window.ended,
        leader: window.leader,
        struck: window.struck.clone(),
        skipped: window.skipped.clone(),
        must_serve,
        ..FaultRow::default()
    };
    if row.skipped.is_none() {
        let (began, ended) = (window.began, window.ended);
        row.availability = acknowledged.availability(began, ended);
        row.silence = acknowledged.silence(began, ended);
        row.recovered = acknowledged.first_from(ended).map(|at| at - ended);
    }
    row
}

//! What each fault did to those who asked.

use super::figures::{Acknowledged, Availability, Counts, leaders};
use crate::history::recording::Recording;
use crate::history::timeline::Window;
use crate::judge::liveness::{bound, longest_silence, recovered};
use crate::schedule::fault::{Fault, Shape};
use crate::schedule::nemesis;
use serde::{Deserialize, Serialize};

/// One fault, times in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FaultRow {
    pub step: usize,
    pub nemesis: String,
    /// What to call it: its nemesis, or of a combination the kind of this one.
    pub label: String,
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
    /// The longest stretch of it without an acknowledgement, of writes asked in it: as the judge of
    /// liveness counts.
    pub silence: u64,
    /// Whether there was a recovery to speak of, as the judge of liveness sees it.
    pub recovers: bool,
    /// From its end to the first acknowledgement of a write that was asked since; none was seen: none.
    pub recovered: Option<u64>,
    /// What that may take.
    pub bound: u64,
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
        | Fault::Damage { .. }
        | Fault::RollingRestart
        | Fault::CatchUp { .. } => "crash",
        Fault::Pause { .. }
        | Fault::Throttle { .. }
        | Fault::SlowConsumers { .. }
        | Fault::Disk { .. }
        | Fault::Clock { .. } => "pause",
        Fault::Members { .. } | Fault::Transfer { .. } => "change",
    }
}

/// One row a window, in their order.
pub fn rows(recording: &Recording, acknowledged: &Acknowledged) -> Vec<FaultRow> {
    let mut rows: Vec<FaultRow> = recording
        .windows
        .iter()
        .map(|window| row(recording, window, acknowledged))
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

fn row(recording: &Recording, window: &Window, acknowledged: &Acknowledged) -> FaultRow {
    let must_serve = nemesis::find(&window.nemesis)
        .is_some_and(|nemesis| nemesis.expects.serves_within.is_some());
    let mut row = FaultRow {
        step: window.step,
        nemesis: window.nemesis.clone(),
        label: label(window),
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
        row.silence = longest_silence(acknowledged.writes(), began, ended);
        if let Some(took) = recovered(recording, acknowledged.writes(), window) {
            row.recovers = true;
            row.recovered = took;
            row.bound = bound(window, recording.election_timeout_us());
        }
    }
    row
}

/// Of a combination "combined" says nothing of its parts.
fn label(window: &Window) -> String {
    if window.nemesis != nemesis::COMBINED {
        return window.nemesis.clone();
    }
    match &window.fault {
        Fault::Partition { shape, .. } | Fault::Flapping { shape, .. } => match shape {
            Shape::Exactly(_) => "cut".to_owned(),
            // Its name in the schedule's file: `isolate-leader`.
            shape => serde_json::to_value(shape)
                .ok()
                .and_then(|name| name.as_str().map(str::to_owned))
                .unwrap_or_default(),
        },
        Fault::Swizzle => "swizzle".to_owned(),
        Fault::Degrade { .. } => "bad links".to_owned(),
        Fault::Kill { .. } => "kill".to_owned(),
        Fault::CrashLoop { .. } => "crash loop".to_owned(),
        Fault::PowerCut { .. } => "power cut".to_owned(),
        Fault::Pause { .. } => "pause".to_owned(),
        Fault::CatchUp { .. } => "amidst snapshot".to_owned(),
        Fault::RollingRestart => "rolling restart".to_owned(),
        Fault::Throttle { .. } => "slow CPU".to_owned(),
        Fault::Members { .. } => "members".to_owned(),
        Fault::Transfer { .. } => "transfer".to_owned(),
        Fault::SlowConsumers { .. } => "slow consumers".to_owned(),
        Fault::Disk { .. } => "bad disk".to_owned(),
        Fault::Damage { .. } => "damage".to_owned(),
        Fault::Clock { .. } => "wrong clock".to_owned(),
    }
}

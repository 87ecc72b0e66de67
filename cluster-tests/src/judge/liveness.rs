//! Does it serve: while a fault lasts that leaves it able to, and after every fault.
//!
//! | judge | what must hold |
//! |---|---|
//! | `liveness-during` | where the catalogue says so, no silence longer than so many election timeouts |
//! | `liveness-recovery` | after a fault, the first write acknowledged within [`RECOVERS_WITHIN`] |
//! | `liveness-deposed` | a leader whose disk answers nothing hands over within [`DEPOSED_WITHIN`] |
//! | `liveness-elections` | where the catalogue says so, no more changes of leadership than so many |
//!
//! What serves is what acknowledges a write that was asked after the moment in question: the probes ask
//! every 40 ms, each member in turn. Bounds are in election timeouts (the longest that a member draws),
//! as a cluster's operator would reckon; on real machines a process's start is added where there is
//! one, and everything is generous enough for a busy machine, because a bound that cries wolf is none.

use super::finding::{Finding, Violation};
use crate::history::recording::Recording;
use crate::history::timeline::Window;
use crate::schedule::fault::{Fault, Trouble};
use crate::schedule::nemesis;
use std::collections::BTreeSet;

/// Election timeouts from the end of a fault to the first acknowledged write.
pub const RECOVERS_WITHIN: u64 = 8;
/// Election timeouts from the moment when a leader's disk hangs to another one that leads: it notices
/// after one, asks a successor, and if that one does not come, the next is asked after four more.
pub const DEPOSED_WITHIN: u64 = 8;
/// Microseconds that a killed member may take to be back, where a majority was.
const START: u64 = 3_000_000;

/// A write that was acknowledged: (asked, answered).
pub type Write = (u64, u64);

/// By the time of asking.
pub fn acknowledged(recording: &Recording) -> Vec<Write> {
    let writes = recording.operations.iter();
    let mut writes: Vec<Write> = writes
        .filter(|operation| operation.is_acknowledged_write())
        .map(|operation| (operation.invoked, operation.completed))
        .collect();
    writes.sort_unstable();
    writes
}

/// How long nothing was acknowledged, at most, of what was asked in a span: from its beginning to the
/// first answer, between two, and from the last to its end.
pub fn longest_silence(writes: &[Write], from: u64, to: u64) -> u64 {
    let start = writes.partition_point(|(asked, _)| *asked < from);
    let mut answers: Vec<u64> = writes
        .iter()
        .skip(start)
        .take_while(|(asked, _)| *asked < to)
        .map(|(_, answered)| *answered)
        .filter(|answered| *answered <= to)
        .collect();
    answers.sort_unstable();
    let mut last = from;
    let mut longest = 0;
    for answered in answers {
        longest = longest.max(answered - last);
        last = answered;
    }
    longest.max(to.saturating_sub(last))
}

/// From a moment to the first acknowledgement of what was asked since.
pub fn first_acknowledged(writes: &[Write], since: u64) -> Option<u64> {
    let start = writes.partition_point(|(asked, _)| *asked < since);
    let answers = writes.iter().skip(start).map(|(_, answered)| *answered);
    answers.min().map(|answered| answered - since)
}

fn happened(recording: &Recording) -> impl Iterator<Item = &Window> {
    let windows = recording.windows.iter();
    windows.filter(|window| window.skipped.is_none() && window.ended > window.began)
}

/// Whether another fault is there at some time of the span.
fn is_alone(recording: &Recording, window: &Window) -> bool {
    happened(recording)
        .filter(|other| other.step != window.step)
        .all(|other| other.ended <= window.began || window.ended <= other.began)
}

fn in_timeouts(us: u64, timeout: u64) -> String {
    let tenths = us * 10 / timeout.max(1);
    format!("{}.{} election timeouts", tenths / 10, tenths % 10)
}

fn seconds(us: u64) -> String {
    format!("{}.{:02} s", us / 1_000_000, us / 10_000 % 100)
}

/// How long at most nobody may serve during a window: in election timeouts, and in microseconds with
/// what else it may take; none: it may stand still.
fn serves(window: &Window, timeout: u64) -> Option<(u64, u64)> {
    if window.nemesis == nemesis::LAST_ACT {
        // The majority that is left alone may have been down, and was in trouble a moment ago.
        return Some((RECOVERS_WITHIN, RECOVERS_WITHIN * timeout + START));
    }
    let nemesis = nemesis::find(&window.nemesis)?;
    let within = u64::from(nemesis.expects.serves_within?);
    Some((within, within * timeout))
}

pub fn during(recording: &Recording) -> Finding {
    const JUDGE: &str = "liveness-during";
    const PROMISE: &str = "While a majority can talk, somebody serves";
    let timeout = recording.election_timeout_us();
    let writes = acknowledged(recording);
    let mut violations = Vec::new();
    let mut judged = 0;
    let mut worst: Option<(u64, &Window)> = None;
    for window in happened(recording).filter(|window| is_alone(recording, window)) {
        let Some((within, bound)) = serves(window, timeout) else {
            continue;
        };
        let silence = longest_silence(&writes, window.began, window.ended);
        judged += 1;
        if worst.is_none_or(|(longest, _)| silence > longest) {
            worst = Some((silence, window));
        }
        if silence > bound {
            violations.push(Violation {
                title: format!("nobody served for {} during {}", seconds(silence), window.nemesis),
                explanation: format!(
                    "{}; a majority could talk, so a write had to be acknowledged every {within} election \
                     timeouts",
                    window.text
                ),
                contradicts: format!("{within} election timeouts are {}", seconds(bound)),
                at: Some(window.began),
                ..Violation::default()
            });
        }
    }
    let Some((silence, window)) = worst else {
        return Finding::not_applicable(JUDGE, PROMISE, "no fault that leaves a majority");
    };
    let margin = format!(
        "longest silence {} ({}), during {}",
        seconds(silence),
        in_timeouts(silence, timeout),
        window.nemesis
    );
    let summary = format!("{judged} faults that leave a majority");
    Finding::of(JUDGE, PROMISE, judged, summary, violations).with_margin(margin)
}

/// What a fault's recovery may take, in microseconds.
pub fn bound(window: &Window, timeout: u64) -> u64 {
    let restarts = window.fault.restarts() || window.nemesis == nemesis::LAST_ACT;
    RECOVERS_WITHIN * timeout + if restarts { START } else { 0 }
}

/// From the end of a fault to the first write acknowledged after it, if there is one. Nothing is owed
/// under another fault, nor by whoever is struck again before its time is over, nor when nobody asks.
pub fn recovered(recording: &Recording, writes: &[Write], window: &Window) -> Option<Option<u64>> {
    let others = || happened(recording).filter(|other| other.step != window.step);
    let under_another = others().any(|it| it.began <= window.ended && window.ended < it.ended);
    if under_another || recording.about.stopped <= window.ended {
        return None;
    }
    let took = first_acknowledged(writes, window.ended);
    let next = others().map(|other| other.began);
    let quiet = next
        .filter(|began| *began >= window.ended)
        .min()
        .map_or(u64::MAX, |began| began - window.ended);
    let struck_again = quiet < bound(window, recording.election_timeout_us());
    (!struck_again || took.is_some_and(|took| took <= quiet)).then_some(took)
}

pub fn recovery(recording: &Recording) -> Finding {
    const JUDGE: &str = "liveness-recovery";
    const PROMISE: &str = "After every fault it serves again at once";
    let timeout = recording.election_timeout_us();
    let writes = acknowledged(recording);
    let mut violations = Vec::new();
    let mut judged = 0;
    let mut worst: Option<(u64, &Window)> = None;
    for window in happened(recording) {
        let Some(took) = recovered(recording, &writes, window) else {
            continue;
        };
        let bound = bound(window, timeout);
        judged += 1;
        let longest = took.unwrap_or(u64::MAX);
        if worst.is_none_or(|(worst, _)| longest > worst) {
            worst = Some((longest, window));
        }
        if took.is_none_or(|took| took > bound) {
            let took = took.map_or("never again".to_owned(), |took| {
                format!("only after {}", seconds(took))
            });
            violations.push(Violation {
                title: format!("after {} it served {took}", window.nemesis),
                explanation: format!(
                    "{}; healed, it had to serve within {}",
                    window.text,
                    seconds(bound)
                ),
                contradicts: format!("a write acknowledged within {}", seconds(bound)),
                at: Some(window.ended),
                ..Violation::default()
            });
        }
    }
    let Some((longest, window)) = worst else {
        return Finding::not_applicable(JUDGE, PROMISE, "no fault to recover from");
    };
    let finding = Finding::of(
        JUDGE,
        PROMISE,
        judged,
        format!("{judged} recoveries"),
        violations,
    );
    if longest == u64::MAX {
        return finding;
    }
    finding.with_margin(format!(
        "slowest {} ({}), after {}",
        seconds(longest),
        in_timeouts(longest, timeout),
        window.nemesis
    ))
}

/// A leader whose disk hangs acknowledges nothing, and yet its heartbeats, which need no disk, would keep
/// everybody else from leading. That it wakes up harmless is what all other judges hold.
pub fn deposed(recording: &Recording) -> Finding {
    const JUDGE: &str = "liveness-deposed";
    const PROMISE: &str = "A leader whose disk hangs hands over";
    let bound = DEPOSED_WITHIN * recording.election_timeout_us();
    let mut violations = Vec::new();
    let mut judged = 0;
    let mut slowest = 0;
    for window in happened(recording).filter(|window| is_alone(recording, window)) {
        let hangs = matches!(
            window.fault,
            Fault::Disk {
                trouble: Trouble::Hang,
                ..
            }
        );
        let Some(leader) = window
            .leader
            .filter(|leader| window.struck.contains(leader))
        else {
            continue;
        };
        if !hangs || window.ended - window.began < bound {
            continue;
        }
        judged += 1;
        let within = |at: u64| (window.began..=window.ended).contains(&at);
        let mut samples = recording.samples.iter();
        let next = samples.find(|s| s.role == "leader" && s.node != leader && within(s.at));
        let took = next.map(|sample| sample.at - window.began);
        slowest = slowest.max(took.unwrap_or(0));
        if took.is_none_or(|took| took > bound) {
            let took = took.map_or("never".to_owned(), |took| {
                format!("only after {}", seconds(took))
            });
            violations.push(Violation {
                title: format!("n{leader}, whose disk hung, was replaced {took}"),
                explanation: window.text.clone(),
                contradicts: format!("another one leads within {}", seconds(bound)),
                at: Some(window.began),
                ..Violation::default()
            });
        }
    }
    if judged == 0 {
        return Finding::not_applicable(JUDGE, PROMISE, "no leader's disk hung for long");
    }
    let summary = format!("{judged} leaders whose disk hung");
    Finding::of(JUDGE, PROMISE, judged, summary, violations)
        .with_margin(format!("slowest {}", seconds(slowest)))
}

pub fn elections(recording: &Recording) -> Finding {
    const JUDGE: &str = "liveness-elections";
    const PROMISE: &str = "Who cannot win does not disturb those who lead";
    let mut violations = Vec::new();
    let mut judged = 0;
    let mut most = 0;
    for window in happened(recording).filter(|window| is_alone(recording, window)) {
        let Some(allowed) = nemesis::find(&window.nemesis).and_then(|n| n.expects.elections_max)
        else {
            continue;
        };
        judged += 1;
        let terms: BTreeSet<u64> = recording
            .samples
            .iter()
            .filter(|s| s.role == "leader" && (window.began..=window.ended).contains(&s.at))
            .map(|s| s.term)
            .collect();
        let changes = terms.len().saturating_sub(1);
        most = most.max(changes);
        if changes > allowed as usize {
            violations.push(Violation {
                title: format!("{changes} changes of leadership during {}", window.nemesis),
                explanation: window.text.clone(),
                contradicts: format!("{allowed} at most; terms that were led: {terms:?}"),
                at: Some(window.began),
                ..Violation::default()
            });
        }
    }
    if judged == 0 {
        return Finding::not_applicable(JUDGE, PROMISE, "no fault that must not cost an election");
    }
    let summary = format!("{judged} faults that must not disturb; {most} changes in one at most");
    Finding::of(JUDGE, PROMISE, judged, summary, violations)
}

#[cfg(test)]
#[path = "liveness_tests.rs"]
mod tests;

//! What a watcher is promised.
//!
//! The nine checks of etcd's robustness tests, by their names, and five of our own. Some read a stream
//! alone ([`alone`]); the others hold it against the claimed log ([`against_log`]), which other
//! watchers and the writers have made.
//!
//! | check | what it holds |
//! |---|---|
//! | filter | only events that were asked for |
//! | ordered | revisions do not go back |
//! | unique | no event twice |
//! | atomic | what happened at one revision comes in one response (or in its fragments) |
//! | bookmarkable | after progress up to a revision nothing of it is still to come |
//! | reliable | nothing is missing between the first event and the last; each is as it was written |
//! | resumable | a stream that begins at a revision begins with the first event from there |
//! | prev-kv | the previous pair is what was there just before |
//! | is-create | an event says it created its key exactly if the key was not there |
//! | progress | progress up to a revision comes after all events up to it |
//! | compacted | cancelled as compacted only if what is next was compacted; nothing else is a gap |
//! | future | nothing older than where the stream begins (etcd #20221) |
//! | fragments | a response in parts comes whole, and only if parts were asked for |
//! | edge | a deletion at the revision of a compaction is not lost (etcd #19179) |

mod against_log;
mod alone;

use super::case::Case;
use super::finding::{Finding, Violation};
use crate::history::call::Call;
use crate::history::operation::Outcome;
use crate::history::watch::{Event, Tidings, WatchStream};

/// So many violations of a check are shown.
const SHOWN: usize = 3;

/// The checks; their order is the report's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    Filter,
    Ordered,
    Unique,
    Atomic,
    Bookmarkable,
    Reliable,
    Resumable,
    PreviousPair,
    IsCreate,
    Progress,
    Compacted,
    Future,
    Fragments,
    Edge,
}

impl Check {
    pub const ALL: [Self; 14] = [
        Self::Reliable,
        Self::Resumable,
        Self::Atomic,
        Self::Ordered,
        Self::Unique,
        Self::Filter,
        Self::Bookmarkable,
        Self::Progress,
        Self::PreviousPair,
        Self::IsCreate,
        Self::Compacted,
        Self::Future,
        Self::Fragments,
        Self::Edge,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Filter => "watch-filter",
            Self::Ordered => "watch-ordered",
            Self::Unique => "watch-unique",
            Self::Atomic => "watch-atomic",
            Self::Bookmarkable => "watch-bookmarkable",
            Self::Reliable => "watch-reliable",
            Self::Resumable => "watch-resumable",
            Self::PreviousPair => "watch-prev-kv",
            Self::IsCreate => "watch-is-create",
            Self::Progress => "watch-progress",
            Self::Compacted => "watch-compacted",
            Self::Future => "watch-future",
            Self::Fragments => "watch-fragments",
            Self::Edge => "watch-edge",
        }
    }

    fn promise(self) -> &'static str {
        match self {
            Self::Filter => "A watcher is told only of what it asked for.",
            Self::Ordered => "A watcher is told of changes in the order in which they happened.",
            Self::Unique => "A watcher is told of each change once.",
            Self::Atomic => "Changes of one transaction reach a watcher together.",
            Self::Bookmarkable => "What a watcher was told is complete stays complete.",
            Self::Reliable => "A watcher misses no change, and sees each as it was written.",
            Self::Resumable => "A watcher that comes back continues exactly where it left.",
            Self::PreviousPair => "The previous value in an event is the one just before it.",
            Self::IsCreate => "An event knows whether its key was new.",
            Self::Progress => "A watcher is told that it is complete only when it is.",
            Self::Compacted => {
                "A watcher is cut off only from a past that was compacted, and told so."
            }
            Self::Future => "A watcher that begins at a revision is told of nothing older.",
            Self::Fragments => "An answer in parts comes whole.",
            Self::Edge => "A deletion at the edge of a compaction is not lost.",
        }
    }
}

/// What the checks of all streams come to.
#[derive(Debug, Default)]
struct Tally {
    evaluated: [u64; 14],
    violations: [Vec<Violation>; 14],
}

impl Tally {
    fn evaluated(&mut self, check: Check, times: u64) {
        if let Some(count) = self.evaluated.get_mut(check as usize) {
            *count += times;
        }
    }

    fn violation(&mut self, check: Check, violation: impl FnOnce() -> Violation) {
        if let Some(violations) = self.violations.get_mut(check as usize)
            && violations.len() < SHOWN
        {
            violations.push(violation());
        }
    }
}

/// One stream, with its number in the recording.
#[derive(Clone, Copy)]
struct Stream<'a> {
    number: usize,
    stream: &'a WatchStream,
}

impl<'a> Stream<'a> {
    /// Every event with the number of its response.
    fn events(self) -> impl Iterator<Item = (usize, &'a Event)> {
        let told = self.stream.told.iter().enumerate();
        told.flat_map(|(response, told)| {
            let events: &[Event] = match &told.what {
                Tidings::Events { events, .. } => events,
                Tidings::Created | Tidings::Progress | Tidings::Canceled { .. } => &[],
            };
            events.iter().map(move |event| (response, event))
        })
    }

    /// The first revision that it is to be told; none: it was never created.
    fn begins(self) -> Option<i64> {
        if self.stream.request.start_revision > 0 {
            return Some(self.stream.request.start_revision);
        }
        let mut told = self.stream.told.iter();
        let created = told.find(|told| matches!(told.what, Tidings::Created))?;
        Some(created.revision + 1)
    }

    #[allow(clippy::needless_pass_by_value, reason = "callers format it for this")]
    fn violation(
        self,
        case: &Case<'_>,
        response: usize,
        event: Option<&Event>,
        title: impl Into<String>,
        explanation: &str,
    ) -> Violation {
        let revision = event.map_or(0, |event| event.kv.mod_revision);
        let operation = super::oracle::writer(case, revision);
        let watcher = &self.stream.watcher;
        let node = self.stream.node;
        Violation {
            title: title.into(),
            explanation: format!("{watcher}, on n{node}: {explanation}"),
            contradicts: String::new(),
            operations: operation.into_iter().collect(),
            offender: operation,
            watch: Some((self.number, response)),
            key: event.map(|event| event.kv.key.clone()),
            at: self.stream.told.get(response).map(|told| told.at),
        }
    }
}

/// Compactions that may have been done: (revision, when it was asked for).
fn compactions(case: &Case<'_>) -> Vec<(i64, u64)> {
    let operations = case.recording.operations.iter();
    operations
        .filter(|operation| !matches!(operation.outcome, Outcome::Refused(_)))
        .filter_map(|operation| match operation.call {
            Call::Compact { revision } => Some((revision, operation.invoked)),
            _ => None,
        })
        .collect()
}

pub fn judge(case: &Case<'_>) -> Vec<Finding> {
    let mut tally = Tally::default();
    let compactions = compactions(case);
    let (mut events, mut unchecked) = (0, 0);
    for (number, stream) in case.recording.watches.iter().enumerate() {
        let stream = Stream { number, stream };
        events += stream.events().count();
        alone::check(case, stream, &mut tally);
        unchecked += against_log::check(case, stream, &compactions, &mut tally);
    }
    let streams = case.recording.watches.len();
    let Tally {
        evaluated,
        violations,
    } = tally;
    let mut violations: Vec<Vec<Violation>> = violations.into();
    let of = |check: Check| {
        let evaluated = evaluated.get(check as usize).copied().unwrap_or(0);
        let violations = violations.get_mut(check as usize);
        let violations = violations.map(std::mem::take).unwrap_or_default();
        let (name, promise) = (check.name(), check.promise());
        if evaluated == 0 && violations.is_empty() {
            return Finding::not_applicable(name, promise, nothing(check));
        }
        let mut summary = match check {
            Check::Reliable => format!("{evaluated} of {events} events on {streams} streams"),
            _ => format!("{evaluated} times on {streams} streams"),
        };
        if check == Check::Reliable && unchecked > 0 {
            summary.push_str(&format!("; {unchecked} revisions are not known otherwise"));
        }
        Finding::of(name, promise, evaluated, summary, violations)
    };
    Check::ALL.map(of).into()
}

fn nothing(check: Check) -> &'static str {
    match check {
        Check::Compacted => "no stream was cancelled",
        Check::Fragments => "no response came in parts",
        Check::Edge => "no watcher looked at a deletion at the revision of a compaction",
        Check::Progress | Check::Bookmarkable => "no watcher was told of progress",
        Check::PreviousPair => "nobody asked for previous pairs",
        _ => "nobody was told of an event",
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

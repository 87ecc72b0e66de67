//! A stream against the log that writers and other watchers claim.

use super::alone::in_words;
use super::{Check, Stream, Tally};
use crate::history::watch::{Event, Kind, Tidings};
use crate::judge::case::Case;
use crate::judge::finding::Violation;
use crate::judge::log::Version;
use rustc_hash::FxHashMap;

/// How many revisions nobody else knows wholly, so that what is missing cannot be said.
pub(super) fn check(
    case: &Case<'_>,
    stream: Stream<'_>,
    compactions: &[(i64, u64)],
    tally: &mut Tally,
) -> u64 {
    let Some(begins) = stream.begins() else {
        return 0;
    };
    for (response, event) in stream.events() {
        contents(case, stream, response, event, tally);
        if stream.stream.request.prev_kv {
            previous(case, stream, response, event, compactions, tally);
        } else if event.previous.is_some() {
            tally.evaluated(Check::PreviousPair, 1);
            tally.violation(Check::PreviousPair, || {
                let why = format!("it did not ask for the pair before {}", in_words(event));
                stream.violation(
                    case,
                    response,
                    Some(event),
                    "An unasked previous pair",
                    &why,
                )
            });
        }
    }
    cancellations(case, stream, begins, compactions, tally);
    completeness(case, stream, begins, compactions, tally)
}

/// The event is what was written, and knows whether it created its key.
fn contents(
    case: &Case<'_>,
    stream: Stream<'_>,
    response: usize,
    event: &Event,
    tally: &mut Tally,
) {
    let log = &case.log;
    let at = event.kv.mod_revision;
    if log.has_gap(at, at) {
        return;
    }
    tally.evaluated(Check::Reliable, 1);
    let written = log.keys.find(&event.kv.key).and_then(|key| {
        let versions = log.history(key);
        let found = versions.binary_search_by_key(&at, |version| version.revision);
        versions.get(found.ok()?)
    });
    if !written.is_some_and(|version| is_of(event, version)) {
        tally.violation(Check::Reliable, || {
            let why = match written.and_then(|version| version.value) {
                Some(value) => format!(
                    "it was told of {}; what was written there is {value}",
                    full(event)
                ),
                None => format!("it was told of {}, which never happened", full(event)),
            };
            let title = "A watcher is told of a change that was not made";
            stream.violation(case, response, Some(event), title, &why)
        });
    }
    if event.kind == Kind::Put
        && let Ok(before) = log.at_name(&event.kv.key, at - 1)
    {
        tally.evaluated(Check::IsCreate, 1);
        let says = event.kv.create_revision == at;
        if says != before.is_none() || says != (event.kv.version == 1) {
            tally.violation(Check::IsCreate, || {
                let why = format!(
                    "{} says it was created at {}, version {}; before it there was {}",
                    in_words(event),
                    event.kv.create_revision,
                    event.kv.version,
                    before.map_or("nothing".to_owned(), |view| view.to_string())
                );
                let title = "An event is wrong about whether its key was new";
                stream.violation(case, response, Some(event), title, &why)
            });
        }
    }
}

fn is_of(event: &Event, version: &Version<'_>) -> bool {
    match (event.kind, version.value) {
        (Kind::Put, Some(value)) => {
            event.kv.value == value
                && event.kv.create_revision == version.create_revision
                && event.kv.version == version.version
                && event.kv.lease == version.lease
        }
        (Kind::Delete, None) => true,
        _ => false,
    }
}

fn full(event: &Event) -> String {
    let kv = &event.kv;
    format!(
        "{} (created {}, version {}, lease {:x})",
        in_words(event),
        kv.create_revision,
        kv.version,
        kv.lease
    )
}

/// A pair that was compacted in the meantime may be missing; etcd reads it when it sends.
fn previous(
    case: &Case<'_>,
    stream: Stream<'_>,
    response: usize,
    event: &Event,
    compactions: &[(i64, u64)],
    tally: &mut Tally,
) {
    let at = event.kv.mod_revision;
    let Ok(expected) = case.log.at_name(&event.kv.key, at - 1) else {
        return;
    };
    let told_at = stream.stream.told.get(response).map_or(0, |told| told.at);
    let compacted = || {
        let mut compactions = compactions.iter();
        compactions.any(|(revision, asked)| *revision >= at && *asked <= told_at)
    };
    tally.evaluated(Check::PreviousPair, 1);
    let fine = match (&expected, &event.previous) {
        (None, None) => true,
        (Some(expected), Some(previous)) => expected.is(previous),
        (Some(_), None) => compacted(),
        (None, Some(_)) => false,
    };
    if !fine {
        tally.violation(Check::PreviousPair, || {
            let told = event.previous.as_ref();
            let why = format!(
                "with {} it was told that before it there was {}; there was {}",
                in_words(event),
                told.map_or("nothing".to_owned(), ToString::to_string),
                expected.map_or("nothing".to_owned(), |view| view.to_string())
            );
            let title = "A previous pair is not what was there before";
            stream.violation(case, response, Some(event), title, &why)
        });
    }
}

fn cancellations(
    case: &Case<'_>,
    stream: Stream<'_>,
    begins: i64,
    compactions: &[(i64, u64)],
    tally: &mut Tally,
) {
    for (response, told) in stream.stream.told.iter().enumerate() {
        let Tidings::Canceled {
            compact_revision, ..
        } = told.what
        else {
            continue;
        };
        tally.evaluated(Check::Compacted, 1);
        if compact_revision == 0 {
            continue;
        }
        let last = stream
            .events()
            .map(|(_, event)| event.kv.mod_revision)
            .max();
        let next = begins.max(last.map_or(0, |last| last + 1));
        let mut asked = compactions.iter();
        let asked = asked.any(|(revision, at)| *revision == compact_revision && *at <= told.at);
        if !asked || compact_revision <= next {
            tally.violation(Check::Compacted, || {
                let why = if asked {
                    format!(
                        "the next event is at {next} or later, and was not compacted: the compaction \
                         is at {compact_revision}"
                    )
                } else {
                    format!("nobody asked for a compaction at {compact_revision}")
                };
                let title = "A watcher is cut off from a past that was not compacted";
                stream.violation(case, response, None, title, &why)
            });
        }
    }
}

/// Nothing is missing: up to the first event, between events, and before each word of progress.
fn completeness(
    case: &Case<'_>,
    stream: Stream<'_>,
    begins: i64,
    compactions: &[(i64, u64)],
    tally: &mut Tally,
) -> u64 {
    let mut told: FxHashMap<i64, Vec<&str>> = FxHashMap::default();
    for (_, event) in stream.events() {
        let keys = told.entry(event.kv.mod_revision).or_default();
        keys.push(&event.kv.key);
    }
    let mut unknown = 0;
    // All before it is accounted for.
    let mut next = begins;
    let mut first = true;
    for (response, one) in stream.stream.told.iter().enumerate() {
        let (to, check) = match &one.what {
            Tidings::Events { events, fragment } => {
                let last = events.last().map_or(0, |event| event.kv.mod_revision);
                // The rest of a revision may come in the next part.
                let whole = if *fragment { last - 1 } else { last };
                let check = if first && stream.stream.request.start_revision > 0 {
                    Check::Resumable
                } else {
                    Check::Reliable
                };
                if let Some(event) = events.first()
                    && check == Check::Resumable
                {
                    tally.evaluated(Check::Resumable, 1);
                    let upto = event.kv.mod_revision - 1;
                    let gap = (next, upto, check);
                    unknown += missing(case, stream, response, gap, &told, compactions, tally);
                    next = next.max(upto + 1);
                }
                first = false;
                (whole, Check::Reliable)
            }
            Tidings::Progress => {
                tally.evaluated(Check::Progress, 1);
                (one.revision, Check::Progress)
            }
            Tidings::Created | Tidings::Canceled { .. } => continue,
        };
        let gap = (next, to, check);
        unknown += missing(case, stream, response, gap, &told, compactions, tally);
        next = next.max(to + 1);
    }
    unknown
}

/// Events from one revision to another that were written and asked for, and not told.
fn missing(
    case: &Case<'_>,
    stream: Stream<'_>,
    response: usize,
    (from, to, check): (i64, i64, Check),
    told: &FxHashMap<i64, Vec<&str>>,
    compactions: &[(i64, u64)],
    tally: &mut Tally,
) -> u64 {
    let log = &case.log;
    let request = &stream.stream.request;
    let told_at = stream.stream.told.get(response).map_or(0, |told| told.at);
    let mut unknown = 0;
    for revision in log.between(from, to) {
        unknown += u64::from(!revision.whole);
        let at = revision.revision;
        let heard = told.get(&at);
        for key in log.changed(revision) {
            let name = log.keys.name(*key);
            let versions = log.history(*key);
            let found = versions.binary_search_by_key(&at, |version| version.revision);
            let Some(version) = found.ok().and_then(|found| versions.get(found)) else {
                continue;
            };
            let deleted = version.value.is_none();
            let filtered = if deleted {
                request.no_delete
            } else {
                request.no_put
            };
            if filtered || !request.range.contains(name) {
                continue;
            }
            let edge = deleted
                && compactions
                    .iter()
                    .any(|(revision, asked)| *revision == at && *asked <= told_at);
            if edge {
                tally.evaluated(Check::Edge, 1);
            }
            if heard.is_some_and(|heard| heard.contains(&name)) {
                continue;
            }
            // Who is told that it is complete, and is not, was told so wrongly: whether the deletion
            // would have come is not known.
            let check = match check {
                Check::Progress => Check::Progress,
                _ if edge => Check::Edge,
                _ => check,
            };
            tally.violation(check, || lost(case, stream, response, check, name, version));
        }
    }
    unknown
}

fn lost(
    case: &Case<'_>,
    stream: Stream<'_>,
    response: usize,
    check: Check,
    name: &str,
    version: &Version<'_>,
) -> Violation {
    let at = version.revision;
    let what = match version.value {
        Some(value) => format!("{name} = {value} at revision {at}"),
        None => format!("the deletion of {name} at revision {at}"),
    };
    let then = stream.stream.told.get(response).map(|told| &told.what);
    let then = match then {
        Some(Tidings::Progress) => "it was told that it is complete beyond that".to_owned(),
        Some(Tidings::Events { events, .. }) => format!(
            "it was told of {} instead",
            events.last().map(in_words).unwrap_or_default()
        ),
        _ => "it was told of something newer".to_owned(),
    };
    let title = match check {
        Check::Progress => "A watcher is told that it is complete, and is not",
        Check::Resumable => "A watcher that came back misses the first change",
        Check::Edge => "A deletion at the edge of a compaction is lost",
        _ => "A watcher misses a change",
    };
    let why = format!("it was never told of {what}; {then}");
    let operation = super::super::oracle::writer(case, at);
    Violation {
        contradicts: what,
        operations: operation.into_iter().collect(),
        offender: operation,
        key: Some(name.to_owned()),
        ..stream.violation(case, response, None, title, &why)
    }
}

//! What a stream must not show whatever was written.

use super::{Check, Stream, Tally};
use crate::history::watch::{Event, Kind, Tidings};
use crate::judge::case::Case;
use rustc_hash::FxHashSet;

pub(super) fn check(case: &Case<'_>, stream: Stream<'_>, tally: &mut Tally) {
    filter(case, stream, tally);
    order(case, stream, tally);
    unique(case, stream, tally);
    responses(case, stream, tally);
}

/// Filter, and nothing older than the beginning.
fn filter(case: &Case<'_>, stream: Stream<'_>, tally: &mut Tally) {
    let request = &stream.stream.request;
    let begins = stream.begins().unwrap_or(0);
    for (response, event) in stream.events() {
        tally.evaluated(Check::Filter, 1);
        tally.evaluated(Check::Future, 1);
        let unwanted = match event.kind {
            Kind::Put => request.no_put,
            Kind::Delete => request.no_delete,
        };
        if unwanted || !request.range.contains(&event.kv.key) {
            tally.violation(Check::Filter, || {
                let why = format!(
                    "it asked for {}{}, and was told of {}",
                    request.range,
                    if unwanted { ", filtered" } else { "" },
                    in_words(event)
                );
                let title = "A watcher is told of what it did not ask for";
                stream.violation(case, response, Some(event), title, &why)
            });
        }
        if event.kv.mod_revision < begins {
            tally.violation(Check::Future, || {
                let why = format!(
                    "its stream begins at {begins}; it was told of {}",
                    in_words(event)
                );
                let title = "A watcher is told of what is older than its beginning";
                stream.violation(case, response, Some(event), title, &why)
            });
        }
    }
}

fn order(case: &Case<'_>, stream: Stream<'_>, tally: &mut Tally) {
    let mut last: Option<&Event> = None;
    for (response, event) in stream.events() {
        if let Some(last) = last {
            tally.evaluated(Check::Ordered, 1);
            if event.kv.mod_revision < last.kv.mod_revision {
                tally.violation(Check::Ordered, || {
                    let why = format!("after {} came {}", in_words(last), in_words(event));
                    let title = "A watcher is told of changes out of order";
                    stream.violation(case, response, Some(event), title, &why)
                });
            }
        }
        last = Some(event);
    }
}

fn unique(case: &Case<'_>, stream: Stream<'_>, tally: &mut Tally) {
    let mut seen: FxHashSet<(i64, &str)> = FxHashSet::default();
    for (response, event) in stream.events() {
        tally.evaluated(Check::Unique, 1);
        if !seen.insert((event.kv.mod_revision, &event.kv.key)) {
            tally.violation(Check::Unique, || {
                let why = format!("it was told twice of {}", in_words(event));
                let title = "A watcher is told of a change twice";
                stream.violation(case, response, Some(event), title, &why)
            });
        }
    }
}

/// Atomic, bookmarkable, fragments: how events are put into responses.
fn responses(case: &Case<'_>, stream: Stream<'_>, tally: &mut Tally) {
    let mut before: Option<i64> = None;
    let mut in_parts = false;
    let mut bookmark: Option<i64> = None;
    for (response, told) in stream.stream.told.iter().enumerate() {
        let (events, fragment) = match &told.what {
            Tidings::Events { events, fragment } => (events, *fragment),
            Tidings::Progress => {
                bookmark = Some(told.revision.max(bookmark.unwrap_or(0)));
                if in_parts {
                    tally.violation(Check::Fragments, || {
                        let why = "progress came between the parts of a response".to_owned();
                        let title = "A response in parts is interrupted";
                        stream.violation(case, response, None, title, &why)
                    });
                }
                continue;
            }
            Tidings::Created | Tidings::Canceled { .. } => continue,
        };
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            continue;
        };
        if let Some(before) = before {
            tally.evaluated(Check::Atomic, 1);
            if before == first.kv.mod_revision && !in_parts {
                tally.violation(Check::Atomic, || {
                    let why = format!("revision {before} came in two responses");
                    let title = "A transaction reaches a watcher in pieces";
                    stream.violation(case, response, Some(first), title, &why)
                });
            }
        }
        if let Some(bookmark) = bookmark {
            tally.evaluated(Check::Bookmarkable, 1);
            if first.kv.mod_revision <= bookmark {
                tally.violation(Check::Bookmarkable, || {
                    let why = format!(
                        "it had been told that it knows all up to revision {bookmark}; then came {}",
                        in_words(first)
                    );
                    let title = "A change comes after the word that all was told";
                    stream.violation(case, response, Some(first), title, &why)
                });
            }
        }
        if fragment {
            tally.evaluated(Check::Fragments, 1);
            if !stream.stream.request.fragment {
                tally.violation(Check::Fragments, || {
                    let why = "it was answered in parts and had not asked for them".to_owned();
                    let title = "An answer in parts that nobody asked for";
                    stream.violation(case, response, Some(first), title, &why)
                });
            }
        }
        before = Some(last.kv.mod_revision);
        in_parts = fragment;
    }
}

pub(super) fn in_words(event: &Event) -> String {
    let at = event.kv.mod_revision;
    match event.kind {
        Kind::Put => format!("{} = {} at {at}", event.kv.key, event.kv.value),
        Kind::Delete => format!("the deletion of {} at {at}", event.kv.key),
    }
}

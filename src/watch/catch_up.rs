//! Reads the stored events for watchers that are behind: one walk for all of a stream, in steps that
//! are bounded in revisions and bytes.

use super::event::{Event, Events};
use super::interests::{Interest, Interests};
use super::limits::Limits;
use super::queue::Notice;
use super::stream::WatchId;
use crate::canary::{Canary, LOST_REVISIONS, planted};
use crate::mvcc::row::Change;
use crate::mvcc::{Error, ReadView};
use crate::types::Revision;
use std::sync::Arc;

/// For whom to read.
#[derive(Debug)]
pub struct Plan {
    pub(super) watchers: Vec<Planned>,
    /// The last revision to read: the watchers get what is later from memory. `None`: as far as a
    /// step goes.
    pub(super) until: Option<Revision>,
    limits: Limits,
}

#[derive(Debug)]
pub(super) struct Planned {
    pub(super) serial: u64,
    pub(super) id: WatchId,
    pub(super) interest: Arc<Interest>,
    pub(super) with_previous: bool,
    pub(super) next: Revision,
}

/// What a step found.
#[derive(Debug)]
pub struct Caught {
    /// By the watchers' serial numbers; one notice for each that was concerned.
    pub(super) found: Vec<(u64, Notice)>,
    /// Watchers whose next revision is compacted.
    pub(super) lost: Vec<u64>,
    pub(super) compacted: Revision,
    /// The first revision that was not read.
    pub(super) next: Revision,
}

impl Plan {
    /// `None` if it is for nobody.
    pub(super) fn new(
        watchers: Vec<Planned>,
        until: Option<Revision>,
        limits: Limits,
    ) -> Option<Self> {
        (!watchers.is_empty()).then_some(Self {
            watchers,
            until,
            limits,
        })
    }
}

/// What one interest has found.
struct Match {
    events: Vec<Arc<Event>>,
    with_previous: bool,
}

/// Takes one step of a plan.
pub fn read(view: &ReadView<'_>, plan: &Plan) -> Result<Caught, Error> {
    let compacted = view.compacted();
    let (lost, readers): (Vec<&Planned>, Vec<&Planned>) = plan
        .watchers
        .iter()
        .partition(|planned| planned.next < compacted);
    let from = readers.iter().map(|planned| planned.next).min();
    let mut walk = Walk::new(&readers, plan.limits);
    let until = plan.until.unwrap_or(Revision::MAX).min(view.revision());
    let next = match from {
        Some(from) if from <= until => walk.go(view, from, until)?,
        _ => until + 1,
    };
    let lists: Vec<Option<Arc<Events>>> = walk
        .matches
        .into_iter()
        .map(|it| Events::new(it.events).map(Arc::new))
        .collect();
    let mut found = Vec::new();
    for (planned, place) in readers.iter().zip(walk.places) {
        let Some(events) = lists.get(place).and_then(Option::as_ref) else {
            continue;
        };
        let events = match planned.next > events.first_revision() {
            false => Arc::clone(events),
            true => match events.since(planned.next) {
                Some(rest) => Arc::new(rest),
                None => continue,
            },
        };
        let notice = Notice::Events {
            id: planned.id,
            events,
            with_previous: planned.with_previous,
        };
        found.push((planned.serial, notice));
    }
    Ok(Caught {
        found,
        lost: lost.iter().map(|planned| planned.serial).collect(),
        compacted,
        next,
    })
}

struct Walk {
    limits: Limits,
    interests: Interests,
    matches: Vec<Match>,
    /// Where in `matches` each watcher's are.
    places: Vec<usize>,
}

impl Walk {
    fn new(readers: &[&Planned], limits: Limits) -> Self {
        let mut interests = Interests::default();
        let mut matches: Vec<Match> = Vec::new();
        let mut places = Vec::with_capacity(readers.len());
        for planned in readers {
            let place = match interests.find(&planned.interest) {
                Some(number) => usize::try_from(number).unwrap_or(usize::MAX),
                None => {
                    interests.insert(&planned.interest, matches.len() as u64);
                    matches.push(Match {
                        events: Vec::new(),
                        with_previous: false,
                    });
                    matches.len() - 1
                }
            };
            if let Some(it) = matches.get_mut(place) {
                it.with_previous |= planned.with_previous;
            }
            places.push(place);
        }
        Self {
            limits,
            interests,
            matches,
            places,
        }
    }

    /// Walks from `from` on, at most to `until`; answers the first revision that it did not read.
    fn go(
        &mut self,
        view: &ReadView<'_>,
        from: Revision,
        until: Revision,
    ) -> Result<Revision, Error> {
        let mut cursor = view.events(from)?;
        let (mut revisions, mut bytes, mut last) = (0, 0, from - 1);
        while let Some((revision, event)) = cursor.event()? {
            if revision > until {
                break;
            }
            if revision != last {
                if revisions >= self.limits.step_revisions || bytes >= self.limits.step_bytes {
                    return Ok(revision);
                }
                revisions += 1;
                last = revision;
            }
            let is_put = matches!(event.change, Change::Put { .. });
            // Planted: the compaction took the deletions behind it along.
            if planted(Canary::CompactionLosesDelete) && !is_put {
                let compacted = view.compacted();
                if compacted > 0 && revision < compacted + LOST_REVISIONS {
                    cursor.advance()?;
                    continue;
                }
            }
            let (mut shared, mut with_previous) = (None, false);
            let matches = &mut self.matches;
            self.interests.visit(event.key, is_put, |place| {
                let place = usize::try_from(place).unwrap_or(usize::MAX);
                let Some(it) = matches.get_mut(place) else {
                    return;
                };
                let event = shared.get_or_insert_with(|| Arc::new(Event::copy(revision, &event)));
                it.events.push(Arc::clone(event));
                with_previous |= it.with_previous;
            });
            if let Some(event) = shared {
                if with_previous {
                    read_previous(view, &event)?;
                }
                bytes += event.bytes();
            }
            cursor.advance()?;
        }
        Ok(until + 1)
    }
}

/// Completes an event with the pair before it.
pub fn read_previous(view: &ReadView<'_>, event: &Event) -> Result<(), Error> {
    if event.lacks_previous() {
        // Planted: whatever the pair is now.
        if planted(Canary::PrevKvOfLatest) {
            let next = view.revision() + 1;
            event.set_previous(view.before(&event.key, next, next)?);
        }
        event.set_previous(view.before(&event.key, event.revision, event.previous_revision)?);
    }
    Ok(())
}

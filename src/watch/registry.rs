//! Watchers, groups and queues: everything behind the hub's lock.
//!
//! Invariants: a group's `synced` holds exactly its synced watchers, each knowing its place there; a
//! stream's `catching_up` holds exactly the others; a synced watcher's `next` is at most the
//! revision after `published`, unless it waits for a revision that is still to come; what waits in a
//! queue for a watcher that is catching up is older than its `next`.

use super::event::{Event, Events};
use super::interests::{Interest, Interests};
use super::limits::Limits;
use super::queue::{Notice, Queue, count};
use super::stream::{Ask, Created, Next, Refused, WatchId};
use crate::canary::{Canary, planted};
use crate::mvcc::PendingEvent;
use crate::mvcc::row::Change;
use crate::types::{RangeEnd, Revision};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::task::Waker;

mod behind;

/// In place of a watcher's serial number: the notice is for all of the stream.
const ALL: u64 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At this place of its group.
    Synced(usize),
    CatchingUp,
}

struct Watcher {
    stream: u64,
    id: WatchId,
    group: u64,
    with_previous: bool,
    state: State,
    /// Nothing below this is told.
    next: Revision,
    /// No progress below this is told.
    progress_from: Revision,
    /// Notices in the stream's queue.
    queued: usize,
}

/// The watchers of one interest.
struct Group {
    interest: Arc<Interest>,
    members: usize,
    synced: Vec<u64>,
    /// Its events of the batch that is being distributed.
    matched: Vec<Arc<Event>>,
}

#[derive(Default)]
pub(super) struct Registry {
    /// The last revision that was distributed.
    pub(super) published: Revision,
    pub(super) closed: bool,
    pub(super) events_sent: u64,
    limits: Limits,
    interests: Interests,
    groups: HashMap<u64, Group>,
    watchers: HashMap<u64, Watcher>,
    streams: BTreeMap<u64, Queue>,
    /// Numbers watchers, groups and streams, never twice.
    serial: u64,
}

impl Registry {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    fn number(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    pub(super) fn open_stream(&mut self) -> u64 {
        let number = self.number();
        self.streams.insert(number, Queue::default());
        number
    }

    /// Answers how many watchers went with it.
    pub(super) fn close_stream(&mut self, stream: u64) -> usize {
        let Some(queue) = self.streams.get_mut(&stream) else {
            return 0;
        };
        queue.clear();
        let serials: Vec<u64> = queue.watchers.values().copied().collect();
        for serial in &serials {
            self.remove(*serial);
        }
        self.streams.remove(&stream);
        serials.len()
    }

    pub(super) fn watchers(&self) -> usize {
        self.watchers.len()
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn catching_up(&self) -> usize {
        self.streams.values().map(|it| it.catching_up.len()).sum()
    }

    pub(super) fn pending(&self) -> u64 {
        self.streams.values().map(|it| it.events).sum()
    }

    pub(super) fn wake_all(&mut self) {
        self.streams.values_mut().for_each(Queue::wake);
    }

    /// `current` is the store's revision, which may be ahead of what is distributed.
    pub(super) fn create(
        &mut self,
        stream: u64,
        ask: &Ask,
        current: Revision,
    ) -> Result<Created, Refused> {
        if let RangeEnd::Before(end) = &ask.interest.range.end
            && *end <= ask.interest.range.start
        {
            return Err(Refused::EmptyRange);
        }
        let queue = self.streams.get_mut(&stream).ok_or(Refused::Closed)?;
        let id = match ask.id {
            0 => {
                while queue.watchers.contains_key(&queue.next_id) {
                    queue.next_id += 1;
                }
                queue.next_id += 1;
                queue.next_id - 1
            }
            taken if queue.watchers.contains_key(&taken) => return Err(Refused::DuplicateId),
            id => id,
        };
        let next = match ask.start {
            start if start <= 0 => current + 1,
            // Planted: the last one once more.
            start if planted(Canary::WatchDuplicateOnResume) && start <= current => start - 1,
            start => start,
        };
        let group = self.group_of(&ask.interest);
        let serial = self.number();
        let watcher = Watcher {
            stream,
            id,
            group,
            with_previous: ask.with_previous,
            state: State::CatchingUp,
            next,
            progress_from: if ask.start <= 0 { current } else { ask.start },
            queued: 0,
        };
        self.watchers.insert(serial, watcher);
        if let Some(queue) = self.streams.get_mut(&stream) {
            queue.watchers.insert(id, serial);
            queue.catching_up.insert(serial);
            // Progress of all that is not told yet would be taken for this one's too.
            queue.drop_of(ALL);
        }
        if next > self.published {
            self.sync(serial, next);
        }
        Ok(Created {
            id,
            revision: current,
        })
    }

    /// The group of an interest, made if need be, with one member more.
    fn group_of(&mut self, interest: &Interest) -> u64 {
        let number = match self.interests.find(interest) {
            Some(number) => number,
            None => {
                let number = self.number();
                self.interests.insert(interest, number);
                number
            }
        };
        let group = self.groups.entry(number).or_insert_with(|| Group {
            interest: Arc::new(interest.clone()),
            members: 0,
            synced: Vec::new(),
            matched: Vec::new(),
        });
        group.members += 1;
        number
    }

    pub(super) fn cancel(&mut self, stream: u64, id: WatchId) -> bool {
        let queue = self.streams.get(&stream);
        let Some(serial) = queue.and_then(|it| it.watchers.get(&id).copied()) else {
            return false;
        };
        self.remove(serial);
        true
    }

    /// Ends a watcher: nothing more is told to it.
    fn remove(&mut self, serial: u64) {
        self.unsync(serial);
        let Some(watcher) = self.watchers.remove(&serial) else {
            return;
        };
        if let Some(queue) = self.streams.get_mut(&watcher.stream) {
            queue.watchers.remove(&watcher.id);
            queue.catching_up.remove(&serial);
            if watcher.queued > 0 {
                queue.drop_of(serial);
            }
        }
        if let Some(group) = self.groups.get_mut(&watcher.group) {
            group.members -= 1;
            if group.members == 0 {
                self.interests.remove(&group.interest);
                self.groups.remove(&watcher.group);
            }
        }
    }

    /// From now on its events come from memory, those of `next` and later.
    fn sync(&mut self, serial: u64, next: Revision) {
        let Some(watcher) = self.watchers.get_mut(&serial) else {
            return;
        };
        assert!(next >= watcher.next, "a watcher goes forward");
        watcher.next = next;
        let (group, queue) = (
            self.groups.get_mut(&watcher.group),
            self.streams.get_mut(&watcher.stream),
        );
        if let (Some(group), Some(queue)) = (group, queue)
            && queue.catching_up.remove(&serial)
        {
            watcher.state = State::Synced(group.synced.len());
            group.synced.push(serial);
        }
    }

    /// From now on its events come from the store; `next` says from where.
    fn unsync(&mut self, serial: u64) {
        let Some(watcher) = self.watchers.get_mut(&serial) else {
            return;
        };
        let State::Synced(place) = watcher.state else {
            return;
        };
        watcher.state = State::CatchingUp;
        if let Some(queue) = self.streams.get_mut(&watcher.stream) {
            queue.catching_up.insert(serial);
            queue.wake();
        }
        let Some(group) = self.groups.get_mut(&watcher.group) else {
            return;
        };
        group.synced.swap_remove(place);
        let moved = group.synced.get(place).copied();
        if let Some(moved) = moved.and_then(|moved| self.watchers.get_mut(&moved)) {
            moved.state = State::Synced(place);
        }
    }

    /// Events went by that nobody was told of: everybody is behind now.
    pub(super) fn missed(&mut self, upto: Revision) {
        if upto <= self.published {
            return;
        }
        let next = self.published + 1;
        let synced: Vec<u64> = self
            .groups
            .values_mut()
            .flat_map(|group| group.synced.iter().copied())
            .collect();
        for serial in synced {
            self.unsync(serial);
            if let Some(watcher) = self.watchers.get_mut(&serial) {
                watcher.next = watcher.next.max(next);
            }
        }
        self.published = upto;
    }

    /// Tells everybody whom it concerns of a batch: whole revisions that follow on the last.
    pub(super) fn distribute(&mut self, batch: &[PendingEvent]) {
        let (mut touched, mut bytes, mut last) = (Vec::new(), 0, 0);
        for pending in batch {
            // Many small commands are one batch; they are not one response.
            if pending.main != last && bytes >= self.limits.step_bytes {
                touched.drain(..).for_each(|group| self.deliver(group));
                bytes = 0;
            }
            last = pending.main;
            let event = &pending.event;
            let is_put = matches!(event.change, Change::Put { .. });
            let mut shared = None;
            self.interests.visit(&event.key, is_put, |number| {
                let Some(group) = self.groups.get_mut(&number) else {
                    return;
                };
                if group.synced.is_empty() {
                    return;
                }
                if group.matched.is_empty() {
                    touched.push(number);
                }
                let event =
                    shared.get_or_insert_with(|| Arc::new(Event::copy(pending.main, event)));
                group.matched.push(Arc::clone(event));
            });
            bytes += shared.map_or(0, |event| event.bytes());
        }
        for number in touched {
            self.deliver(number);
        }
        if let Some(last) = batch.last() {
            self.published = self.published.max(last.main);
        }
    }

    /// Queues what a group's watchers are to be told.
    fn deliver(&mut self, number: u64) {
        let Some(group) = self.groups.get_mut(&number) else {
            return;
        };
        let Some(events) = Events::new(std::mem::take(&mut group.matched)) else {
            return;
        };
        let events = Arc::new(events);
        let mut behind = Vec::new();
        for &serial in &group.synced {
            let watcher = self.watchers.get_mut(&serial);
            let Some(watcher) = watcher else { continue };
            let events = match watcher.next > events.first_revision() {
                false => Arc::clone(&events),
                true => match events.since(watcher.next) {
                    Some(rest) => Arc::new(rest),
                    None => continue,
                },
            };
            let (first, last) = (events.first_revision(), events.last_revision());
            let notice = Notice::Events {
                id: watcher.id,
                events,
                with_previous: watcher.with_previous,
            };
            let queue = self.streams.get_mut(&watcher.stream);
            if queue.is_some_and(|queue| queue.push(serial, notice, &self.limits)) {
                watcher.queued += 1;
                watcher.next = last + 1;
            } else {
                watcher.next = watcher.next.max(first);
                behind.push(serial);
            }
        }
        for serial in behind {
            self.unsync(serial);
        }
    }

    /// What a stream is to do next; `None`: wait to be woken.
    pub(super) fn next(&mut self, stream: u64, waker: &Waker) -> Option<Next> {
        if self.closed {
            return Some(Next::Closed);
        }
        let queue = self.streams.get_mut(&stream)?;
        let may_read = queue.is_empty() || queue.taken >= self.limits.notices_per_step;
        if may_read && !queue.catching_up.is_empty() {
            queue.taken = 0;
            if let Some(plan) = self.plan(stream) {
                return Some(Next::Behind(plan));
            }
        }
        let queue = self.streams.get_mut(&stream)?;
        let Some((serial, notice)) = queue.pop() else {
            queue.waker = Some(waker.clone());
            return None;
        };
        queue.taken += 1;
        self.events_sent += notice.events().map_or(0, |events| count(events));
        if let Some(watcher) = self.watchers.get_mut(&serial) {
            watcher.queued -= 1;
        }
        Some(Next::Notice(notice))
    }

    /// Queues the progress of all the stream's watchers, if all are synced and none waits for a
    /// revision that is still to come; of a single one under the same conditions.
    pub(super) fn progress(&mut self, stream: u64, id: Option<WatchId>) -> bool {
        let revision = self.published;
        let Some(queue) = self.streams.get_mut(&stream) else {
            return false;
        };
        let mut serials = match id {
            Some(id) => queue.watchers.range(id..=id),
            None => queue.watchers.range::<WatchId, _>(..),
        };
        let ready = |serial: &u64| {
            let watcher = self.watchers.get(serial);
            watcher.is_some_and(|it| it.state != State::CatchingUp && it.progress_from <= revision)
        };
        if serials.clone().next().is_none() || !serials.all(|(_, serial)| ready(serial)) {
            return false;
        }
        let serial = id.and_then(|id| queue.watchers.get(&id)).copied();
        let notice = Notice::Progress { id, revision };
        let queued = queue.push(serial.unwrap_or(ALL), notice, &self.limits);
        if let Some(watcher) = serial.and_then(|serial| self.watchers.get_mut(&serial)) {
            watcher.queued += usize::from(queued);
        }
        queued
    }
}

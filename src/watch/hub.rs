//! What everybody shares: the inbox that apply fills, and the registry behind it.

use super::catch_up::{Caught, Plan};
use super::limits::Limits;
use super::queue::Notice;
use super::registry::Registry;
use super::stream::{Ask, Created, Next, Refused, Stream, WatchId};
use crate::mvcc::PendingEvent;
use crate::types::Revision;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Numbers for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub watchers: u64,
    /// Those of them that are catching up.
    pub slow_watchers: u64,
    pub streams: u64,
    /// Events handed to streams since the start.
    pub events: u64,
    /// Events that wait in the streams' queues.
    pub pending_events: u64,
}

/// Distributes events to watchers. See the room's own words.
///
/// Two locks: `registry`, then `inbox`. Who publishes takes the second alone, for a moment.
#[derive(Default)]
pub struct Hub {
    limits: Limits,
    watchers: AtomicUsize,
    inbox: Mutex<Inbox>,
    registry: Mutex<Registry>,
}

#[derive(Default)]
struct Inbox {
    /// Up to here events were dropped; what is in `batches` is later.
    missed: Option<Revision>,
    batches: VecDeque<Vec<PendingEvent>>,
    events: usize,
    bytes: usize,
    closed: bool,
    /// Wakes whoever distributes.
    waker: Option<Waker>,
}

enum Mail {
    Missed(Revision),
    Batch(Vec<PendingEvent>),
}

impl Inbox {
    fn take(&mut self) -> Option<Mail> {
        if let Some(upto) = self.missed.take() {
            return Some(Mail::Missed(upto));
        }
        let batch = self.batches.pop_front()?;
        self.events -= batch.len();
        self.bytes -= bytes_of(&batch);
        Some(Mail::Batch(batch))
    }

    /// Drops everything: whoever watches reads it from the store, up to `upto`.
    fn miss(&mut self, upto: Revision) {
        self.batches.clear();
        (self.events, self.bytes) = (0, 0);
        self.missed = self.missed.max(Some(upto));
    }
}

fn bytes_of(batch: &[PendingEvent]) -> usize {
    batch.iter().map(PendingEvent::bytes).sum()
}

/// A lock is only poisoned if its holder panicked, which ends the process.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            registry: Mutex::new(Registry::new(limits)),
            ..Self::default()
        }
    }

    /// Hands over what was just written and can be read: whole revisions, in order, each once. Called
    /// by the one who writes, and never waits for a listener.
    pub fn publish(&self, batch: Vec<PendingEvent>) {
        // Pairs with `create`: either we see the watcher, or it sees the revision that was written
        // before this.
        fence(Ordering::SeqCst);
        if self.watchers.load(Ordering::Relaxed) == 0 {
            return;
        }
        let Some(last) = batch.last().map(|event| event.main) else {
            return;
        };
        let bytes = bytes_of(&batch);
        let mut inbox = lock(&self.inbox);
        let has_room = inbox.events + batch.len() <= self.limits.inbox_events
            && inbox.bytes + bytes <= self.limits.inbox_bytes;
        if has_room || inbox.batches.is_empty() {
            inbox.events += batch.len();
            inbox.bytes += bytes;
            inbox.batches.push_back(batch);
        } else {
            inbox.miss(last);
        }
        wake(inbox);
    }

    /// The state was replaced by one of a later revision, whose events nobody published.
    pub fn jump(&self, to: Revision) {
        let mut inbox = lock(&self.inbox);
        inbox.miss(to);
        wake(inbox);
    }

    /// The member stops: every stream ends.
    pub fn close(&self) {
        let mut registry = lock(&self.registry);
        registry.closed = true;
        registry.wake_all();
        drop(registry);
        let mut inbox = lock(&self.inbox);
        inbox.closed = true;
        wake(inbox);
    }

    /// Distributes one batch, when there is one. `Ready(false)` when the hub is closed. One task calls
    /// this again and again; it may let others work in between.
    pub fn poll_distribute(&self, context: &mut Context<'_>) -> Poll<bool> {
        let mut registry = lock(&self.registry);
        let mut inbox = lock(&self.inbox);
        if inbox.closed {
            return Poll::Ready(false);
        }
        let Some(mail) = inbox.take() else {
            inbox.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        drop(inbox);
        open_mail(&mut registry, mail);
        Poll::Ready(true)
    }

    /// Distributes all that there is.
    fn distribute(&self, registry: &mut Registry) {
        loop {
            let mail = lock(&self.inbox).take();
            match mail {
                Some(mail) => open_mail(registry, mail),
                None => return,
            }
        }
    }

    /// A stream for one client. Dropping it ends its watchers.
    pub fn open(self: &Arc<Self>) -> Stream {
        let number = lock(&self.registry).open_stream();
        Stream::new(Arc::clone(self), number)
    }

    pub fn counts(&self) -> Counts {
        let registry = lock(&self.registry);
        Counts {
            watchers: self.watchers.load(Ordering::Relaxed) as u64,
            slow_watchers: registry.catching_up() as u64,
            streams: registry.streams() as u64,
            events: registry.events_sent,
            pending_events: registry.pending(),
        }
    }

    pub(super) fn close_stream(&self, number: u64) {
        let mut registry = lock(&self.registry);
        let gone = registry.close_stream(number);
        self.watchers.fetch_sub(gone, Ordering::SeqCst);
    }

    pub(super) fn create(
        &self,
        stream: u64,
        ask: &Ask,
        revision: impl FnOnce() -> Revision,
    ) -> Result<Created, Refused> {
        let mut registry = lock(&self.registry);
        let is_first = self.watchers.fetch_add(1, Ordering::SeqCst) == 0;
        fence(Ordering::SeqCst);
        let current = revision().max(registry.published);
        if is_first {
            // Nothing was published while nobody watched.
            registry.published = current;
        }
        let created = registry.create(stream, ask, current);
        if created.is_err() {
            self.watchers.fetch_sub(1, Ordering::SeqCst);
        }
        created
    }

    pub(super) fn cancel(&self, stream: u64, id: WatchId) -> bool {
        let mut registry = lock(&self.registry);
        let cancelled = registry.cancel(stream, id);
        self.watchers
            .fetch_sub(usize::from(cancelled), Ordering::SeqCst);
        cancelled
    }

    pub(super) fn progress(&self, stream: u64, id: Option<WatchId>) -> bool {
        let mut registry = lock(&self.registry);
        self.distribute(&mut registry);
        registry.progress(stream, id)
    }

    pub(super) fn poll_next(&self, stream: u64, context: &mut Context<'_>) -> Poll<Next> {
        let mut registry = lock(&self.registry);
        match registry.next(stream, context.waker()) {
            Some(next) => Poll::Ready(next),
            None => Poll::Pending,
        }
    }

    pub(super) fn caught_up(&self, plan: Plan, caught: Caught) -> (Vec<Notice>, Option<Plan>) {
        let mut registry = lock(&self.registry);
        let before = registry.watchers();
        let outcome = registry.caught_up(plan, caught);
        let ended = before - registry.watchers();
        self.watchers.fetch_sub(ended, Ordering::SeqCst);
        outcome
    }
}

fn open_mail(registry: &mut Registry, mail: Mail) {
    match mail {
        Mail::Missed(upto) => registry.missed(upto),
        Mail::Batch(batch) => registry.distribute(&batch),
    }
}

fn wake(mut inbox: MutexGuard<'_, Inbox>) {
    let waker = inbox.waker.take();
    drop(inbox);
    if let Some(waker) = waker {
        waker.wake();
    }
}

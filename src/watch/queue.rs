//! What waits for one client to read, bounded in number and bytes.

use super::event::Events;
use super::limits::Limits;
use super::stream::WatchId;
use crate::types::Revision;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::Waker;

/// What a stream is told.
#[derive(Clone, Debug)]
pub enum Notice {
    Events {
        id: WatchId,
        events: Arc<Events>,
        /// The watcher wants the previous pairs too.
        with_previous: bool,
    },
    /// All events up to `revision` were told: of one watcher, or of all of the stream.
    Progress {
        id: Option<WatchId>,
        revision: Revision,
    },
    /// The watcher has ended: its next events are compacted away up to `revision`.
    Compacted { id: WatchId, revision: Revision },
}

impl Notice {
    /// The watcher that it is for; `None`: for all of the stream.
    pub fn id(&self) -> Option<WatchId> {
        match self {
            Self::Events { id, .. } | Self::Compacted { id, .. } => Some(*id),
            Self::Progress { id, .. } => *id,
        }
    }

    pub(super) fn events(&self) -> Option<&Arc<Events>> {
        match self {
            Self::Events { events, .. } => Some(events),
            Self::Progress { .. } | Self::Compacted { .. } => None,
        }
    }
}

/// A notice in the queue, with the serial number of its watcher; 0 for all.
struct Waiting {
    watcher: u64,
    notice: Notice,
    bytes: usize,
}

/// One stream: its queue, and its watchers by id.
#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Events in the queue.
    pub(super) events: u64,
    /// Wakes whoever reads the stream.
    pub(super) waker: Option<Waker>,
    pub(super) watchers: BTreeMap<WatchId, u64>,
    /// Serial numbers of those that are catching up.
    pub(super) catching_up: BTreeSet<u64>,
    pub(super) next_id: WatchId,
    /// Notices taken since the last step of catching up.
    pub(super) taken: usize,
    /// Whether those far behind are next to be read for.
    pub(super) far_is_next: bool,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Queues a notice, unless there is no room. One always fits an empty queue.
    pub(super) fn push(&mut self, watcher: u64, notice: Notice, limits: &Limits) -> bool {
        let bytes = match (notice.events(), self.last_events()) {
            (Some(events), Some(last)) if Arc::ptr_eq(events, last) => 0,
            (Some(events), _) => events.bytes(),
            (None, _) => 0,
        };
        let fits =
            self.waiting.len() < limits.queue_notices && self.bytes + bytes <= limits.queue_bytes;
        if !fits && !self.waiting.is_empty() {
            return false;
        }
        self.bytes += bytes;
        self.events += notice.events().map_or(0, |events| count(events));
        self.waiting.push_back(Waiting {
            watcher,
            notice,
            bytes,
        });
        self.wake();
        true
    }

    fn last_events(&self) -> Option<&Arc<Events>> {
        self.waiting.back()?.notice.events()
    }

    pub(super) fn pop(&mut self) -> Option<(u64, Notice)> {
        let first = self.waiting.pop_front()?;
        self.forget(&first);
        Some((first.watcher, first.notice))
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        (self.bytes, self.events) = (0, 0);
    }

    fn forget(&mut self, gone: &Waiting) {
        self.bytes -= gone.bytes;
        self.events -= gone.notice.events().map_or(0, |events| count(events));
    }

    /// Drops what waits for a watcher that has ended. What is left may be counted short by bytes that
    /// it shared with what goes.
    pub(super) fn drop_of(&mut self, watcher: u64) {
        let waiting = std::mem::take(&mut self.waiting);
        for it in waiting {
            if it.watcher == watcher {
                self.forget(&it);
            } else {
                self.waiting.push_back(it);
            }
        }
    }

    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

pub(super) fn count(events: &Events) -> u64 {
    events.list().len() as u64
}

//! One client's end of the hub.

use super::catch_up::{Caught, Plan};
use super::hub::Hub;
use super::interests::Interest;
use super::queue::Notice;
use crate::types::Revision;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Names a watcher within its stream.
pub type WatchId = i64;

/// A watcher as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// 0: any that is free.
    pub id: WatchId,
    pub interest: Interest,
    /// The first revision to be told; 0: the next one.
    pub start: Revision,
    /// Whether the pairs before the events are wanted too.
    pub with_previous: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created {
    pub id: WatchId,
    /// The store's revision: without a start of its own the watcher is told what comes after it.
    pub revision: Revision,
}

/// Why there is no such watcher. The texts are etcd's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("mvcc: watcher range is empty")]
    EmptyRange,
    #[error("mvcc: duplicate watch ID provided on the WatchStream")]
    DuplicateId,
    #[error("mvcc: watch stream is closed")]
    Closed,
}

/// What comes next on a stream.
#[derive(Debug)]
pub enum Next {
    Notice(Notice),
    /// Watchers are behind: read this ([`super::catch_up::read`]), hand in what was found
    /// ([`Stream::caught_up`]), and ask for nothing else before.
    Behind(Plan),
    /// The member stops.
    Closed,
}

/// Watchers that share a way to one client. Dropping it ends them.
pub struct Stream {
    hub: Arc<Hub>,
    number: u64,
    /// Found in the store, not told yet: older than all that waits in the queue.
    ready: VecDeque<Notice>,
    /// What is to be read after `ready` was told, and no earlier: a client that does not read has one
    /// step's worth of memory.
    rest: Option<Plan>,
}

impl Stream {
    pub(super) fn new(hub: Arc<Hub>, number: u64) -> Self {
        Self {
            hub,
            number,
            ready: VecDeque::new(),
            rest: None,
        }
    }

    /// Begins to watch. `revision` asks the store, at the right moment.
    pub fn create(
        &self,
        ask: &Ask,
        revision: impl FnOnce() -> Revision,
    ) -> Result<Created, Refused> {
        // Its end would be taken for the new one's.
        if ask.id != 0 && self.ends_untold(ask.id) {
            return Err(Refused::DuplicateId);
        }
        self.hub.create(self.number, ask, revision)
    }

    /// Ends a watcher; what waits for it is dropped. Whether there was one, as far as its client
    /// knows.
    pub fn cancel(&mut self, id: WatchId) -> bool {
        let is_over = self.ends_untold(id);
        self.ready.retain(|notice| notice.id() != Some(id));
        self.hub.cancel(self.number, id) || is_over
    }

    /// Whether a watcher has ended, and its client has not heard of it.
    fn ends_untold(&self, id: WatchId) -> bool {
        let ends =
            |notice: &Notice| matches!(notice, Notice::Compacted { id: it, .. } if *it == id);
        self.ready.iter().any(ends)
    }

    /// Asks for a notice of how far all watchers of the stream are, or one of them, behind all that
    /// waits for it. There is none if one of them is catching up or begins in the future, or if there
    /// is no watcher: whoever wants to know asks again.
    pub fn progress(&self, id: Option<WatchId>) -> bool {
        self.hub.progress(self.number, id)
    }

    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        if let Some(notice) = self.ready.pop_front() {
            return Poll::Ready(Next::Notice(notice));
        }
        if let Some(rest) = self.rest.take() {
            return Poll::Ready(Next::Behind(rest));
        }
        self.hub.poll_next(self.number, context)
    }

    /// Hands in what a plan found. It is told next.
    pub fn caught_up(&mut self, plan: Plan, caught: Caught) {
        let (notices, rest) = self.hub.caught_up(plan, caught);
        self.ready.extend(notices);
        self.rest = rest;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.hub.close_stream(self.number);
    }
}

//! One client's end of the hub.

use super::catch_up::{Caught, Plan};
use super::hub::Hub;
use super::interests::Interest;
use super::queue::Notice;
use crate::types::Revision;
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
}

impl Stream {
    pub(super) fn new(hub: Arc<Hub>, number: u64) -> Self {
        Self { hub, number }
    }

    /// Begins to watch. `revision` asks the store, at the right moment.
    pub fn create(
        &self,
        ask: &Ask,
        revision: impl FnOnce() -> Revision,
    ) -> Result<Created, Refused> {
        self.hub.create(self.number, ask, revision)
    }

    /// Ends a watcher; what waits for it is dropped. Whether there was one.
    pub fn cancel(&self, id: WatchId) -> bool {
        self.hub.cancel(self.number, id)
    }

    /// Asks for a notice of how far all watchers of the stream are, or one of them, behind all that
    /// waits for it. There is none if one of them is catching up or begins in the future, or if there
    /// is no watcher: whoever wants to know asks again.
    pub fn progress(&self, id: Option<WatchId>) -> bool {
        self.hub.progress(self.number, id)
    }

    pub fn poll_next(&self, context: &mut Context<'_>) -> Poll<Next> {
        self.hub.poll_next(self.number, context)
    }

    /// Hands in what a plan found: answers what to tell, in order, and what else is to be read before
    /// the stream is asked again.
    pub fn caught_up(&self, plan: Plan, caught: Caught) -> (Vec<Notice>, Option<Plan>) {
        self.hub.caught_up(plan, caught)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.hub.close_stream(self.number);
    }
}

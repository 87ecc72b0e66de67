//! Watching: the hub's notices and, for watchers that are behind, what the readers' thread finds.
//!
//! The doors' Watch call is built on a [`WatchStream`], and whoever else in the process wants to know
//! what happens to a key: nothing here knows of gRPC.

use super::{Node, NodeError};
use crate::mvcc;
use crate::types::{KeyRange, Revision};
use crate::watch::catch_up::{self, Caught, Plan};
use crate::watch::{Ask, Counts, Created, Hub, Interest, Next, Notice, Refused, Stream, WatchId};
use bytes::Bytes;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Pairs before events that are read where they are wanted; more of them go to the readers' thread.
const INLINE_PREVIOUS_MAX: usize = 8;

/// Distributes events to the streams, on the doors' runtime, until the member stops.
pub(super) async fn distribute(hub: Arc<Hub>) {
    while poll_fn(|context| hub.poll_distribute(context)).await {
        // The streams that this woke have their turn before the next batch.
        tokio::task::yield_now().await;
    }
}

/// Watchers that are told through one pair of hands.
pub struct WatchStream {
    node: Node,
    stream: Stream,
    work: Option<Work>,
    /// What `work` completes.
    incomplete: Option<Notice>,
}

/// Something that the readers' thread does for a stream. Kept here and not in a caller's future, so
/// that nothing is lost when a caller stops waiting.
type Work = Pin<Box<dyn Future<Output = io::Result<Result<Done, mvcc::Error>>> + Send>>;

enum Done {
    Step(Plan, Caught),
    /// The previous pairs of a notice are there.
    Completed,
}

impl WatchStream {
    fn new(node: Node) -> Self {
        let stream = node.inner.hub.open();
        Self {
            node,
            stream,
            work: None,
            incomplete: None,
        }
    }

    /// Begins to watch.
    ///
    /// # Errors
    /// The id is taken, or the range is empty.
    pub fn create(&mut self, ask: &Ask) -> Result<Created, Refused> {
        self.stream.create(ask, || self.node.revision())
    }

    /// Ends a watcher: nothing more is told to it. Whether there was one.
    pub fn cancel(&mut self, id: WatchId) -> bool {
        self.incomplete.take_if(|notice| notice.id() == Some(id));
        self.stream.cancel(id)
    }

    /// Asks for a notice of progress: see [`Stream::progress`].
    pub fn request_progress(&self, id: Option<WatchId>) -> bool {
        self.stream.progress(id)
    }

    /// Waits for what is to be told next. Given up half way, nothing is lost.
    ///
    /// # Errors
    /// [`NodeError::Stopped`] when the member stops, [`NodeError::Corrupt`] if it cannot read its
    /// store.
    pub async fn next(&mut self) -> Result<Notice, NodeError> {
        loop {
            if let Some(work) = &mut self.work {
                let done = work.await;
                self.work = None;
                if let Some(notice) = self.finish(done)? {
                    return Ok(notice);
                }
                continue;
            }
            match poll_fn(|context| self.stream.poll_next(context)).await {
                Next::Notice(notice) => {
                    if let Some(notice) = self.complete(notice)? {
                        return Ok(notice);
                    }
                }
                Next::Behind(plan) => self.step(plan),
                Next::Closed => return Err(NodeError::Stopped),
            }
        }
    }

    fn finish(
        &mut self,
        done: io::Result<Result<Done, mvcc::Error>>,
    ) -> Result<Option<Notice>, NodeError> {
        let done = done.map_err(|_| NodeError::Stopped)?;
        match done.map_err(|error| unreadable(&error))? {
            Done::Completed => Ok(self.incomplete.take()),
            Done::Step(plan, caught) => {
                self.stream.caught_up(plan, caught);
                Ok(None)
            }
        }
    }

    /// Reads for those who are behind.
    fn step(&mut self, plan: Plan) {
        // After the plan was made: the store then holds whatever the hub has distributed.
        let store = self.node.store();
        self.work = Some(self.on_readers(move || {
            let caught = catch_up::read(&store.view()?, &plan)?;
            Ok(Done::Step(plan, caught))
        }));
    }

    /// A notice from memory lacks the previous pairs. A few are read here; of many, nothing is
    /// answered, and they are read elsewhere.
    fn complete(&mut self, notice: Notice) -> Result<Option<Notice>, NodeError> {
        let Notice::Events {
            events,
            with_previous: true,
            ..
        } = &notice
        else {
            return Ok(Some(notice));
        };
        let lacking = events.list().iter().filter(|event| event.lacks_previous());
        let lacking: Vec<_> = lacking.cloned().collect();
        if lacking.is_empty() {
            return Ok(Some(notice));
        }
        let store = self.node.store();
        let is_short = lacking.len() <= INLINE_PREVIOUS_MAX;
        let read = move || {
            let view = store.view()?;
            lacking
                .iter()
                .try_for_each(|event| catch_up::read_previous(&view, event))
        };
        if is_short {
            read().map_err(|error| unreadable(&error))?;
            return Ok(Some(notice));
        }
        self.work = Some(self.on_readers(move || read().map(|()| Done::Completed)));
        self.incomplete = Some(notice);
        Ok(None)
    }

    fn on_readers(&self, job: impl FnOnce() -> Result<Done, mvcc::Error> + Send + 'static) -> Work {
        let readers = self.node.inner.readers.clone();
        Box::pin(async move { readers.run(job).await })
    }
}

fn unreadable(error: &mvcc::Error) -> NodeError {
    tracing::error!(%error, "the stored events cannot be read");
    NodeError::Corrupt
}

impl Node {
    /// Returns once this member's state is not older than what it had committed before it was
    /// started.
    ///
    /// # Errors
    /// It stopped before.
    pub async fn caught_up_with_itself(&self) -> Result<(), NodeError> {
        let mut recovered = self.inner.recovered.clone();
        match recovered.wait_for(|recovered| *recovered).await {
            Ok(_) => Ok(()),
            Err(_) => Err(NodeError::Stopped),
        }
    }

    /// A period, a tenth longer at most: so that what began together does not come together.
    pub fn jittered(&self, period: Duration) -> Duration {
        let share = self.inner.randomness.next_u64() % 1_000;
        period + period / 10_000 * u32::try_from(share).unwrap_or(0)
    }

    /// Opens a stream of watchers; dropping it ends them.
    pub fn watch(&self) -> WatchStream {
        WatchStream::new(self.clone())
    }

    /// Returns at the revision at which `key` was deleted, the first one at or after `from`; or at
    /// once with `None` if that can no longer be told, because it is compacted.
    ///
    /// # Errors
    /// As [`WatchStream::next`].
    pub async fn deleted(&self, key: Bytes, from: Revision) -> Result<Option<Revision>, NodeError> {
        let mut stream = self.watch();
        let ask = Ask {
            id: 0,
            interest: Interest {
                range: KeyRange::single(key),
                puts: false,
                deletes: true,
            },
            start: from,
            with_previous: false,
        };
        // A single key is no empty range, and the first id of a stream is free.
        stream.create(&ask).map_err(|_| NodeError::Stopped)?;
        loop {
            match stream.next().await? {
                Notice::Events { events, .. } => return Ok(Some(events.first_revision())),
                Notice::Compacted { .. } => return Ok(None),
                Notice::Progress { .. } => {}
            }
        }
    }

    /// Numbers of watchers and events, for metrics.
    pub fn watch_counts(&self) -> Counts {
        self.inner.hub.counts()
    }
}

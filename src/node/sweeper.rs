//! Keeps the state's files in order beside everything else: gives back the space of compacted revisions
//! and joins small files. All of it is physical, invisible to readers, and each member does it in its
//! own time.

use crate::env::Worker;
use crate::mvcc::compaction::Step;
use crate::raft::SharedStore;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::sleep;

const PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Sweeper {
    store: SharedStore,
    worker: Worker,
    defragmenting: Arc<AtomicBool>,
}

impl Sweeper {
    pub(super) fn new(store: SharedStore, worker: Worker) -> Self {
        Self {
            store,
            worker,
            defragmenting: Arc::default(),
        }
    }

    /// Runs until it is dropped.
    pub(super) async fn run(self) {
        loop {
            sleep(PAUSE).await;
            let now = self.store.load_full();
            match self.worker.run(move || now.remove_compacted()).await {
                Ok(Ok(Step::Idle | Step::Waiting)) => {}
                Ok(Ok(Step::Removed)) => tracing::info!("finished scheduled compaction"),
                // Nothing is lost: the rows stay until the next attempt.
                Ok(Err(error)) => tracing::warn!(%error, "compacted revisions were not removed"),
                Err(_) => return,
            }
            let now = self.store.load_full();
            match self.worker.run(move || now.join_events()).await {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => tracing::debug!("joined small files of events"),
                Ok(Err(error)) => tracing::warn!(%error, "small files of events were not joined"),
                Err(_) => return,
            }
        }
    }

    /// Has every file rewritten without what is gone, and waits for nothing. One at a time: while it
    /// goes on, asking again changes nothing.
    pub(super) fn defragment(&self) {
        if self.defragmenting.swap(true, Ordering::AcqRel) {
            return;
        }
        let (store, defragmenting) = (self.store.load_full(), self.defragmenting.clone());
        self.worker.post(move || {
            tracing::info!("starting defragment");
            match store.defragment() {
                Ok(()) => tracing::info!("finished defragment"),
                Err(error) => tracing::warn!(%error, "not defragmented"),
            }
            defragmenting.store(false, Ordering::Release);
        });
    }

    pub(super) fn is_defragmenting(&self) -> bool {
        self.defragmenting.load(Ordering::Acquire)
    }
}

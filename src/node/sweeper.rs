//! Gives back the space of compacted revisions, beside everything else: the removal is physical,
//! invisible to readers, and each member does it in its own time.

use crate::env::Worker;
use crate::mvcc::compaction::Step;
use crate::raft::SharedStore;
use std::time::Duration;
use tokio::time::sleep;

const PAUSE: Duration = Duration::from_secs(1);

/// Runs until it is dropped.
pub(super) async fn run(store: SharedStore, worker: Worker) {
    loop {
        sleep(PAUSE).await;
        let now = store.load_full();
        match worker.run(move || now.remove_compacted()).await {
            Ok(Ok(Step::Idle | Step::Waiting)) => {}
            Ok(Ok(Step::Removed)) => tracing::info!("finished scheduled compaction"),
            // Nothing is lost: the rows stay until the next attempt.
            Ok(Err(error)) => tracing::warn!(%error, "compacted revisions were not removed"),
            Err(_) => return,
        }
    }
}

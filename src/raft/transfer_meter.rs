//! Snapshots on their way to or from one peer.

use crate::telemetry::metrics::{Buckets, Counter, Durations, Level};
use tokio::time::Instant;

/// etcd's buckets: 0.1 s to 51 s.
const TRANSFER_BUCKETS: Buckets = Buckets::Doubling {
    micros: 100_000,
    count: 10,
};

#[derive(Debug)]
pub struct TransferMeter {
    pub in_flight: Level,
    pub succeeded: Counter,
    pub failed: Counter,
    /// Of those that succeeded.
    pub took: Durations,
}

impl Default for TransferMeter {
    fn default() -> Self {
        Self {
            in_flight: Level::default(),
            succeeded: Counter::new(),
            failed: Counter::new(),
            took: Durations::new(TRANSFER_BUCKETS),
        }
    }
}

impl TransferMeter {
    /// Counts a transfer. One that is given up on, as by a leader that is none any more, ended in no
    /// way.
    pub(super) async fn counted<T, E>(
        &self,
        transfer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let _in_flight = self.in_flight.raised();
        let begun = Instant::now();
        let outcome = transfer.await;
        match &outcome {
            Ok(_) => {
                self.succeeded.increment();
                self.took.observe(begun.elapsed());
            }
            Err(_) => self.failed.increment(),
        }
        outcome
    }
}

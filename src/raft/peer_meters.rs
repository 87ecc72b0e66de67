//! What is measured on the way to each peer, whichever connection it goes over.

use super::transfer_meter::TransferMeter;
use crate::telemetry::metrics::{Buckets, Counter, Durations, Level, Traffic};
use crate::types::NodeId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// etcd's buckets: 0.1 ms to 3.3 s.
const ROUND_TRIP_BUCKETS: Buckets = Buckets::Doubling {
    micros: 100,
    count: 16,
};

/// One peer.
#[derive(Debug)]
pub struct PeerMeter {
    pub traffic: Arc<Traffic>,
    /// Of calls that do nothing.
    pub round_trips: Durations,
    /// Calls and streams to it that failed, or were not answered in time.
    pub send_failures: Counter,
    /// Heartbeats among them.
    pub heartbeat_failures: Counter,
    pub snapshots_sent: TransferMeter,
    pub snapshots_received: TransferMeter,
    is_active: AtomicBool,
}

impl PeerMeter {
    fn new() -> Self {
        Self {
            traffic: Arc::default(),
            round_trips: Durations::new(ROUND_TRIP_BUCKETS),
            send_failures: Counter::new(),
            heartbeat_failures: Counter::new(),
            snapshots_sent: TransferMeter::default(),
            snapshots_received: TransferMeter::default(),
            is_active: AtomicBool::new(false),
        }
    }

    /// Whether it answered when it was last asked.
    pub fn is_active(&self) -> bool {
        self.is_active.load(Ordering::Relaxed)
    }

    pub(super) fn set_active(&self, active: bool) {
        self.is_active.store(active, Ordering::Relaxed);
    }
}

/// All peers that were ever spoken with. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct PeerMeters {
    known: Arc<Mutex<BTreeMap<NodeId, Arc<PeerMeter>>>>,
    /// Batches of proposals that peers sent here and wait for.
    pub forwarded: Arc<Level>,
}

impl PeerMeters {
    pub(super) fn of(&self, node: NodeId) -> Arc<PeerMeter> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let meter = known
            .entry(node)
            .or_insert_with(|| Arc::new(PeerMeter::new()));
        meter.clone()
    }

    /// Sorted by id.
    pub fn all(&self) -> Vec<(NodeId, Arc<PeerMeter>)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs = known.iter().map(|(node, meter)| (*node, meter.clone()));
        pairs.collect()
    }
}

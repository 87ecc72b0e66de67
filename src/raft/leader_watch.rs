//! Who leads, for those who need somebody to turn to.

use super::type_config::{MemberNode, TypeConfig};
use crate::telemetry::metrics::Counter;
use crate::types::NodeId;
use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::metrics::RaftServerMetrics;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Whom to send a batch to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaderHint {
    Me,
    Other(NodeId, MemberNode),
    Nobody,
}

/// Follows who leads: cheap, and not checked for being current. Nothing safe depends on it.
pub struct LeaderWatch {
    metrics: WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>,
}

impl LeaderWatch {
    pub(super) fn new(metrics: WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>) -> Self {
        Self { metrics }
    }

    /// Who leads now; [`Self::changed`] tells of what comes after this call.
    pub fn hint(&mut self) -> LeaderHint {
        let metrics = self.metrics.borrow_and_update();
        match metrics.current_leader {
            Some(leader) if leader == metrics.id => LeaderHint::Me,
            Some(leader) => {
                let membership = metrics.membership_config.membership();
                match membership.get_node(&leader) {
                    Some(member) => LeaderHint::Other(leader, member.clone()),
                    None => LeaderHint::Nobody,
                }
            }
            None => LeaderHint::Nobody,
        }
    }

    /// Returns when something about leadership changed since the last look, or after `patience`.
    pub async fn changed(&mut self, patience: Duration) {
        // Both outcomes mean "look again".
        if let Ok(Err(_)) = timeout(patience, self.metrics.changed()).await {
            // Consensus is gone: no news will come, and whoever asks must not spin.
            sleep(patience).await;
        }
    }

    /// Counts how often a leader became known, until consensus is gone. Only the last of changes that
    /// follow each other at once is seen.
    pub async fn count_changes(mut self, changes: Arc<Counter>) {
        let mut leader = None;
        loop {
            let now = self.metrics.borrow_and_update().current_leader;
            if now.is_some() && now != leader {
                changes.increment();
            }
            leader = now;
            if self.metrics.changed().await.is_err() {
                return;
            }
        }
    }
}

//! `/health`: alarms, then the leader, then a read of one key's name.

use super::answer;
use super::query::Query;
use crate::api::PlainBody;
use crate::node::{Node, NodeError};
use crate::telemetry::metrics::Counter;
use crate::types::{KeyRange, RangeQuery};
use bytes::Bytes;
use http::{Response, StatusCode};
use std::time::Duration;
use tokio::time::Instant;

/// Asks a member how it is.
pub(super) struct Health {
    pub(super) node: Node,
    /// How long a read may take, as for every request.
    pub(super) patience: Duration,
    pub(super) succeeded: Counter,
    pub(super) failed: Counter,
}

impl Health {
    pub(super) fn new(node: Node, patience: Duration) -> Self {
        Self {
            node,
            patience,
            succeeded: Counter::default(),
            failed: Counter::default(),
        }
    }

    /// `?exclude=NOSPACE` overlooks an alarm, `?serializable=true` asks only about this member.
    pub(super) async fn answer(&self, query: &Query) -> Response<PlainBody> {
        match self.reason(query).await {
            None => {
                self.succeeded.increment();
                let body = r#"{"health":"true","reason":""}"#;
                answer::whole(StatusCode::OK, answer::TEXT, body)
            }
            Some(reason) => {
                self.failed.increment();
                tracing::warn!(reason, "serving /health false");
                let body = serde_json::json!({"health": "false", "reason": reason});
                answer::error(StatusCode::SERVICE_UNAVAILABLE, &body.to_string())
            }
        }
    }

    /// Why this member is not healthy.
    async fn reason(&self, query: &Query) -> Option<String> {
        let alarms = self.node.alarms();
        let mut names = alarms.iter().map(|alarm| alarm.kind.name());
        if let Some(name) = names.find(|name| !query.holds("exclude", name)) {
            return Some(format!("ALARM {name}"));
        }
        let serializable = query.is_true("serializable");
        if !serializable && !self.node.has_leader() {
            return Some("RAFT NO LEADER".to_owned());
        }
        let read = self.read(serializable).await;
        read.err()
            .map(|error| format!("RANGE ERROR:etcdserver: {error}"))
    }

    /// The least that a read can be: one key, without its value.
    pub(super) async fn read(&self, serializable: bool) -> Result<(), NodeError> {
        let query = RangeQuery {
            limit: 1,
            keys_only: true,
            ..RangeQuery::latest(KeyRange::single(Bytes::new()))
        };
        let deadline = Instant::now() + self.patience;
        // What the store refuses it has read.
        let _read = self.node.range(query, serializable, deadline).await?;
        Ok(())
    }
}

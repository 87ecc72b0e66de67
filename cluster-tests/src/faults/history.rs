//! What clients did and what they were told.
//!
//! An operation is recorded when it completes. Its outcome is an answer, or *unknown*: after an
//! error nobody knows whether a write took effect, or will. Judges treat unknown as "perhaps, once,
//! at any time after the call".

use bytes::Bytes;
use quorate::proto::mvccpb::KeyValue;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// One put, or several in one transaction.
    Write(Vec<(Bytes, Bytes)>),
    /// A linearizable read of one key.
    Read(Bytes),
}

/// What it was told.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The write is done, at this revision.
    Written { revision: i64 },
    /// The store was at this revision and held this.
    Read { revision: i64, kv: Option<KeyValue> },
    /// An error, or no answer.
    Unknown(String),
}

#[derive(Clone, Debug)]
pub struct Operation {
    /// The member that was asked.
    pub node: usize,
    pub action: Action,
    pub invoked: Instant,
    pub completed: Instant,
    pub outcome: Outcome,
}

impl Operation {
    pub fn is_acknowledged_write(&self) -> bool {
        matches!(self.outcome, Outcome::Written { .. })
    }
}

/// A growing history, in the order of completion, shared by its writers.
#[derive(Clone, Debug, Default)]
pub struct History {
    operations: Arc<Mutex<Vec<Operation>>>,
    acknowledged: Arc<AtomicUsize>,
}

impl History {
    fn lock(&self) -> MutexGuard<'_, Vec<Operation>> {
        // A panicking writer leaves whole operations behind.
        self.operations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Records an operation that completes now.
    pub fn record(&self, node: usize, action: Action, invoked: Instant, outcome: Outcome) {
        if matches!(outcome, Outcome::Written { .. }) {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        let mut operations = self.lock();
        // Taken under the lock, so that the order of the list is the order of completion.
        let completed = Instant::now();
        operations.push(Operation {
            node,
            action,
            invoked,
            completed,
            outcome,
        });
    }

    pub fn all(&self) -> Vec<Operation> {
        self.lock().clone()
    }

    /// Acknowledged writes so far.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Operations invoked at or after `since`, in order of completion.
    pub fn since(&self, since: Instant) -> Vec<Operation> {
        let operations = self.lock();
        let recent = operations
            .iter()
            .rev()
            .take_while(|operation| operation.completed >= since);
        let mut recent: Vec<Operation> = recent
            .filter(|operation| operation.invoked >= since)
            .cloned()
            .collect();
        recent.reverse();
        recent
    }

    /// Writes on `nodes` that were invoked at or after `since` and acknowledged.
    pub fn acknowledged_since(&self, since: Instant, nodes: &[usize]) -> Vec<Operation> {
        let mut operations = self.since(since);
        operations.retain(|operation| {
            operation.is_acknowledged_write() && nodes.contains(&operation.node)
        });
        operations
    }

    /// The longest time between `from` and `to` in which no write was acknowledged.
    pub fn longest_silence(&self, from: Instant, to: Instant) -> Duration {
        let mut last = from;
        let mut longest = Duration::ZERO;
        for operation in self.lock().iter() {
            let done = operation.completed;
            if operation.is_acknowledged_write() && (from..=to).contains(&done) {
                longest = longest.max(done.saturating_duration_since(last));
                last = last.max(done);
            }
        }
        longest.max(to.saturating_duration_since(last))
    }
}

//! What the doors may do with leases.

use super::calls::Asking;
use super::clock::Parts;
use super::desk::Question;
use crate::lease::Left;
use crate::node::{Node, NodeError};
use crate::state_machine::{Command, Outcome, Reply};
use crate::types::{LeaseId, Position, Revision};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// A node's share in leases.
pub(in crate::node) struct Leases {
    parts: Arc<Parts>,
    asking: Asking,
}

impl Leases {
    pub(super) fn new(parts: Arc<Parts>, asking: Asking) -> Self {
        Self { parts, asking }
    }

    /// Questions to the leader that wait, and how many may.
    pub(in crate::node) fn waiting(&self) -> (usize, usize) {
        self.asking.waiting()
    }
}

/// What is known of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeToLive {
    /// The store's revision, of the same view as the keys.
    pub revision: Revision,
    /// Whole seconds left, and granted; `None`: there is no such lease, or its time is over.
    pub left: Option<(i64, i64)>,
    /// In order; empty unless asked for.
    pub keys: Vec<Bytes>,
}

impl Node {
    /// Grants a lease. An id of 0 is replaced by a random positive one, a time below
    /// [`Self::lease_ttl_min`] by that. Answers id and seconds with what the log said.
    ///
    /// # Errors
    /// See [`Self::propose`].
    pub async fn lease_grant(
        &self,
        id: LeaseId,
        ttl: i64,
        deadline: Instant,
    ) -> Result<(LeaseId, i64, Reply), NodeError> {
        let id = if id == 0 { self.random_lease() } else { id };
        let ttl = ttl.max(self.lease_ttl_min());
        let command = Command::LeaseGrant { id, ttl };
        Ok((id, ttl, self.propose(command, deadline).await?))
    }

    fn random_lease(&self) -> LeaseId {
        loop {
            let drawn = self.inner.randomness.next_u64() & i64::MAX.cast_unsigned();
            if drawn != 0 {
                return drawn.cast_signed();
            }
        }
    }

    /// The shortest lease in seconds: three halves of an election timeout, rounded up, so that a
    /// change of leaders leaves time for a renewal. In etcd's arithmetic: whole ticks first.
    pub fn lease_ttl_min(&self) -> i64 {
        let timers = self.inner.consensus.timers();
        let tick = timers.heartbeat.max(Duration::from_millis(1));
        let ticks = timers.election.as_millis() / tick.as_millis().max(1);
        let least = tick * u32::try_from(3 * ticks / 2).unwrap_or(u32::MAX);
        let seconds = least.as_millis().div_ceil(1000).max(1);
        i64::try_from(seconds).unwrap_or(i64::MAX)
    }

    /// Revokes a lease and deletes its keys; again and again, should they be too many for one
    /// command.
    pub async fn lease_revoke(&self, id: LeaseId, deadline: Instant) -> Result<Reply, NodeError> {
        loop {
            let command = Command::LeaseRevoke { id, fence: None };
            let reply = self.propose(command, deadline).await?;
            if reply.result != Ok(Outcome::LeaseRevoked { whole: false }) {
                return Ok(reply);
            }
        }
    }

    async fn ask_keeper(
        &self,
        question: Question,
        deadline: Instant,
    ) -> Result<(Option<Left>, Position), NodeError> {
        let asked = self.inner.leases.asking.ask(question, deadline).await;
        asked.inspect_err(|error| self.inner.meters.count_turned_away(*error))
    }

    /// Gives a lease its whole time again. The seconds that were granted, or `None` if there is no
    /// such lease. Waits for the end of one whose time is over.
    pub async fn lease_renew(
        &self,
        id: LeaseId,
        deadline: Instant,
    ) -> Result<Option<i64>, NodeError> {
        let (left, _) = self.ask_keeper(Question::Renew(id), deadline).await?;
        Ok(left.map(|left| left.ttl))
    }

    /// How much is left of a lease, and its keys if `with_keys`.
    pub async fn lease_time_to_live(
        &self,
        id: LeaseId,
        with_keys: bool,
        deadline: Instant,
    ) -> Result<TimeToLive, NodeError> {
        let (left, at) = self.ask_keeper(Question::Look(id), deadline).await?;
        // What the leader had applied when it answered is to be seen here.
        let mut applied = self.inner.consensus.applied();
        let reached = applied.wait_for(|applied| *applied >= at.index);
        match timeout_at(deadline, reached).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Err(NodeError::Stopped),
            Err(_) => return Err(NodeError::Timeout),
        }
        let left = left.map(|left| (left.seconds, left.ttl));
        if left.is_none() || !with_keys {
            return Ok(TimeToLive {
                revision: self.revision(),
                left,
                keys: Vec::new(),
            });
        }
        let store = self.store();
        let read = move || {
            let view = store.view()?;
            Ok((view.revision(), view.keys_of_lease(id)?))
        };
        let (revision, keys) = self.read(false, read, deadline).await?;
        Ok(TimeToLive {
            revision,
            left,
            keys,
        })
    }

    /// The leases that this member knows of, without asking anybody; in the order of their ends
    /// where it keeps their time.
    pub async fn leases(&self, deadline: Instant) -> Result<(Revision, Vec<LeaseId>), NodeError> {
        let store = self.store();
        let read = move || {
            let view = store.view()?;
            Ok((view.revision(), view.leases()?))
        };
        let (revision, mut leases) = self.read(false, read, deadline).await?;
        let ends = self.inner.leases.parts.desk.ends(&leases);
        // Stable: those whose end is not known stay in the order of their ids, behind the others.
        leases.sort_by_key(|lease| ends.get(&lease.id).copied().unwrap_or(Duration::MAX));
        Ok((revision, leases.iter().map(|lease| lease.id).collect()))
    }
}

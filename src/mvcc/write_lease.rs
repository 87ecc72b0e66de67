//! Leases being granted, revoked and noted in a [`WriteTxn`].
//!
//! Time is not known here. What the leader decides by its clock comes with a [`Fence`]: the term in
//! which it decided, and the lease that it meant. A member that was paused, or cut off, and still
//! thinks that it leads can get its decision into the log only by way of a later leader, as an entry
//! of a later term; there it is refused. (A leader's own entries have its own term, and are committed
//! only if it does lead.) A client's revoke has no fence: that is the client's own decision.

use super::lease_rows::{self, lease_row};
use super::row::Change;
use super::write_txn::{COMMAND_BYTES_MAX, KEY_BYTES, ROW_BYTES, WriteTxn};
use super::{Error, Refusal};
use crate::storage::{Batch, Family, keys};
use crate::types::{Lease, LeaseId, LeaseMark};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// What a leader's decision about a lease is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Of the leader, when it decided.
    pub term: u64,
    /// [`Lease::granted_at`] of the lease that it meant.
    pub granted_at: u64,
}

/// What a batch does to leases.
#[derive(Default)]
pub(super) struct PendingLeases {
    rows: BTreeMap<LeaseId, Pending>,
    /// Every key that the batch put with a lease; it may have been put without one again since.
    attached: BTreeSet<(LeaseId, Bytes)>,
    pub(super) granted: u64,
    pub(super) revoked: u64,
}

/// A lease that the batch changed.
#[derive(Clone, Copy)]
pub(super) struct Pending {
    /// `None`: revoked.
    pub(super) now: Option<Lease>,
    /// Granted in this batch, not merely marked.
    pub(super) is_new: bool,
}

impl PendingLeases {
    pub(super) fn attach(&mut self, lease: LeaseId, key: &Bytes) {
        self.attached.insert((lease, key.clone()));
    }

    fn attached_to(&self, lease: LeaseId) -> impl Iterator<Item = &Bytes> {
        let from = self.attached.range((lease, Bytes::new())..);
        from.take_while(move |(other, _)| *other == lease)
            .map(|(_, key)| key)
    }

    pub(super) fn rows(&self) -> &BTreeMap<LeaseId, Pending> {
        &self.rows
    }

    pub(super) fn encode(&self, batch: &mut Batch<'_>) {
        for (id, pending) in &self.rows {
            match &pending.now {
                Some(lease) => batch.put(Family::Lease, &keys::lease(*id), &lease_row(lease)),
                None => batch.delete(Family::Lease, &keys::lease(*id)),
            }
        }
    }
}

impl WriteTxn<'_> {
    /// The lease, as far as the commands before this one say.
    pub fn lease(&self, id: LeaseId) -> Result<Option<Lease>, Error> {
        match self.changes.leases.rows.get(&id) {
            Some(pending) => Ok(pending.now),
            None => lease_rows::lease(&self.view(), id),
        }
    }

    /// Grants a lease of `ttl` seconds. The caller has raised it to the least there is.
    pub fn grant_lease(&mut self, id: LeaseId, ttl: i64) -> Result<Result<(), Refusal>, Error> {
        if id == 0 {
            return Ok(Err(Refusal::LeaseNotFound));
        }
        if self.lease(id)?.is_some() {
            return Ok(Err(Refusal::LeaseExists));
        }
        let head = &mut self.changes.head;
        head.live_bytes += ROW_BYTES;
        let now = Some(Lease {
            id,
            ttl,
            remaining: 0,
            granted_at: head.applied.map_or(0, |at| at.index),
        });
        self.set_lease(id, Pending { now, is_new: true });
        self.changes.leases.granted += 1;
        Ok(Ok(()))
    }

    /// Deletes the keys of a lease, in order, as one revision, and the lease. If they weigh more
    /// than a command may, as many as fit, and the lease stays: `false` asks for another revoke.
    pub fn revoke_lease(
        &mut self,
        id: LeaseId,
        fence: Option<Fence>,
    ) -> Result<Result<bool, Refusal>, Error> {
        let Some(lease) = self.lease(id)? else {
            return Ok(Err(Refusal::LeaseNotFound));
        };
        if let Some(fence) = fence
            && (!self.is_of(fence.term) || fence.granted_at != lease.granted_at)
        {
            return Ok(Err(Refusal::Fenced));
        }
        let mut bytes = 0;
        let (keys, mut whole) = self.keys_of(id)?;
        for key in keys {
            if bytes > COMMAND_BYTES_MAX {
                whole = false;
                break;
            }
            let old = self.old(&key, false)?;
            // This batch may have taken the key from the lease.
            let Some(old) = old.filter(|old| old.meta.lease == id) else {
                continue;
            };
            bytes += 3 * key.len() as u64 + old.value_bytes + KEY_BYTES;
            self.change(key, Some(old), Change::Delete, None);
        }
        if whole {
            let head = &mut self.changes.head;
            head.live_bytes = head.live_bytes.saturating_sub(ROW_BYTES);
            let gone = Pending {
                now: None,
                is_new: false,
            };
            self.set_lease(id, gone);
            self.changes.leases.revoked += 1;
        }
        Ok(Ok(whole))
    }

    /// The keys that go with a lease, and perhaps some that no longer do; and whether they are all.
    fn keys_of(&self, id: LeaseId) -> Result<(BTreeSet<Bytes>, bool), Error> {
        let mut keys: BTreeSet<Bytes> = self.changes.leases.attached_to(id).cloned().collect();
        let (mut bytes, mut whole) = (0, true);
        lease_rows::visit_keys(&self.view(), id, |key| {
            keys.insert(Bytes::copy_from_slice(key));
            bytes += 3 * key.len() as u64 + KEY_BYTES;
            whole = bytes <= COMMAND_BYTES_MAX;
            whole
        })?;
        Ok((keys, whole))
    }

    /// Notes how much is left of leases, as the leader of `term` saw it. Those that are gone, or
    /// were granted anew, are passed over.
    pub fn mark_leases(
        &mut self,
        term: u64,
        marks: &[LeaseMark],
    ) -> Result<Result<(), Refusal>, Error> {
        if !self.is_of(term) {
            return Ok(Err(Refusal::Fenced));
        }
        for mark in marks {
            let lease = self.lease(mark.id)?;
            let Some(mut lease) = lease.filter(|lease| lease.granted_at == mark.granted_at) else {
                continue;
            };
            lease.remaining = mark.remaining.clamp(0, lease.ttl.max(0));
            let before = self.changes.leases.rows.get(&mark.id);
            let is_new = before.is_some_and(|pending| pending.is_new);
            let now = Some(lease);
            self.set_lease(mark.id, Pending { now, is_new });
        }
        Ok(Ok(()))
    }

    fn set_lease(&mut self, id: LeaseId, pending: Pending) {
        let row = pending.now.as_ref().map(lease_row).unwrap_or_default();
        self.note_change(&keys::lease(id), &row);
        self.changes.leases.rows.insert(id, pending);
    }

    /// Whether the entry being applied is of `term`.
    fn is_of(&self, term: u64) -> bool {
        let entry = self.changes.head.applied;
        entry.is_some_and(|entry| entry.term == term)
    }
}

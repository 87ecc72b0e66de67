//! Committed entries become state, in order, on one thread.

use super::codec::decode_batch;
use super::command::{Command, Put};
use super::outcome::{Outcome, Refusal, Reply};
use super::{Error, admission, txn};
use crate::canary::{Canary, planted};
use crate::mvcc::{self, PendingEvent, Store, StoreOptions, WriteTxn, Writer};
use crate::types::{KeyValue, NodeId, Position};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;

/// Entries are written as one batch until it is this big; then the next batch begins, between two
/// entries.
const BATCH_BYTES: u64 = 8 << 20;

/// A committed log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub position: Position,
    pub body: EntryBody,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryBody {
    Blank,
    Membership {
        /// In Raft's encoding.
        bytes: Bytes,
        /// Who was in the membership before and is not in this one: they never come back.
        removed: Vec<NodeId>,
    },
    /// An encoded batch of commands: see [`super::codec`].
    Commands(Bytes),
}

/// The writing side of the state. After an error nothing of the failed batch is there, and the
/// member stops.
pub struct StateMachine {
    writer: Writer,
}

impl StateMachine {
    /// Opens or creates the state in `dir`. A directory of a newer format is an error
    /// ([`Error::is_newer_format`]) and left as it was.
    pub fn open(dir: &Path, options: &StoreOptions) -> Result<Self, Error> {
        Ok(Self {
            writer: Writer::open(dir, options)?,
        })
    }

    pub fn store(&self) -> Arc<Store> {
        Arc::clone(self.writer.store())
    }

    pub fn applied(&self) -> Option<Position> {
        self.writer.head().applied
    }

    pub fn membership(&self) -> Option<(Position, Bytes)> {
        self.writer.membership().cloned()
    }

    /// Applies entries that follow on what is applied. One list of replies per entry, empty for
    /// entries without commands. What the replies say can be read when this returns.
    pub fn apply(&mut self, entries: &[Entry]) -> Result<Vec<Vec<Reply>>, Error> {
        self.apply_for(entries, |_| true, |_| {})
    }

    /// As [`Self::apply`], where nobody waits for the replies to the entries, told by their place,
    /// that are not `awaited`: their reads are left out (etcd does the same), their replies say
    /// nothing. That is every entry on a follower and in a replay. What is refused is decided
    /// before anything is read, so the state becomes the same.
    ///
    /// `publish` gets the events of every batch once it is written and can be read: whole revisions,
    /// in order.
    pub fn apply_for(
        &mut self,
        entries: &[Entry],
        awaited: impl Fn(usize) -> bool,
        mut publish: impl FnMut(Vec<PendingEvent>),
    ) -> Result<Vec<Vec<Reply>>, Error> {
        let mut replies = Vec::with_capacity(entries.len());
        let mut txn = self.writer.begin();
        for (at, entry) in entries.iter().enumerate() {
            if txn.batch_bytes() > BATCH_BYTES {
                publish(txn.commit()?);
                txn = self.writer.begin();
            }
            replies.push(apply_entry(&mut txn, entry, awaited(at))?);
        }
        if !entries.is_empty() {
            publish(txn.commit()?);
        }
        Ok(replies)
    }
}

fn apply_entry(txn: &mut WriteTxn<'_>, entry: &Entry, awaited: bool) -> Result<Vec<Reply>, Error> {
    let position = entry.position;
    txn.begin_entry(position)?;
    let mut commands = match &entry.body {
        EntryBody::Blank => Vec::new(),
        EntryBody::Membership { bytes, removed } => {
            txn.set_membership(position, bytes.clone());
            for node in removed {
                txn.remove_member(*node);
            }
            Vec::new()
        }
        EntryBody::Commands(bytes) => {
            let decoded = decode_batch(bytes.clone());
            decoded.map_err(|source| Error::Entry { position, source })?
        }
    };
    // Planted: where nobody waits, nobody is told of the wrong reply.
    if planted(Canary::ApplyOrderSwapped) && !awaited && commands.len() > 1 {
        commands.swap(0, 1);
    }
    let apply = |command| apply_command(txn, command, awaited).map_err(Error::from);
    commands.into_iter().map(apply).collect()
}

fn apply_command(
    txn: &mut WriteTxn<'_>,
    command: Command,
    awaited: bool,
) -> Result<Reply, mvcc::Error> {
    if let Some(refusal) = admission::refused(txn.alarms(), &command) {
        let revision = txn.revision();
        return Ok(Reply {
            revision,
            result: Err(refusal),
        });
    }
    let result = match command {
        Command::Put(put) => put_key(txn, put)?.map(|prev_kv| Outcome::Put { prev_kv }),
        Command::DeleteRange(delete) => txn
            .delete_range(&delete.range, delete.prev_kv)?
            .map(|(deleted, prev_kvs)| Outcome::DeleteRange { deleted, prev_kvs }),
        Command::Txn(command) => txn::apply(txn, &command, awaited)?.map(Outcome::Txn),
        Command::Compact { revision } => txn.compact(revision)?.map(|()| Outcome::Compacted),
        Command::LeaseGrant { id, ttl } => {
            txn.grant_lease(id, ttl)?.map(|()| Outcome::LeaseGranted)
        }
        Command::LeaseRevoke { id, fence } => txn
            .revoke_lease(id, fence)?
            .map(|whole| Outcome::LeaseRevoked { whole }),
        Command::LeaseCheckpoint { term, marks } => txn
            .mark_leases(term, &marks)?
            .map(|()| Outcome::LeaseCheckpointed),
        Command::Alarm(change) => Ok(Outcome::Alarm(txn.set_alarm(change.alarm, change.on))),
        Command::Downgrade { target } => {
            txn.set_downgrade(target);
            Ok(Outcome::DowngradeNoted)
        }
        Command::PublishMember(member) => txn.publish_member(member).map(|()| Outcome::Published),
        Command::ClaimMember { node, incarnation } => txn
            .claim_member(node, incarnation)
            .map(|()| Outcome::Claimed),
    };
    let revision = txn.revision();
    txn.finish_command();
    Ok(Reply { revision, result })
}

/// Refuses before it changes anything.
pub(super) fn put_key(
    txn: &mut WriteTxn<'_>,
    put: Put,
) -> Result<Result<Option<KeyValue>, Refusal>, mvcc::Error> {
    if put.lease != 0 && !put.ignore_lease && txn.lease(put.lease)?.is_none() {
        return Ok(Err(Refusal::LeaseNotFound));
    }
    if !put.ignore_value && !put.ignore_lease {
        return txn.put(put.key, put.value, put.lease, put.prev_kv).map(Ok);
    }
    let Some(previous) = txn.get(&put.key)? else {
        return Ok(Err(Refusal::KeyNotFound));
    };
    let value = if put.ignore_value {
        previous.value.clone()
    } else {
        put.value
    };
    let lease = if put.ignore_lease {
        previous.lease
    } else {
        put.lease
    };
    txn.put(put.key, value, lease, put.prev_kv).map(Ok)
}

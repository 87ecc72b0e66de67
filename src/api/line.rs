//! Standing in line: what locks and elections have in common (etcd's `client/v3/concurrency`, whose
//! keys these are, so that its users and ours stand in one line).
//!
//! Whoever wants the lock, or to lead, puts a key `NAME/LEASE` (the lease in hexadecimal) that goes
//! with the lease. The order of the line is that of the keys' create revisions. The first one has it;
//! everybody else waits until the key before theirs is gone: one event wakes one waiter. The create
//! revision of a holder's key is larger than that of any holder before it: that makes it a fencing
//! token (`docs/operations.md`).
//!
//! All refusals are `Unknown`, with the text of whatever went wrong: in etcd these services are
//! clients of the others, and pass on what those said as text.

use super::dispatch::Call;
use super::stream::Messages;
use super::{kv, status};
use crate::node::Node;
use crate::state_machine::command::{
    Compare, CompareTarget, DeleteRange, Operation, Put, Relation, Txn,
};
use crate::state_machine::outcome::{OperationResult, TxnOutcome};
use crate::state_machine::{Command, Outcome};
use crate::types::{KeyRange, KeyValue, LeaseId, RangeQuery, Revision, SortOrder, SortTarget};
use bytes::Bytes;
use prost::Message;
use std::time::Duration;
use tokio::time::Instant;
use tonic::Status;

/// Seconds of the lease of a client that names none. Nobody keeps it alive.
const SESSION_TTL: i64 = 60;
/// How long to go on trying to give up a place whose client is gone; after that its lease ends it.
const WITHDRAW_PATIENCE: Duration = Duration::from_secs(10);

/// The one message of a call that is answered once, or by a stream.
pub(super) async fn only<M: Message + Default>(messages: &mut Messages) -> Result<M, Status> {
    let message = messages.next().await?;
    message.ok_or_else(|| Status::internal("protocol error: the request message is not whole"))
}

/// The same refusal in these services' words.
pub(super) fn passed_on(status: &Status) -> Status {
    Status::unknown(status.message())
}

/// The lease to stand with: the one that was named, with its whole time again, or one of our own. One
/// that does not exist is found out by the first put.
pub(super) async fn session(call: &Call, lease: LeaseId) -> Result<LeaseId, Status> {
    let deadline = call.next_deadline();
    let node = call.node();
    let failed = |error| passed_on(&status::failed(error, deadline));
    if lease != 0 {
        node.lease_renew(lease, deadline.at).await.map_err(failed)?;
        return Ok(lease);
    }
    let granted = node.lease_grant(0, SESSION_TTL, deadline.at).await;
    let (id, _, reply) = granted.map_err(failed)?;
    match reply.result {
        Ok(_) => Ok(id),
        Err(refusal) => Err(passed_on(&status::refused(refusal))),
    }
}

/// Where the line of `name` stands.
pub(super) fn line(name: &Bytes) -> KeyRange {
    KeyRange::from_wire(
        [name, &b"/"[..]].concat().into(),
        [name, &b"0"[..]].concat().into(),
    )
}

/// The key of a lease in the line of `name`, as Go's `%x` writes it.
fn key(name: &Bytes, lease: LeaseId) -> Bytes {
    let sign = if lease < 0 { "-" } else { "" };
    let lease = format!("/{sign}{:x}", lease.unsigned_abs());
    [name, lease.as_bytes()].concat().into()
}

/// The first in line.
pub(super) fn first(name: &Bytes) -> RangeQuery {
    RangeQuery {
        limit: 1,
        sort_order: SortOrder::Ascend,
        sort_target: SortTarget::Create,
        ..RangeQuery::latest(line(name))
    }
}

/// The last of those before `create_revision`.
fn before(name: &Bytes, create_revision: Revision) -> RangeQuery {
    RangeQuery {
        sort_order: SortOrder::Descend,
        max_create_revision: create_revision - 1,
        keys_only: true,
        ..first(name)
    }
}

pub(super) async fn read(
    call: &Call,
    query: RangeQuery,
) -> Result<(Revision, Option<KeyValue>), Status> {
    let deadline = call.next_deadline();
    let read = call.node().range(query, false, deadline.at).await;
    let (revision, found) = read.map_err(|error| passed_on(&status::failed(error, deadline)))?;
    let found = found.map_err(|refusal| passed_on(&status::refused(refusal)))?;
    Ok((revision, found.kvs.into_iter().next()))
}

pub(super) async fn carry_out(
    call: &Call,
    command: Command,
) -> Result<(Revision, Outcome), Status> {
    let deadline = call.next_deadline();
    let proposed = call.node().propose(command, deadline.at).await;
    let reply = proposed.map_err(|error| passed_on(&status::failed(error, deadline)))?;
    match reply.result {
        Ok(outcome) => Ok((reply.revision, outcome)),
        Err(refusal) => Err(passed_on(&status::refused(refusal))),
    }
}

async fn transact(call: &Call, txn: Txn) -> Result<(Revision, TxnOutcome), Status> {
    match carry_out(call, Command::Txn(txn)).await? {
        (revision, Outcome::Txn(outcome)) => Ok((revision, outcome)),
        (_, other) => Err(kv::wrong_outcome(&other)),
    }
}

/// `then`, if the key was created at `create_revision` (0: if there is none).
fn if_created_at(key: &Bytes, create_revision: Revision, then: Vec<Operation>) -> Txn {
    Txn {
        compare: vec![Compare {
            range: KeyRange::single(key.clone()),
            relation: Relation::Equal,
            target: CompareTarget::Create(create_revision),
        }],
        success: then,
        failure: Vec::new(),
    }
}

fn put(key: &Bytes, value: Bytes, lease: LeaseId) -> Operation {
    Operation::Put(Put {
        key: key.clone(),
        value,
        lease,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    })
}

fn delete(key: &Bytes) -> Operation {
    Operation::DeleteRange(DeleteRange {
        range: KeyRange::single(key.clone()),
        prev_kv: false,
    })
}

/// Puts another value at a place, if it is still that place. The revision, if it is.
pub(super) async fn proclaim(
    call: &Call,
    key: &Bytes,
    create_revision: Revision,
    value: Bytes,
    lease: LeaseId,
) -> Result<Option<Revision>, Status> {
    let then = vec![put(key, value, lease)];
    let (revision, outcome) = transact(call, if_created_at(key, create_revision, then)).await?;
    Ok(outcome.succeeded.then_some(revision))
}

/// Gives a place up, if it is still that place.
pub(super) async fn resign(
    call: &Call,
    key: &Bytes,
    create_revision: Revision,
) -> Result<Revision, Status> {
    let txn = if_created_at(key, create_revision, vec![delete(key)]);
    Ok(transact(call, txn).await?.0)
}

/// A place in line. Dropped before it is [`Self::keep`]t, it is given up: its client is gone, or has
/// had an error.
pub(super) struct Place {
    node: Node,
    name: Bytes,
    pub(super) key: Bytes,
    pub(super) create_revision: Revision,
    /// Of the store when the place was taken.
    pub(super) taken_at: Revision,
    /// What stood there already, for this lease: whoever asks twice has one place.
    pub(super) found: Option<KeyValue>,
    first: bool,
    kept: bool,
}

impl Place {
    pub(super) async fn take(
        call: &Call,
        name: Bytes,
        lease: LeaseId,
        value: Bytes,
    ) -> Result<Self, Status> {
        let key = key(&name, lease);
        let mine = Operation::Range(RangeQuery::latest(KeyRange::single(key.clone())));
        let owner = Operation::Range(first(&name));
        let mut txn = if_created_at(&key, 0, vec![put(&key, value, lease), owner.clone()]);
        txn.failure = vec![mine, owner];
        let (taken_at, outcome) = transact(call, txn).await?;
        let mut pairs = outcome
            .responses
            .into_iter()
            .map(|response| match response.result {
                OperationResult::Range(found) => found.kvs.into_iter().next(),
                OperationResult::Put { .. }
                | OperationResult::DeleteRange { .. }
                | OperationResult::Txn(_) => None,
            });
        let found = pairs.next().flatten();
        let owner = pairs.next().flatten();
        let create_revision = found
            .as_ref()
            .map_or(taken_at, |found| found.create_revision);
        Ok(Self {
            node: call.node().clone(),
            name,
            key,
            create_revision,
            taken_at,
            found,
            first: owner.is_some_and(|owner| owner.create_revision == create_revision),
            kept: false,
        })
    }

    /// Waits until nobody stands before it. Whether it had to.
    pub(super) async fn wait(&self, call: &Call) -> Result<bool, Status> {
        if self.first {
            return Ok(false);
        }
        loop {
            let (revision, other) = read(call, before(&self.name, self.create_revision)).await?;
            let Some(other) = other else { return Ok(true) };
            let gone = self.node.deleted(other.key, revision + 1).await;
            gone.map_err(|error| passed_on(&status::failed(error, call.deadline)))?;
        }
    }

    /// Whether it is still there, and at which revision of the store. Its lease may have ended.
    pub(super) async fn is_there(&self, call: &Call) -> Result<(Revision, bool), Status> {
        let query = RangeQuery::latest(KeyRange::single(self.key.clone()));
        let (revision, found) = read(call, query).await?;
        let is_mine = |found: KeyValue| found.create_revision == self.create_revision;
        Ok((revision, found.is_some_and(is_mine)))
    }

    pub(super) fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Without a runtime the member is ending, and the lease ends the place.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if self.kept {
            return;
        }
        let node = self.node.clone();
        let txn = if_created_at(&self.key, self.create_revision, vec![delete(&self.key)]);
        runtime.spawn(async move {
            let deadline = Instant::now() + WITHDRAW_PATIENCE;
            if let Err(error) = node.propose(Command::Txn(txn), deadline).await {
                tracing::debug!(%error, "a place in line was left to its lease");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_etcds_clients() {
        let name = Bytes::from_static(b"my/lock");
        assert_eq!(key(&name, 0x1234), "my/lock/1234");
        assert_eq!(key(&name, -3), "my/lock/-3");
        assert_eq!(key(&name, i64::MIN), "my/lock/-8000000000000000");
        assert!(line(&name).contains(b"my/lock/"));
        assert!(!line(&name).contains(b"my/lock"));
        assert!(!line(&name).contains(b"my/lock0"));
        assert_eq!(key(&Bytes::new(), 7), "/7");
    }
}

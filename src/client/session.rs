//! Who holds something: a lease that is kept alive, and a place in a queue of keys.
//!
//! Locks and elections are the same recipe, etcd's: each contender puts a key
//! `<name>/<lease in hexadecimal>` under its lease, and whose key is the oldest under the name
//! holds. The others wait for the one before them. A contender that dies loses its lease, and with
//! it its key. A lock's queue in which lease 1f holds and two wait:
//!
//! ```text
//! jobs/1f  created at 7
//! jobs/3a  created at 9     watches jobs/1f
//! jobs/22  created at 12    watches jobs/3a
//! ```
//!
//! Whoever held before may not know yet that it lost its lease. The revision at which a holder's
//! key was created, or at which it learnt that it holds, is greater than that of every holder
//! before: a store that refuses a smaller one than it has seen is safe (the fencing token).

use super::lease::KeepAlive;
use super::retry::{Client, ClientError};
use super::watch::Watch;
use crate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::response_op::Response;
use crate::proto::etcdserverpb::{
    Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RangeRequest,
    RangeResponse, RequestOp, ResponseOp, TxnRequest, WatchCreateRequest,
};
use crate::proto::mvccpb::event::EventType;
use crate::types::{HexId, LeaseId, Revision};
use bytes::Bytes;

/// A lease that lives as long as [`Session::expired`] is awaited.
pub struct Session<'c> {
    client: &'c Client,
    lease: LeaseId,
    keep_alive: KeepAlive<'c>,
}

impl<'c> Session<'c> {
    pub async fn begin(client: &'c Client, ttl_seconds: i64) -> Result<Self, ClientError> {
        let request = LeaseGrantRequest {
            ttl: ttl_seconds,
            id: 0,
        };
        let lease = client.lease_grant(request).await?.id;
        Ok(Self {
            client,
            lease,
            keep_alive: KeepAlive::new(client, lease),
        })
    }

    /// Keeps the lease alive; returns when that is no longer possible. May be dropped and called
    /// again.
    pub async fn expired(&mut self) {
        while self.keep_alive.next().await.is_some() {}
    }

    /// Gives the lease back, and every key under it.
    pub async fn end(self) -> Result<(), ClientError> {
        let request = LeaseRevokeRequest { id: self.lease };
        self.client.lease_revoke(request).await?;
        Ok(())
    }
}

/// A key among those of other contenders.
pub struct Place<'c> {
    client: &'c Client,
    /// What every contender's key begins with.
    prefix: Bytes,
    pub key: Bytes,
    pub create_revision: Revision,
    /// The store's revision when it was known that the place is the first.
    pub held_since: Revision,
    is_first: bool,
}

impl<'c> Place<'c> {
    /// Puts the session's key into the queue `name`.
    pub async fn join(
        session: &Session<'c>,
        name: &[u8],
        value: Bytes,
    ) -> Result<Self, ClientError> {
        let prefix = Bytes::from([name, b"/"].concat());
        let id = HexId(session.lease.cast_unsigned()).to_string();
        let key = Bytes::from([&prefix, id.as_bytes()].concat());
        let put = Request::RequestPut(PutRequest {
            key: key.clone(),
            value,
            lease: session.lease,
            ..PutRequest::default()
        });
        let own = Request::RequestRange(RangeRequest {
            key: key.clone(),
            ..RangeRequest::default()
        });
        let first = || Request::RequestRange(by_age(&prefix, SortOrder::Ascend));
        // The session may have this place already.
        let request = TxnRequest {
            compare: vec![created_at(&key, 0)],
            success: vec![operation(put), operation(first())],
            failure: vec![operation(own), operation(first())],
        };
        let response = session.client.txn(request).await?;
        let revision = response.header.map_or(0, |header| header.revision);
        let create_of = |answer: Option<&ResponseOp>| {
            let range = answer.and_then(as_range)?;
            Some(range.kvs.first()?.create_revision)
        };
        let create_revision = if response.succeeded {
            revision
        } else {
            create_of(response.responses.first()).unwrap_or(revision)
        };
        Ok(Self {
            client: session.client,
            key,
            create_revision,
            held_since: revision,
            is_first: create_of(response.responses.get(1)) == Some(create_revision),
            prefix,
        })
    }

    /// Waits until no older key is under the prefix. A member that is lost meanwhile, or has no
    /// leader, is left for another one.
    pub async fn wait_turn(&mut self) -> Result<(), ClientError> {
        while !self.is_first {
            match self.wait_for_next().await {
                Ok(()) => {}
                Err(error) if error.is_passing() => self.client.pause().await,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits for the end of the youngest of the older keys.
    async fn wait_for_next(&mut self) -> Result<(), ClientError> {
        let response = self.client.range(RangeRequest {
            max_create_revision: self.create_revision - 1,
            ..by_age(&self.prefix, SortOrder::Descend)
        });
        let response = response.await?;
        let revision = response.header.map_or(0, |header| header.revision);
        let Some(before) = response.kvs.into_iter().next() else {
            self.held_since = revision;
            self.is_first = true;
            return Ok(());
        };
        let request = WatchCreateRequest {
            key: before.key,
            start_revision: revision + 1,
            ..WatchCreateRequest::default()
        };
        let mut watch = Watch::new(self.client, request);
        while let Some(answer) = watch.next().await {
            let answer = answer?;
            let is_gone = answer
                .events
                .iter()
                .any(|event| event.r#type() == EventType::Delete);
            // What was compacted away is looked at again.
            if is_gone || answer.canceled {
                break;
            }
        }
        Ok(())
    }

    /// Takes the key out of the queue, if it is still the same.
    pub async fn leave(&self) -> Result<(), ClientError> {
        let delete = Request::RequestDeleteRange(DeleteRangeRequest {
            key: self.key.clone(),
            ..DeleteRangeRequest::default()
        });
        let request = TxnRequest {
            compare: vec![created_at(&self.key, self.create_revision)],
            success: vec![operation(delete)],
            failure: Vec::new(),
        };
        self.client.txn(request).await?;
        Ok(())
    }
}

/// A range of one key: the oldest or the youngest that begins so.
pub fn by_age(prefix: &Bytes, order: SortOrder) -> RangeRequest {
    RangeRequest {
        key: prefix.clone(),
        range_end: prefix_end(prefix),
        limit: 1,
        sort_order: order.into(),
        sort_target: SortTarget::Create.into(),
        ..RangeRequest::default()
    }
}

/// The first key behind all that begin so.
pub fn prefix_end(prefix: &[u8]) -> Bytes {
    let kept = prefix.iter().rposition(|byte| *byte < 0xff);
    let Some(last) = kept else {
        return Bytes::from_static(b"\0");
    };
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    end.into()
}

fn created_at(key: &Bytes, revision: Revision) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key: key.clone(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
        ..Compare::default()
    }
}

fn operation(request: Request) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}

fn as_range(answer: &ResponseOp) -> Option<&RangeResponse> {
    match &answer.response {
        Some(Response::ResponseRange(range)) => Some(range),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_its_last_byte_can_grow() {
        assert_eq!(prefix_end(b"a"), "b");
        assert_eq!(prefix_end(b"a\xff\xff"), "b");
        assert_eq!(prefix_end(b"\xff\xff"), "\0");
        assert_eq!(prefix_end(b"a\xfe"), &b"a\xff"[..]);
    }
}

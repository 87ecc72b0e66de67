//! A request to a member, of whichever service.

use super::answer::Answer;
use super::lease_calls::LeaseCall;
use super::lock_calls::LockCall;
use super::other_calls::OtherCall;
use super::revisions::Translate;
use crate::door::Door;
use quorate::proto::etcdserverpb::compare::TargetUnion;
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest,
};

/// A unary call, or several that belong together.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    Range(RangeRequest),
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    Lease(LeaseCall),
    Lock(LockCall),
    Other(OtherCall),
}

/// What a request names of the cluster that it goes to.
#[derive(Clone, Copy, Debug)]
pub struct Own {
    /// The member that is asked.
    pub member_id: u64,
}

impl Call {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Range(_) => "range",
            Self::Put(_) => "put",
            Self::DeleteRange(_) => "delete",
            Self::Txn(_) => "txn",
            Self::Compact(_) => "compact",
            Self::Lease(call) => call.kind(),
            Self::Lock(call) => call.kind(),
            Self::Other(call) => call.kind(),
        }
    }

    /// Whether a member may answer it from its own state, without a barrier. A transaction without
    /// any operation is not among them: see `docs/compatibility.md`.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Range(range) => range.serializable,
            Self::Txn(txn) => {
                let empty = txn.success.is_empty() && txn.failure.is_empty();
                !empty && only_ranges(txn, |range| range.serializable)
            }
            Self::Put(_) | Self::DeleteRange(_) | Self::Compact(_) | Self::Lock(_) => false,
            Self::Lease(call) => call.is_local(),
            Self::Other(call) => call.is_local(),
        }
    }

    /// Whether it goes through the log; a nested transaction does, whatever it holds.
    pub fn is_logged(&self) -> bool {
        match self {
            Self::Range(_) => false,
            Self::Txn(txn) => !only_ranges(txn, |_| true),
            Self::Put(_) | Self::DeleteRange(_) | Self::Compact(_) | Self::Lock(_) => true,
            Self::Lease(call) => call.is_logged(),
            Self::Other(call) => call.is_logged(),
        }
    }

    /// Whether only the leader carries it out.
    pub fn is_leaders(&self) -> bool {
        matches!(self, Self::Other(call) if call.is_leaders())
    }

    pub async fn send(&self, door: &mut Door, own: Own) -> Answer {
        let answer = match self.clone() {
            Self::Range(call) => door
                .kv
                .range(call)
                .await
                .map(|r| Answer::Range(r.into_inner())),
            Self::Put(call) => door.kv.put(call).await.map(|r| Answer::Put(r.into_inner())),
            Self::DeleteRange(call) => door
                .kv
                .delete_range(call)
                .await
                .map(|r| Answer::DeleteRange(r.into_inner())),
            Self::Txn(call) => door.kv.txn(call).await.map(|r| Answer::Txn(r.into_inner())),
            Self::Compact(call) => door
                .kv
                .compact(call)
                .await
                .map(|r| Answer::Compact(r.into_inner())),
            Self::Lease(call) => return call.send(door).await,
            Self::Lock(call) => return call.send(door).await,
            Self::Other(call) => return call.send(door, own).await,
        };
        answer
            .unwrap_or_else(|status| Answer::refused(&status))
            .masked()
    }
}

impl Translate for Call {
    fn revisions(&mut self, of: &mut dyn FnMut(&mut i64)) {
        match self {
            Self::Range(range) => range_revisions(range, of),
            Self::Txn(txn) => txn_revisions(txn, of),
            Self::Compact(compact) => of(&mut compact.revision),
            Self::Lock(call) => call.revisions(of),
            Self::Put(_) | Self::DeleteRange(_) | Self::Lease(_) | Self::Other(_) => {}
        }
    }
}

fn range_revisions(range: &mut RangeRequest, of: &mut dyn FnMut(&mut i64)) {
    for revision in [
        &mut range.revision,
        &mut range.min_mod_revision,
        &mut range.max_mod_revision,
        &mut range.min_create_revision,
        &mut range.max_create_revision,
    ] {
        of(revision);
    }
}

fn txn_revisions(txn: &mut TxnRequest, of: &mut dyn FnMut(&mut i64)) {
    for compare in &mut txn.compare {
        if let Some(TargetUnion::CreateRevision(revision) | TargetUnion::ModRevision(revision)) =
            &mut compare.target_union
        {
            of(revision);
        }
    }
    for operation in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut operation.request {
            Some(Request::RequestRange(range)) => range_revisions(range, of),
            Some(Request::RequestTxn(txn)) => txn_revisions(txn, of),
            _ => {}
        }
    }
}

/// Whether a transaction holds nothing but ranges, and only such.
fn only_ranges(txn: &TxnRequest, such: impl Fn(&RangeRequest) -> bool) -> bool {
    let mut operations = txn.success.iter().chain(&txn.failure);
    operations.all(|operation| match &operation.request {
        Some(Request::RequestRange(range)) => such(range),
        _ => false,
    })
}

//! etcd's checks before a proposal, on the wire messages, in etcd's order.
//!
//! Whatever passes here may be logged; whatever etcd refuses at its door never is. The checks look
//! at the whole tree of a transaction, both branches, whichever will be taken.

use super::duplicates;
use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

/// Why the door refuses a request. The texts are in `status.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Invalid {
    EmptyKey,
    /// An operation of a transaction with nothing in it.
    NoOperation,
    /// A value together with `ignore_value`.
    ValueProvided,
    /// A lease together with `ignore_lease`.
    LeaseProvided,
    SortOption,
    TooManyOperations,
    DuplicateKey,
    TooLarge,
    /// A lease for longer than [`LEASE_TTL_MAX`].
    LeaseTtlTooLarge,
}

/// Seconds; etcd's `MaxLeaseTTL`.
const LEASE_TTL_MAX: i64 = 9_000_000_000;

/// Anything less than the least there is, 0 and negative numbers included, is raised to that.
pub(super) fn lease_ttl(seconds: i64) -> Result<(), Invalid> {
    if seconds > LEASE_TTL_MAX {
        Err(Invalid::LeaseTtlTooLarge)
    } else {
        Ok(())
    }
}

pub(super) fn range(request: &RangeRequest) -> Result<(), Invalid> {
    if request.key.is_empty() {
        return Err(Invalid::EmptyKey);
    }
    let order = SortOrder::try_from(request.sort_order);
    let target = SortTarget::try_from(request.sort_target);
    if order.is_err() || target.is_err() {
        return Err(Invalid::SortOption);
    }
    Ok(())
}

pub(super) fn put(request: &PutRequest) -> Result<(), Invalid> {
    if request.key.is_empty() {
        return Err(Invalid::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Invalid::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Invalid::LeaseProvided);
    }
    Ok(())
}

pub(super) fn delete_range(request: &DeleteRangeRequest) -> Result<(), Invalid> {
    if request.key.is_empty() {
        Err(Invalid::EmptyKey)
    } else {
        Ok(())
    }
}

/// `operations_max` is the budget of a path: each level takes its longest list from it.
pub(super) fn txn(request: &TxnRequest, operations_max: usize) -> Result<(), Invalid> {
    tree(request, operations_max)?;
    duplicates::check(&request.success)?;
    duplicates::check(&request.failure)
}

fn tree(request: &TxnRequest, budget: usize) -> Result<(), Invalid> {
    let longest = request
        .compare
        .len()
        .max(request.success.len())
        .max(request.failure.len());
    let left = budget
        .checked_sub(longest)
        .ok_or(Invalid::TooManyOperations)?;
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Invalid::EmptyKey);
    }
    let mut operations = request.success.iter().chain(&request.failure);
    operations.try_for_each(|operation| self::operation(operation, left))
}

fn operation(operation: &RequestOp, budget: usize) -> Result<(), Invalid> {
    match &operation.request {
        Some(Request::RequestRange(request)) => range(request),
        Some(Request::RequestPut(request)) => put(request),
        Some(Request::RequestDeleteRange(request)) => delete_range(request),
        Some(Request::RequestTxn(request)) => tree(request, budget),
        None => Err(Invalid::NoOperation),
    }
}

/// Refuses a proposal of `message_bytes` whose entry, in etcd's framing, is over the limit: the
/// field of the request, and a header with a request id.
pub(super) fn entry_size(message_bytes: usize, max_request_bytes: usize) -> Result<(), Invalid> {
    /// Tag (2), length (1), tag of the id (1), the id as a varint (10: ids use all 64 bits).
    const HEADER_BYTES: usize = 14;
    let field_bytes = 1 + prost::length_delimiter_len(message_bytes);
    if message_bytes + field_bytes + HEADER_BYTES > max_request_bytes {
        return Err(Invalid::TooLarge);
    }
    Ok(())
}

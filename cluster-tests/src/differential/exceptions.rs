//! Where etcd 3.4 and current etcd are known to differ, and Quorate follows the current one.
//!
//! | request | etcd 3.4 | current etcd, and Quorate |
//! |---|---|---|
//! | a range whose `sort_order` is no known one | ignores the order | `etcdserver: invalid sort option` |
//! | the same inside a transaction | ignores the order | refuses the transaction |
//! | a range sorted by another target than the key | pairs of equal target in any order (Go's sort is not stable) | ascending by key, here |
//!
//! Not sent at all:
//!
//! * a range whose `sort_target` is no known one, because etcd 3.4 does not survive it (current
//!   etcd, and Quorate: `etcdserver: invalid sort option`; the hostile story of the fault suite
//!   holds that);
//! * a put of exactly [`AMBIGUOUS_VALUE_BYTES`], because etcd takes it or refuses it by chance.

use super::call::{Answer, Call};
use quorate::proto::etcdserverpb::TxnRequest;
use quorate::proto::etcdserverpb::range_request::SortOrder;
use quorate::proto::etcdserverpb::request_op::Request;
use tonic::Code;

/// The one length of a value under the key "s" whose put is `request is too large` or is not,
/// depending on the id that etcd gives the request: as a varint that has nine or ten bytes, and the
/// entry that holds it is within the limit with nine and over it with ten. Quorate counts ten.
pub const AMBIGUOUS_VALUE_BYTES: usize = 1_572_840;

/// Whether two different answers are one of the listed cases.
pub fn is_known(call: &Call, ours: &Answer, theirs: &Answer) -> bool {
    let refused = has_unknown_sort_order(call)
        && *ours
            == Answer::Error(
                Code::InvalidArgument,
                "etcdserver: invalid sort option".to_owned(),
            );
    refused || super::ties::differ_only_in_ties(call, ours, theirs)
}

/// Whether etcd 3.4 may carry out what Quorate refuses: the state then would differ, so the
/// generator never lets such a transaction write.
pub fn has_unknown_sort_order(call: &Call) -> bool {
    match call {
        Call::Range(range) => SortOrder::try_from(range.sort_order).is_err(),
        Call::Txn(txn) => in_txn(txn),
        _ => false,
    }
}

fn in_txn(txn: &TxnRequest) -> bool {
    txn.success
        .iter()
        .chain(&txn.failure)
        .any(|op| match &op.request {
            Some(Request::RequestRange(range)) => SortOrder::try_from(range.sort_order).is_err(),
            Some(Request::RequestTxn(txn)) => in_txn(txn),
            _ => false,
        })
}

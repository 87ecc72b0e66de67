//! Where Quorate is known to differ from etcd 3.4: it follows current etcd, or does what
//! `docs/compatibility.md` says.
//!
//! | request | etcd 3.4 | current etcd, and Quorate |
//! |---|---|---|
//! | a range whose `sort_order` is no known one | ignores the order | `etcdserver: invalid sort option` |
//! | the same inside a transaction | ignores the order | refuses the transaction |
//! | a lease with too long a time to live, with an alarm raised | refused for the alarm | refused for its time, here |
//! | a range sorted by another target than the key | pairs of equal target in any order (Go's sort is not stable) | ascending by key, here |
//!
//! Not sent at all (the numbers are sections of `etcd-semantics`):
//!
//! * a watch from a negative revision (8.1): 3.4 begins at the first one, current etcd refuses;
//! * a watch from the very revision of a compaction, if that holds a deletion, or a key twice (7):
//!   3.4.23 forgets them; a trap of its own asks Quorate;
//! * a request for progress while a watcher waits for a revision to come, still reads the past, or is
//!   not there (8.4): 3.4 answers at once, current etcd not at all;
//! * a cancellation of a watcher that a compaction has ended, another one of its id, and one of a
//!   chosen id that a compaction ends at once: etcd keeps the id until it is canceled, and gives it to
//!   nobody else, Quorate does not;
//! * an alarm of type NONE being raised (12): 3.4 stores it;
//! * a nested transaction with an alarm raised (12): etcd carries out its puts;
//! * alarms of both types at a time (12): where the last one of either is lowered, etcd forgets that
//!   the other is raised;
//! * what the answer depends on how many members there are: adding and promoting members;
//! * a range whose `sort_target` is no known one, because etcd 3.4 does not survive it (current
//!   etcd, and Quorate: `etcdserver: invalid sort option`; the hostile story of the fault suite
//!   holds that);
//! * a put that keeps the value or the lease of a key in a transaction that deletes every key from some
//!   key on, because etcd does not survive it where that was the key (`survivable`; trap 20);
//! * a put of exactly [`AMBIGUOUS_VALUE_BYTES`], because etcd takes it or refuses it by chance.

use super::answer::Answer;
use super::call::Call;
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
    let too_long = Answer::Error(
        Code::OutOfRange,
        "etcdserver: too large lease TTL".to_owned(),
    );
    if *ours == too_long {
        let for_an_alarm = [Code::ResourceExhausted, Code::DataLoss];
        return matches!(theirs, Answer::Error(code, _) if for_an_alarm.contains(code));
    }
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
    any_operation(txn, &|operation| match operation {
        Request::RequestRange(range) => SortOrder::try_from(range.sort_order).is_err(),
        _ => false,
    })
}

/// Whether an operation of the transaction, in either branch and however deep, is such a one.
pub(super) fn any_operation(txn: &TxnRequest, is_one: &dyn Fn(&Request) -> bool) -> bool {
    let mut operations = txn.success.iter().chain(&txn.failure);
    operations.any(|operation| match &operation.request {
        Some(Request::RequestTxn(nested)) => any_operation(nested, is_one),
        Some(request) => is_one(request),
        None => false,
    })
}

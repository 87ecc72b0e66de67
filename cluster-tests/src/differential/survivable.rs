//! Transactions that etcd survives.
//!
//! A put that keeps a value or a lease needs its key. etcd looks for it before it carries a
//! transaction out, and panics when the transaction itself has deleted the key by then: every member,
//! at every start. It means to refuse a put of a key that the same transaction deletes, as a duplicate,
//! but takes the end of a deletion literally: one whose end is "\0", every key from the first on, deletes
//! nothing in its eyes. Quorate refuses the transaction; trap 20 holds that.

use super::exceptions::any_operation;
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::{PutRequest, TxnRequest};

/// The transaction with every put storing what it brings, if a deletion in it goes to the end.
pub(super) fn txn(mut txn: TxnRequest) -> TxnRequest {
    if deletes_to_the_end(&txn) {
        keep_nothing(&mut txn);
    }
    txn
}

pub(super) fn deletes_to_the_end(txn: &TxnRequest) -> bool {
    any_operation(txn, &|operation| match operation {
        Request::RequestDeleteRange(delete) => delete.range_end.as_ref() == b"\0",
        _ => false,
    })
}

fn keep_nothing(txn: &mut TxnRequest) {
    for operation in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut operation.request {
            Some(Request::RequestPut(PutRequest {
                ignore_value,
                ignore_lease,
                ..
            })) => {
                *ignore_value = false;
                *ignore_lease = false;
            }
            Some(Request::RequestTxn(nested)) => keep_nothing(nested),
            _ => {}
        }
    }
}

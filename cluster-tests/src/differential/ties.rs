//! Answers of sorted ranges whose only difference is the order of pairs that sort equal.

use super::answer::Answer;
use super::call::Call;
use quorate::proto::etcdserverpb::range_request::SortTarget;
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::response_op::Response;
use quorate::proto::etcdserverpb::{RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use quorate::proto::mvccpb::KeyValue;

pub(super) fn differ_only_in_ties(call: &Call, ours: &Answer, theirs: &Answer) -> bool {
    match (call, ours, theirs) {
        (Call::Range(call), Answer::Range(ours), Answer::Range(theirs)) => {
            ranges_agree(call, ours, theirs)
        }
        (Call::Txn(call), Answer::Txn(ours), Answer::Txn(theirs)) => txns_agree(call, ours, theirs),
        _ => false,
    }
}

/// What a pair is sorted by; the rest of it is a tie's business.
fn sorted_by(target: SortTarget, pair: &KeyValue) -> (i64, &[u8]) {
    match target {
        SortTarget::Key => (0, &pair.key),
        SortTarget::Version => (pair.version, b""),
        SortTarget::Create => (pair.create_revision, b""),
        SortTarget::Mod => (pair.mod_revision, b""),
        SortTarget::Value => (0, &pair.value),
    }
}

fn ranges_agree(call: &RangeRequest, ours: &RangeResponse, theirs: &RangeResponse) -> bool {
    if ours == theirs {
        return true;
    }
    let target = call.sort_target();
    let mut masked = ours.clone();
    masked.kvs.clone_from(&theirs.kvs);
    // With `keys_only` the values that were sorted by are gone: then the keys must agree as a set.
    let blind = target == SortTarget::Value && call.keys_only;
    let by_target = |answer: &RangeResponse| -> Vec<(i64, Vec<u8>)> {
        let sorted = answer.kvs.iter().map(|pair| sorted_by(target, pair));
        sorted
            .map(|(number, bytes)| (number, bytes.to_vec()))
            .collect()
    };
    let cut = ours.more;
    target != SortTarget::Key
        && masked == *theirs
        && ours.kvs.len() == theirs.kvs.len()
        && (blind || by_target(ours) == by_target(theirs))
        // Without a cut the same pairs must be there; a cut may go through a tie.
        && (cut || same_set(&ours.kvs, &theirs.kvs))
}

fn same_set(ours: &[KeyValue], theirs: &[KeyValue]) -> bool {
    let sorted = |pairs: &[KeyValue]| {
        let mut pairs = pairs.to_vec();
        pairs.sort_by(|one, other| one.key.cmp(&other.key));
        pairs
    };
    sorted(ours) == sorted(theirs)
}

fn txns_agree(call: &TxnRequest, ours: &TxnResponse, theirs: &TxnResponse) -> bool {
    let same_shape = ours.header == theirs.header
        && ours.succeeded == theirs.succeeded
        && ours.responses.len() == theirs.responses.len();
    let taken = if ours.succeeded {
        &call.success
    } else {
        &call.failure
    };
    let mut pairs = taken
        .iter()
        .zip(ours.responses.iter().zip(&theirs.responses));
    same_shape
        && pairs.all(|(operation, (ours, theirs))| {
            match (&operation.request, &ours.response, &theirs.response) {
                (
                    Some(Request::RequestRange(call)),
                    Some(Response::ResponseRange(ours)),
                    Some(Response::ResponseRange(theirs)),
                ) => ranges_agree(call, ours, theirs),
                (
                    Some(Request::RequestTxn(call)),
                    Some(Response::ResponseTxn(ours)),
                    Some(Response::ResponseTxn(theirs)),
                ) => txns_agree(call, ours, theirs),
                _ => ours == theirs,
            }
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    fn answer(pairs: &[(&'static str, &'static str)]) -> Answer {
        let kvs = pairs.iter().map(|(key, value)| KeyValue {
            key: (*key).into(),
            value: (*value).into(),
            ..KeyValue::default()
        });
        Answer::Range(RangeResponse {
            kvs: kvs.collect(),
            ..RangeResponse::default()
        })
    }

    #[test]
    fn only_the_order_of_ties_is_excused() {
        let mut range = RangeRequest::default();
        range.set_sort_target(SortTarget::Value);
        let by_value = Call::Range(range);
        let by_key = Call::Range(RangeRequest::default());
        let one = answer(&[("a", "1"), ("b", "1"), ("c", "2")]);
        let tie = answer(&[("b", "1"), ("a", "1"), ("c", "2")]);
        let wrong = answer(&[("a", "1"), ("c", "2"), ("b", "1")]);
        let other = answer(&[("a", "1"), ("d", "1"), ("c", "2")]);
        assert!(differ_only_in_ties(&by_value, &one, &tie));
        assert!(!differ_only_in_ties(&by_key, &one, &tie));
        assert!(!differ_only_in_ties(&by_value, &one, &wrong));
        assert!(!differ_only_in_ties(&by_value, &one, &other));
    }
}

use super::*;
use crate::proto::etcdserverpb::{PutRequest, TxnRequest};
use bytes::Bytes;
use proptest::prelude::*;

fn operation(request: Request) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}

fn put(key: &str) -> RequestOp {
    let key = Bytes::from(key.to_owned());
    operation(Request::RequestPut(PutRequest {
        key,
        ..PutRequest::default()
    }))
}

fn delete(key: &str, range_end: &str) -> RequestOp {
    let key = Bytes::from(key.to_owned());
    let range_end = Bytes::from(range_end.to_owned());
    let request = DeleteRangeRequest {
        key,
        range_end,
        prev_kv: false,
    };
    operation(Request::RequestDeleteRange(request))
}

fn txn(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
    operation(Request::RequestTxn(TxnRequest {
        compare: Vec::new(),
        success,
        failure,
    }))
}

#[test]
fn two_changes_of_one_key_are_refused_with_etcds_gaps() {
    let accepted = [
        vec![put("a"), put("b")],
        vec![delete("a", "c"), delete("b", "d")],
        vec![delete("a", "c"), put("c")],
        vec![delete("a", ""), put("a\0")],
        // Only one branch of the nested transaction runs.
        vec![txn(vec![put("a")], vec![put("a")])],
        // Siblings: put, then delete.
        vec![
            txn(vec![put("a")], vec![]),
            txn(vec![delete("a", "")], vec![]),
        ],
        // "From this key on" and an end before the start cover nothing in etcd's check.
        vec![delete("a", "\0"), put("b")],
        vec![put("a"), delete("a", "\0")],
        vec![delete("c", "a"), put("b"), put("c")],
    ];
    for operations in accepted {
        assert_eq!(check(&operations), Ok(()), "{operations:?}");
    }
    let refused = [
        vec![put("a"), put("a")],
        vec![put("a"), delete("a", "")],
        vec![delete("a", "c"), put("b")],
        vec![put("b"), delete("a", "c")],
        vec![txn(vec![put("a")], vec![]), put("a")],
        vec![txn(vec![], vec![put("a")]), put("a")],
        vec![txn(vec![put("a")], vec![]), txn(vec![], vec![put("a")])],
        // A nested put under a delete around it.
        vec![txn(vec![put("b")], vec![]), delete("a", "c")],
        // A put under a nested delete.
        vec![put("b"), txn(vec![delete("a", "c")], vec![])],
        // Siblings: delete, then put.
        vec![
            txn(vec![delete("a", "")], vec![]),
            txn(vec![put("a")], vec![]),
        ],
        vec![
            txn(vec![txn(vec![put("a")], vec![])], vec![put("a")]),
            put("a"),
        ],
        vec![txn(vec![put("a"), put("a")], vec![])],
    ];
    for operations in refused {
        assert_eq!(
            check(&operations),
            Err(Invalid::DuplicateKey),
            "{operations:?}"
        );
    }
}

/// The rule again, written down as slowly and plainly as possible.
fn plainly(operations: &[RequestOp]) -> Option<(Vec<Bytes>, Vec<DeleteRangeRequest>)> {
    let covers = |delete: &DeleteRangeRequest, key: &Bytes| {
        if delete.range_end.is_empty() {
            delete.key == key
        } else {
            delete.key <= *key && *key < delete.range_end
        }
    };
    let mut deletes: Vec<DeleteRangeRequest> = Vec::new();
    let mut puts: Vec<Bytes> = Vec::new();
    for operation in operations {
        if let Some(Request::RequestDeleteRange(delete)) = &operation.request {
            deletes.push(delete.clone());
        }
    }
    for operation in operations {
        let Some(Request::RequestTxn(nested)) = &operation.request else {
            continue;
        };
        let (puts_then, deletes_then) = plainly(&nested.success)?;
        let (puts_else, deletes_else) = plainly(&nested.failure)?;
        for key in &puts_then {
            if puts.contains(key) || deletes.iter().any(|delete| covers(delete, key)) {
                return None;
            }
            puts.push(key.clone());
        }
        for key in &puts_else {
            let elsewhere = puts.contains(key) && !puts_then.contains(key);
            if elsewhere || deletes.iter().any(|delete| covers(delete, key)) {
                return None;
            }
            if !puts.contains(key) {
                puts.push(key.clone());
            }
        }
        deletes.extend(deletes_then);
        deletes.extend(deletes_else);
    }
    for operation in operations {
        let Some(Request::RequestPut(put)) = &operation.request else {
            continue;
        };
        if puts.contains(&put.key) || deletes.iter().any(|delete| covers(delete, &put.key)) {
            return None;
        }
        puts.push(put.key.clone());
    }
    Some((puts, deletes))
}

fn any_operations() -> impl Strategy<Value = Vec<RequestOp>> {
    let key = || "[a-d]{1,2}";
    let leaf = prop_oneof![
        3 => key().prop_map(|key| put(&key)),
        1 => (key(), prop_oneof![Just(String::new()), "[a-d]{1,2}", Just("\0".to_owned())])
            .prop_map(|(key, end)| delete(&key, &end)),
    ];
    let tree = leaf.prop_recursive(3, 12, 3, |inner| {
        let list = || prop::collection::vec(inner.clone(), 0..3);
        (list(), list()).prop_map(|(success, failure)| txn(success, failure))
    });
    prop::collection::vec(tree, 0..5)
}

/// Many puts at the bottom of as many levels as are taken, a delete beside each level: the shape
/// that costs most if every level looks at every key below it.
#[test]
fn a_deep_chain_over_many_puts_is_judged_as_plainly() {
    let chain = |deepest: Vec<RequestOp>, top: Vec<RequestOp>| {
        let mut operations = deepest;
        for level in 0..100 {
            let beside = delete(&format!("level{level}"), "");
            operations = vec![beside, txn(operations, vec![])];
        }
        operations.extend(top);
        operations
    };
    let bottom = || -> Vec<RequestOp> { (0..200).map(|n| put(&format!("key{n:03}"))).collect() };
    for (deepest, top, accepted) in [
        (bottom(), vec![], true),
        (bottom(), vec![put("other")], true),
        (bottom(), vec![put("key100")], false),
        (bottom(), vec![delete("key100", "key101")], false),
        (bottom(), vec![delete("key", "key000")], true),
        (vec![put("level50")], vec![], false),
        (vec![put("a")], vec![put("level50")], false),
    ] {
        let operations = chain(deepest, top);
        assert_eq!(check(&operations).is_ok(), accepted);
        assert_eq!(plainly(&operations).is_some(), accepted);
    }
}

proptest! {
    #[test]
    fn the_fast_rule_is_the_plain_rule(operations in any_operations()) {
        prop_assert_eq!(check(&operations).is_ok(), plainly(&operations).is_some());
    }
}

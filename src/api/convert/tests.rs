use super::*;
use crate::api::validate;
use crate::proto::etcdserverpb::{
    Compare as WireCompare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use crate::types::RangeEnd;
use proptest::prelude::*;

fn range_of(key: &'static str) -> RangeRequest {
    RangeRequest {
        key: key.into(),
        ..RangeRequest::default()
    }
}

fn put_of(key: &'static str) -> PutRequest {
    PutRequest {
        key: key.into(),
        ..PutRequest::default()
    }
}

fn operation_of(request: Request) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}

fn success(operations: Vec<RequestOp>) -> TxnRequest {
    TxnRequest {
        success: operations,
        ..TxnRequest::default()
    }
}

#[test]
fn single_requests_are_refused_as_etcd_refuses_them() {
    use Invalid::{EmptyKey, LeaseProvided, SortOption, ValueProvided};
    assert_eq!(validate::range(&range_of("k")), Ok(()));
    assert_eq!(validate::range(&range_of("")), Err(EmptyKey));
    let with_end = RangeRequest {
        range_end: "z".into(),
        ..RangeRequest::default()
    };
    assert_eq!(validate::range(&with_end), Err(EmptyKey));
    for (sort_order, sort_target) in [(3, 0), (-1, 0), (0, 5), (0, -1), (i32::MAX, 0)] {
        let request = RangeRequest {
            sort_order,
            sort_target,
            ..range_of("k")
        };
        assert_eq!(validate::range(&request), Err(SortOption));
        assert_eq!(range_query(request), Err(SortOption));
    }
    assert_eq!(validate::put(&put_of("")), Err(EmptyKey));
    assert_eq!(validate::put(&put_of("k")), Ok(()));
    let request = PutRequest {
        value: "v".into(),
        ignore_value: true,
        ..put_of("k")
    };
    assert_eq!(validate::put(&request), Err(ValueProvided));
    let request = PutRequest {
        lease: -1,
        ignore_lease: true,
        ..put_of("k")
    };
    assert_eq!(validate::put(&request), Err(LeaseProvided));
    let request = PutRequest {
        ignore_value: true,
        ignore_lease: true,
        ..put_of("k")
    };
    assert_eq!(validate::put(&request), Ok(()));
    assert_eq!(
        validate::delete_range(&DeleteRangeRequest::default()),
        Err(EmptyKey)
    );
}

#[test]
fn a_transaction_is_refused_for_what_is_anywhere_in_it() {
    let nested = |txn| success(vec![operation_of(Request::RequestTxn(txn))]);
    let compare = |key: &'static str| TxnRequest {
        compare: vec![WireCompare {
            key: key.into(),
            ..WireCompare::default()
        }],
        ..TxnRequest::default()
    };
    let ignoring = PutRequest {
        value: "v".into(),
        ignore_value: true,
        ..put_of("k")
    };
    let unsorted = RangeRequest {
        sort_target: 9,
        ..range_of("k")
    };
    for (txn, expected) in [
        (compare("k"), Ok(())),
        (compare(""), Err(Invalid::EmptyKey)),
        (
            success(vec![RequestOp::default()]),
            Err(Invalid::NoOperation),
        ),
        (
            success(vec![operation_of(Request::RequestPut(put_of("")))]),
            Err(Invalid::EmptyKey),
        ),
        (
            success(vec![operation_of(Request::RequestPut(ignoring))]),
            Err(Invalid::ValueProvided),
        ),
        (
            success(vec![operation_of(Request::RequestRange(unsorted))]),
            Err(Invalid::SortOption),
        ),
        (
            success(vec![
                operation_of(Request::RequestPut(put_of("k"))),
                operation_of(Request::RequestPut(put_of("k"))),
            ]),
            Err(Invalid::DuplicateKey),
        ),
    ] {
        assert_eq!(validate::txn(&txn, 128), expected, "{txn:?}");
        assert_eq!(
            validate::txn(&nested(txn.clone()), 128),
            expected,
            "nested {txn:?}"
        );
        let otherwise = TxnRequest {
            failure: txn.success.clone(),
            ..TxnRequest::default()
        };
        if txn.compare.is_empty() {
            assert_eq!(validate::txn(&otherwise, 128), expected, "failure {txn:?}");
        }
    }
}

#[test]
fn operations_are_counted_along_a_path() {
    let ranges = |count| vec![operation_of(Request::RequestRange(range_of("k"))); count];
    let max = Err(Invalid::TooManyOperations);
    assert_eq!(validate::txn(&success(ranges(128)), 128), Ok(()));
    assert_eq!(validate::txn(&success(ranges(129)), 128), max);
    let compares = vec![
        WireCompare {
            key: "k".into(),
            ..WireCompare::default()
        };
        129
    ];
    assert_eq!(
        validate::txn(
            &TxnRequest {
                compare: compares,
                ..Default::default()
            },
            128
        ),
        max
    );
    // 100 here leave 28 for each nested one.
    let with = |nested: usize| {
        let mut operations = ranges(99);
        operations.push(operation_of(Request::RequestTxn(success(ranges(nested)))));
        success(operations)
    };
    assert_eq!(validate::txn(&with(28), 128), Ok(()));
    assert_eq!(validate::txn(&with(29), 128), max);
    let chain = |depth| {
        (0..depth).fold(TxnRequest::default(), |inner, _| {
            success(vec![operation_of(Request::RequestTxn(inner))])
        })
    };
    assert_eq!(validate::txn(&chain(127), 128), Ok(()));
    assert_eq!(validate::txn(&chain(128), 128), Ok(()));
    assert_eq!(validate::txn(&chain(129), 128), max);
}

#[test]
fn the_size_limit_counts_etcds_framing() {
    // Observed: a put with a value of 1,572,000 bytes passes, one of 1,572,864 does not.
    let limit = 1_572_864;
    assert_eq!(validate::entry_size(1_572_010, limit), Ok(()));
    assert_eq!(
        validate::entry_size(1_572_870, limit),
        Err(Invalid::TooLarge)
    );
    assert_eq!(validate::entry_size(limit - 18, limit), Ok(()));
    assert_eq!(
        validate::entry_size(limit - 17, limit),
        Err(Invalid::TooLarge)
    );
}

#[test]
fn a_transaction_of_ranges_is_read() {
    let range = |serializable| {
        operation_of(Request::RequestRange(RangeRequest {
            serializable,
            ..range_of("k")
        }))
    };
    let serializable = |txn: &TxnRequest| read_only(txn).map(|read| read.serializable);
    assert_eq!(serializable(&success(vec![range(true)])), Some(true));
    assert_eq!(
        serializable(&success(vec![range(true), range(false)])),
        Some(false)
    );
    let both = TxnRequest {
        success: vec![range(true)],
        failure: vec![range(false)],
        compare: vec![],
    };
    assert_eq!(serializable(&both), Some(false));
    // No range at all is behind a barrier, unlike etcd's.
    assert_eq!(serializable(&TxnRequest::default()), Some(false));
    let writes = TxnRequest {
        success: vec![range(true)],
        failure: vec![operation_of(Request::RequestPut(put_of("k")))],
        compare: vec![],
    };
    assert_eq!(serializable(&writes), None);
    let nested = operation_of(Request::RequestTxn(success(vec![range(true)])));
    assert_eq!(serializable(&success(vec![nested])), None);
}

/// etcd's own evaluation of a comparison (`compareKV` and the missing key before it).
fn etcds(wire: &WireCompare, kv: Option<&KeyValue>) -> bool {
    use std::cmp::Ordering;
    let missing = KeyValue::default();
    if kv.is_none() && wire.target == i32::from(WireTarget::Value) {
        return false;
    }
    let kv = kv.unwrap_or(&missing);
    let number = |found: i64, wanted: Option<i64>| found.cmp(&wanted.unwrap_or(0));
    let union = &wire.target_union;
    let ordering = match WireTarget::try_from(wire.target) {
        Ok(WireTarget::Version) => number(
            kv.version,
            if let Some(TargetUnion::Version(n)) = union {
                Some(*n)
            } else {
                None
            },
        ),
        Ok(WireTarget::Create) => number(
            kv.create_revision,
            if let Some(TargetUnion::CreateRevision(n)) = union {
                Some(*n)
            } else {
                None
            },
        ),
        Ok(WireTarget::Mod) => number(
            kv.mod_revision,
            if let Some(TargetUnion::ModRevision(n)) = union {
                Some(*n)
            } else {
                None
            },
        ),
        Ok(WireTarget::Lease) => number(
            kv.lease,
            if let Some(TargetUnion::Lease(n)) = union {
                Some(*n)
            } else {
                None
            },
        ),
        Ok(WireTarget::Value) => match union {
            Some(TargetUnion::Value(value)) => kv.value.cmp(value),
            _ => kv.value.cmp(&Bytes::new()),
        },
        Err(_) => Ordering::Equal,
    };
    match CompareResult::try_from(wire.result) {
        Ok(CompareResult::Equal) => ordering == Ordering::Equal,
        Ok(CompareResult::NotEqual) => ordering != Ordering::Equal,
        Ok(CompareResult::Greater) => ordering == Ordering::Greater,
        Ok(CompareResult::Less) => ordering == Ordering::Less,
        Err(_) => true,
    }
}

/// Our command's meaning, as the state machine is told to understand it.
fn ours(compare: &Compare, kv: Option<&KeyValue>) -> bool {
    let missing = KeyValue::default();
    if kv.is_none() && matches!(compare.target, CompareTarget::Value(_)) {
        return false;
    }
    let kv = kv.unwrap_or(&missing);
    let ordering = match &compare.target {
        CompareTarget::Version(n) => kv.version.cmp(n),
        CompareTarget::Create(n) => kv.create_revision.cmp(n),
        CompareTarget::Mod(n) => kv.mod_revision.cmp(n),
        CompareTarget::Lease(n) => kv.lease.cmp(n),
        CompareTarget::Value(value) => kv.value.cmp(value),
    };
    match compare.relation {
        Relation::Equal => ordering.is_eq(),
        Relation::NotEqual => ordering.is_ne(),
        Relation::Greater => ordering.is_gt(),
        Relation::Less => ordering.is_lt(),
    }
}

proptest! {
    /// Unknown targets and results, unions of another target: all mean what they mean to etcd.
    #[test]
    fn comparisons_mean_what_etcd_means(
        result in -1..6_i32,
        target in -1..7_i32,
        union in 0..6_u8,
        wanted in -1..3_i64,
        found in prop::option::of((1..3_i64, 0..3_i64)),
    ) {
        let target_union = match union {
            0 => Some(TargetUnion::Version(wanted)),
            1 => Some(TargetUnion::CreateRevision(wanted)),
            2 => Some(TargetUnion::ModRevision(wanted)),
            3 => Some(TargetUnion::Lease(wanted)),
            4 => Some(TargetUnion::Value(wanted.to_string().into())),
            _ => None,
        };
        let wire = WireCompare { result, target, key: "k".into(), target_union, ..Default::default() };
        let kv = found.map(|(positive, other)| KeyValue {
            key: "k".into(),
            create_revision: positive,
            mod_revision: positive,
            version: positive,
            value: other.to_string().into(),
            lease: other,
        });
        let command = compare(wire.clone());
        prop_assert_eq!(ours(&command, kv.as_ref()), etcds(&wire, kv.as_ref()), "{:?}", wire);
    }

    #[test]
    fn a_range_keeps_every_option(
        range_end in prop_oneof![Just(""), Just("\0"), Just("z")],
        numbers in prop::array::uniform6(any::<i64>()),
        sort_order in 0..3_i32,
        sort_target in 0..5_i32,
        keys_only: bool,
        count_only: bool,
    ) {
        let [limit, revision, min_mod, max_mod, min_create, max_create] = numbers;
        let query = range_query(RangeRequest {
            key: "k".into(),
            range_end: range_end.into(),
            limit,
            revision,
            sort_order,
            sort_target,
            serializable: true,
            keys_only,
            count_only,
            min_mod_revision: min_mod,
            max_mod_revision: max_mod,
            min_create_revision: min_create,
            max_create_revision: max_create,
        })
        .unwrap();
        let end = match range_end {
            "" => RangeEnd::Single,
            "\0" => RangeEnd::Unbounded,
            other => RangeEnd::Before(other.into()),
        };
        prop_assert_eq!(query.range, KeyRange { start: "k".into(), end });
        prop_assert_eq!(
            [query.limit, query.revision, query.min_mod_revision, query.max_mod_revision,
             query.min_create_revision, query.max_create_revision],
            numbers
        );
        prop_assert_eq!((query.keys_only, query.count_only), (keys_only, count_only));
        prop_assert_eq!(query.sort_order as i32, sort_order);
        prop_assert_eq!(query.sort_target as i32, sort_target);
    }
}

#[test]
fn values_move_and_are_not_copied() {
    let value = Bytes::from(vec![7; 4096]);
    let pointer = value.as_ptr();
    let command = put(PutRequest {
        value,
        ..put_of("k")
    });
    assert_eq!(command.value.as_ptr(), pointer);
    let kv = KeyValue {
        value: command.value,
        ..KeyValue::default()
    };
    let result = RangeResult {
        kvs: vec![kv],
        more: true,
        count: 9,
    };
    let response = range_response(ResponseHeader::default(), result);
    assert_eq!(response.kvs[0].value.as_ptr(), pointer);
    assert_eq!((response.more, response.count), (true, 9));
}

#[test]
fn inner_headers_show_only_the_revision_and_a_nested_answers_nothing() {
    let of = |revision, result| OperationOutcome { revision, result };
    let inner = TxnOutcome {
        succeeded: true,
        responses: vec![of(4, OperationResult::Put { prev_kv: None })],
    };
    let outcome = TxnOutcome {
        succeeded: false,
        responses: vec![
            of(3, OperationResult::Range(RangeResult::default())),
            of(
                4,
                OperationResult::DeleteRange {
                    deleted: 2,
                    prev_kvs: Vec::new(),
                },
            ),
            of(4, OperationResult::Txn(inner)),
        ],
    };
    let header = ResponseHeader {
        cluster_id: 1,
        member_id: 2,
        revision: 4,
        raft_term: 5,
    };
    let response = txn_response(Some(header), outcome);
    assert_eq!((response.header, response.succeeded), (Some(header), false));
    let only = |revision| {
        Some(ResponseHeader {
            revision,
            ..ResponseHeader::default()
        })
    };
    let [range, delete, txn] = response.responses.as_slice() else {
        panic!()
    };
    let Some(Response::ResponseRange(range)) = &range.response else {
        panic!()
    };
    assert_eq!(range.header, only(3));
    let Some(Response::ResponseDeleteRange(delete)) = &delete.response else {
        panic!()
    };
    assert_eq!((delete.header, delete.deleted), (only(4), 2));
    let Some(Response::ResponseTxn(txn)) = &txn.response else {
        panic!()
    };
    assert_eq!((txn.header, txn.succeeded), (only(0), true));
    let Some(Response::ResponsePut(put)) = &txn.responses[0].response else {
        panic!()
    };
    assert_eq!(put.header, only(4));
}

/// What `config::REQUEST_BYTES_MAX` counts on.
#[test]
fn our_commands_take_at_most_nine_quarters_of_the_message() {
    let odd = WireCompare {
        target: 77,
        key: "k".into(),
        ..WireCompare::default()
    };
    let range = operation_of(Request::RequestRange(range_of("k")));
    let nested = operation_of(Request::RequestTxn(TxnRequest::default()));
    for dense in [
        success(vec![range; 1000]),
        success(vec![nested; 1000]),
        TxnRequest {
            compare: vec![odd; 1000],
            ..TxnRequest::default()
        },
    ] {
        let message_bytes = prost::Message::encoded_len(&dense);
        let mut batch = crate::state_machine::BatchBuilder::new();
        batch.push(&crate::state_machine::Command::Txn(txn(dense).unwrap()));
        let bytes = batch.finish().len();
        assert!(bytes * 4 <= message_bytes * 9, "{bytes} of {message_bytes}");
    }
}

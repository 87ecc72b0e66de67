use super::*;
use crate::proto::etcdserverpb::compare::TargetUnion;
use crate::proto::etcdserverpb::{Compare, DeleteRangeRequest, PutRequest, RangeRequest};
use proptest::prelude::*;
use prost::Message;

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..6).prop_map(Bytes::from)
}

fn compare() -> impl Strategy<Value = Compare> {
    let union = prop_oneof![
        Just(None),
        any::<i64>().prop_map(|n| Some(TargetUnion::Version(n))),
        any::<i64>().prop_map(|n| Some(TargetUnion::Lease(n))),
        bytes().prop_map(|value| Some(TargetUnion::Value(value))),
    ];
    (any::<i32>(), any::<i32>(), bytes(), bytes(), union).prop_map(
        |(result, target, key, range_end, target_union)| Compare {
            result,
            target,
            key,
            range_end,
            target_union,
        },
    )
}

fn operation() -> impl Strategy<Value = RequestOp> {
    let leaf = prop_oneof![
        Just(None),
        (bytes(), bytes(), any::<i64>()).prop_map(|(key, range_end, limit)| Some(
            Request::RequestRange(RangeRequest {
                key,
                range_end,
                limit,
                ..Default::default()
            })
        )),
        (bytes(), bytes(), any::<i64>()).prop_map(|(key, value, lease)| Some(Request::RequestPut(
            PutRequest {
                key,
                value,
                lease,
                ..Default::default()
            }
        ))),
        (bytes(), bytes()).prop_map(|(key, range_end)| Some(Request::RequestDeleteRange(
            DeleteRangeRequest {
                key,
                range_end,
                prev_kv: true
            }
        ))),
    ]
    .prop_map(|request| RequestOp { request });
    leaf.prop_recursive(6, 24, 3, |inner| {
        let list = || prop::collection::vec(inner.clone(), 0..3);
        (prop::collection::vec(compare(), 0..2), list(), list()).prop_map(
            |(compare, success, failure)| RequestOp {
                request: Some(Request::RequestTxn(TxnRequest {
                    compare,
                    success,
                    failure,
                })),
            },
        )
    })
}

fn txn() -> impl Strategy<Value = TxnRequest> {
    let list = || prop::collection::vec(operation(), 0..4);
    (prop::collection::vec(compare(), 0..3), list(), list()).prop_map(
        |(compare, success, failure)| TxnRequest {
            compare,
            success,
            failure,
        },
    )
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(txn in txn()) {
        let decoded = decode(txn.encode_to_vec().into());
        prop_assert_eq!(decoded.ok(), Some(txn));
    }

    /// On anything at all, prost and we agree: the same message, or a refusal by both.
    #[test]
    fn we_decode_as_prost_does(
        mut encoded in txn().prop_map(|txn| txn.encode_to_vec()),
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        for (place, byte) in noise {
            if !encoded.is_empty() {
                let place = place.index(encoded.len());
                encoded[place] = byte;
            }
        }
        let prosts = TxnRequest::decode(&encoded[..]).ok();
        prop_assert_eq!(decode(encoded.into()).ok(), prosts);
    }

    #[test]
    fn garbage_is_an_error_or_a_message(garbage in prop::collection::vec(any::<u8>(), 0..200)) {
        let prosts = TxnRequest::decode(&garbage[..]).ok();
        prop_assert_eq!(decode(garbage.into()).ok(), prosts);
    }
}

/// A transaction in a transaction, `depth` deep, encoded without recursion.
fn nested_bytes(depth: usize) -> Vec<u8> {
    let mut inner: Vec<u8> = Vec::new();
    for _ in 0..depth {
        for field in [4, 2] {
            let mut outer = Vec::with_capacity(inner.len() + 6);
            prost::encoding::encode_key(field, WireType::LengthDelimited, &mut outer);
            prost::encoding::encode_varint(inner.len() as u64, &mut outer);
            outer.extend_from_slice(&inner);
            inner = outer;
        }
    }
    inner
}

fn depth(txn: &TxnRequest) -> usize {
    let mut depth = 0;
    let mut level = txn;
    while let Some(RequestOp {
        request: Some(Request::RequestTxn(inner)),
    }) = level.success.first()
    {
        depth += 1;
        level = inner;
    }
    depth
}

#[test]
fn etcds_depth_passes_and_a_bomb_does_not() {
    for levels in [0, 1, 49, 50, 51, 127, 128, NESTING_MAX] {
        let txn = decode(nested_bytes(levels).into()).unwrap();
        assert_eq!(depth(&txn), levels);
    }
    for levels in [NESTING_MAX + 1, 5_000, 60_000] {
        let error = decode(nested_bytes(levels).into()).unwrap_err();
        assert!(
            matches!(error, TxnDecodeError::TooDeep),
            "{levels}: {error:?}"
        );
    }
}

#[test]
fn a_bomb_of_groups_is_refused() {
    // A start of group 1 again and again, in the transaction, an operation and a leaf of it.
    let groups = vec![0x0b; 1 << 20];
    assert!(matches!(
        decode(groups.clone().into()),
        Err(TxnDecodeError::Malformed(_))
    ));
    let groups = vec![0x7b; 1 << 20];
    assert!(matches!(
        decode(groups.clone().into()),
        Err(TxnDecodeError::Malformed(_))
    ));
    for fields in [vec![2], vec![1], vec![2, 1], vec![2, 4], vec![2, 4, 1]] {
        let mut inner = groups.clone();
        for field in fields.iter().rev() {
            let mut outer = Vec::new();
            prost::encoding::encode_key(*field, WireType::LengthDelimited, &mut outer);
            prost::encoding::encode_varint(inner.len() as u64, &mut outer);
            outer.extend_from_slice(&inner);
            inner = outer;
        }
        let error = decode(inner.into()).unwrap_err();
        assert!(matches!(error, TxnDecodeError::Malformed(_)), "{fields:?}");
    }
}

#[test]
fn values_are_slices_of_the_message() {
    let put = PutRequest {
        value: Bytes::from(vec![7; 4096]),
        ..PutRequest::default()
    };
    let operation = RequestOp {
        request: Some(Request::RequestPut(put)),
    };
    let txn = TxnRequest {
        success: vec![operation],
        ..TxnRequest::default()
    };
    let message = Bytes::from(txn.encode_to_vec());
    let range = message.as_ptr_range();
    let decoded = decode(message).unwrap();
    let Some(Request::RequestPut(put)) = &decoded.success[0].request else {
        panic!()
    };
    assert!(range.contains(&put.value.as_ptr()));
}

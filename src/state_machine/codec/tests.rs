//! Round trips of everything, garbage, depth, versions.

use super::*;
use crate::state_machine::command::{
    Alarm, AlarmChange, AlarmKind, Command, Compare, CompareTarget, DeleteRange, Fence, LeaseMark,
    MemberAttributes, Operation, Put, Relation, Txn,
};
use crate::state_machine::outcome::{
    OperationOutcome, OperationResult, Outcome, Refusal, Reply, TxnOutcome,
};
use crate::types::{KeyRange, KeyValue, RangeEnd, RangeQuery, RangeResult, SortOrder, SortTarget};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..12).prop_map(Bytes::from)
}

fn key_range() -> impl Strategy<Value = KeyRange> {
    let end = prop_oneof![
        Just(RangeEnd::Single),
        Just(RangeEnd::Unbounded),
        bytes().prop_map(RangeEnd::Before)
    ];
    (bytes(), end).prop_map(|(start, end)| KeyRange { start, end })
}

fn query() -> impl Strategy<Value = RangeQuery> {
    let order = select(vec![SortOrder::None, SortOrder::Ascend, SortOrder::Descend]);
    let target = select(vec![
        SortTarget::Key,
        SortTarget::Version,
        SortTarget::Create,
        SortTarget::Mod,
        SortTarget::Value,
    ]);
    (
        key_range(),
        any::<[i64; 6]>(),
        order,
        target,
        any::<[bool; 2]>(),
    )
        .prop_map(
            |(range, numbers, sort_order, sort_target, flags)| RangeQuery {
                range,
                limit: numbers[0],
                revision: numbers[1],
                sort_order,
                sort_target,
                keys_only: flags[0],
                count_only: flags[1],
                min_mod_revision: numbers[2],
                max_mod_revision: numbers[3],
                min_create_revision: numbers[4],
                max_create_revision: numbers[5],
            },
        )
}

fn put() -> impl Strategy<Value = Put> {
    (bytes(), bytes(), any::<i64>(), any::<[bool; 3]>()).prop_map(|(key, value, lease, flags)| {
        Put {
            key,
            value,
            lease,
            prev_kv: flags[0],
            ignore_value: flags[1],
            ignore_lease: flags[2],
        }
    })
}

fn delete() -> impl Strategy<Value = DeleteRange> {
    (key_range(), any::<bool>()).prop_map(|(range, prev_kv)| DeleteRange { range, prev_kv })
}

fn compare() -> impl Strategy<Value = Compare> {
    let relation = select(vec![
        Relation::Equal,
        Relation::Greater,
        Relation::Less,
        Relation::NotEqual,
    ]);
    let target = prop_oneof![
        any::<i64>().prop_map(CompareTarget::Version),
        any::<i64>().prop_map(CompareTarget::Create),
        any::<i64>().prop_map(CompareTarget::Mod),
        any::<i64>().prop_map(CompareTarget::Lease),
        bytes().prop_map(CompareTarget::Value),
    ];
    (key_range(), relation, target).prop_map(|(range, relation, target)| Compare {
        range,
        relation,
        target,
    })
}

fn alarm() -> impl Strategy<Value = Alarm> {
    let kind = select(vec![AlarmKind::NoSpace, AlarmKind::Corrupt]);
    (kind, any::<u64>()).prop_map(|(kind, member)| Alarm { kind, member })
}

fn command() -> impl Strategy<Value = Command> {
    let leaf = prop_oneof![
        query().prop_map(Operation::Range),
        put().prop_map(Operation::Put),
        delete().prop_map(Operation::DeleteRange)
    ];
    let operation = leaf.prop_recursive(4, 24, 4, |inner| {
        (
            vec(compare(), 0..3),
            vec(inner.clone(), 0..4),
            vec(inner, 0..4),
        )
            .prop_map(|(compare, success, failure)| {
                Operation::Txn(Txn {
                    compare,
                    success,
                    failure,
                })
            })
    });
    let txn = (
        vec(compare(), 0..3),
        vec(operation.clone(), 0..4),
        vec(operation, 0..4),
    );
    let member = (any::<u64>(), any::<String>(), vec(any::<String>(), 0..3));
    let fence =
        (any::<u64>(), any::<u64>()).prop_map(|(term, granted_at)| Fence { term, granted_at });
    let fence = proptest::option::of(fence);
    let mark = (any::<i64>(), any::<u64>(), any::<i64>());
    let mark = mark.prop_map(|(id, granted_at, remaining)| LeaseMark {
        id,
        granted_at,
        remaining,
    });
    let lease = prop_oneof![
        any::<[i64; 2]>().prop_map(|[id, ttl]| Command::LeaseGrant { id, ttl }),
        (any::<i64>(), fence).prop_map(|(id, fence)| Command::LeaseRevoke { id, fence }),
        (any::<u64>(), vec(mark, 0..3))
            .prop_map(|(term, marks)| Command::LeaseCheckpoint { term, marks }),
    ];
    prop_oneof![
        put().prop_map(Command::Put),
        delete().prop_map(Command::DeleteRange),
        txn.prop_map(|(compare, success, failure)| Command::Txn(Txn {
            compare,
            success,
            failure
        })),
        any::<i64>().prop_map(|revision| Command::Compact { revision }),
        (alarm(), any::<bool>()).prop_map(|(alarm, on)| Command::Alarm(AlarmChange { alarm, on })),
        proptest::option::of("[a-z0-9.]{0,9}").prop_map(|version| Command::Downgrade {
            target: version.map(Into::into)
        }),
        any::<(u64, u64)>()
            .prop_map(|(node, incarnation)| Command::ClaimMember { node, incarnation }),
        member.prop_map(|(node, name, client_urls)| {
            Command::PublishMember(MemberAttributes {
                node,
                name,
                client_urls,
            })
        }),
        lease,
    ]
}

fn pair() -> impl Strategy<Value = KeyValue> {
    (bytes(), bytes(), any::<[i64; 4]>()).prop_map(|(key, value, numbers)| KeyValue {
        key,
        create_revision: numbers[0],
        mod_revision: numbers[1],
        version: numbers[2],
        value,
        lease: numbers[3],
    })
}

fn result() -> impl Strategy<Value = OperationResult> {
    let range = (vec(pair(), 0..3), any::<bool>(), any::<i64>())
        .prop_map(|(kvs, more, count)| OperationResult::Range(RangeResult { kvs, more, count }));
    let put = proptest::option::of(pair()).prop_map(|prev_kv| OperationResult::Put { prev_kv });
    let delete = (any::<i64>(), vec(pair(), 0..3))
        .prop_map(|(deleted, prev_kvs)| OperationResult::DeleteRange { deleted, prev_kvs });
    prop_oneof![range, put, delete].prop_recursive(4, 16, 4, |inner| {
        (any::<bool>(), vec((any::<i64>(), inner), 0..4))
            .prop_map(|(succeeded, inner)| OperationResult::Txn(outcome(succeeded, inner)))
    })
}

fn outcome(succeeded: bool, results: Vec<(i64, OperationResult)>) -> TxnOutcome {
    let response = |(revision, result)| OperationOutcome { revision, result };
    TxnOutcome {
        succeeded,
        responses: results.into_iter().map(response).collect(),
    }
}

fn reply() -> impl Strategy<Value = Reply> {
    let accepted = prop_oneof![
        proptest::option::of(pair()).prop_map(|prev_kv| Outcome::Put { prev_kv }),
        (any::<i64>(), vec(pair(), 0..3))
            .prop_map(|(deleted, prev_kvs)| Outcome::DeleteRange { deleted, prev_kvs }),
        (any::<bool>(), vec((any::<i64>(), result()), 0..4))
            .prop_map(|(succeeded, results)| Outcome::Txn(outcome(succeeded, results))),
        Just(Outcome::Compacted),
        Just(Outcome::Published),
        Just(Outcome::LeaseGranted),
        any::<bool>().prop_map(|whole| Outcome::LeaseRevoked { whole }),
        Just(Outcome::LeaseCheckpointed),
        Just(Outcome::DowngradeNoted),
        proptest::option::of(alarm()).prop_map(Outcome::Alarm),
        any::<u64>().prop_map(|bytes| Outcome::TooLong { bytes }),
    ];
    let refused = select(vec![
        Refusal::Compacted,
        Refusal::FutureRevision,
        Refusal::LeaseNotFound,
        Refusal::KeyNotFound,
        Refusal::TooLarge,
        Refusal::LeaseExists,
        Refusal::Fenced,
        Refusal::NoSpace,
        Refusal::Corrupt,
    ]);
    let result = prop_oneof![4 => accepted.prop_map(Ok), 1 => refused.prop_map(Err)];
    (any::<i64>(), result).prop_map(|(revision, result)| Reply { revision, result })
}

fn encode(commands: &[Command]) -> Bytes {
    let mut batch = BatchBuilder::new();
    commands.iter().for_each(|command| batch.push(command));
    batch.finish()
}

#[test]
fn only_the_longest_replies_give_way() {
    let reply = |length: usize| Reply {
        revision: 7,
        result: Ok(Outcome::Put {
            prev_kv: Some(KeyValue {
                value: vec![b'v'; length].into(),
                ..Default::default()
            }),
        }),
    };
    let replies = vec![reply(10), reply(5000), reply(300), reply(3000)];
    let all = encode_replies(&replies).len();
    assert_eq!(
        encode_replies_within(replies.clone(), all),
        encode_replies(&replies)
    );
    for (bytes_max, given_up) in [(all - 1, 1), (3400, 1), (3300, 2), (400, 2), (300, 3)] {
        let bytes = encode_replies_within(replies.clone(), bytes_max);
        assert!(bytes.len() <= bytes_max, "{bytes_max}");
        let decoded = decode_replies(bytes).unwrap();
        let mut gone = 0;
        for (reply, whole) in decoded.iter().zip(&replies) {
            if matches!(reply.result, Ok(Outcome::TooLong { bytes }) if bytes >= 300) {
                gone += 1;
                assert_eq!(reply.revision, whole.revision);
            } else {
                assert_eq!(reply, whole);
            }
        }
        assert_eq!(gone, given_up, "{bytes_max}");
        assert_eq!(decoded[0], replies[0]);
    }
}

proptest! {
    #[test]
    fn batches_come_back(commands in vec(command(), 0..5)) {
        let bytes = encode(&commands);
        prop_assert_eq!(decode_batch(bytes), Ok(commands));
    }

    #[test]
    fn a_builder_knows_its_size_and_starts_anew(
        first in vec(command(), 1..3), second in vec(command(), 0..3),
    ) {
        let mut builder = BatchBuilder::new();
        for commands in [first, second] {
            commands.iter().for_each(|command| builder.push(command));
            prop_assert_eq!(builder.len(), commands.len());
            let bytes = builder.bytes();
            let finished = builder.finish();
            prop_assert!(bytes == finished.len() || commands.is_empty());
            prop_assert!(builder.is_empty());
            prop_assert_eq!(decode_batch(finished), Ok(commands));
        }
    }

    #[test]
    fn replies_come_back(replies in vec(reply(), 0..5)) {
        prop_assert_eq!(decode_replies(encode_replies(&replies)), Ok(replies));
    }

    /// Garbage after a right version byte, and damage to what was sound.
    #[test]
    fn garbage_is_an_error_or_commands_that_come_back(
        mut garbage in vec(any::<u8>(), 0..60), commands in vec(command(), 1..3),
        at in any::<prop::sample::Index>(), with in any::<u8>(),
    ) {
        garbage.insert(0, COMMAND_FORMAT_VERSION);
        let mut damaged = encode(&commands).to_vec();
        let at = at.index(damaged.len());
        damaged[at] = with;
        let cut = damaged[..at].to_vec();
        for bytes in [garbage, damaged, cut] {
            let bytes = Bytes::from(bytes);
            if let Ok(commands) = decode_batch(bytes.clone()) {
                prop_assert_eq!(decode_batch(encode(&commands)), Ok(commands));
            }
            decode_replies(bytes).ok();
        }
    }
}

/// A transaction with as many inside each other in it.
fn nested(depth: usize) -> Command {
    let empty = Txn {
        compare: Vec::new(),
        success: Vec::new(),
        failure: Vec::new(),
    };
    let wrap = |inner| Txn {
        success: vec![Operation::Txn(inner)],
        ..empty.clone()
    };
    Command::Txn((0..depth).fold(empty.clone(), |inner, _| wrap(inner)))
}

#[test]
fn nesting_is_bounded() {
    for depth in [0, 127, NESTING_MAX] {
        let command = nested(depth);
        assert_eq!(
            decode_batch(encode(std::slice::from_ref(&command))),
            Ok(vec![command])
        );
    }
    let too_deep = encode(&[nested(NESTING_MAX + 1)]);
    assert_eq!(decode_batch(too_deep), Err(CodecError::TooDeep));
}

#[test]
fn a_newer_format_is_told_apart() {
    let mut bytes = encode(&[Command::Compact { revision: 5 }]).to_vec();
    bytes[0] = COMMAND_FORMAT_VERSION + 1;
    let newer = CodecError::NewerFormat(COMMAND_FORMAT_VERSION + 1);
    assert_eq!(decode_batch(Bytes::from(bytes.clone())), Err(newer));
    assert_eq!(decode_replies(Bytes::from(bytes)), Err(newer));
    assert_eq!(decode_batch(Bytes::new()), Err(CodecError::Malformed));
}

/// The bytes in logs that exist: this test changes only together with the version.
#[test]
fn the_format_is_what_it_was() {
    let put = Put {
        key: Bytes::from_static(b"a"),
        value: Bytes::from_static(b"1"),
        lease: 0,
        prev_kv: true,
        ignore_value: false,
        ignore_lease: false,
    };
    let expected = [1, 7, 0, 0, 0, 1, 1, b'a', 1, b'1', 0, 1];
    assert_eq!(encode(&[Command::Put(put)]).as_ref(), expected);
    let grant = Command::LeaseGrant { id: 7, ttl: 60 };
    assert_eq!(encode(&[grant]).as_ref(), [1, 3, 0, 0, 0, 7, 14, 120]);
    let revoke = Command::LeaseRevoke {
        id: 7,
        fence: Some(Fence {
            term: 2,
            granted_at: 5,
        }),
    };
    assert_eq!(encode(&[revoke]).as_ref(), [1, 5, 0, 0, 0, 8, 14, 1, 2, 5]);
    let checkpoint = Command::LeaseCheckpoint {
        term: 2,
        marks: vec![LeaseMark {
            id: 7,
            granted_at: 5,
            remaining: 30,
        }],
    };
    let expected = [1, 6, 0, 0, 0, 9, 2, 1, 14, 5, 60];
    assert_eq!(encode(&[checkpoint]).as_ref(), expected);
}

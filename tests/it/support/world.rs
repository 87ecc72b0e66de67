//! Random commands and queries over few keys, so that they meet.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use quorate::state_machine::command::{
    Command, Compare, CompareTarget, DeleteRange, Fence, LeaseMark, Operation, Put, Relation, Txn,
};
use quorate::types::{KeyRange, RangeEnd, RangeQuery, SortOrder, SortTarget};

/// Keys that are prefixes of each other, with zero bytes and 0xff bytes.
const KEYS: [&[u8]; 10] = [
    b"a", b"a\0", b"a\0\0", b"a\0\xff", b"aa", b"ab", b"b", b"b\xff", b"\xff", b"\0",
];

pub(crate) fn key() -> impl Strategy<Value = Bytes> {
    (0..KEYS.len()).prop_map(|n| Bytes::from_static(KEYS[n]))
}

pub(crate) fn key_range() -> impl Strategy<Value = KeyRange> {
    let end = prop_oneof![
        4 => Just(RangeEnd::Single),
        4 => key().prop_map(RangeEnd::Before),
        2 => Just(RangeEnd::Unbounded),
    ];
    (key(), end).prop_map(|(start, end)| KeyRange { start, end })
}

fn value() -> impl Strategy<Value = Bytes> {
    vec(0u8..3, 0..3).prop_map(Bytes::from)
}

/// Revisions about those that a short run reaches.
fn revision() -> impl Strategy<Value = i64> {
    -1i64..40
}

pub(crate) fn query() -> impl Strategy<Value = RangeQuery> {
    let order =
        (0usize..3).prop_map(|n| [SortOrder::None, SortOrder::Ascend, SortOrder::Descend][n]);
    let target = (0usize..5).prop_map(|n| {
        [
            SortTarget::Key,
            SortTarget::Version,
            SortTarget::Create,
            SortTarget::Mod,
            SortTarget::Value,
        ][n]
    });
    let filter = || prop_oneof![6 => Just(0), 1 => revision()];
    let revision = prop_oneof![Just(0), revision()];
    let flags = (any::<bool>(), proptest::bool::weighted(0.2));
    let filters = (filter(), filter(), filter(), filter());
    (
        key_range(),
        -1i64..6,
        revision,
        order,
        target,
        flags,
        filters,
    )
        .prop_map(
            |(range, limit, revision, sort_order, sort_target, flags, filters)| RangeQuery {
                range,
                limit,
                revision,
                sort_order,
                sort_target,
                keys_only: flags.0,
                count_only: flags.1,
                min_mod_revision: filters.0,
                max_mod_revision: filters.1,
                min_create_revision: filters.2,
                max_create_revision: filters.3,
            },
        )
}

fn put() -> impl Strategy<Value = Put> {
    let rare = || proptest::bool::weighted(0.1);
    // One of them is never granted.
    let lease = prop_oneof![4 => Just(0), 3 => 1i64..LEASES, 1 => Just(LEASES)];
    (key(), value(), lease, any::<bool>(), rare(), rare()).prop_map(
        |(key, value, lease, prev_kv, ignore_value, ignore_lease)| Put {
            key,
            // The door refuses these combinations.
            value: if ignore_value { Bytes::new() } else { value },
            lease: if ignore_lease { 0 } else { lease },
            prev_kv,
            ignore_value,
            ignore_lease,
        },
    )
}

fn delete() -> impl Strategy<Value = DeleteRange> {
    (key_range(), any::<bool>()).prop_map(|(range, prev_kv)| DeleteRange { range, prev_kv })
}

fn compare() -> impl Strategy<Value = Compare> {
    let relation = (0usize..4).prop_map(|n| {
        [
            Relation::Equal,
            Relation::Greater,
            Relation::Less,
            Relation::NotEqual,
        ][n]
    });
    let target = prop_oneof![
        (0i64..4).prop_map(CompareTarget::Version),
        revision().prop_map(CompareTarget::Create),
        revision().prop_map(CompareTarget::Mod),
        (-1i64..LEASES).prop_map(CompareTarget::Lease),
        value().prop_map(CompareTarget::Value),
    ];
    (key_range(), relation, target).prop_map(|(range, relation, target)| Compare {
        range,
        relation,
        target,
    })
}

pub(crate) fn txn() -> impl Strategy<Value = Txn> {
    let leaf = prop_oneof![
        2 => query().prop_map(Operation::Range),
        4 => put().prop_map(Operation::Put),
        2 => delete().prop_map(Operation::DeleteRange),
    ];
    let operation = leaf.prop_recursive(3, 20, 4, |inner| {
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
    (
        vec(compare(), 0..3),
        vec(operation.clone(), 0..5),
        vec(operation, 0..5),
    )
        .prop_map(|(compare, success, failure)| Txn {
            compare,
            success,
            failure,
        })
}

/// Ids below this one.
const LEASES: i64 = 4;

/// Terms and grants about those that a short run has.
fn lease() -> impl Strategy<Value = Command> {
    let (term, granted_at) = (1u64..3, 1u64..12);
    let fence = (term.clone(), granted_at.clone())
        .prop_map(|(term, granted_at)| Fence { term, granted_at });
    let mark =
        (1..LEASES, granted_at, -1i64..70).prop_map(|(id, granted_at, remaining)| LeaseMark {
            id,
            granted_at,
            remaining,
        });
    prop_oneof![
        4 => (0..LEASES, 0i64..60).prop_map(|(id, ttl)| Command::LeaseGrant { id, ttl }),
        2 => (1..LEASES, proptest::option::of(fence))
            .prop_map(|(id, fence)| Command::LeaseRevoke { id, fence }),
        1 => (term, vec(mark, 0..4))
            .prop_map(|(term, marks)| Command::LeaseCheckpoint { term, marks }),
    ]
}

pub(crate) fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        3 => lease(),
        6 => put().prop_map(Command::Put),
        2 => delete().prop_map(Command::DeleteRange),
        4 => txn().prop_map(Command::Txn),
        1 => (-1i64..40).prop_map(|revision| Command::Compact { revision }),
    ]
}

/// What happens to a store besides commands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Upkeep {
    Nothing,
    Flush,
    RemoveCompacted,
    /// The process is killed: what was not flushed is lost and comes again from the log.
    Crash,
    Reopen,
}

pub(crate) fn upkeep() -> impl Strategy<Value = Upkeep> {
    prop_oneof![
        8 => Just(Upkeep::Nothing),
        2 => Just(Upkeep::Flush),
        3 => Just(Upkeep::RemoveCompacted),
        2 => Just(Upkeep::Crash),
        1 => Just(Upkeep::Reopen),
    ]
}

//! Transactions around the limit of 128 operations, spent in every way there is.
//!
//! A path through a transaction has a budget: each level takes the longest of its three lists from
//! it. So the same 129 may be one list too long, or comparisons outside and operations inside, or
//! one operation at each of many levels.

use bytes::Bytes;
use quorate::proto::etcdserverpb::compare::TargetUnion;
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use rand::Rng;
use rand::rngs::StdRng;

/// How much the longest path costs.
const COSTS: std::ops::RangeInclusive<usize> = 126..=130;
/// More, and the answer is nested deeper than the client decodes; the hostile story goes there.
const LEVELS_MAX: usize = 40;

/// A transaction whose longest path costs 126 to 130.
pub(super) fn txn(random: &mut StdRng) -> TxnRequest {
    let cost = random.random_range(COSTS);
    let levels = match random.random_range(0..4) {
        0 => 1,
        1 => 2,
        2 => random.random_range(3..8),
        _ => random.random_range(8..=LEVELS_MAX),
    };
    let mut parts = vec![1; levels];
    // Some of the rest at one level, or spread.
    let mut left = cost - levels;
    while left > 0 {
        let share = random.random_range(1..=left);
        let at = random.random_range(0..levels);
        if let Some(part) = parts.get_mut(at) {
            *part += share;
        }
        left -= share;
    }
    let mut keys = 0;
    let inside = parts.split_off(1);
    let outermost = parts.first().copied().unwrap_or_default();
    let mut below = None;
    for part in inside {
        below = Some(level(random, part, below, &mut keys));
    }
    level(random, outermost, below, &mut keys)
}

/// One level that costs `cost`, with what is below it somewhere in either branch.
fn level(
    random: &mut StdRng,
    cost: usize,
    below: Option<TxnRequest>,
    keys: &mut usize,
) -> TxnRequest {
    let mut lengths = [0; 3];
    for length in &mut lengths {
        *length = random.random_range(0..=cost.min(5));
    }
    let longest = random.random_range(0..3);
    if let Some(length) = lengths.get_mut(longest) {
        *length = cost;
    }
    let [compares, success, failure] = lengths;
    let mut txn = TxnRequest {
        compare: (0..compares).map(|_| compare(random)).collect(),
        success: (0..success).map(|_| operation(random, keys)).collect(),
        failure: (0..failure).map(|_| operation(random, keys)).collect(),
    };
    if let Some(below) = below {
        let branch = if random.random_range(0..2) == 0 {
            &mut txn.success
        } else {
            &mut txn.failure
        };
        // In the place of another, or alone: the cost is at least one.
        if branch.is_empty() {
            branch.push(RequestOp::default());
        }
        let at = random.random_range(0..branch.len());
        if let Some(operation) = branch.get_mut(at) {
            operation.request = Some(Request::RequestTxn(below));
        }
    }
    txn
}

/// Mostly true, so that long lists of them are not all the same.
fn compare(random: &mut StdRng) -> Compare {
    let key = Bytes::from(format!("w{:03}", random.random_range(0..300)));
    Compare {
        // Not equal to what no version is; sometimes equal to it.
        result: if random.random_range(0..200) == 0 {
            0
        } else {
            3
        },
        target: 0,
        key,
        range_end: Bytes::new(),
        target_union: Some(TargetUnion::Version(-1)),
    }
}

/// Puts and deletes of keys of their own, seldom the same twice: that would be refused.
fn operation(random: &mut StdRng, keys: &mut usize) -> RequestOp {
    *keys += usize::from(random.random_range(0..2_000) != 0);
    let key = Bytes::from(format!("w{:03}", *keys));
    let request = match random.random_range(0..10) {
        0..4 => Request::RequestPut(PutRequest {
            key,
            value: format!("b{}", random.random_range(0..8)).into(),
            prev_kv: random.random_range(0..4) == 0,
            ..Default::default()
        }),
        4..6 => Request::RequestDeleteRange(DeleteRangeRequest {
            key,
            prev_kv: random.random_range(0..4) == 0,
            ..Default::default()
        }),
        _ => Request::RequestRange(RangeRequest {
            key,
            serializable: random.random_range(0..2) == 0,
            ..Default::default()
        }),
    };
    RequestOp {
        request: Some(request),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn cost(txn: &TxnRequest) -> usize {
        let lists = [txn.compare.len(), txn.success.len(), txn.failure.len()];
        let operations = txn.success.iter().chain(&txn.failure);
        let below = operations.map(|operation| match &operation.request {
            Some(Request::RequestTxn(txn)) => cost(txn),
            _ => 0,
        });
        lists.into_iter().max().unwrap_or(0) + below.max().unwrap_or(0)
    }

    #[test]
    fn the_longest_path_costs_what_it_should() {
        let mut random = StdRng::seed_from_u64(1);
        let costs: std::collections::BTreeSet<usize> =
            (0..200).map(|_| cost(&txn(&mut random))).collect();
        assert_eq!(costs, COSTS.collect());
    }
}

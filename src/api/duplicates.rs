//! The rule against two changes of one key in a transaction, with all its gaps.
//!
//! Per list of operations etcd first collects the deletes of this level; then takes the nested
//! transactions in order, testing their puts against the deletes and puts known so far and only
//! then adding their deletes; at last it tests this level's own puts against everything. Hence
//! put-then-delete in two sibling transactions passes, delete-then-put does not. A delete "from
//! this key on" (`range_end` one zero byte) is an inverted interval to etcd's check and covers
//! nothing, so it passes too; apply must survive several changes of one key in one revision.

use super::validate::Invalid;
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::{DeleteRangeRequest, RequestOp};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(operations: &[RequestOp]) -> Result<(), Invalid> {
    changes(operations).map(drop)
}

/// What one list of operations may change.
#[derive(Default)]
struct Changes<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Intervals<'a>,
}

impl<'a> Changes<'a> {
    /// A put that nothing else may touch.
    fn put(&mut self, key: &'a [u8]) -> Result<(), Invalid> {
        if self.deletes.contains(key) || !self.puts.insert(key) {
            return Err(Invalid::DuplicateKey);
        }
        Ok(())
    }

    /// The puts of a nested transaction, none of which anything here may touch. What is compared
    /// or moved is always the smaller side, so that a key costs a logarithm in all however deep it
    /// is nested.
    fn put_all(&mut self, puts: BTreeSet<&'a [u8]>) -> Result<(), Invalid> {
        let (small, large) = if puts.len() < self.puts.len() {
            (&puts, &self.puts)
        } else {
            (&self.puts, &puts)
        };
        if small.iter().any(|key| large.contains(key)) || self.deletes.touch(&puts) {
            return Err(Invalid::DuplicateKey);
        }
        unite(&mut self.puts, puts);
        Ok(())
    }
}

/// The larger of the two takes in the smaller.
fn unite<'a>(all: &mut BTreeSet<&'a [u8]>, mut other: BTreeSet<&'a [u8]>) {
    if other.len() > all.len() {
        std::mem::swap(all, &mut other);
    }
    all.extend(other);
}

/// Recurses as deep as the transaction is nested, which decoding has bounded.
fn changes(operations: &[RequestOp]) -> Result<Changes<'_>, Invalid> {
    let mut all = Changes::default();
    for operation in operations {
        if let Some(Request::RequestDeleteRange(delete)) = &operation.request {
            all.deletes.insert(Interval::of(delete));
        }
    }
    for operation in operations {
        let Some(Request::RequestTxn(nested)) = &operation.request else {
            continue;
        };
        let success = changes(&nested.success)?;
        let failure = changes(&nested.failure)?;
        // Only one of the two branches runs: the same key in both is one put.
        let mut puts = success.puts;
        unite(&mut puts, failure.puts);
        all.put_all(puts)?;
        all.deletes.absorb(success.deletes);
        all.deletes.absorb(failure.deletes);
    }
    for operation in operations {
        if let Some(Request::RequestPut(put)) = &operation.request {
            all.put(&put.key)?;
        }
    }
    Ok(all)
}

/// Keys from `start` up to `end`, exclusive. The end after a single key is the key itself with a
/// zero byte behind it.
#[derive(Clone, Copy)]
struct Interval<'a> {
    start: &'a [u8],
    end: End<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End<'a> {
    Before(&'a [u8]),
    /// Just behind this key.
    After(&'a [u8]),
}

impl End<'_> {
    fn is_behind(&self, key: &[u8]) -> bool {
        match self {
            End::Before(end) => key < *end,
            End::After(last) => key <= *last,
        }
    }
}

impl PartialOrd for End<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for End<'_> {
    /// By the bytes that the end stands for.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        fn bytes<'b>(end: &'b End<'_>) -> impl Iterator<Item = &'b u8> {
            match end {
                End::Before(key) => key.iter().chain([].iter()),
                End::After(key) => key.iter().chain([0].iter()),
            }
        }
        bytes(self).cmp(bytes(other))
    }
}

impl<'a> Interval<'a> {
    fn of(delete: &'a DeleteRangeRequest) -> Self {
        let end = if delete.range_end.is_empty() {
            End::After(&delete.key)
        } else {
            End::Before(&delete.range_end)
        };
        Self {
            start: &delete.key,
            end,
        }
    }
}

/// A union of intervals, kept disjoint: start to end. Looking up a key looks at one of them.
#[derive(Default)]
struct Intervals<'a> {
    by_start: BTreeMap<&'a [u8], End<'a>>,
}

impl<'a> Intervals<'a> {
    fn contains(&self, key: &[u8]) -> bool {
        self.by_start
            .range(..=key)
            .next_back()
            .is_some_and(|(_, end)| end.is_behind(key))
    }

    /// Whether one of the keys is in one of the intervals; looks at the fewer of the two.
    fn touch(&self, keys: &BTreeSet<&[u8]>) -> bool {
        if keys.len() < self.by_start.len() {
            return keys.iter().any(|key| self.contains(key));
        }
        self.by_start.iter().any(|(start, end)| {
            let first = keys.range(*start..).next();
            first.is_some_and(|key| end.is_behind(key))
        })
    }

    fn insert(&mut self, interval: Interval<'a>) {
        let Interval { mut start, mut end } = interval;
        if !end.is_behind(start) {
            return;
        }
        if let Some((&earlier, &its_end)) = self.by_start.range(..=start).next_back()
            && its_end.is_behind(start)
        {
            start = earlier;
            end = end.max(its_end);
        }
        // Swallow those that start inside; each was inserted once and is removed once.
        while let Some((&later, &its_end)) = self.by_start.range(start..).next()
            && end.is_behind(later)
        {
            self.by_start.remove(later);
            end = end.max(its_end);
        }
        self.by_start.insert(start, end);
    }

    /// The larger of the two takes in the smaller.
    fn absorb(&mut self, mut other: Self) {
        if other.by_start.len() > self.by_start.len() {
            std::mem::swap(self, &mut other);
        }
        for (start, end) in other.by_start {
            self.insert(Interval { start, end });
        }
    }
}

#[cfg(test)]
mod tests;

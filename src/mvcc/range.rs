//! etcd's Range: order of operations, limit, sort, filters and their quirks
//! (etcd `server/etcdserver/txn/range.go`).
//!
//! 1. All live keys of the range at the revision are counted: `count` ignores limit and filters.
//! 2. The filters drop keys; what is left is sorted, then cut at the limit; `more` says whether
//!    something was cut.
//!
//! Only a sort needs all the keys in memory; otherwise the walk stops when one more than the limit
//! is found, and the count comes from the index. One quirk is kept: with no sort order but a target
//! other than the key, etcd sorts the first limit + 1 keys *by key*, not all of them.

use super::counting::Counting;
use super::row::Meta;
use super::state_cursor::{At, StateCursor};
use super::{Error, Head, Refusal};
use crate::storage::Scan;
use crate::types::{KeyValue, RangeEnd, RangeQuery, RangeResult, Revision, SortOrder, SortTarget};
use bytes::{BufMut, Bytes, BytesMut};

/// Whether `revision` (zero or less: the latest) can be read where `head` is the newest.
pub fn check_revision(head: &Head, revision: Revision) -> Result<(), Refusal> {
    if revision <= 0 {
        return Ok(());
    }
    if revision > head.revision {
        return Err(Refusal::FutureRevision);
    }
    if revision < head.compacted {
        return Err(Refusal::Compacted);
    }
    Ok(())
}

/// As [`check_revision`] inside a transaction, where etcd compares a negative revision too instead
/// of taking it for the latest: it counts as compacted once it lies below the compacted revision,
/// which is -1 until the first compaction (etcd `apply.go`, `checkRange`).
pub fn check_revision_in_txn(head: &Head, revision: Revision) -> Result<(), Refusal> {
    if revision < 0 && revision < head.compacted {
        return Err(Refusal::Compacted);
    }
    check_revision(head, revision)
}

/// Rows that a list may hold in one piece of memory.
const ARENA_BYTES: usize = 64 << 10;

/// Copies keys and values out of the engine, many into one allocation.
#[derive(Default)]
struct Arena {
    space: BytesMut,
    many: bool,
}

impl Arena {
    fn copy(&mut self, key: &[u8], value: &[u8]) -> (Bytes, Bytes) {
        let need = key.len() + value.len();
        if self.space.capacity() < need {
            let size = if self.many && need < ARENA_BYTES / 4 {
                ARENA_BYTES
            } else {
                need
            };
            self.space = BytesMut::with_capacity(size);
            self.many = true;
        }
        self.space.put_slice(key);
        self.space.put_slice(value);
        let mut key_value = self.space.split().freeze();
        let value = key_value.split_off(key.len());
        (key_value, value)
    }
}

/// Which keys the caller wants to see.
struct Filters {
    modified: (Revision, Revision),
    create: (Revision, Revision),
    /// Whether none was given. One that lets everything pass is one all the same.
    is_off: bool,
}

impl Filters {
    fn new(query: &RangeQuery) -> Self {
        let or_max = |max: Revision| if max == 0 { Revision::MAX } else { max };
        let or_min = |min: Revision| if min == 0 { Revision::MIN } else { min };
        Self {
            modified: (
                or_min(query.min_mod_revision),
                or_max(query.max_mod_revision),
            ),
            create: (
                or_min(query.min_create_revision),
                or_max(query.max_create_revision),
            ),
            is_off: [
                query.min_mod_revision,
                query.max_mod_revision,
                query.min_create_revision,
                query.max_create_revision,
            ] == [0; 4],
        }
    }

    fn pass(&self, meta: &Meta) -> bool {
        let within = |(min, max): (Revision, Revision), it| min <= it && it <= max;
        within(self.modified, meta.modified) && within(self.create, meta.create)
    }
}

/// Answers `query`, whose revision was checked. `counting` has the state.
pub fn range(counting: &Counting<'_>, query: &RangeQuery) -> Result<RangeResult, Error> {
    let at = match query.revision {
        revision if revision <= 0 || revision == counting.revision => At::Latest,
        revision => At::Revision(revision),
    };
    if query.count_only {
        let count = counting.count(&query.range, at)?;
        return Ok(RangeResult {
            kvs: Vec::new(),
            more: false,
            count,
        });
    }
    let filters = Filters::new(query);
    if at == At::Latest && matches!(query.range.end, RangeEnd::Single) {
        return single(counting, query, &filters);
    }
    let limit = usize::try_from(query.limit).unwrap_or(0);
    let by_key = query.sort_target == SortTarget::Key;
    let needs_all = match query.sort_order {
        SortOrder::Ascend => !by_key,
        SortOrder::Descend => true,
        // The quirk: cut by key first, but only if no filter is given.
        SortOrder::None => !by_key && !filters.is_off,
    };
    let wanted = if limit == 0 || needs_all {
        usize::MAX
    } else {
        limit.saturating_add(1)
    };

    let scan = if matches!(query.range.end, RangeEnd::Single) {
        Scan::Short
    } else {
        Scan::List
    };
    let mut cursor = StateCursor::new(counting.source, &query.range, at, scan)?;
    let with_value = !query.keys_only || query.sort_target == SortTarget::Value;
    let mut arena = Arena::default();
    let mut kvs = Vec::new();
    let mut seen = 0i64;
    let mut saw_all = false;
    while kvs.len() < wanted {
        let Some(found) = cursor.next_live()? else {
            saw_all = true;
            break;
        };
        seen += 1;
        if !filters.pass(&found.meta) {
            continue;
        }
        let (key, value) = match with_value {
            true => counting
                .source
                .with_value(&found, |value| arena.copy(found.key, value))?,
            false => arena.copy(found.key, &[]),
        };
        kvs.push(found.meta.key_value(key, value));
    }
    drop(cursor);
    let count = if saw_all {
        seen
    } else {
        counting.count(&query.range, at)?
    };

    sort(&mut kvs, query.sort_order, query.sort_target);
    let more = limit > 0 && kvs.len() > limit;
    if more {
        kvs.truncate(limit);
    }
    if query.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    Ok(RangeResult { kvs, more, count })
}

/// One key, which is most requests: no cursor.
fn single(
    counting: &Counting<'_>,
    query: &RangeQuery,
    filters: &Filters,
) -> Result<RangeResult, Error> {
    let Some((meta, value)) = counting.source.get(&query.range.start)? else {
        return Ok(RangeResult::default());
    };
    let key = query.range.start.clone();
    let value = if query.keys_only { Bytes::new() } else { value };
    let kvs = if filters.pass(&meta) {
        vec![meta.key_value(key, value)]
    } else {
        Vec::new()
    };
    Ok(RangeResult {
        kvs,
        more: false,
        count: 1,
    })
}

/// Stable; ties stay in key order whichever way the rest goes.
fn sort(kvs: &mut [KeyValue], order: SortOrder, target: SortTarget) {
    if order != SortOrder::Descend && target == SortTarget::Key {
        return;
    }
    kvs.sort_by(|a, b| {
        let ascending = match target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        };
        if order == SortOrder::Descend {
            ascending.reverse()
        } else {
            ascending
        }
    });
}

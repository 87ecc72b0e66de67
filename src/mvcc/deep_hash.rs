//! What members compare when every row is to be looked at, and not only what each remembers of the
//! changes it made ([`super::digest`]).
//!
//! etcd's hash alone would not do: behind the compacted revision it is one of `events`, and reads
//! are answered from `current` and `history`. So the pairs that are live at the revision are hashed
//! too, as a read finds them.

use super::hash_kv::{Abandoned, Pause, hash_kv};
use super::read_view::ReadView;
use super::state_cursor::{At, StateCursor};
use super::{Error, Refusal};
use crate::storage::Scan;
use crate::storage::varint::{put_bytes, put_i64};
use crate::types::{KeyRange, RangeEnd, Revision};
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What goes into the hash. Raised when that changes: hashes of two formats are not compared.
pub const DEEP_HASH_FORMAT: u32 = 1;

/// Comparable between members that hashed the same revision with the same one compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeepHash {
    pub hash: u64,
    pub revision: Revision,
    /// -1 before the first compaction.
    pub compacted: Revision,
}

/// Hashes the store at `revision` (0: the latest). `None` if it was abandoned.
///
/// # Errors
/// The refusals: compacted, or of the future.
pub fn deep_hash(
    view: &ReadView<'_>,
    revision: Revision,
    abandoned: &Abandoned,
) -> Result<Option<Result<DeepHash, Refusal>>, Error> {
    let kv = match hash_kv(view, revision, abandoned)? {
        None => return Ok(None),
        Some(Err(refusal)) => return Ok(Some(Err(refusal))),
        Some(Ok(kv)) => kv,
    };
    let live = live_hash(view, kv.revision, abandoned)?;
    Ok(live.map(|live| {
        Ok(DeepHash {
            hash: xxh3_64_with_seed(&live.to_be_bytes(), kv.hash.into()),
            revision: kv.revision,
            compacted: kv.compacted,
        })
    }))
}

/// Of every pair that is live at a revision, in the order of keys. `None`: abandoned.
fn live_hash(
    view: &ReadView<'_>,
    revision: Revision,
    abandoned: &Abandoned,
) -> Result<Option<u64>, Error> {
    let everything = KeyRange {
        start: Bytes::new(),
        end: RangeEnd::Unbounded,
    };
    let when = if revision == view.revision() {
        At::Latest
    } else {
        At::Revision(revision)
    };
    let source = view.source();
    let mut pause = Pause::new(abandoned);
    let (mut hash, mut row) = (0, Vec::new());
    let mut cursor = StateCursor::new(source, &everything, when, Scan::Bulk)?;
    while let Some(found) = cursor.next_live()? {
        if !pause.goes_on() {
            return Ok(None);
        }
        let meta = found.meta;
        row.clear();
        put_bytes(&mut row, found.key);
        for number in [meta.create, meta.modified, meta.version, meta.lease] {
            put_i64(&mut row, number);
        }
        source.with_value(&found, |value| put_bytes(&mut row, value))?;
        hash = xxh3_64_with_seed(&row, hash);
    }
    Ok(Some(hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mvcc::{StoreOptions, Writer};
    use crate::storage::{EngineOptions, Family};
    use crate::types::Position;

    fn options() -> StoreOptions {
        StoreOptions {
            engine: EngineOptions::small(),
            ..StoreOptions::default()
        }
    }

    fn put(writer: &mut Writer, index: u64, key: &'static str, value: &'static str) {
        let mut txn = writer.begin();
        txn.begin_entry(Position { term: 1, index }).unwrap();
        txn.put(key.into(), value.into(), 0, false).unwrap();
        txn.finish_command();
        txn.commit().unwrap();
    }

    fn hash(writer: &Writer, revision: Revision) -> DeepHash {
        let view = writer.store().view().unwrap();
        let hash = deep_hash(&view, revision, &Abandoned::default()).unwrap();
        hash.unwrap().unwrap()
    }

    #[test]
    fn later_writes_leave_an_old_revision_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path(), &options()).unwrap();
        put(&mut writer, 1, "a", "1");
        put(&mut writer, 2, "b", "1");
        let before = hash(&writer, 0);
        put(&mut writer, 3, "a", "2");
        assert_eq!(hash(&writer, before.revision), before);
        assert_ne!(hash(&writer, 0).hash, before.hash);
    }

    #[test]
    fn a_value_that_reads_would_find_changed_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path(), &options()).unwrap();
        put(&mut writer, 1, "a", "1");
        let (before, kv) = (hash(&writer, 0), kv_hash(&writer));
        let engine = &writer.store().engine;
        let view = engine.latest();
        let mut row = view.get(Family::Current, b"a").unwrap().unwrap().to_vec();
        drop(view);
        *row.last_mut().unwrap() ^= 1;
        let mut batch = engine.batch();
        batch.put(Family::Current, b"a", &row);
        engine.write(batch).unwrap();
        engine.flush().unwrap();
        drop(writer);
        let writer = Writer::open(dir.path(), &options()).unwrap();
        assert_eq!(kv_hash(&writer), kv, "etcd's hash is of the events");
        assert_ne!(hash(&writer, 0).hash, before.hash);
    }

    fn kv_hash(writer: &Writer) -> u32 {
        let view = writer.store().view().unwrap();
        let hash = hash_kv(&view, 0, &Abandoned::default()).unwrap();
        hash.unwrap().unwrap().hash
    }
}

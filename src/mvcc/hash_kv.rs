//! etcd's `HashKV`, bit for bit: what lets an operator compare a Quorate with the etcd that it
//! replaced.
//!
//! etcd keeps every change as a record under its revision, and hashes the records in that order:
//! CRC-32C over the bucket's name, `key`, then for each record its key (main revision, `_`, sub
//! revision; `t` behind it for a deletion) and the marshaled `mvccpb.KeyValue` (of a deletion: with
//! the key alone). Which records:
//!
//! ```text
//! at or before the compacted revision    the versions that are live at the hashed revision
//! after it, up to the hashed revision    every change
//! ```
//!
//! With one exception, which etcd has too: if no key is live at the hashed revision, all versions
//! that the compaction kept count, those that were live at the compacted revision.
//!
//! The second part is a scan of `events`. The first comes in the order of keys and has to be put
//! into the order of revisions, however many there are. What is sorted is not the records but the
//! checksum and length of each ([`super::crc_join`]): 24 bytes, a million at a time in a bounded
//! buffer; a store that keeps more old versions is scanned once for every million of them.

use super::crc_join::join;
use super::read_view::ReadView;
use super::row::{Change, read_event};
use super::state_cursor::{At, StateCursor};
use super::{Error, Refusal};
use crate::storage::varint::{put_bytes, put_u64};
use crate::storage::{Bounds, Family, Scan, keys};
use crate::types::{KeyRange, RangeEnd, Revision};
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The name of etcd's bucket.
const BUCKET: &[u8] = b"key";
/// Records hashed in one pass at least, and half of what is held: 48 MiB at most.
const PASS_RECORDS: usize = 1 << 20;
/// Rows between two looks at whether anybody still waits.
const ROWS_A_LOOK: u32 = 1024;

/// An answer to `HashKV`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvHash {
    pub hash: u32,
    /// What was hashed: the revision asked for, or the latest for 0.
    pub revision: Revision,
    /// The store's latest, in the same view.
    pub latest: Revision,
    /// -1 before the first compaction.
    pub compacted: Revision,
}

/// Set when nobody waits for a hash any more: it is given up at the next look.
#[derive(Debug, Default)]
pub struct Abandoned(AtomicBool);

impl Abandoned {
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Held by whoever waits for a hash. Dropping it abandons the hash.
#[derive(Debug, Default)]
pub struct Waiting(Arc<Abandoned>);

impl Waiting {
    /// For whoever hashes.
    pub fn abandoned(&self) -> Arc<Abandoned> {
        Arc::clone(&self.0)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Hashes the store at `revision` (0: the latest). `None` if it was abandoned.
///
/// # Errors
/// The refusals are etcd's: compacted, or of the future.
pub fn hash_kv(
    view: &ReadView<'_>,
    revision: Revision,
    abandoned: &Abandoned,
) -> Result<Option<Result<KvHash, Refusal>>, Error> {
    hash_in_passes(view, revision, abandoned, PASS_RECORDS)
}

fn hash_in_passes(
    view: &ReadView<'_>,
    revision: Revision,
    abandoned: &Abandoned,
    pass_records: usize,
) -> Result<Option<Result<KvHash, Refusal>>, Error> {
    let (latest, compacted) = (view.revision(), view.compacted());
    if revision > 0 && revision < compacted {
        return Ok(Some(Err(Refusal::Compacted)));
    }
    if revision > latest {
        return Ok(Some(Err(Refusal::FutureRevision)));
    }
    let hashed = if revision == 0 { latest } else { revision };
    let mut hashing = Hashing {
        view,
        compacted,
        pass_records,
        pause: Pause::new(abandoned),
        crc: crc_fast::crc32_iscsi(BUCKET),
    };
    // No record has a revision below 1.
    let finished = hashed < 1 || hashing.run(hashed)?;
    let hash = KvHash {
        hash: hashing.crc,
        revision: hashed,
        latest,
        compacted,
    };
    Ok(finished.then_some(Ok(hash)))
}

/// Looks up from the rows now and then.
pub(super) struct Pause<'a> {
    abandoned: &'a Abandoned,
    rows: u32,
}

impl<'a> Pause<'a> {
    pub(super) fn new(abandoned: &'a Abandoned) -> Self {
        Self { abandoned, rows: 0 }
    }

    /// Counts a row. False: give up.
    pub(super) fn goes_on(&mut self) -> bool {
        self.rows = (self.rows + 1) % ROWS_A_LOOK;
        self.rows != 0 || !self.abandoned.is_set()
    }
}

/// Where a record stands in etcd's order.
type Place = (Revision, u32);

#[derive(Clone, Copy)]
struct Record {
    place: Place,
    crc: u32,
    bytes: u32,
}

struct Hashing<'v, 'a> {
    view: &'v ReadView<'a>,
    compacted: Revision,
    pass_records: usize,
    pause: Pause<'v>,
    crc: u32,
}

impl Hashing<'_, '_> {
    /// False: abandoned.
    fn run(&mut self, hashed: Revision) -> Result<bool, Error> {
        if self.compacted > 0 {
            let Some(any_live) = self.kept_versions(hashed)? else {
                return Ok(false);
            };
            let compacted = self.compacted;
            if !any_live && hashed > compacted && self.kept_versions(compacted)?.is_none() {
                return Ok(false);
            }
        }
        self.changes(hashed)
    }

    /// Adds the versions from at or before the compacted revision that are live at `at`. Tells
    /// whether any key is live there; `None` if abandoned.
    fn kept_versions(&mut self, at: Revision) -> Result<Option<bool>, Error> {
        let everything = KeyRange {
            start: Bytes::new(),
            end: RangeEnd::Unbounded,
        };
        let when = if at == self.view.revision() {
            At::Latest
        } else {
            At::Revision(at)
        };
        let view = self.view;
        let source = view.source();
        let mut row = Vec::new();
        let mut after: Option<Place> = None;
        let mut any_live = false;
        loop {
            let mut smallest = Smallest::new(self.pass_records);
            let mut cursor = StateCursor::new(source, &everything, when, Scan::Bulk)?;
            while let Some(found) = cursor.next_live()? {
                any_live = true;
                if !self.pause.goes_on() {
                    return Ok(None);
                }
                let meta = found.meta;
                let place = (meta.modified, meta.sub);
                let is_due = after.is_none_or(|after| after < place);
                if meta.modified > self.compacted || !is_due || !smallest.wants(place) {
                    continue;
                }
                row.clear();
                put_record_key(&mut row, place, false);
                source.with_value(&found, |value| {
                    put_pair(&mut row, found.key, &meta.into(), value);
                })?;
                smallest.push(Record {
                    place,
                    crc: crc_fast::crc32_iscsi(&row),
                    bytes: u32::try_from(row.len()).map_err(|_| Error::Corrupt {
                        what: "a value of 4 GiB",
                    })?,
                });
            }
            for record in smallest.sorted() {
                self.crc = join(self.crc, record.crc, record.bytes.into());
                after = Some(record.place);
            }
            if smallest.is_all() {
                return Ok(Some(any_live));
            }
        }
    }

    /// Adds every change after the compacted revision, up to `last`. False: abandoned.
    fn changes(&mut self, last: Revision) -> Result<bool, Error> {
        let bounds = Bounds {
            lower: keys::event(self.compacted + 1, 0).to_vec(),
            upper: Some(keys::event(last.saturating_add(1), 0).to_vec()),
        };
        let view = self.view;
        let mut events = view.rows().cursor(Family::Events, bounds, Scan::Bulk)?;
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        let (mut bytes, mut record) = (0, Vec::new());
        while let Some((key, row)) = events.row() {
            if !self.pause.goes_on() {
                return Ok(false);
            }
            let place = keys::split_event(key).ok_or(Error::Corrupt {
                what: "events: a key",
            })?;
            let (event, _) = read_event(row)?;
            record.clear();
            match event.change {
                Change::Delete => {
                    put_record_key(&mut record, place, true);
                    put_field(&mut record, 1, event.key);
                }
                Change::Put {
                    create,
                    version,
                    lease,
                    value,
                } => {
                    put_record_key(&mut record, place, false);
                    let numbers = Numbers {
                        create,
                        modified: place.0,
                        version,
                        lease,
                    };
                    put_pair(&mut record, event.key, &numbers, value);
                }
            }
            digest.update(&record);
            bytes += record.len() as u64;
            events.advance()?;
        }
        let crc = u32::try_from(digest.finalize()).unwrap_or_default();
        self.crc = join(self.crc, crc, bytes);
        Ok(true)
    }
}

/// The records of lowest place among many, in bounded memory: twice as many as asked for are held
/// before the upper half goes.
struct Smallest {
    records: Vec<Record>,
    keep: usize,
    /// The highest place that is still wanted, once something was let go.
    limit: Option<Place>,
}

impl Smallest {
    fn new(keep: usize) -> Self {
        Self {
            records: Vec::new(),
            keep,
            limit: None,
        }
    }

    fn wants(&self, place: Place) -> bool {
        self.limit.is_none_or(|limit| place < limit)
    }

    fn push(&mut self, record: Record) {
        self.records.push(record);
        if self.records.len() < 2 * self.keep {
            return;
        }
        let (_, middle, _) = self
            .records
            .select_nth_unstable_by_key(self.keep - 1, |record| record.place);
        self.limit = Some(middle.place);
        self.records.truncate(self.keep);
    }

    fn sorted(&mut self) -> &[Record] {
        self.records.sort_unstable_by_key(|record| record.place);
        &self.records
    }

    /// Whether nothing was let go.
    fn is_all(&self) -> bool {
        self.limit.is_none()
    }
}

/// etcd's `revBytes`.
fn put_record_key(out: &mut Vec<u8>, (main, sub): Place, is_deletion: bool) {
    out.extend_from_slice(&main.to_be_bytes());
    out.push(b'_');
    out.extend_from_slice(&u64::from(sub).to_be_bytes());
    if is_deletion {
        out.push(b't');
    }
}

struct Numbers {
    create: Revision,
    modified: Revision,
    version: i64,
    lease: i64,
}

impl From<super::row::Meta> for Numbers {
    fn from(meta: super::row::Meta) -> Self {
        Self {
            create: meta.create,
            modified: meta.modified,
            version: meta.version,
            lease: meta.lease,
        }
    }
}

/// `mvccpb.KeyValue` as Go writes it: fields in ascending order, empty ones left out.
fn put_pair(out: &mut Vec<u8>, key: &[u8], numbers: &Numbers, value: &[u8]) {
    put_field(out, 1, key);
    put_number(out, 2, numbers.create);
    put_number(out, 3, numbers.modified);
    put_number(out, 4, numbers.version);
    put_field(out, 5, value);
    put_number(out, 6, numbers.lease);
}

fn put_field(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        out.push(field << 3 | 2);
        put_bytes(out, bytes);
    }
}

fn put_number(out: &mut Vec<u8>, field: u8, number: i64) {
    if number != 0 {
        out.push(field << 3);
        put_u64(out, number.cast_unsigned());
    }
}

#[cfg(test)]
mod tests;

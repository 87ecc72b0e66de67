//! Collects the changes of some log entries, to be written as one batch.
//!
//! Everything reads its own changes. Commands are separate: each that changes something gets the
//! next revision, its changes numbered from 0 within it. A command can be taken back as long as it
//! is the last one.

use super::alarms::Alarms;
use super::counting::Counting;
use super::digest::PendingMark;
use super::downgrade::DowngradeTarget;
use super::head::Head;
use super::metadata_cache::Known;
use super::meters::StoreMeters;
use super::overlay::{Ended, Live, Overlay, PendingEvent};
use super::range::{check_revision_in_txn, range};
use super::roster::Roster;
use super::row::{Change, Event, Meta, Stored, read_current};
use super::state_cursor::{At, Source, StateCursor, Value};
use super::store::Membership;
use super::write_lease::PendingLeases;
use super::writer::Writer;
use super::{Error, Refusal};
use crate::canary::{Canary, in_hash_order, planted};
use crate::storage::{Scan, View};
use crate::telemetry::metrics::Counter;
use crate::types::{
    KeyRange, KeyValue, LeaseId, Position, RangeEnd, RangeQuery, RangeResult, Revision,
};
use bytes::Bytes;
use std::cell::Cell;

/// What one command may weigh before its range deletes are refused: about half a million small
/// keys. The same on every member, or they would disagree. Of the command, not of the log entry:
/// what else shares its entry is chance, and no reason to refuse anybody.
pub const COMMAND_BYTES_MAX: u64 = 128 << 20;
/// Counted for every key besides its bytes: revisions, rows, memory while it is applied.
pub(super) const KEY_BYTES: u64 = 128;
/// Counted against the quota for every live key, every event and every lease, besides key and value.
pub(super) const ROW_BYTES: u64 = 64;

/// What a transaction collected.
pub(super) struct Changes {
    pub(super) head: Head,
    pub(super) overlay: Overlay,
    pub(super) membership: Option<Membership>,
    pub(super) leases: PendingLeases,
    pub(super) alarms: Alarms,
    pub(super) downgrade: DowngradeTarget,
    /// If it changed.
    pub(super) roster: Option<Roster>,
    pub(super) marks: Vec<PendingMark>,
}

/// What the metadata cache may keep of a live version.
pub(super) fn known(live: &Live) -> Option<Known> {
    let Meta {
        create,
        modified,
        sub,
        version,
        lease,
    } = live.meta;
    let value_bytes = u32::try_from(live.value.len()).ok()?;
    (lease == 0).then_some(Known {
        create,
        modified,
        sub,
        version,
        value_bytes,
    })
}

/// A version about to be superseded.
pub(super) struct Old {
    pub(super) meta: Meta,
    pub(super) value_bytes: u64,
    /// If it was at hand or asked for.
    value: Option<Bytes>,
    /// Whether this very batch wrote it.
    pending: bool,
}

pub struct WriteTxn<'w> {
    pub(super) writer: &'w mut Writer,
    pub(super) changes: Changes,
    /// Changes of the command so far.
    sub: u32,
    /// Weight of the command so far; and of the batch.
    command_bytes: u64,
    batch_bytes: u64,
    saved: Option<(Head, u64, u64)>,
    /// Operations of the command so far, for the meters.
    operations: Cell<u32>,
}

fn len(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}

impl<'w> WriteTxn<'w> {
    pub(super) fn new(writer: &'w mut Writer) -> Self {
        let changes = Changes {
            head: writer.head.clone(),
            overlay: Overlay::default(),
            membership: None,
            leases: PendingLeases::default(),
            alarms: writer.alarms.clone(),
            downgrade: writer.downgrade.clone(),
            roster: None,
            marks: Vec::new(),
        };
        Self {
            writer,
            changes,
            sub: 0,
            command_bytes: 0,
            batch_bytes: 0,
            saved: None,
            operations: Cell::new(0),
        }
    }

    /// Notes one more operation of the command.
    fn count(&self, counter: impl FnOnce(&StoreMeters) -> &Counter) {
        self.operations.set(self.operations.get() + 1);
        counter(self.writer.store.meters()).increment();
    }

    /// Begins the log entry at `position`.
    pub fn begin_entry(&mut self, position: Position) -> Result<(), Error> {
        if let Some(applied) = self.changes.head.applied
            && (position.index <= applied.index || position.term < applied.term)
        {
            return Err(Error::OutOfOrder {
                applied,
                next: position,
            });
        }
        self.mark();
        self.changes.head.applied = Some(position);
        Ok(())
    }

    /// How much was collected, about.
    pub fn batch_bytes(&self) -> u64 {
        self.batch_bytes
    }

    /// Writes and publishes everything; answers the events, for watchers.
    pub fn commit(self) -> Result<Vec<PendingEvent>, Error> {
        self.writer.commit(self.changes)
    }

    /// The revision that the command's changes get.
    fn main(&self) -> Revision {
        self.changes.head.revision + 1
    }

    /// The revision as the command sees it: one more once it changed something.
    pub fn revision(&self) -> Revision {
        self.changes.head.revision + Revision::from(self.sub > 0)
    }

    /// The state before the command.
    pub fn head(&self) -> &Head {
        &self.changes.head
    }

    /// Ends a command: what it changed is final.
    pub fn finish_command(&mut self) {
        if self.operations.replace(0) > 1 {
            self.writer.store.meters().txns.increment();
        }
        self.changes.head.revision = self.revision();
        self.sub = 0;
        self.command_bytes = 0;
        self.saved = None;
        self.changes.overlay.release_savepoint();
    }

    /// Call at the start of a command that may have to be taken back.
    pub fn set_savepoint(&mut self) {
        self.saved = Some((
            self.changes.head.clone(),
            self.command_bytes,
            self.batch_bytes,
        ));
        self.changes.overlay.set_savepoint();
    }

    /// Takes the command back.
    pub fn roll_back(&mut self) {
        if let Some((head, command_bytes, batch_bytes)) = self.saved.take() {
            self.changes.head = head;
            self.command_bytes = command_bytes;
            self.batch_bytes = batch_bytes;
            self.changes.overlay.roll_back();
            self.sub = 0;
        }
    }

    /// Reads, with the command's own changes.
    fn read<T>(&self, read: impl FnOnce(&Counting<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let view = self.view();
        let source = self.source(&view);
        read(&Counting {
            source,
            index: &self.writer.index,
            revision: self.revision(),
        })
    }

    /// The state with the command's own changes.
    fn source<'s>(&'s self, view: &'s View<'s>) -> Source<'s> {
        Source {
            view,
            overlay: Some(&self.changes.overlay),
            filter: Some(&self.writer.filter),
        }
    }

    pub(super) fn view(&self) -> View<'_> {
        self.writer.store.engine.latest()
    }

    pub fn check_revision_in_txn(&self, revision: Revision) -> Result<(), Refusal> {
        check_revision_in_txn(&self.changes.head, revision)
    }

    /// The caller has checked the query's revision, before the command's first change.
    pub fn range(&self, query: &RangeQuery) -> Result<RangeResult, Error> {
        self.count(|meters| &meters.ranges);
        self.read(|counting| range(counting, query))
    }

    pub fn get(&self, key: &Bytes) -> Result<Option<KeyValue>, Error> {
        let found = self.read(|counting| counting.source.get(key))?;
        Ok(found.map(|(meta, value)| meta.key_value(key.clone(), value)))
    }

    /// Of the live version of `key`. An overwritten one is mostly known without reading.
    pub fn meta(&self, key: &Bytes) -> Result<Option<Meta>, Error> {
        let overlay = &self.changes.overlay;
        if overlay.get(key).is_none()
            && let Some(known) = self.writer.cache.get(key)
        {
            return Ok(Some(known.meta()));
        }
        let found = self.read(|counting| counting.source.get(key))?;
        Ok(found.map(|(meta, _)| meta))
    }

    /// Visits the live keys of a range at the latest revision, until `visit` says that it is enough.
    pub fn visit(
        &self,
        range: &KeyRange,
        mut visit: impl FnMut(&Meta, &[u8]) -> bool,
    ) -> Result<(), Error> {
        self.read(|counting| super::state_cursor::visit(counting.source, range, &mut visit))
    }

    /// Puts a value; answers the previous pair if it is `wanted`.
    pub fn put(
        &mut self,
        key: Bytes,
        value: Bytes,
        lease: LeaseId,
        wanted: bool,
    ) -> Result<Option<KeyValue>, Error> {
        self.count(|meters| &meters.puts);
        let put_bytes = len(&key) + len(&value);
        self.writer.store.meters().put_bytes.add(put_bytes);
        let old = self.old(&key, wanted)?;
        let main = self.main();
        let (create, version) = old
            .as_ref()
            .map_or((main, 1), |old| (old.meta.create, old.meta.version + 1));
        let meta = Meta {
            create,
            modified: main,
            sub: self.sub,
            version,
            lease,
        };
        let change = Change::Put {
            create,
            version,
            lease,
            value: value.clone(),
        };
        let previous = match (&old, wanted) {
            (Some(old), true) => old
                .value
                .clone()
                .map(|it| old.meta.key_value(key.clone(), it)),
            (Some(_) | None, _) => None,
        };
        self.change(key, old, change, Some(Live { meta, value }));
        Ok(previous)
    }

    /// Deletes every key of `range`; answers how many, and the pairs if they are `wanted`.
    pub fn delete_range(
        &mut self,
        range: &KeyRange,
        wanted: bool,
    ) -> Result<Result<(i64, Vec<KeyValue>), Refusal>, Error> {
        self.count(|meters| &meters.deletes);
        let mut doomed = match &range.end {
            RangeEnd::Single => {
                let old = self.old(&range.start, wanted)?;
                old.map(|old| (range.start.clone(), old))
                    .into_iter()
                    .collect()
            }
            RangeEnd::Before(_) | RangeEnd::Unbounded => match self.doomed(range, wanted)? {
                Ok(doomed) => doomed,
                Err(refusal) => return Ok(Err(refusal)),
            },
        };
        // Planted: as they come out of a hash map.
        if planted(Canary::NonDeterministicApply) {
            doomed = in_hash_order(doomed);
        }
        let deleted = i64::try_from(doomed.len()).unwrap_or(i64::MAX);
        let mut previous = Vec::with_capacity(if wanted { doomed.len() } else { 0 });
        for (key, old) in doomed {
            if wanted && let Some(value) = &old.value {
                previous.push(old.meta.key_value(key.clone(), value.clone()));
            }
            self.change(key, Some(old), Change::Delete, None);
        }
        Ok(Ok((deleted, previous)))
    }

    /// The keys that a range delete meets, unless they are too many for one command.
    fn doomed(
        &self,
        range: &KeyRange,
        wanted: bool,
    ) -> Result<Result<Vec<(Bytes, Old)>, Refusal>, Error> {
        let compacted = self.changes.head.compacted;
        let mut bytes = self.command_bytes;
        let mut doomed = Vec::new();
        let view = self.view();
        let source = self.source(&view);
        let mut cursor = StateCursor::new(source, range, At::Latest, Scan::List)?;
        while let Some(found) = cursor.next_live()? {
            let (value, value_bytes, pending) = match found.value {
                Value::Shared(value) => (Some(value.clone()), len(value), true),
                Value::Here(value) => {
                    let keep = wanted || found.meta.modified <= compacted;
                    (
                        keep.then(|| Bytes::copy_from_slice(value)),
                        len(value),
                        false,
                    )
                }
                Value::InEvent => {
                    return Err(Error::Corrupt {
                        what: "current: a pointer",
                    });
                }
            };
            bytes += 3 * len(found.key) + value_bytes + KEY_BYTES;
            if bytes > COMMAND_BYTES_MAX {
                return Ok(Err(Refusal::TooLarge));
            }
            let key = Bytes::copy_from_slice(found.key);
            doomed.push((
                key,
                Old {
                    meta: found.meta,
                    value_bytes,
                    value,
                    pending,
                },
            ));
        }
        Ok(Ok(doomed))
    }

    /// The live version of `key`. Its value is read only if it is `wanted` or has to move into the
    /// history.
    pub(super) fn old(&self, key: &Bytes, wanted: bool) -> Result<Option<Old>, Error> {
        if let Some(touched) = self.changes.overlay.get(key) {
            return Ok(touched.now.as_ref().map(|live| Old {
                meta: live.meta,
                value_bytes: len(&live.value),
                value: Some(live.value.clone()),
                pending: true,
            }));
        }
        let compacted = self.changes.head.compacted;
        let needs_value = |meta: &Meta| wanted || meta.modified <= compacted;
        if let Some(known) = self.writer.cache.get(key) {
            let meta = known.meta();
            if !needs_value(&meta) {
                let value_bytes = u64::from(known.value_bytes);
                return Ok(Some(Old {
                    meta,
                    value_bytes,
                    value: None,
                    pending: false,
                }));
            }
        }
        let view = self.view();
        let source = self.source(&view);
        let Some(row) = source.row(key)? else {
            return Ok(None);
        };
        let (meta, value) = read_current(&row)?;
        let copy = needs_value(&meta).then(|| Bytes::copy_from_slice(value));
        Ok(Some(Old {
            meta,
            value_bytes: len(value),
            value: copy,
            pending: false,
        }))
    }

    /// Records one change of the command.
    pub(super) fn change(
        &mut self,
        key: Bytes,
        old: Option<Old>,
        change: Change<Bytes>,
        now: Option<Live>,
    ) {
        let main = self.main();
        let head = &mut self.changes.head;
        let value_bytes = change_bytes(&change);
        self.command_bytes += 3 * len(&key) + 2 * value_bytes + KEY_BYTES;
        self.batch_bytes += 3 * len(&key) + 2 * value_bytes + KEY_BYTES;
        head.event_bytes += event_bytes(&key, value_bytes);
        if let Some(old) = &old {
            let bytes = len(&key) + old.value_bytes + ROW_BYTES;
            head.live_bytes = head.live_bytes.saturating_sub(bytes);
            head.digest.end(&key, &old.meta, old.value_bytes);
        }
        if let Some(now) = &now {
            head.live_bytes += len(&key) + value_bytes + ROW_BYTES;
            head.digest.begin(&key, &now.meta, value_bytes);
        }
        if let Some(live) = &now
            && live.meta.lease != 0
        {
            self.changes.leases.attach(live.meta.lease, &key);
        }
        let was = old.as_ref().map(|old| old.meta.lease);
        let previous = old.as_ref().map_or(0, |old| old.meta.modified);
        // A version of this very revision can never be read: no revision lies between.
        let ended = old.filter(|old| old.meta.modified < main).map(|old| Ended {
            meta: old.meta,
            ended: main,
            stored: match &old.value {
                Some(value) if old.meta.modified <= head.compacted => Stored::Inline(value.clone()),
                Some(_) | None => Stored::InEvent,
            },
            value: old.value.filter(|_| old.pending),
        });
        let event = Event {
            key,
            change,
            previous,
        };
        let pending = PendingEvent {
            main,
            sub: self.sub,
            event,
            total: head.event_bytes,
        };
        self.changes.overlay.change(pending, was, ended, now);
        self.sub += 1;
    }
}

pub(super) fn change_bytes<B: AsRef<[u8]>>(change: &Change<B>) -> u64 {
    match change {
        Change::Put { value, .. } => len(value.as_ref()),
        Change::Delete => 0,
    }
}

pub(super) fn event_bytes(key: &[u8], value_bytes: u64) -> u64 {
    len(key) + value_bytes + ROW_BYTES
}

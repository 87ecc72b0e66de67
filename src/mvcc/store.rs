//! The shared side of the state: views, revisions, durability, sizes.

use super::alarms::Alarms;
use super::compaction::Cleaned;
use super::count_index::CountIndex;
use super::digest::{Mark, Marks};
use super::downgrade::DowngradeTarget;
use super::head::Head;
use super::lease_feed::LeaseFeed;
use super::meters::StoreMeters;
use super::read_view::ReadView;
use super::roster::Roster;
use super::{Error, hash};
use crate::storage::varint::{Input, Malformed, put_u64};
use crate::storage::{Engine, EngineOptions, Family, View, keys};
use crate::types::{Position, Revision};
use arc_swap::ArcSwap;
use bytes::Bytes;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::watch;

/// What an operator or a test may choose.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    pub engine: EngineOptions,
    /// The cap of the metadata cache of the apply thread.
    pub metadata_cache_bytes: usize,
    /// Not known to clients: they could otherwise choose keys that hash badly. It changes no
    /// answer and no row.
    pub hash_seed: u64,
    /// Where the store counts.
    pub meters: Arc<StoreMeters>,
    /// Has a receiver for as long as a store that was opened with it holds its directory: whoever
    /// waits until it is `closed` finds the directory free.
    pub in_use: watch::Sender<()>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            engine: EngineOptions::default(),
            metadata_cache_bytes: 48 << 20,
            hash_seed: 0,
            meters: Arc::default(),
            in_use: watch::Sender::default(),
        }
    }
}

/// The last Raft membership that was applied, in Raft's own encoding, and where.
pub type Membership = (Position, Bytes);

/// Whose state a directory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub head: Head,
    pub applied: Option<Position>,
    pub membership: Option<Membership>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Files and memory of this member's engine.
    pub on_disk: u64,
    /// Bytes that count towards the quota: the same on every member.
    pub logical_in_use: u64,
    /// RocksDB delays or stops writes.
    pub stalled: bool,
    /// Memtables waiting to be flushed; at four, writes stop.
    pub immutable_memtables: u64,
}

/// What a compaction allows to disappear; as long as a view holds it, no more than that does.
#[derive(Debug, PartialEq, Eq)]
pub struct Floor {
    pub events: Revision,
    pub compacted: Revision,
}

/// One batch, as readers see it.
#[derive(Clone)]
pub struct Published {
    /// The engine's sequence number right after the batch: by it a snapshot finds its companion.
    pub sequence: u64,
    pub head: Head,
    pub index: CountIndex,
    pub floor: Arc<Floor>,
    pub alarms: Alarms,
    pub downgrade: DowngradeTarget,
    pub roster: Arc<Roster>,
}

/// Invariant: whoever writes to the engine holds `writing` until what it wrote is published, so
/// that every sequence number that a snapshot can show for long has a companion.
pub struct Store {
    pub(super) engine: Engine,
    meters: Arc<StoreMeters>,
    published: ArcSwap<Published>,
    writing: Mutex<()>,
    /// The floors of all published batches that a view may still hold.
    pub(super) floors: Mutex<Vec<Weak<Floor>>>,
    pub(super) cleaned: Mutex<Cleaned>,
    lease_feed: LeaseFeed,
    marks: Mutex<Marks>,
    /// The last field: fields are dropped in order, and so the engine is closed when this goes.
    _in_use: watch::Receiver<()>,
}

/// A lock is only poisoned if its holder panicked, and what these locks guard is whole at every
/// step.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// `published` is what the engine holds.
    pub(super) fn new(engine: Engine, published: Published, options: &StoreOptions) -> Self {
        let floors = Mutex::new(vec![Arc::downgrade(&published.floor)]);
        let cleaned = Cleaned::at_open(published.head.compacted);
        let mut marks = Marks::default();
        marks.extend(Mark::of(&published.head));
        Self {
            engine,
            meters: options.meters.clone(),
            published: ArcSwap::from_pointee(published),
            writing: Mutex::new(()),
            floors,
            cleaned: Mutex::new(cleaned),
            lease_feed: LeaseFeed::default(),
            marks: Mutex::new(marks),
            _in_use: options.in_use.subscribe(),
        }
    }

    /// Tells what became of leases.
    pub fn lease_feed(&self) -> &LeaseFeed {
        &self.lease_feed
    }

    /// A consistent look at one published batch. It keeps disk space alive: hold it for a request,
    /// not longer.
    pub fn view(&self) -> Result<ReadView<'_>, Error> {
        loop {
            let view = self.engine.view();
            let published = self.published.load();
            if published.sequence == view.sequence() {
                return Ok(ReadView::new(view, arc_swap::Guard::into_inner(published)));
            }
            // A batch was written and is about to be published: that takes microseconds, and
            // nothing in between can fail.
            crate::env::threads::yield_now();
        }
    }

    /// What a read has met that is not what was written, if any has.
    pub fn damage(&self) -> Option<&str> {
        self.engine.damage()
    }

    pub fn meters(&self) -> &Arc<StoreMeters> {
        &self.meters
    }

    /// Live keys.
    pub fn keys(&self) -> u64 {
        self.published.load().index.total()
    }

    pub fn revision(&self) -> Revision {
        self.published.load().head.revision
    }

    /// The last revision that was compacted; -1 before the first compaction.
    pub fn compact_revision(&self) -> Revision {
        self.published.load().head.compacted
    }

    /// Bytes that count towards the quota: the same on every member.
    pub fn bytes_in_use(&self) -> u64 {
        self.published.load().head.bytes_in_use()
    }

    /// The last log entry whose effects can be read here.
    pub fn applied(&self) -> Option<Position> {
        self.published.load().head.applied
    }

    /// What is replicated of members beside Raft's membership.
    pub fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.published.load().roster)
    }

    pub(super) fn published(&self) -> Arc<Published> {
        self.published.load_full()
    }

    /// Makes everything applied durable. Blocks for tens of milliseconds; other threads go on.
    pub fn flush(&self) -> Result<(), Error> {
        Ok(self.engine.flush()?)
    }

    /// As [`Self::flush`], for the last time: then compactions that are under way are given up, which
    /// may be minutes of work, so that whoever waits for one soon lets go of the store. Nothing that
    /// is written from now on outlives the store.
    pub fn finish(&self) -> Result<(), Error> {
        let flushed = self.flush();
        self.engine.give_up_work();
        flushed
    }

    /// The last log entry that a crash cannot take back.
    pub fn durable_applied(&self) -> Result<Option<Position>, Error> {
        Ok(self.durable_head()?.applied)
    }

    pub(super) fn durable_head(&self) -> Result<Head, Error> {
        match self.engine.get_durable(Family::Meta, keys::HEAD)? {
            Some(row) => Head::decode(&row),
            None => Ok(Head::default()),
        }
    }

    /// Writes a copy of the state into `dir`, which must not exist. Not on the thread that applies:
    /// it flushes. What it holds is read from inside it, by [`Store::read_label`].
    pub fn checkpoint(&self, dir: &Path) -> Result<(), Error> {
        Ok(self.engine.checkpoint(dir)?)
    }

    /// Refuses a directory of a newer format, and writes nothing.
    pub fn check_format(dir: &Path) -> Result<(), Error> {
        Ok(Engine::check_format(dir)?)
    }

    /// Reads every row of a checkpoint. What it met that is not what was written, if anything.
    pub fn damage_in(dir: &Path) -> Result<Option<String>, Error> {
        let engine = Engine::open_read_only(dir, &EngineOptions::small())?;
        match (engine.read_all(), engine.damage()) {
            (Err(_), Some(damage)) => Ok(Some(damage.to_owned())),
            (read, _) => Ok(read.map(|()| None)?),
        }
    }

    /// Reads, from inside a checkpoint, how far it goes.
    pub fn read_label(dir: &Path) -> Result<Label, Error> {
        let engine = Engine::open_read_only(dir, &EngineOptions::small())?;
        let view = engine.latest();
        let head = read_head(&view)?;
        Ok(Label {
            applied: head.applied,
            head,
            membership: read_membership(&view)?,
        })
    }

    /// A hash of the logical state and the position that it is of: equal on all members that
    /// applied the same log, whatever their engines did in between.
    pub fn state_hash(&self) -> Result<(Option<Position>, [u8; 16]), Error> {
        let view = self.view()?;
        Ok((view.applied(), hash::state_hash(&view)?))
    }

    /// What the state was at places of the log that other members may have marked too, oldest
    /// first.
    pub fn marks(&self) -> Vec<Mark> {
        lock(&self.marks).to_vec()
    }

    pub(super) fn add_marks(&self, marks: Vec<Mark>) {
        lock(&self.marks).extend(marks);
    }

    pub fn sizes(&self) -> Result<Sizes, Error> {
        let load = self.engine.load()?;
        Ok(Sizes {
            on_disk: load.bytes,
            logical_in_use: self.bytes_in_use(),
            stalled: load.stalled,
            immutable_memtables: load.immutable_memtables,
        })
    }

    /// Writes to the engine and publishes what it then holds, as one step. Readers wait between the
    /// two, so whatever takes long or may fail comes before this; `publish` only names the result.
    pub(super) fn write_and_publish(
        &self,
        batch: crate::storage::Batch<'_>,
        publish: impl FnOnce(u64) -> Published,
    ) -> Result<(), Error> {
        let writing = lock(&self.writing);
        self.meters.commits.time(|| self.engine.write(batch))?;
        let published = publish(self.engine.sequence());
        if !Arc::ptr_eq(&published.floor, &self.published.load().floor) {
            lock(&self.floors).push(Arc::downgrade(&published.floor));
        }
        self.published.store(Arc::new(published));
        drop(writing);
        Ok(())
    }
}

pub(super) fn read_head(view: &View<'_>) -> Result<Head, Error> {
    match view.get(Family::Meta, keys::HEAD)? {
        Some(row) => Head::decode(&row),
        None => Ok(Head::default()),
    }
}

pub(super) fn membership_row((position, bytes): &Membership) -> Vec<u8> {
    let mut row = Vec::with_capacity(bytes.len() + 20);
    put_u64(&mut row, position.term);
    put_u64(&mut row, position.index);
    row.extend_from_slice(bytes);
    row
}

pub(super) fn read_membership(view: &View<'_>) -> Result<Option<Membership>, Error> {
    let Some(row) = view.get(Family::Meta, keys::MEMBERSHIP)? else {
        return Ok(None);
    };
    let mut input = Input::new(&row);
    let mut position = || -> Result<_, Malformed> {
        Ok(Position {
            term: input.u64()?,
            index: input.u64()?,
        })
    };
    let position = position().map_err(|_| Error::Corrupt {
        what: "meta/membership",
    })?;
    Ok(Some((position, Bytes::copy_from_slice(input.rest()))))
}

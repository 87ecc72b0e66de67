//! The writing side: one owner, the apply thread.

use super::Error;
use super::alarms::Alarms;
use super::count_index::CountIndex;
use super::digest::{Digest, Mark};
use super::downgrade::{self, DowngradeTarget};
use super::head::Head;
use super::key_filter::KeyFilter;
use super::metadata_cache::MetadataCache;
use super::overlay::PendingEvent;
use super::roster::Roster;
use super::row::read_current;
use super::store::{Floor, Membership, Published, Store, StoreOptions, read_head, read_membership};
use super::write_txn::WriteTxn;
use crate::canary::{Canary, planted};
use crate::storage::{Engine, Family, keys};
use std::path::Path;
use std::sync::Arc;

pub struct Writer {
    pub(super) store: Arc<Store>,
    pub(super) cache: MetadataCache,
    /// Has every live key.
    pub(super) filter: KeyFilter,
    pub(super) head: Head,
    pub(super) index: CountIndex,
    pub(super) floor: Arc<Floor>,
    pub(super) membership: Option<Membership>,
    pub(super) alarms: Alarms,
    pub(super) downgrade: DowngradeTarget,
    pub(super) roster: Arc<Roster>,
}

impl Writer {
    /// Opens or creates the state in `dir`; reads every live key once to count them.
    pub fn open(dir: &Path, options: &StoreOptions) -> Result<Self, Error> {
        let engine = Engine::open(dir, &options.engine)?;
        let view = engine.latest();
        let mut head = read_head(&view)?;
        // Planted: the last revision was never there.
        if planted(Canary::RevisionReusedAfterCrash) && head.revision > head.compacted + 1 {
            head.revision -= 1;
        }
        let membership = read_membership(&view)?;
        let alarms = Alarms::read(&view)?;
        let downgrade = downgrade::read(&view)?;
        let roster = Arc::new(Roster::read(&view)?);
        let mut found = Digest::default();
        let mut filter = KeyFilter::new(options.hash_seed);
        let index = CountIndex::build(&view, options.hash_seed, |key, row| {
            let (meta, value) = read_current(row)?;
            found.begin(key, &meta, value.len() as u64);
            filter.add(key);
            Ok(())
        })?;
        if !found.agrees_on_live_keys(&head.digest) {
            return Err(Error::Corrupt {
                what: "current: its rows are not those that were written",
            });
        }
        drop(view);
        let floor = Arc::new(Floor {
            events: head.events_floor,
            compacted: head.compacted,
        });
        let published = Published {
            sequence: engine.sequence(),
            head: head.clone(),
            index: index.clone(),
            floor: Arc::clone(&floor),
            alarms: alarms.clone(),
            downgrade: downgrade.clone(),
            roster: Arc::clone(&roster),
        };
        let cache = MetadataCache::new(options.metadata_cache_bytes, options.hash_seed);
        let store = Arc::new(Store::new(engine, published, options));
        Ok(Self {
            store,
            cache,
            filter,
            head,
            index,
            floor,
            membership,
            alarms,
            downgrade,
            roster,
        })
    }

    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub fn head(&self) -> &Head {
        &self.head
    }

    pub fn membership(&self) -> Option<&Membership> {
        self.membership.as_ref()
    }

    /// Begins to collect changes. Dropping the transaction drops them.
    pub fn begin(&mut self) -> WriteTxn<'_> {
        WriteTxn::new(self)
    }

    /// Writes what a transaction collected, in one batch, and publishes it. Answers its events.
    pub(super) fn commit(
        &mut self,
        mut changes: super::write_txn::Changes,
    ) -> Result<Vec<PendingEvent>, Error> {
        let mut batch = changes.encode(&self.store.engine);
        changes.alarms.put_changes(&self.alarms, &mut batch);
        downgrade::put_change(&self.downgrade, &changes.downgrade, &mut batch);
        let marks = changes.marks.iter().map(|mark| &mark.head);
        let marks: Vec<Mark> = marks.chain([&changes.head]).filter_map(Mark::of).collect();
        let (mut created, mut deleted) = (Vec::new(), Vec::new());
        for (key, touched) in changes.overlay.keys() {
            match (touched.was_live, &touched.now) {
                (false, Some(_)) => created.push(key.clone()),
                (true, None) => deleted.push(key.clone()),
                (true, Some(_)) | (false, None) => {}
            }
        }
        if changes.head.compacted != self.head.compacted {
            self.floor = Arc::new(Floor {
                events: changes.head.events_floor,
                compacted: changes.head.compacted,
            });
        }
        self.head = changes.head;
        if changes.membership.is_some() {
            self.membership = changes.membership;
        }
        if let Some(roster) = changes.roster {
            self.roster = Arc::new(roster);
        }
        self.alarms = changes.alarms;
        self.downgrade = changes.downgrade;
        // Before the write: it reads rows, and once the batch is visible readers wait for us.
        self.index
            .update(&self.store.engine.latest(), &created, &deleted)?;
        // Whatever becomes of the write: a key too many does no harm.
        for key in &created {
            self.filter.add(key);
        }
        self.store.write_and_publish(batch, |sequence| Published {
            sequence,
            head: self.head.clone(),
            index: self.index.clone(),
            floor: Arc::clone(&self.floor),
            alarms: self.alarms.clone(),
            downgrade: self.downgrade.clone(),
            roster: Arc::clone(&self.roster),
        })?;
        self.store.lease_feed().publish(&changes.leases);
        let meters = self.store.meters();
        meters.leases_granted.add(changes.leases.granted);
        meters.leases_revoked.add(changes.leases.revoked);
        self.store.add_marks(marks);
        for (key, touched) in changes.overlay.keys() {
            match touched.now.as_ref().and_then(super::write_txn::known) {
                Some(known) => self.cache.put(key, &known),
                None => self.cache.remove(key),
            }
        }
        Ok(changes.overlay.into_events())
    }
}

impl super::write_txn::Changes {
    /// One row of `current` per key, however often it changed; keys in order. The changes become
    /// part of the digest here, where their rows are at hand.
    fn encode<'e>(&mut self, engine: &'e Engine) -> crate::storage::Batch<'e> {
        use super::row::{Stored, put_current, put_event, put_history};
        let mut batch = engine.batch();
        let mut row = Vec::new();
        for (key, touched) in self.overlay.keys() {
            row.clear();
            match &touched.now {
                Some(live) => {
                    put_current(&mut row, &live.meta, &live.value);
                    batch.put(Family::Current, key, &row);
                }
                None if touched.was_live => batch.delete(Family::Current, key),
                None => {}
            }
            let lease = touched.now.as_ref().map_or(0, |live| live.meta.lease);
            if lease != touched.was_lease {
                if touched.was_lease != 0 {
                    batch.delete(Family::Lease, &keys::attached(touched.was_lease, key));
                }
                if lease != 0 {
                    batch.put(Family::Lease, &keys::attached(lease, key), &[]);
                }
            }
            for ended in &touched.ended {
                row.clear();
                let stored = match &ended.stored {
                    Stored::InEvent => Stored::InEvent,
                    Stored::Inline(value) => Stored::Inline(value.as_ref()),
                };
                put_history(&mut row, ended.ended, &ended.meta, &stored);
                batch.put(
                    Family::History,
                    &keys::history(key, ended.meta.modified),
                    &row,
                );
            }
        }
        let mut hashed = Digest::default();
        let mut marks = self.marks.iter_mut().peekable();
        for (number, pending) in self.overlay.events().iter().enumerate() {
            while let Some(mark) = marks.next_if(|mark| mark.events <= number) {
                mark.head.digest.add_changes(&hashed);
            }
            row.clear();
            put_event(&mut row, &pending.event, pending.total);
            let key = keys::event(pending.main, pending.sub);
            hashed.change(&key, &row);
            batch.put(Family::Events, &key, &row);
        }
        self.leases.encode(&mut batch);
        for mark in marks {
            mark.head.digest.add_changes(&hashed);
        }
        self.head.digest.add_changes(&hashed);
        batch.put(Family::Meta, keys::HEAD, &self.head.encode());
        if let Some(membership) = &self.membership {
            let row = super::store::membership_row(membership);
            batch.put(Family::Meta, keys::MEMBERSHIP, &row);
        }
        if let Some(roster) = &self.roster {
            roster.write(&mut batch);
        }
        batch
    }
}

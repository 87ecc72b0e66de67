//! Reading: points and cursors, either at a snapshot or at whatever is newest.

use super::keys::Family;
use super::{Engine, Error};
use rocksdb::{DBPinnableSlice, DBRawIteratorWithThreadMode, ReadOptions, Snapshot};
use std::ops::Deref;

/// A consistent look at an engine, which it borrows.
pub struct View<'a> {
    engine: &'a Engine,
    snapshot: Option<Snapshot<'a>>,
}

/// A value inside RocksDB's memory, not copied.
pub struct Pinned<'a>(DBPinnableSlice<'a>);

impl Deref for Pinned<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Where a cursor may go: from `lower` (inclusive) to `upper` (exclusive).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    pub lower: Vec<u8>,
    pub upper: Option<Vec<u8>>,
}

/// What a cursor is for, which decides how RocksDB reads ahead and what it caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// Few rows.
    Short,
    /// A client's list.
    List,
    /// Everything: keeps out of the block cache.
    Bulk,
}

impl<'a> View<'a> {
    pub(super) fn at_snapshot(engine: &'a Engine) -> Self {
        Self {
            engine,
            snapshot: Some(engine.db.snapshot()),
        }
    }

    pub(super) fn latest(engine: &'a Engine) -> Self {
        Self {
            engine,
            snapshot: None,
        }
    }

    /// The sequence number of the newest change that this view shows.
    pub fn sequence(&self) -> u64 {
        match &self.snapshot {
            Some(snapshot) => snapshot.sequence_number(),
            None => self.engine.sequence(),
        }
    }

    pub fn get(&self, family: Family, key: &[u8]) -> Result<Option<Pinned<'_>>, Error> {
        let handle = self.engine.family(family);
        let found = match &self.snapshot {
            Some(snapshot) => snapshot.get_pinned_cf(&handle, key),
            None => self.engine.db.get_pinned_cf(&handle, key),
        };
        let found = found.map_err(|error| self.engine.unread("read a row", error));
        Ok(found?.map(Pinned))
    }

    /// A cursor that stands on the first row of `bounds`.
    pub fn cursor(&self, family: Family, bounds: Bounds, scan: Scan) -> Result<Cursor<'_>, Error> {
        let mut options = ReadOptions::default();
        match scan {
            Scan::Short => {}
            Scan::List => options.set_readahead_size(64 << 10),
            Scan::Bulk => {
                options.fill_cache(false);
                options.set_readahead_size(2 << 20);
            }
        }
        if let Some(upper) = bounds.upper {
            options.set_iterate_upper_bound(upper);
        }
        let handle = self.engine.family(family);
        let inner = match &self.snapshot {
            Some(snapshot) => snapshot.raw_iterator_cf_opt(&handle, options),
            None => self.engine.db.raw_iterator_cf_opt(&handle, options),
        };
        let mut cursor = Cursor {
            engine: self.engine,
            inner,
        };
        cursor.seek(&bounds.lower)?;
        Ok(cursor)
    }
}

/// Walks the rows of one family in key order.
pub struct Cursor<'a> {
    engine: &'a Engine,
    inner: DBRawIteratorWithThreadMode<'a, rocksdb::DB>,
}

impl Cursor<'_> {
    /// Goes to the first row at or after `key`.
    pub fn seek(&mut self, key: &[u8]) -> Result<(), Error> {
        self.inner.seek(key);
        self.check()
    }

    /// Goes to the next row. The cursor stands on one.
    pub fn advance(&mut self) -> Result<(), Error> {
        self.inner.next();
        self.check()
    }

    /// The row it stands on; `None` behind the last.
    pub fn row(&self) -> Option<(&[u8], &[u8])> {
        self.inner.item()
    }

    pub fn key(&self) -> Option<&[u8]> {
        self.inner.key()
    }

    /// A cursor that stops because it could not read looks like one that reached the end.
    fn check(&self) -> Result<(), Error> {
        if self.inner.valid() {
            return Ok(());
        }
        let status = self.inner.status();
        status.map_err(|error| self.engine.unread("scan rows", error))
    }
}

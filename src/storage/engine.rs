//! One RocksDB directory: open, write, flush, checkpoint, drop what nobody needs, sizes.

use super::keys::Family;
use super::options::{EngineOptions, FILE_BYTES, durable_only, unlogged, wait_for_flush};
use super::view::{Bounds, Scan, View};
use super::{Batch, Error, format};
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    ColumnFamily, CompactOptions, DB, ErrorKind, LiveFile, WaitForCompactOptions, properties,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

/// Invariant: nothing is ever written with a write-ahead log (mixing the two breaks the atomic
/// flush), and the history floor never falls while the engine is open.
pub struct Engine {
    pub(super) db: DB,
    dir: PathBuf,
    history_floor: Arc<AtomicI64>,
    settles: bool,
    damage: OnceLock<String>,
}

/// Kept open where only a few rows are read. RocksDB opens no more than 16 at once then.
const FEW_FILES: i32 = 64;
/// RocksDB's default, which nobody changes.
const LEVELS: usize = 7;

type Families = Vec<(&'static str, rocksdb::Options)>;

/// What the engine says of its own load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Files and memtables.
    pub bytes: u64,
    /// RocksDB delays or stops writes.
    pub stalled: bool,
    /// Memtables that wait for their flush, of the family that has most; four stop writes.
    pub immutable_memtables: u64,
}

impl Engine {
    /// Opens or creates `dir`. A directory of a newer format is refused before it is touched.
    pub fn open(dir: &Path, options: &EngineOptions) -> Result<Self, Error> {
        format::check_or_create(dir)?;
        let (families, history_floor) = Self::families(options)?;
        let db = DB::open_cf_with_opts(&options.database()?, dir, families)
            .map_err(Error::engine("open"))?;
        let engine = Self {
            db,
            dir: dir.to_owned(),
            history_floor,
            settles: options.settles,
            damage: OnceLock::new(),
        };
        engine.settle(Ok(()))?;
        Ok(engine)
    }

    /// Waits for compactions that are under way, where they must not be seen half done. There an engine
    /// that fails stops for good: RocksDB would try again on a thread of its own, when it likes.
    fn settle(&self, done: Result<(), Error>) -> Result<(), Error> {
        if !self.settles {
            return done;
        }
        let settled = done.and_then(|()| {
            self.db
                .wait_for_compact(&WaitForCompactOptions::default())
                .map_err(Error::engine("wait for compactions"))
        });
        if settled.is_err() {
            self.db.cancel_all_background_work(true);
        }
        settled
    }

    /// Refuses a directory of a newer format, and writes nothing.
    pub fn check_format(dir: &Path) -> Result<(), Error> {
        format::check(dir).map(|_| ())
    }

    /// Opens a directory that nobody writes to, a checkpoint for one, to read a few rows.
    pub fn open_read_only(dir: &Path, options: &EngineOptions) -> Result<Self, Error> {
        format::check(dir)?;
        let (families, history_floor) = Self::families(options)?;
        let mut database = options.database()?;
        database.create_if_missing(false);
        // Tables are opened when they are read: there may be thousands.
        database.set_max_open_files(FEW_FILES);
        database.set_max_file_opening_threads(1);
        let db = DB::open_cf_with_opts_for_read_only(&database, dir, families, false)
            .map_err(Error::engine("open read-only"))?;
        Ok(Self {
            db,
            dir: dir.to_owned(),
            history_floor,
            settles: false,
            damage: OnceLock::new(),
        })
    }

    fn families(options: &EngineOptions) -> Result<(Families, Arc<AtomicI64>), Error> {
        let cache = options.cache();
        let floor = Arc::new(AtomicI64::new(i64::MIN));
        let families = Family::ALL.into_iter().map(|family| {
            let options = options.family(family, &cache, &floor)?;
            Ok((family.name(), options))
        });
        Ok((families.collect::<Result<_, Error>>()?, floor))
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The first time that a read met bytes that are not those that were written: what RocksDB said. It
    /// will not get better.
    pub fn damage(&self) -> Option<&str> {
        self.damage.get().map(String::as_str)
    }

    /// Reads every row.
    pub fn read_all(&self) -> Result<(), Error> {
        let view = self.latest();
        for family in Family::ALL {
            let mut cursor = view.cursor(family, Bounds::default(), Scan::Bulk)?;
            while cursor.key().is_some() {
                cursor.advance()?;
            }
        }
        Ok(())
    }

    /// A read failed.
    pub(super) fn unread(&self, action: &'static str, source: rocksdb::Error) -> Error {
        if source.kind() == ErrorKind::Corruption {
            // Others may have met it at the same time.
            self.damage.set(source.to_string()).ok();
        }
        Error::Engine { action, source }
    }

    pub(super) fn family(&self, family: Family) -> &ColumnFamily {
        self.db
            .cf_handle(family.name())
            .expect("every family is opened with the engine")
    }

    pub fn batch(&self) -> Batch<'_> {
        Batch::new(Family::ALL.map(|family| self.family(family)))
    }

    /// Writes a batch: visible at once and whole, durable after the next flush.
    pub fn write(&self, batch: Batch<'_>) -> Result<(), Error> {
        self.db
            .write_opt(batch.inner, &unlogged())
            .map_err(Error::engine("write a batch"))
    }

    /// The sequence number of the newest change.
    pub fn sequence(&self) -> u64 {
        self.db.latest_sequence_number()
    }

    /// A view that later writes do not change.
    pub fn view(&self) -> View<'_> {
        View::at_snapshot(self)
    }

    /// A view that always shows the newest: for the one who writes.
    pub fn latest(&self) -> View<'_> {
        View::latest(self)
    }

    /// What a crash now would leave of this row.
    pub fn get_durable(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.db
            .get_cf_opt(&self.family(family), key, &durable_only())
            .map_err(Error::engine("read a durable row"))
    }

    /// Returns when everything written before the call is durable.
    pub fn flush(&self) -> Result<(), Error> {
        let families = Family::ALL.map(|family| self.family(family));
        let families: Vec<&&ColumnFamily> = families.iter().collect();
        let flushed = self.db.flush_cfs_opt(&families, &wait_for_flush());
        self.settle(flushed.map_err(Error::engine("flush")))
    }

    /// Has flushes and compactions that are under way given up, and starts none any more; waits for
    /// nothing. What was not flushed before is lost to a reopening, as by a crash; reads go on.
    pub fn give_up_work(&self) {
        self.db.cancel_all_background_work(false);
    }

    /// Makes `dir`, which must not exist, a copy of the state (hard links where possible). It
    /// flushes, which takes tens of milliseconds: not for the thread that applies.
    pub fn checkpoint(&self, dir: &Path) -> Result<(), Error> {
        let checkpoint = Checkpoint::new(&self.db).map_err(Error::engine("start a checkpoint"))?;
        if self.settles {
            // The flush of the checkpoint then finds nothing, and starts no compaction.
            self.flush()?;
        }
        // Zero: always flush, for without a log what is in memory would be missing.
        checkpoint
            .create_checkpoint_with_log_size(dir, 0)
            .map_err(Error::engine("make a checkpoint"))?;
        format::create(dir)
    }

    /// Removes the files of `events` that lie wholly in `[from, last]`. The end belongs to the range
    /// (RocksDB's C interface knows no other): a file that ends exactly there goes too. Takes effect
    /// at once and for good, for open views too: the caller knows that nobody needs them and that a
    /// crash cannot bring back a state that does.
    pub fn drop_event_files(&self, from: &[u8], last: &[u8]) -> Result<(), Error> {
        let dropped = self
            .db
            .delete_file_in_range_cf(&self.family(Family::Events), from, last);
        self.settle(dropped.map_err(Error::engine("drop event files")))
    }

    /// Versions that ended at or before `floor` may disappear from now on, for open views too.
    pub fn raise_history_floor(&self, floor: i64) {
        self.history_floor.fetch_max(floor, Ordering::AcqRel);
    }

    /// Rewrites the files of a family without what is gone: deleted rows, and history below its
    /// floor.
    pub fn rewrite(&self, family: Family) -> Result<(), Error> {
        if self.settles {
            // As for a checkpoint.
            self.flush()?;
        }
        self.compact(family, None, None)
    }

    /// How many files a family has.
    pub fn files(&self, family: Family) -> Result<u64, Error> {
        let levels = 0..LEVELS;
        let files =
            levels.map(|level| self.property(family, &properties::num_files_at_level(level)));
        files.sum()
    }

    /// Joins the last files of a family, as far back as they are small.
    pub fn join_last_files(&self, family: Family) -> Result<(), Error> {
        if self.settles {
            // As for a checkpoint.
            self.flush()?;
        }
        let files = self.db.live_files().map_err(Error::engine("list files"))?;
        let mut files: Vec<LiveFile> = files
            .into_iter()
            .filter(|file| file.column_family_name == family.name())
            .collect();
        files.sort_by(|a, b| b.start_key.cmp(&a.start_key));
        let small = files.iter().take_while(|file| file.size < FILE_BYTES / 4);
        match small.last() {
            None => Ok(()),
            Some(first) => self.compact(family, first.start_key.as_deref(), None),
        }
    }

    /// Rewrites what lies in a range. Others may compact meanwhile.
    fn compact(&self, family: Family, from: Option<&[u8]>, to: Option<&[u8]>) -> Result<(), Error> {
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        options.set_bottommost_level_compaction(rocksdb::BottommostLevelCompaction::Force);
        let family = self.family(family);
        self.db.compact_range_cf_opt(&family, from, to, &options);
        self.settle(Ok(()))
    }

    /// Puts every row of a family into files of the last level, where files can be dropped.
    #[cfg(test)]
    pub(crate) fn settle_family(&self, family: Family) {
        self.flush().unwrap();
        let family = self.family(family);
        self.db
            .compact_range_cf(&family, None::<&[u8]>, None::<&[u8]>);
    }

    /// About how many rows a family has.
    pub fn estimated_rows(&self, family: Family) -> Result<u64, Error> {
        self.property(family, properties::ESTIMATE_NUM_KEYS)
    }

    pub fn load(&self) -> Result<Load, Error> {
        let mut load = Load::default();
        for family in Family::ALL {
            load.bytes += self.property(family, properties::LIVE_SST_FILES_SIZE)?;
            load.bytes += self.property(family, properties::CUR_SIZE_ALL_MEM_TABLES)?;
            let waiting = self.property(family, properties::NUM_IMMUTABLE_MEM_TABLE)?;
            load.immutable_memtables = load.immutable_memtables.max(waiting);
        }
        load.stalled = self.property(Family::Current, properties::IS_WRITE_STOPPED)? != 0
            || self.property(Family::Current, properties::ACTUAL_DELAYED_WRITE_RATE)? != 0;
        Ok(load)
    }

    fn property(&self, family: Family, name: &properties::PropName) -> Result<u64, Error> {
        let value = self
            .db
            .property_int_value_cf(&self.family(family), name)
            .map_err(Error::engine("read a property"))?;
        Ok(value.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::disk::{read_file, write_file_durably};
    use crate::env::disk_real::RealDisk;
    use crate::storage::keys;

    #[test]
    fn rows_that_come_in_order_leave_many_files_until_the_last_are_joined() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), &EngineOptions::small()).unwrap();
        let append = |revisions: std::ops::Range<i64>| {
            for revision in revisions {
                let mut batch = engine.batch();
                batch.put(Family::Events, &keys::event(revision, 0), b"row");
                engine.write(batch).unwrap();
                engine.flush().unwrap();
            }
        };
        append(2..42);
        // RocksDB moves them down a level as they are.
        assert!(engine.files(Family::Events).unwrap() >= 36);
        engine.join_last_files(Family::Events).unwrap();
        assert_eq!(engine.files(Family::Events).unwrap(), 1);
        append(42..44);
        engine.join_last_files(Family::Events).unwrap();
        assert_eq!(engine.files(Family::Events).unwrap(), 1);
        let view = engine.latest();
        let mut cursor = view
            .cursor(Family::Events, Bounds::default(), Scan::Short)
            .unwrap();
        let mut rows = 0;
        while cursor.key().is_some() {
            rows += 1;
            cursor.advance().unwrap();
        }
        assert_eq!(rows, 42);
    }

    #[test]
    fn bytes_that_are_not_those_written_are_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), &EngineOptions::small()).unwrap();
        let mut batch = engine.batch();
        batch.put(Family::Events, &keys::event(2, 0), &[7; 4096]);
        engine.write(batch).unwrap();
        engine.flush().unwrap();
        let file = engine.db.live_files().unwrap().remove(0).name;
        drop(engine);
        let path = dir.path().join(file.trim_start_matches('/'));
        let mut bytes = read_file(&RealDisk, &path).unwrap().unwrap();
        bytes[20] ^= 1;
        write_file_durably(&RealDisk, &path, &bytes).unwrap();
        let engine = Engine::open(dir.path(), &EngineOptions::small()).unwrap();
        let key = keys::event(2, 0);
        let latest = engine.latest();
        assert!(latest.get(Family::Meta, &key).is_ok());
        assert_eq!(engine.damage(), None);
        assert!(latest.get(Family::Events, &key).is_err());
        assert!(
            engine.damage().unwrap().contains("Corruption"),
            "{:?}",
            engine.damage()
        );
    }

    #[test]
    fn the_end_of_what_is_dropped_belongs_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), &EngineOptions::small()).unwrap();
        let mut batch = engine.batch();
        for revision in 2..=6 {
            batch.put(Family::Events, &keys::event(revision, 0), b"");
        }
        engine.write(batch).unwrap();
        engine.settle_family(Family::Events);
        let is_empty = || {
            let view = engine.latest();
            let cursor = view.cursor(Family::Events, Bounds::default(), Scan::Short);
            cursor.unwrap().key().is_none()
        };
        let from = keys::event(0, 0);
        engine
            .drop_event_files(&from, &keys::event(5, u32::MAX))
            .unwrap();
        assert!(!is_empty());
        engine.drop_event_files(&from, &keys::event(6, 0)).unwrap();
        assert!(is_empty());
    }
}

//! Where segments come from and go to: prepared ahead, recycled behind.
//!
//! A file lives through: *spare* (zero-filled, or full of an earlier life's records) → *ready* (new
//! header, segment name, both durable; exactly one) → active → full → purged → spare again.
//!
//! Filling a file with zeros, for real and not by `fallocate`, is what makes a later durable write
//! cheap: neither the file's length nor its extents change, so no journal commit is needed. It
//! takes long, so a background thread does it. If the writer is faster than that, it makes a small
//! segment for itself and goes on.
//!
//! Order on disk: a segment's name becomes durable before its first record is written, and segments
//! leave from the oldest on, each removal made durable before the next. So the names that a power
//! cut leaves behind are consecutive.

use super::error::LogError;
use super::segment::{
    RECORDS_AT, SEGMENT_BYTES_MIN, Segment, SegmentHeader, Sequence, segment_name, spare_name,
};
use crate::env::{Disk, DiskFile};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A segment that somebody waits for is at most this large.
const SMALL_SEGMENT_BYTES: u64 = 1 << 20;
/// Zeros written at once, so that the log's own writes never wait behind many.
const ZEROS_BYTES: usize = 1 << 20;
/// Recycled files kept beside the one that is ready.
const SPARES_MAX: usize = 1;

pub(super) struct Nursery {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_bytes: u64,
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    next_sequence: Sequence,
    next_incarnation: u64,
    ready: Option<Segment>,
    spares: Vec<Spare>,
    /// Purged segments, oldest first.
    retired: VecDeque<Segment>,
    /// The disk had no room for a spare; tried again when the next segment is taken.
    no_room: bool,
    stop: bool,
}

/// A file of the full size without a name as a segment.
pub(super) struct Spare {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) bytes: u64,
}

enum Job {
    Retire(Segment),
    Prepare(Option<Spare>, u64),
}

impl Nursery {
    pub(super) fn new(disk: Arc<dyn Disk>, dir: &Path, segment_bytes: u64) -> Self {
        Self {
            disk,
            dir: dir.to_owned(),
            segment_bytes: segment_bytes.clamp(SEGMENT_BYTES_MIN, 1 << 30),
            inner: Mutex::new(Inner {
                next_sequence: 1,
                next_incarnation: 1,
                ready: None,
                spares: Vec::new(),
                retired: VecDeque::new(),
                no_room: false,
                stop: false,
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    pub(super) fn path(&self, sequence: Sequence) -> PathBuf {
        self.dir.join(segment_name(sequence))
    }

    /// What recovery found: the next names, and the files that can be used again.
    pub(super) fn resume(&self, sequence: Sequence, incarnation: u64, spares: Vec<Spare>) {
        let mut inner = self.lock();
        inner.next_sequence = sequence;
        inner.next_incarnation = incarnation;
        inner.spares = spares;
    }

    /// The next segment. Takes no I/O if it is ready.
    pub(super) fn take(&self) -> Result<Segment, LogError> {
        let mut inner = self.lock();
        inner.no_room = false;
        let segment = match inner.ready.take() {
            Some(segment) => segment,
            // Holding the lock: nobody else may name a segment meanwhile.
            None => {
                let spare = match inner.spares.pop() {
                    Some(spare) => spare,
                    None => {
                        let incarnation = inner.incarnation();
                        self.fill(incarnation, self.segment_bytes.min(SMALL_SEGMENT_BYTES))?
                    }
                };
                self.name(&mut inner, spare)?
            }
        };
        self.changed.notify_all();
        Ok(segment)
    }

    /// Hands back segments whose entries are durably purged, oldest first.
    pub(super) fn retire(&self, segments: impl Iterator<Item = Segment>) {
        let mut inner = self.lock();
        let before = inner.retired.len();
        inner.retired.extend(segments);
        if inner.retired.len() > before {
            self.changed.notify_all();
        }
    }

    /// The background thread's life. It ends when told to, or with the first error that could make
    /// a name or a byte not durable.
    pub(super) fn run(&self) -> Result<(), LogError> {
        loop {
            let mut inner = self.lock();
            let job = loop {
                if inner.stop {
                    return Ok(());
                }
                if let Some(job) = inner.job() {
                    break job;
                }
                inner = self
                    .changed
                    .wait(inner)
                    .unwrap_or_else(PoisonError::into_inner);
            };
            drop(inner);
            self.work(job)?;
        }
    }

    /// Without a background thread: everything that waits, now.
    pub(super) fn tend(&self) -> Result<(), LogError> {
        loop {
            let Some(job) = self.lock().job() else {
                return Ok(());
            };
            self.work(job)?;
        }
    }

    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.changed.notify_all();
    }

    fn work(&self, job: Job) -> Result<(), LogError> {
        match job {
            Job::Retire(segment) => self.reuse_or_remove(segment),
            Job::Prepare(spare, incarnation) => {
                let spare =
                    match spare.map_or_else(|| self.fill(incarnation, self.segment_bytes), Ok) {
                        Ok(spare) => spare,
                        Err(error) if self.can_do_without(&error) => {
                            tracing::warn!(%error, "no room to prepare a log segment");
                            self.disk
                                .remove_file(&self.dir.join(spare_name(incarnation)))
                                .ok();
                            self.lock().no_room = true;
                            return Ok(());
                        }
                        Err(error) => return Err(error),
                    };
                let mut inner = self.lock();
                debug_assert!(inner.ready.is_none(), "only this function makes one ready");
                inner.ready = Some(self.name(&mut inner, spare)?);
                Ok(())
            }
        }
    }

    /// A full disk does not stop a log that still has room in its segment.
    fn can_do_without(&self, error: &LogError) -> bool {
        matches!(error, LogError::Io { source, .. }
            if source.kind() == std::io::ErrorKind::StorageFull)
    }

    /// A new file full of durable zeros.
    fn fill(&self, incarnation: u64, bytes: u64) -> Result<Spare, LogError> {
        let path = self.dir.join(spare_name(incarnation));
        let file = self
            .disk
            .create(&path)
            .map_err(LogError::io("create", &path))?;
        let zeros = vec![0; usize::try_from(bytes).map_or(ZEROS_BYTES, |all| all.min(ZEROS_BYTES))];
        let mut at = 0;
        while at < bytes {
            let left =
                usize::try_from(bytes - at).map_or(zeros.len(), |left| left.min(zeros.len()));
            file.write_durably_at(&zeros[..left], at)
                .map_err(LogError::io("fill", &path))?;
            at += left as u64;
        }
        Ok(Spare {
            path,
            file: Arc::from(file),
            bytes,
        })
    }

    /// Makes a spare the segment that comes next.
    fn name(&self, inner: &mut Inner, spare: Spare) -> Result<Segment, LogError> {
        let header = SegmentHeader {
            sequence: inner.next_sequence,
            incarnation: inner.incarnation(),
            // Never more than 1 GiB: see `new`.
            bytes: u32::try_from(spare.bytes).unwrap_or(0),
        };
        let path = self.path(header.sequence);
        spare
            .file
            .write_all_at(&header.encode(), 0)
            .map_err(LogError::io("write", &spare.path))?;
        spare
            .file
            .sync()
            .map_err(LogError::io("sync", &spare.path))?;
        self.disk
            .rename(&spare.path, &path)
            .map_err(LogError::io("name", &path))?;
        self.sync_dir()?;
        inner.next_sequence = header.sequence.checked_add(1).ok_or_else(|| {
            LogError::io("count segments in", &self.dir)(std::io::ErrorKind::QuotaExceeded.into())
        })?;
        Ok(Segment {
            header,
            file: spare.file,
            bytes: spare.bytes,
        })
    }

    fn reuse_or_remove(&self, segment: Segment) -> Result<(), LogError> {
        let path = self.path(segment.header.sequence);
        let keep = self.lock().spares.len() < SPARES_MAX;
        // A reader may still hold the file; then its bytes must stay what they are.
        let bytes = segment.file.len().map_err(LogError::io("measure", &path))?;
        if keep && bytes == self.segment_bytes && Arc::strong_count(&segment.file) == 1 {
            let spare = self.dir.join(spare_name(segment.header.incarnation));
            self.disk
                .rename(&path, &spare)
                .map_err(LogError::io("recycle", &path))?;
            self.sync_dir()?;
            let spare = Spare {
                path: spare,
                file: segment.file,
                bytes,
            };
            self.lock().spares.push(spare);
            Ok(())
        } else {
            self.disk
                .remove_file(&path)
                .map_err(LogError::io("remove", &path))?;
            self.sync_dir()
        }
    }

    fn sync_dir(&self) -> Result<(), LogError> {
        self.disk
            .sync_dir(&self.dir)
            .map_err(LogError::io("sync directory", &self.dir))
    }
}

impl Inner {
    fn incarnation(&mut self) -> u64 {
        let incarnation = self.next_incarnation;
        self.next_incarnation += 1;
        incarnation
    }

    /// Recycling comes before preparing, which may then use what was recycled.
    fn job(&mut self) -> Option<Job> {
        if let Some(segment) = self.retired.pop_front() {
            return Some(Job::Retire(segment));
        }
        if self.ready.is_none() && !self.no_room {
            return Some(Job::Prepare(self.spares.pop(), self.incarnation()));
        }
        None
    }
}

const _: () = assert!(SEGMENT_BYTES_MIN > RECORDS_AT, "a segment holds records");

//! The log itself: its interface, opening and closing.

use super::entry::{Done, LogEntry, LogOptions, LogState, LogStats, PAYLOAD_BYTES_MAX, Vote};
use super::error::LogError;
use super::index::Index;
use super::nursery::Nursery;
use super::reading::Run;
use super::recovery;
use super::segment::RECORDS_AT;
use super::shared::{Inner, Live, Shared, copy, lock};
use super::writer::{Op, Writer};
use crate::env::threads::Joiner;
use crate::env::{Disk, Threads};
use crate::telemetry::metrics::Durations;
use crate::types::Position;
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// A Raft log in a directory. Clones are the same log. When the last one is dropped, what is queued
/// is still written; [`SegmentedLog::close`] waits for that.
#[derive(Clone)]
pub struct SegmentedLog {
    shared: Arc<Shared>,
    owner: Arc<Owner>,
}

struct Owner {
    shared: Arc<Shared>,
    threads: Mutex<Vec<Joiner>>,
}

impl SegmentedLog {
    /// Opens the log in `dir`, which is created if missing. Blocks for the replay. Nobody else may
    /// have the directory open; the caller holds the lock that says so.
    pub fn open(
        dir: &Path,
        disk: &Arc<dyn Disk>,
        threads: &Arc<dyn Threads>,
        options: LogOptions,
    ) -> Result<Self, LogError> {
        disk.create_dir_all(dir)
            .map_err(LogError::io("create", dir))?;
        if let Some(parent) = dir.parent() {
            disk.sync_dir(parent)
                .map_err(LogError::io("sync directory", parent))?;
        }
        let recovered = recovery::recover(&**disk, dir)?;
        let nursery = Arc::new(Nursery::new(disk.clone(), dir, options.segment_bytes));
        let spares = recovery::tidy_up(&**disk, dir, &recovered.unused, nursery.segment_bytes())?;
        nursery.resume(recovered.next_sequence, recovered.next_incarnation, spares);

        let mut segments: VecDeque<Live> = recovered
            .segments
            .into_iter()
            .map(|(segment, greatest)| Live { segment, greatest })
            .collect();
        // What was read may be in the kernel's memory only, after a crash of the process alone. A
        // sync is not enough: if one failed before the crash, the kernel may hold the pages for
        // clean, write nothing and say that all is well. Written again they are dirty again.
        let last = segments.back().map(|last| last.segment.clone());
        if let Some(last) = &last {
            let path = nursery.path(last.header.sequence);
            last.file
                .write_all_at(&recovered.last_records, RECORDS_AT)
                .and_then(|()| last.file.sync())
                .map_err(LogError::io("write again", path))?;
        }
        let end = recovered.start.previous_end;
        let writer = Writer::start(nursery.clone(), recovered.start)?;
        segments.push_back(Live {
            segment: writer.segment().clone(),
            greatest: None,
        });
        // The new segment's state record has sealed the old one: the rest of it is dead.
        if let Some(last) = last.filter(|last| end < last.bytes) {
            let path = nursery.path(last.header.sequence);
            last.file
                .set_len(end)
                .map_err(LogError::io("shorten", path))?;
        }

        let turns = threads.is_inline().then(|| threads.clone());
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                index: recovered.index,
                vote: recovered.vote,
                queue: Vec::new(),
                queued_since: None,
                writing_since: None,
                is_writer_idle: false,
                is_closing: false,
                failure: None,
                segments,
                durably_purged: recovered.start.purged,
                stats: LogStats::default(),
            }),
            work: Condvar::new(),
            inline: Mutex::new(None),
            turns,
            nursery,
            cache_bytes: options.cache_bytes,
            syncs: writer.syncs().clone(),
        });
        shared.retire();
        let mut joiners = Vec::new();
        if shared.turns.is_some() {
            shared.nursery.tend()?;
            *lock(&shared.inline) = Some(writer);
        } else {
            let start = |name, body: Box<dyn FnOnce() + Send>| {
                threads
                    .spawn(name, body)
                    .map_err(LogError::io("start a thread for", dir))
            };
            let for_writer = shared.clone();
            joiners.push(start(
                "raft-log",
                Box::new(move || for_writer.write_until_closed(writer)),
            )?);
            let for_nursery = shared.clone();
            joiners.push(start(
                "raft-log-prep",
                Box::new(move || {
                    if let Err(error) = for_nursery.nursery.run() {
                        for_nursery.fail(&error.into());
                    }
                }),
            )?);
        }
        let owner = Arc::new(Owner {
            shared: shared.clone(),
            threads: Mutex::new(joiners),
        });
        Ok(Self { shared, owner })
    }

    /// Refuses a log of a newer format, and writes nothing.
    pub fn check_formats(dir: &Path, disk: &dyn Disk) -> Result<(), LogError> {
        if disk.exists(dir).map_err(LogError::io("look for", dir))? {
            recovery::check_formats(disk, dir)?;
        }
        Ok(())
    }

    /// The vote and the ends of the log, queued operations included.
    pub fn state(&self) -> LogState {
        let inner = self.shared.lock();
        LogState {
            vote: inner.vote,
            purged: inner.index.purged(),
            last: inner.index.last(),
        }
    }

    /// Queues entries, which can be read at once. They must follow the last one without a hole.
    pub fn append(&self, entries: Vec<LogEntry>, done: Done) -> io::Result<()> {
        let mut inner = self.shared.lock();
        if let Err(error) = inner
            .check()
            .and_then(|()| check_entries(&inner.index, &entries))
        {
            drop(inner);
            return refuse(error, done);
        }
        for entry in &entries {
            inner.index.push(entry.position, entry.payload.clone());
        }
        inner.stats.entries_appended += entries.len() as u64;
        self.shared.submit(inner, Op::Append(entries, done));
        Ok(())
    }

    /// Queues the vote. It and everything queued before are durable when `done` says so.
    pub fn save_vote(&self, vote: Vote, done: Done) -> io::Result<()> {
        let mut inner = self.shared.lock();
        if let Err(error) = inner.check() {
            drop(inner);
            return refuse(error, done);
        }
        inner.vote = Some(vote);
        self.shared.submit(inner, Op::Vote(vote, done));
        Ok(())
    }

    /// Drops every entry after `last`; `None` drops all that are not purged.
    pub fn truncate_after(&self, last: Option<Position>) -> io::Result<()> {
        let mut inner = self.shared.lock();
        inner.check()?;
        let end = inner.index.last();
        if last.or(inner.index.purged()) == end {
            return Ok(());
        }
        if let Some(keep) = last
            && inner.index.position_of(keep.index) != Some(keep)
        {
            return Err(invalid(format!(
                "truncate after {keep}, which is not in the log"
            )));
        }
        inner.index.truncate_after(last);
        self.shared.submit(inner, Op::Truncate(last));
        Ok(())
    }

    /// Drops every entry up to `upto`. Beyond the end, the log is empty and goes on after `upto`.
    /// Segments are recycled or removed later, in the background.
    pub fn purge(&self, upto: Position) -> io::Result<()> {
        let mut inner = self.shared.lock();
        inner.check()?;
        if inner
            .index
            .purged()
            .is_some_and(|purged| upto.index <= purged.index)
        {
            return Ok(());
        }
        if upto.index == u64::MAX {
            return Err(invalid(
                "the last index there is cannot be purged".to_owned(),
            ));
        }
        inner.index.purge(upto);
        self.shared.submit(inner, Op::Purge(upto));
        Ok(())
    }

    /// Entries from `from` on, at most `bytes_max` of payload, but one if there is any. Entries
    /// that were purged are left out. Mostly from memory; else one or a few reads of the disk.
    pub fn read(
        &self,
        from: u64,
        to_exclusive: u64,
        bytes_max: usize,
    ) -> io::Result<Vec<LogEntry>> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        // What is not cached comes before what is, so the disk is read in a prefix only.
        let mut runs: Vec<Run> = Vec::new();
        let inner = self.shared.lock();
        inner.check_failure()?;
        let (first, end) = inner.index.range();
        for index in from.max(first)..to_exclusive.min(end) {
            let Some((position, entry)) = inner.index.get(index) else {
                break;
            };
            bytes += match &entry {
                Ok(payload) => payload.len(),
                Err(place) => place.payload_bytes as usize,
            };
            if bytes > bytes_max && (!entries.is_empty() || !runs.is_empty()) {
                break;
            }
            match entry {
                Ok(payload) => {
                    entries.push(LogEntry {
                        position,
                        payload: payload.clone(),
                    });
                }
                Err(place) => match runs.last_mut().filter(|run| run.can_take(place)) {
                    Some(run) => run.push(position, place),
                    None => runs.push(inner.run(position, place)?),
                },
            }
        }
        drop(inner);
        if runs.is_empty() {
            return Ok(entries);
        }
        let mut from_disk = Vec::new();
        for run in runs {
            run.read(&self.shared.nursery, &mut from_disk)?;
        }
        from_disk.append(&mut entries);
        Ok(from_disk)
    }

    /// Whether the log holds nothing: neither vote nor entry, and none was ever purged. Of a member
    /// that took part in anything it must not be true: its log was lost.
    pub fn is_pristine(&self) -> bool {
        self.state() == LogState::default()
    }

    pub fn stats(&self) -> LogStats {
        let inner = self.shared.lock();
        let bytes_kept = inner.segments.iter().map(|live| live.segment.bytes).sum();
        LogStats {
            bytes_kept,
            ..inner.stats
        }
    }

    /// How long each sync on the append path took.
    pub fn syncs(&self) -> &Durations {
        &self.shared.syncs
    }

    /// How many of the newest entries, at most `entries_max`, have together at most `bytes_max` of
    /// payload.
    pub fn tail_entries(&self, entries_max: u64, bytes_max: u64) -> u64 {
        let inner = self.shared.lock();
        let (first, end) = inner.index.range();
        let (mut entries, mut bytes) = (0, 0);
        for index in (first..end).rev() {
            bytes += match inner.index.get(index) {
                Some((_, Ok(payload))) => payload.len() as u64,
                Some((_, Err(place))) => place.payload_bytes.into(),
                None => 0,
            };
            if entries == entries_max || bytes > bytes_max {
                break;
            }
            entries += 1;
        }
        entries
    }

    /// How long the oldest operation that is not yet durable has waited.
    pub fn oldest_pending(&self) -> Option<Duration> {
        let inner = self.shared.lock();
        inner
            .writing_since
            .or(inner.queued_since)
            .map(|since| since.elapsed())
    }

    /// Writes what is queued, then waits for the threads. Later calls on any clone fail. Must not
    /// be called from a `Done`.
    pub fn close(&self) -> io::Result<()> {
        self.shared.begin_closing();
        if self.shared.turns.is_some() {
            self.shared.write_inline();
        }
        for joiner in std::mem::take(&mut *lock(&self.owner.threads)) {
            joiner.join().map_err(io::Error::other)?;
        }
        self.shared.lock().check_failure()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.begin_closing();
    }
}

fn check_entries(index: &Index, entries: &[LogEntry]) -> io::Result<()> {
    let mut next = index.next();
    for entry in entries {
        let position = entry.position;
        if next.is_some_and(|next| next != position.index) || position.index == u64::MAX {
            return Err(invalid(format!(
                "append {position}, which does not follow the log's end"
            )));
        }
        if entry.payload.len() > PAYLOAD_BYTES_MAX {
            return Err(invalid(format!("append {position}: a payload over 1 GiB")));
        }
        next = Some(position.index + 1);
    }
    Ok(())
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

fn refuse(error: io::Error, done: Done) -> io::Result<()> {
    done(Err(copy(&error)));
    Err(error)
}

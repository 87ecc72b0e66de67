//! What the log's clones and its threads share: the queue, the index, the way of a group.

use super::entry::{LogStats, Vote};
use super::index::{Index, Place};
use super::nursery::Nursery;
use super::reading::Run;
use super::segment::{Segment, Sequence};
use super::writer::{Op, Writer, Written};
use crate::env::Threads;
use crate::telemetry::metrics::Durations;
use crate::types::Position;
use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

pub(super) struct Shared {
    pub(super) inner: Mutex<Inner>,
    /// Wakes the writer's thread.
    pub(super) work: Condvar,
    /// The writer, where no thread owns it. Whoever takes it out works for all others.
    pub(super) inline: Mutex<Option<Writer>>,
    /// Where no thread writes: runs the writer's next turn.
    pub(super) turns: Option<Arc<dyn Threads>>,
    pub(super) nursery: Arc<Nursery>,
    pub(super) cache_bytes: usize,
    pub(super) syncs: Arc<Durations>,
}

pub(super) struct Inner {
    pub(super) index: Index,
    pub(super) vote: Option<Vote>,
    pub(super) queue: Vec<Op>,
    /// When the oldest queued operation came, and the oldest of the group that is being written.
    pub(super) queued_since: Option<Instant>,
    pub(super) writing_since: Option<Instant>,
    pub(super) is_writer_idle: bool,
    pub(super) is_closing: bool,
    pub(super) failure: Option<(io::ErrorKind, String)>,
    pub(super) segments: VecDeque<Live>,
    pub(super) durably_purged: Option<Position>,
    pub(super) stats: LogStats,
}

/// A segment that may still be read.
pub(super) struct Live {
    pub(super) segment: Segment,
    /// The greatest index among its entries: once that is purged, the segment can go.
    pub(super) greatest: Option<u64>,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    pub(super) fn submit(self: &Arc<Self>, mut inner: MutexGuard<'_, Inner>, op: Op) {
        let is_first = inner.queue.is_empty();
        if is_first {
            inner.queued_since = Some(Instant::now());
        }
        inner.queue.push(op);
        // A wake-up is a system call: only for a writer that sleeps.
        let wake = std::mem::take(&mut inner.is_writer_idle);
        drop(inner);
        match &self.turns {
            // What comes before its turn is written with it.
            Some(turns) if is_first => {
                let shared = self.clone();
                turns.later(Box::new(move || shared.write_inline()));
            }
            Some(_) => {}
            None if wake => self.work.notify_one(),
            None => {}
        }
    }

    /// The writer's thread.
    pub(super) fn write_until_closed(&self, mut writer: Writer) {
        let mut ops = Vec::new();
        loop {
            {
                let mut inner = self.lock();
                while !inner.take_group(&mut ops) {
                    if inner.is_closing || inner.failure.is_some() {
                        return;
                    }
                    inner.is_writer_idle = true;
                    inner = self
                        .work
                        .wait(inner)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
            self.write_group(&mut writer, &mut ops);
        }
    }

    /// The caller's thread is the writer's. A callback that queues more finds the writer taken out;
    /// its operation is written by this loop when the callback has returned.
    pub(super) fn write_inline(&self) {
        let Some(mut writer) = lock(&self.inline).take() else {
            return;
        };
        let mut ops = Vec::new();
        while self.lock().take_group(&mut ops) {
            self.write_group(&mut writer, &mut ops);
            if let Err(error) = self.nursery.tend() {
                self.fail(&error.into());
            }
        }
        *lock(&self.inline) = Some(writer);
    }

    pub(super) fn write_group(&self, writer: &mut Writer, ops: &mut Vec<Op>) {
        let result = writer.write_group(ops);
        match result {
            Ok(written) => {
                self.publish(written);
                // First: the nursery may hold its lock for as long as a sync takes.
                for done in writer.dones() {
                    done(Ok(()));
                }
                self.retire();
            }
            Err(error) => {
                // Marked as failed before anybody hears of it; the group's callbacks come first.
                let queued = self.mark_failed(&error);
                for done in writer.dones() {
                    done(Err(copy(&error)));
                }
                complete_failed(queued, &error);
            }
        }
    }

    /// Makes a durable group's places known; trims the cache.
    pub(super) fn publish(&self, written: &Written) {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let begun = written.begun.iter().cloned();
        inner.segments.extend(begun.map(|segment| Live {
            segment,
            greatest: None,
        }));
        for &(position, place) in &written.places {
            inner.index.written(position, place);
            if let Some(live) = inner.live(place.sequence) {
                live.greatest = live.greatest.max(Some(position.index));
            }
        }
        inner.index.evict(self.cache_bytes);
        inner.stats.groups += 1;
        inner.stats.fsyncs += written.fsyncs;
        inner.stats.bytes_written += written.bytes;
        inner.writing_since = None;
        inner.durably_purged = written.purged;
    }

    /// Hands segments back whose entries are all durably purged: from the oldest on, never the one
    /// that is being written.
    pub(super) fn retire(&self) {
        let mut inner = self.lock();
        let purged = inner.durably_purged.map(|purged| purged.index);
        let all_but_one = inner.segments.len() - 1;
        let dead = inner.segments.iter().take(all_but_one);
        let dead = dead.take_while(|live| live.greatest.is_none_or(|last| Some(last) <= purged));
        let count = dead.count();
        if count > 0 {
            let dead: Vec<Live> = inner.segments.drain(..count).collect();
            drop(inner);
            self.nursery
                .retire(dead.into_iter().map(|live| live.segment));
        }
    }

    pub(super) fn fail(&self, error: &io::Error) {
        complete_failed(self.mark_failed(error), error);
    }

    /// From here on every call fails. The first failure is the one that is told.
    pub(super) fn mark_failed(&self, error: &io::Error) -> Vec<Op> {
        tracing::error!(
            error = with_causes(error),
            "the Raft log failed; nothing more will be written"
        );
        let mut inner = self.lock();
        inner
            .failure
            .get_or_insert_with(|| (error.kind(), with_causes(error)));
        let queued = std::mem::take(&mut inner.queue);
        drop(inner);
        self.nursery.stop();
        self.work.notify_all();
        queued
    }

    pub(super) fn begin_closing(&self) {
        self.lock().is_closing = true;
        self.nursery.stop();
        self.work.notify_all();
    }
}

impl Inner {
    pub(super) fn check(&self) -> io::Result<()> {
        self.check_failure()?;
        if self.is_closing {
            return Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "the Raft log is closed",
            ));
        }
        Ok(())
    }

    pub(super) fn check_failure(&self) -> io::Result<()> {
        match &self.failure {
            None => Ok(()),
            Some((kind, text)) => Err(io::Error::new(
                *kind,
                format!("the Raft log failed earlier: {text}"),
            )),
        }
    }

    /// Moves what is queued into `ops`, whose buffer becomes the next queue.
    pub(super) fn take_group(&mut self, ops: &mut Vec<Op>) -> bool {
        debug_assert!(ops.is_empty());
        if self.queue.is_empty() || self.failure.is_some() {
            return false;
        }
        std::mem::swap(&mut self.queue, ops);
        self.writing_since = self.queued_since.take();
        true
    }

    pub(super) fn live(&mut self, sequence: Sequence) -> Option<&mut Live> {
        let first = self.segments.front()?.segment.header.sequence;
        self.segments
            .get_mut(usize::try_from(sequence.checked_sub(first)?).ok()?)
    }

    /// A run of entries to read from disk, with one entry so far.
    pub(super) fn run(&self, position: Position, place: Place) -> io::Result<Run> {
        let first = self
            .segments
            .front()
            .map_or(0, |live| live.segment.header.sequence);
        let at = place
            .sequence
            .checked_sub(first)
            .and_then(|at| usize::try_from(at).ok());
        let live = at.and_then(|at| self.segments.get(at));
        let live = live.ok_or_else(|| io::Error::other("an entry without a segment"))?;
        Ok(Run::new(live.segment.clone(), position, place))
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `io::Error` cannot be cloned; its kind and its words can.
pub(super) fn copy(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), with_causes(error))
}

fn with_causes(error: &io::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn complete_failed(ops: Vec<Op>, error: &io::Error) {
    for done in ops.into_iter().filter_map(Op::into_done) {
        done(Err(copy(error)));
    }
}

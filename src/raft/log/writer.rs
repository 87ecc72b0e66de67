//! The one writer: a group of operations in, one durable write, its callbacks out.
//!
//! Runs on its own thread, or inline on the caller's where there are no threads (the simulator).
//! Everything it needs between groups it owns; it takes the log's lock twice a group, to fetch the
//! operations and to publish the result, never across I/O.

use super::entry::{Done, LogEntry, Vote};
use super::error::LogError;
use super::index::Place;
use super::nursery::Nursery;
use super::record::{self, Link, Record, SegmentStart};
use super::segment::{RECORDS_AT, Segment};
use crate::canary::{Canary, planted};
use crate::telemetry::metrics::{Buckets, Durations};
use crate::types::Position;
use std::io;
use std::sync::Arc;

/// A group longer than this is written in parts.
const BUFFER_BYTES: usize = 1 << 20;

/// etcd's buckets for a sync: 1 ms to 8.2 s.
const SYNC_BUCKETS: Buckets = Buckets::Doubling {
    micros: 1000,
    count: 14,
};

/// A queued operation.
pub(super) enum Op {
    Append(Vec<LogEntry>, Done),
    Vote(Vote, Done),
    Truncate(Option<Position>),
    Purge(Position),
}

impl Op {
    pub(super) fn into_done(self) -> Option<Done> {
        match self {
            Self::Append(_, done) | Self::Vote(_, done) => Some(done),
            Self::Truncate(_) | Self::Purge(_) => None,
        }
    }
}

/// What a group did, for the log to publish.
#[derive(Default)]
pub(super) struct Written {
    pub(super) places: Vec<(Position, Place)>,
    /// Segments begun, in order.
    pub(super) begun: Vec<Segment>,
    /// Durable from now on.
    pub(super) purged: Option<Position>,
    pub(super) fsyncs: u64,
    pub(super) bytes: u64,
}

impl Written {
    fn clear(&mut self) {
        self.places.clear();
        self.begun.clear();
        (self.fsyncs, self.bytes) = (0, 0);
    }
}

/// Invariants: `buffer` belongs at `offset`; its last record starts at `last_record`; `link` is that
/// record's; `state` is what the stream up to there says.
pub(super) struct Writer {
    nursery: Arc<Nursery>,
    segment: Segment,
    seed: u32,
    link: u32,
    group: u32,
    offset: u64,
    /// Nothing but the state record was written to the segment.
    is_fresh: bool,
    state: SegmentStart,
    buffer: Vec<u8>,
    last_record: usize,
    written: Written,
    dones: Vec<Done>,
    syncs: Arc<Durations>,
}

impl Writer {
    /// Begins a new segment after what recovery found, and makes its state record durable.
    pub(super) fn start(nursery: Arc<Nursery>, state: SegmentStart) -> Result<Self, LogError> {
        let segment = nursery.take()?;
        let mut writer = Self {
            seed: segment.header.seed(),
            link: segment.header.seed(),
            group: 0,
            offset: RECORDS_AT,
            is_fresh: true,
            state,
            buffer: Vec::with_capacity(64 << 10),
            last_record: 0,
            written: Written::default(),
            dones: Vec::new(),
            syncs: Arc::new(Durations::new(SYNC_BUCKETS)),
            segment,
            nursery,
        };
        let path = writer.nursery.path(writer.segment.header.sequence);
        writer.write_state();
        writer.close_group().map_err(LogError::io("write", path))?;
        Ok(writer)
    }

    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// How long each durable write took.
    pub(super) fn syncs(&self) -> &Arc<Durations> {
        &self.syncs
    }

    /// Writes `ops` as one group. `Ok` means that all of it is durable. Either way the callbacks
    /// wait in [`Self::dones`].
    pub(super) fn write_group(&mut self, ops: &mut Vec<Op>) -> io::Result<&Written> {
        self.written.clear();
        let mut result = Ok(());
        // After an error the rest is only taken apart for its callbacks.
        for op in ops.drain(..) {
            if result.is_ok() {
                result = self.encode(&op);
            }
            self.dones.extend(op.into_done());
        }
        result?;
        if !self.buffer.is_empty() {
            self.close_group()?;
        }
        if self.buffer.capacity() > 2 * BUFFER_BYTES {
            self.buffer.shrink_to(BUFFER_BYTES);
        }
        self.written.purged = self.state.purged;
        Ok(&self.written)
    }

    /// Callbacks of the last group, in order.
    pub(super) fn dones(&mut self) -> impl Iterator<Item = Done> {
        self.dones.drain(..)
    }

    fn encode(&mut self, op: &Op) -> io::Result<()> {
        match op {
            Op::Append(entries, _) => {
                for entry in entries {
                    let record = Record::Entry(entry.position);
                    let offset = self.put(&record, &entry.payload)?;
                    self.state.last = Some(entry.position);
                    let place = Place {
                        sequence: self.segment.header.sequence,
                        offset: u32::try_from(offset).map_err(io::Error::other)?,
                        payload_bytes: u32::try_from(entry.payload.len())
                            .map_err(io::Error::other)?,
                    };
                    self.written.places.push((entry.position, place));
                }
            }
            Op::Vote(vote, _) => {
                self.put(&Record::Vote(*vote), &[])?;
                self.state.vote = Some(*vote);
            }
            Op::Truncate(keep) => {
                self.put(&Record::Truncate(*keep), &[])?;
                self.state.last = keep.or(self.state.purged);
            }
            Op::Purge(upto) => {
                self.put(&Record::Purge(*upto), &[])?;
                self.state.purged = Some(*upto);
                if self.state.last.is_none_or(|last| last.index <= upto.index) {
                    self.state.last = Some(*upto);
                }
            }
        }
        Ok(())
    }

    /// Adds a record to the group and answers its offset in the segment.
    fn put(&mut self, record: &Record, payload: &[u8]) -> io::Result<u64> {
        let bytes = record::encoded_bytes(record, payload) as u64;
        // A record larger than a whole segment gets one of its own, which grows.
        if self.end() + bytes > self.segment.bytes && !self.is_fresh {
            self.begin_segment()?;
        }
        if self.buffer.len() > BUFFER_BYTES {
            self.write_buffer()?;
        }
        let offset = self.end();
        self.encode_record(record, payload);
        self.is_fresh = false;
        Ok(offset)
    }

    fn end(&self) -> u64 {
        self.offset + self.buffer.len() as u64
    }

    fn encode_record(&mut self, record: &Record, payload: &[u8]) {
        self.last_record = self.buffer.len();
        let link = Link {
            seed: self.seed,
            previous: self.link,
            group: self.group,
        };
        self.link = record::encode(&mut self.buffer, link, record, payload);
    }

    fn write_state(&mut self) {
        let state = self.state;
        self.encode_record(&Record::State(state), &[]);
    }

    /// Goes on in the next segment. The old one must be durable before the new one gets its first
    /// byte: recovery takes a written segment as proof that the one before is whole.
    fn begin_segment(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.close_group()?;
        }
        self.state.previous_end = self.offset;
        self.state.previous_link = self.link;
        self.segment = self.nursery.take()?;
        self.written.begun.push(self.segment.clone());
        self.seed = self.segment.header.seed();
        self.link = self.seed;
        self.group = 0;
        self.offset = RECORDS_AT;
        self.is_fresh = true;
        self.write_state();
        Ok(())
    }

    /// Marks the group's end and writes what is left of it.
    fn close_group(&mut self) -> io::Result<()> {
        self.link = record::close_group(&mut self.buffer[self.last_record..], self.seed);
        self.write_buffer()?;
        self.group += 1;
        Ok(())
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        let file = &self.segment.file;
        // Planted: written is as good as synced.
        if planted(Canary::AcknowledgeBeforeFsync) {
            file.write_all_at(&self.buffer, self.offset)?;
        } else {
            let write = || file.write_durably_at(&self.buffer, self.offset);
            self.syncs.time(write)?;
        }
        self.written.fsyncs += 1;
        self.offset += self.buffer.len() as u64;
        self.written.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

//! The words of the log's interface.

use crate::types::Position;
use bytes::Bytes;
use std::io;

/// The largest payload of one entry. Offsets inside a segment are 32 bits wide.
pub(super) const PAYLOAD_BYTES_MAX: usize = 1 << 30;

/// One entry. The payload is opaque here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub position: Position,
    pub payload: Bytes,
}

/// Raft's hard state: the term, the candidate voted for, and whether a quorum granted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    pub term: u64,
    pub node: u64,
    pub committed: bool,
}

/// What the log holds now, queued operations included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LogState {
    pub vote: Option<Vote>,
    /// The last entry that was purged.
    pub purged: Option<Position>,
    /// The last entry; if there is none, the last that was purged.
    pub last: Option<Position>,
}

/// Completes one operation. Called exactly once, in queue order, mostly on the writer's thread:
/// keep it short. `Ok` is a watermark: everything queued before is durable as well.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Size of a prepared segment. The first of a fresh log is small, so that it starts at once.
    pub segment_bytes: u64,
    /// Payload bytes kept in memory, newest first. What is not yet durable always stays.
    pub cache_bytes: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            cache_bytes: 16 << 20,
        }
    }
}

/// Counters since the log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Syncs on the append path: one a group, and one more whenever a segment is full.
    pub fsyncs: u64,
    pub bytes_written: u64,
    pub entries_appended: u64,
    pub groups: u64,
    /// Not a counter: the size of the segments that are still needed.
    pub bytes_kept: u64,
}

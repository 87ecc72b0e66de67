//! Quorate's own Raft log: segments of checksummed records, one writer thread, group commit.
//!
//! Entries, the vote, truncations and purges are records of **one stream** that is written in the
//! order in which they were asked for. Raft's safety rests on that order, and openraft takes a
//! completed write as a watermark: everything asked for before it is durable too. One stream and
//! one `fdatasync` at a time give both for nothing.
//!
//! The path of an append:
//!
//! 1. [`SegmentedLog::append`] puts the entries into the index's cache and into the queue, wakes
//!    the writer if it sleeps, and returns. From here on they can be read. No I/O, no encoding.
//! 2. The [`writer`] takes everything queued: a *group*. It encodes the group into one buffer,
//!    writes it, syncs once, and completes the callbacks in order. The next group gathers
//!    meanwhile: the disk is the clock and there is no timer.
//! 3. Segments are prepared in the background by the [`nursery`] (zero-filled or recycled, header
//!    written, name durable), so that a sync never has to commit a file's growth.
//! 4. On start, [`recovery`] replays the segments. Each segment opens with a record that says where
//!    the one before it ended, so only the last may be torn; a record carries the number of the
//!    group it was written in, so a record that is damaged *below a later group* is told from one
//!    that the power cut tore, and refused.
//!
//! After a failed write or sync every later call fails; nothing is retried, because the kernel may
//! have dropped the pages. Stopping the process is the node's duty.
//!
//! The format, with an example of every record, is in `docs/data-layout.md`.
//!
//! * [`entry`]: the words of the interface. [`error`]: why a log does not open.
//! * [`record`], [`segment`]: the bytes. [`index`]: where each entry is, and the recent payloads.
//! * [`segmented_log`]: the interface. [`shared`]: the queue and the way of a group.
//!   [`reading`]: what is no longer in memory.

mod entry;
mod error;
mod index;
mod nursery;
mod reading;
mod record;
mod recovery;
mod segment;
mod segmented_log;
mod shared;
mod writer;

pub use entry::{Done, LogEntry, LogOptions, LogState, LogStats, Vote};
pub use error::LogError;
pub use segmented_log::SegmentedLog;
#[cfg(test)]
mod tests;

//! openraft's log over our segmented log ([`super::log`]): types in, types out, no I/O of its own.
//!
//! `append` returns at once; openraft hears of durability through the callback, which the log's
//! writer calls after one fsync for a whole group. Votes go through the same queue, so a completed
//! callback means that everything before it is durable too, which openraft relies on.

use super::log::{LogEntry, SegmentedLog, Vote as LogVote};
use super::type_config::{Entry, LogId, TypeConfig, Vote, log_id_of, position_of, vote_of};
use super::wire::{decode_payload, encode_payload};
use crate::canary::{Canary, planted};
use futures_util::{Stream, stream};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use tokio::sync::oneshot;

/// Bytes of entries that one read for replication returns (always at least one entry): the byte cap
/// of an append message, which openraft itself only caps in entries.
pub(super) const READ_BYTES_MAX: usize = 1 << 20;

/// A handle; clones share the log.
#[derive(Clone)]
pub(super) struct LogStore {
    log: SegmentedLog,
}

impl LogStore {
    pub(super) fn new(log: SegmentedLog) -> Self {
        Self { log }
    }

    fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        self.log
            .read(from, to, bytes_max)?
            .into_iter()
            .map(entry_from_log)
            .collect()
    }
}

fn entry_from_log(entry: LogEntry) -> io::Result<Entry> {
    Ok(Entry {
        log_id: log_id_of(entry.position),
        payload: decode_payload(entry.payload)?,
    })
}

/// `[from, to)` of any range over indexes.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (from, to) = bounds(&range);
        self.read(from, to, usize::MAX)
    }

    /// For apply: read piece by piece, so that a long backlog is never in memory as a whole.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        let pieces = Pieces {
            store: self.clone(),
            next: from,
            to,
            piece: Vec::new().into_iter(),
        };
        stream::iter(pieces)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        let vote = self.log.state().vote;
        Ok(vote.map(|vote| vote_of(vote.term, vote.node, vote.committed)))
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(start, end, READ_BYTES_MAX)
    }
}

/// The entries of a range, read a piece at a time.
struct Pieces {
    store: LogStore,
    next: u64,
    to: u64,
    piece: std::vec::IntoIter<Entry>,
}

impl Iterator for Pieces {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.piece.len() == 0 && self.next < self.to {
            match self.store.read(self.next, self.to, READ_BYTES_MAX) {
                Ok(piece) => self.piece = piece.into_iter(),
                Err(error) => {
                    self.next = self.to;
                    return Some(Err(error));
                }
            }
        }
        let entry = self.piece.next()?;
        self.next = entry.log_id.index + 1;
        Some(Ok(entry))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let state = self.log.state();
        Ok(LogState {
            last_purged_log_id: state.purged.map(log_id_of),
            last_log_id: state.last.or(state.purged).map(log_id_of),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        // Planted: said to be saved.
        if planted(Canary::VoteNotDurable) {
            return Ok(());
        }
        let (durable, waiting) = oneshot::channel();
        let vote = LogVote {
            term: vote.leader_id.term,
            node: vote.leader_id.voted_for,
            committed: vote.committed,
        };
        let done = Box::new(move |result| {
            // Raft's core is gone: nobody is left to promise anything to.
            durable.send(result).ok();
        });
        self.log.save_vote(vote, done)?;
        waiting
            .await
            .map_err(|_| io::Error::other("the log's writer is gone"))?
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries
            .into_iter()
            .map(|entry| LogEntry {
                position: position_of(&entry.log_id),
                payload: encode_payload(&entry.payload),
            })
            .collect();
        self.log.append(
            entries,
            Box::new(move |result| callback.io_completed(result)),
        )
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let keep = last_log_id.as_ref().map(position_of);
        let state = self.log.state();
        if keep >= state.last.or(state.purged) {
            // Nothing comes after it.
            return Ok(());
        }
        self.log.truncate_after(keep)
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        self.log.purge(position_of(&log_id))
    }
}

//! Floor 2: revisions, views, history, compaction. What etcd calls mvcc, on RocksDB.
//!
//! Every change of state has a revision, and the state at any revision since the last compaction
//! can be read. Four families of rows hold it (`docs/data-layout.md` shows each with an example):
//! `current` has the live version of every key, so that reads of the latest revision, nearly all of
//! them, are one sequential scan; `events` has every change in the order it was made, for watchers;
//! `history` has superseded versions by key, for reads at old revisions; `meta` has the [`Head`].
//!
//! **One writes, many read.** The apply thread owns the [`Writer`]; it collects the changes of some
//! log entries in a [`WriteTxn`] and writes them with the applied position as one batch. Everybody
//! shares the [`Store`], which hands out [`ReadView`]s: a RocksDB snapshot together with the
//! revision, the compacted revision and the count index of exactly that batch. Readers take no
//! lock and wait for nobody.
//!
//! **Written is not durable.** A crash takes the state back to the last flush; the log replays the
//! rest. Nothing that a replay needs may be destroyed, so what compaction removes physically lags
//! behind what is durable ([`compaction`]).
//!
//! * [`head`]: the store's own row, and when events may be dropped.
//! * [`row`]: rows to bytes and back.
//! * [`state_cursor`]: the live keys of a range at one revision.
//! * [`range`]: etcd's Range on top of it. [`counting`]: how many keys, at any revision.
//! * [`count_index`]: counting without walking.
//! * [`store`]: the shared side. [`read_view`]: a consistent look at it.
//! * [`writer`]: the writing side. [`write_txn`]: changes being collected, over an [`overlay`].
//!   [`write_compact`]: the one command that makes the past unreadable.
//! * [`lease_rows`]: leases and which keys go with them. [`write_lease`]: granting and revoking.
//!   [`lease_feed`]: who hears of it.
//! * [`write_rest`]: Raft's membership, and the marks of the [`digest`].
//! * [`roster`]: what is replicated of members. [`write_members`]: changes of it.
//! * [`mod@refound`]: a backup's state becomes a new cluster's.
//! * [`refusal`]: why a valid command or read is not carried out.
//! * [`alarms`]: what is wrong with which member. [`downgrade`]: a note.
//! * [`events`]: what was changed, in order, and what was before it.
//! * [`metadata_cache`]: what makes an overwrite cheap. [`key_filter`]: and a new key.
//! * [`compaction`]: removing what nobody may read.
//! * [`digest`]: do members agree, at every batch? [`deep_hash`]: and in every row?
//!   [`hash`]: are two stores the same? [`hash_kv`]: and is it an etcd's? ([`crc_join`])

pub mod alarms;
pub mod compaction;
pub mod count_index;
pub mod counting;
mod crc_join;
pub mod deep_hash;
pub mod digest;
pub mod downgrade;
pub mod events;
pub mod hash;
pub mod hash_kv;
pub mod head;
pub mod key_filter;
pub mod lease_feed;
pub mod lease_rows;
pub mod metadata_cache;
mod meters;
pub mod overlay;
pub mod range;
pub mod read_view;
mod refound;
pub mod refusal;
pub mod roster;
pub mod row;
pub mod state_cursor;
pub mod store;
mod write_compact;
pub mod write_lease;
pub mod write_members;
mod write_rest;
pub mod write_txn;
pub mod writer;

pub use alarms::{Alarm, AlarmKind, Alarms};
pub use downgrade::DowngradeTarget;
pub use head::Head;
pub use lease_feed::{LeaseChange, LeaseFeed};
pub use meters::StoreMeters;
pub use overlay::PendingEvent;
pub use read_view::ReadView;
pub use refound::refound;
pub use refusal::Refusal;
pub use roster::{MemberAttributes, Roster};
pub use store::{Label, Membership, Sizes, Store, StoreOptions};
pub use write_lease::Fence;
pub use write_txn::WriteTxn;
pub use writer::Writer;

use crate::storage;

/// What can go wrong in the state, apart from what a command may be refused for. All of it is fatal
/// to the member.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error("the state on disk is damaged: {what}")]
    Corrupt { what: &'static str },
    #[error(
        "the state on disk was written by a newer version: {what} has format {found}, this one \
         reads up to {supported}"
    )]
    NewerFormat {
        what: &'static str,
        found: u8,
        supported: u8,
    },
    #[error("entry {next} was to be applied after {applied}")]
    OutOfOrder {
        applied: crate::types::Position,
        next: crate::types::Position,
    },
}

impl Error {
    /// Whether the state was written by a newer version of this program: the operator chose the
    /// wrong binary, and nothing was changed.
    pub fn is_newer_format(&self) -> bool {
        matches!(
            self,
            Self::NewerFormat { .. } | Self::Storage(storage::Error::NewerFormat { .. })
        )
    }
}

//! Floor 3: what a committed command means.
//!
//! No async, no clock, no randomness, no network: the same log gives the same logical state on
//! every member. An error inside apply is a [`Reply`] or it stops the process; there is no third
//! kind (invariant 5).
//!
//! * [`command`] and [`outcome`]: what the log says, what the door is told.
//! * [`apply`]: the [`StateMachine`]: entries in, replies out.
//! * [`admission`]: what the alarms that are on refuse.
//! * [`txn`]: transactions: compares first, then a dry check, then the operations.
//! * [`codec`]: commands and replies to bytes and back.

pub mod admission;
pub mod apply;
pub mod codec;
pub mod command;
pub mod outcome;
pub mod txn;

pub use apply::{Entry, EntryBody, StateMachine};
pub use codec::{BatchBuilder, COMMAND_FORMAT_VERSION, CodecError};
pub use command::Command;
pub use outcome::{Outcome, Refusal, Reply};
pub use txn::read_only_txn;

pub use crate::mvcc::{Label, ReadView, Sizes, Store, StoreOptions as StateOptions, refound};

use crate::mvcc;

/// Why the state machine stops. Every case is fatal to the member.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    State(#[from] mvcc::Error),
    #[error("log entry {position}: {source}")]
    Entry {
        position: crate::types::Position,
        #[source]
        source: CodecError,
    },
}

impl Error {
    /// Whether a newer version wrote the state or the log: nothing was changed.
    pub fn is_newer_format(&self) -> bool {
        match self {
            Self::State(error) => error.is_newer_format(),
            Self::Entry { source, .. } => matches!(source, CodecError::NewerFormat(_)),
        }
    }
}

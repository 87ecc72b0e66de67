//! Commands and replies as bytes: what stands in the log, and what members send each other.
//!
//! Written by hand, because it outlives releases and is on the path of every put. A batch is one
//! version byte and then one record per command, each with its length in front, so that batches
//! grow by appending and a forwarded batch is taken over without a look inside
//! ([`BatchBuilder::splice`]):
//!
//! ```text
//! 01 | 0b 00 00 00 | 01 01 61 01 31 00 00 ...      version 1, a put of a = 1
//! ```
//!
//! Numbers are varints ([`crate::storage::varint`]). Keys and values are slices of the batch that
//! they were decoded from, never copies. Decoding any bytes ends with a value or an error.
//!
//! * [`batch`]: versions, records, the builder.
//! * [`command`]: one command. * [`reply`]: one reply. * [`words`]: what both are made of.

mod batch;
mod command;
mod reply;
mod words;

#[cfg(test)]
mod tests;

pub use batch::{
    BatchBuilder, COMMAND_FORMAT_VERSION, batch_len, decode_batch, encode_batch_into, is_puts_only,
};
pub use reply::{decode_replies, encode_replies, encode_replies_within};

/// Transactions nest at most this deep; the door allows etcd's 128 operations along a path.
pub const NESTING_MAX: usize = 130;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Written by a newer version of this program: the member stops, having touched nothing.
    #[error(
        "format {0} is newer than this version reads (up to {COMMAND_FORMAT_VERSION}); \
         upgrade this member"
    )]
    NewerFormat(u8),
    #[error("malformed bytes")]
    Malformed,
    #[error("transactions nest deeper than {NESTING_MAX}")]
    TooDeep,
}

impl From<crate::storage::varint::Malformed> for CodecError {
    fn from(_: crate::storage::varint::Malformed) -> Self {
        Self::Malformed
    }
}

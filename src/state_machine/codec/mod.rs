//! Commands and replies as bytes: what stands in the log, and what members send each other.
//!
//! Written by hand, because it outlives releases and is on the path of every put. A batch is one
//! version byte and then one record per command, each with its length in front, so that batches
//! grow by appending:
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
    BatchBuilder, COMMAND_FORMAT_VERSION, decode_batch, is_puts_only, retain_commands,
};
pub use reply::{decode_replies, encode_replies, encode_replies_within};

/// Transactions inside each other inside a transaction. The door lets no more in, by this same
/// constant: what is in the log and cannot be decoded stops every member for good. Beyond any budget
/// of operations that anybody uses (128 is the default, each level takes one at least), and well
/// inside the smallest stack we run on.
pub const NESTING_MAX: usize = 200;

/// The same with the outermost.
const LEVELS_MAX: usize = NESTING_MAX + 1;

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

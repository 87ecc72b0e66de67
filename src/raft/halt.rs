//! Why a member stops itself: what a peer's message told it, or what its disk no longer holds.

/// Told to whoever stops the process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// A newer build wrote it, and it will not get older.
    #[error("{0}")]
    NewerFormat(String),
    /// The log has lost entries that this member had acknowledged, and with them perhaps a vote:
    /// it must never vote again ([`super::receipts`]).
    #[error("{0}")]
    LogLost(String),
    /// A row of the state cannot be read any more, and will not get readable: what RocksDB said.
    #[error(
        "its state on disk is damaged ({0}); remove this member from the cluster and add it again with an \
         empty data directory"
    )]
    StateDamaged(String),
}

//! Why a peer's message stops this member.

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
}

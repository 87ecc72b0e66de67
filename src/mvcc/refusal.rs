//! Why a valid command or read is not carried out.

/// Deterministic: every member says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("required revision has been compacted")]
    Compacted,
    #[error("required revision is a future revision")]
    FutureRevision,
    #[error("requested lease not found")]
    LeaseNotFound,
    #[error("key not found")]
    KeyNotFound,
    /// The command would touch more bytes than one atomic batch may hold.
    #[error("the command is too large to apply at once")]
    TooLarge,
}

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
    #[error("lease already exists")]
    LeaseExists,
    /// What a leader decided about a lease by its clock came into the log of a later leader, or
    /// after the lease was granted anew. No client ever asks for it.
    #[error("the lease is not this leader's to decide about any more")]
    Fenced,
    #[error("key not found")]
    KeyNotFound,
    /// An alarm says that a member has no space left, or the quota is used up.
    #[error("database space exceeded")]
    NoSpace,
    /// An alarm says that a member holds other data than the rest.
    #[error("corrupt cluster")]
    Corrupt,
    /// The command would touch more bytes than one atomic batch may hold.
    #[error("the command is too large to apply at once")]
    TooLarge,
    /// A member that was removed speaks up.
    #[error("the member has been permanently removed from the cluster")]
    MemberRemoved,
    /// The member's id belongs to another data directory.
    #[error("the member is known with another data directory")]
    MemberKnownElsewhere,
}

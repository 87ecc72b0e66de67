//! Why a request could not be carried out; `api/status.rs` gives each its etcd code and text.

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The deadline passed, the client's own or ours.
    #[error("request timed out")]
    Timeout,
    #[error("request timed out, possibly due to previous leader failure")]
    TimeoutLeaderFail,
    #[error("request timed out, possibly due to connection lost")]
    TimeoutConnectionLost,
    /// A queue is full; certainly not carried out.
    #[error("too many requests")]
    TooManyRequests,
    /// The store cannot be read: a damaged disk.
    #[error("corrupt cluster")]
    Corrupt,
    #[error("server stopped")]
    Stopped,
}

impl NodeError {
    /// Whether the command may nevertheless take effect.
    pub fn is_unknown_outcome(self) -> bool {
        matches!(
            self,
            Self::Timeout | Self::TimeoutLeaderFail | Self::TimeoutConnectionLost | Self::Stopped
        )
    }
}

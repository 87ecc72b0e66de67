//! How much may wait, and how much is done at once.

use crate::types::Revision;

/// What waits for a slow client is bounded by these; what it misses it is told from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Events and their bytes that may wait to be distributed. When there are more, they are dropped
    /// and everybody reads them from the store.
    pub inbox_events: usize,
    pub inbox_bytes: usize,
    /// Notices that may wait for one client. A client with more watchers than this on one key is told
    /// by catching up.
    pub queue_notices: usize,
    /// Bytes of events that may wait for one client. Events that the next notice shares count once.
    pub queue_bytes: usize,
    /// Notices that a stream takes from its queue between two steps of catching up, so that watchers
    /// in either state get their share.
    pub notices_per_step: usize,
    /// A watcher that is at most so many revisions behind joins, and the rest is read afterwards.
    pub join_revisions: Revision,
    /// Revisions that one step of catching up walks over, and bytes of events that it finds, about:
    /// it ends with a whole revision.
    pub step_revisions: usize,
    pub step_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            inbox_events: 64 << 10,
            inbox_bytes: 32 << 20,
            queue_notices: 16 << 10,
            queue_bytes: 1 << 20,
            notices_per_step: 64,
            join_revisions: 1_000,
            step_revisions: 1_000,
            step_bytes: 1 << 20,
        }
    }
}

//! Which snapshots are on their way to a member: what follows them in the log must stay. And whether one
//! could not be read that was to be sent.
//!
//! openraft keeps log entries that are in flight, never those that a member will need once its
//! snapshot has arrived. Under load the log would be purged past the snapshot's end before that, and
//! the member would be sent one snapshot after another.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long the end of a transfer holds: until then its member is sent the entries that follow, and
/// those are in flight.
const LINGER: Duration = Duration::from_secs(10);

/// The transfers of one member. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sends {
    table: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    next: u64,
    sends: Vec<Transfer>,
    damage: Option<String>,
}

struct Transfer {
    number: u64,
    last_index: u64,
    ended: Option<Instant>,
}

/// One transfer; dropping it is its end, whichever that is.
pub(super) struct Sending {
    sends: Sends,
    number: u64,
}

impl Sends {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A snapshot that ends at this index is being sent from now on.
    pub(super) fn begin(&self, last_index: u64) -> Sending {
        let mut table = self.lock();
        table.next += 1;
        let number = table.next;
        table.sends.push(Transfer {
            number,
            last_index,
            ended: None,
        });
        Sending {
            sends: self.clone(),
            number,
        }
    }

    /// What was to be sent is not what this member wrote once.
    pub(super) fn found_damage(&self, what: String) {
        self.lock().damage.get_or_insert(what);
    }

    pub fn damage(&self) -> Option<String> {
        self.lock().damage.clone()
    }

    /// Entries after this index are needed by somebody who is getting, or just got, a snapshot.
    pub fn needed_after(&self) -> Option<u64> {
        self.needed_at(Instant::now())
    }

    fn needed_at(&self, now: Instant) -> Option<u64> {
        let mut table = self.lock();
        let counts = |ended: Instant| now.saturating_duration_since(ended) < LINGER;
        table.sends.retain(|send| send.ended.is_none_or(counts));
        table.sends.iter().map(|send| send.last_index).min()
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let mut table = self.sends.lock();
        if let Some(send) = table
            .sends
            .iter_mut()
            .find(|send| send.number == self.number)
        {
            send.ended = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_transfer_counts_until_a_while_after_its_end() {
        let sends = Sends::default();
        assert_eq!(sends.needed_after(), None);
        let old = sends.begin(100);
        let new = sends.begin(500);
        assert_eq!(sends.needed_after(), Some(100));
        drop(old);
        let ended = Instant::now();
        assert_eq!(sends.needed_at(ended), Some(100));
        assert_eq!(sends.needed_at(ended + LINGER), Some(500));
        assert_eq!(sends.needed_at(ended + 2 * LINGER), Some(500), "it goes on");
        drop(new);
        let ended = Instant::now();
        assert_eq!(sends.needed_at(ended + LINGER), None);
    }
}

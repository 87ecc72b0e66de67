//! How fast the state may be read from disk for somebody else: a transfer leaves disk, link and
//! processor to the clients.

use std::time::Duration;
use tokio::time::Instant;

/// What may be sent at once after a pause; a long one is not made good.
const BURST_BYTES: u64 = 4 << 20;

/// When the next bytes may go.
pub struct Pace {
    bytes_per_second: u64,
    due: Instant,
}

impl Pace {
    pub fn new(bytes_per_second: u64, now: Instant) -> Self {
        Self {
            bytes_per_second,
            due: now,
        }
    }

    /// Takes note of bytes that were sent and answers when to go on.
    pub fn sent(&mut self, bytes: u64, now: Instant) -> Instant {
        // Time that was lost in a stall is not made good, but for a short burst.
        let earliest = now.checked_sub(self.cost(BURST_BYTES)).unwrap_or(now);
        self.due = self.due.max(earliest) + self.cost(bytes);
        self.due
    }

    fn cost(&self, bytes: u64) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_not_made_good_by_more_than_a_burst() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(1 << 20, start);
        assert_eq!(pace.sent(1 << 20, start), start + second);
        assert_eq!(pace.sent(1 << 20, start + second), start + 2 * second);
        // A minute of silence: of sixty seconds' worth only the burst's four are there.
        let late = start + 60 * second;
        for _ in 0..4 {
            assert!(pace.sent(1 << 20, late) <= late);
        }
        assert_eq!(pace.sent(1 << 20, late), late + second);
    }
}

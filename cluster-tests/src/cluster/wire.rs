//! One direction of one connection between its two sockets: what is under way, and when it arrives.
//!
//! A proxy reads a stream, not packets, so what it finds to read at once, a *piece*, stands for what
//! was sent at once:
//!
//! - **Delay and jitter** hold a piece back; no piece overtakes another, as in TCP.
//! - **Loss**: a piece is as many packets as would carry it. Those lost are sent again after 200 ms,
//!   which is TCP's shortest timeout on Linux, those lost again after 400 ms, and so on; until then
//!   the piece and all behind it wait. (Real TCP is often quicker, by acknowledgements that come
//!   for later packets, where enough of them follow.)
//! - **A narrow link** carries one piece after the other, those of other connections of the same way
//!   among them, and takes no more from its sender than it carries in a quarter of a second.
//! - **A short-sighted link** swallows a piece that is too large, and all that follows: the sender
//!   retransmits the first one for ever.
//!
//! Nothing here waits or does I/O: time comes in as an argument.

use super::sky::Way;
use super::weather::{Cut, Quality};
use rand::Rng;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// The bytes in a TCP packet on an Ethernet.
const PACKET_BYTES: usize = 1448;
const RETRANSMISSION_TIMEOUT: Duration = Duration::from_millis(200);
/// What is lost so often in a row comes through after all, a minute and a half later: a link that
/// carries nothing is a cut.
const RETRANSMISSIONS_MAX: u32 = 9;
/// What a link under a delay may hold back, and, if there is none, one read.
const HELD_BYTES_MAX: usize = 4 << 20;
/// What a narrow link queues, in time.
const QUEUE: Duration = Duration::from_millis(250);
/// The least that a narrow link queues, and the most it reads at once: pieces of several connections
/// take turns on it.
const NARROW_READ: usize = 16 << 10;

/// What one direction of a connection holds back.
#[derive(Debug, Default)]
pub struct Wire {
    /// When each piece arrives, never falling.
    held: VecDeque<(Instant, Vec<u8>)>,
    held_bytes: usize,
    /// How much of the front has arrived already.
    front_done: usize,
    /// Bytes have vanished: whatever the weather becomes, the stream is broken.
    lost: bool,
    /// The size of the piece that does not get through, once there was one.
    wedged: Option<usize>,
}

impl Wire {
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The end of the stream has vanished.
    pub fn lose(&mut self) {
        self.lost = true;
    }

    /// Whether bytes have vanished.
    pub fn has_lost(&self) -> bool {
        self.lost
    }

    /// When the next piece arrives.
    pub fn due(&self) -> Option<Instant> {
        self.held.front().map(|(due, _)| *due)
    }

    /// What of the next piece has not arrived yet.
    pub fn front(&self) -> &[u8] {
        let front = self.held.front();
        front
            .and_then(|(_, piece)| piece.get(self.front_done..))
            .unwrap_or_default()
    }

    /// So many bytes of the front have arrived.
    pub fn arrived(&mut self, count: usize) {
        self.front_done += count;
        if self.front().is_empty()
            && let Some((_, piece)) = self.held.pop_front()
        {
            self.held_bytes -= piece.len();
            self.front_done = 0;
        }
    }

    /// How many bytes to read at most from the sender now; 0: it must wait.
    pub fn room(&self, quality: &Quality) -> usize {
        let bound = match quality.rate {
            _ if self.lost => HELD_BYTES_MAX,
            None if quality.delay_ms == 0 && quality.jitter_ms == 0 => 1,
            None => HELD_BYTES_MAX,
            Some(rate) => {
                let queue = QUEUE + Duration::from_millis(quality.delay_ms + quality.jitter_ms);
                let bytes = u128::from(rate) * queue.as_millis() / 1000;
                usize::try_from(bytes)
                    .unwrap_or(usize::MAX)
                    .clamp(1, HELD_BYTES_MAX)
            }
        };
        if self.held_bytes >= bound {
            return 0;
        }
        match (quality.rate, quality.largest) {
            (None, _) => usize::MAX,
            // A piece that is too large must be seen to be.
            (Some(_), Some(largest)) => NARROW_READ.max(largest + 1),
            (Some(_), None) => NARROW_READ,
        }
    }

    /// A piece sets out.
    pub fn carry(&mut self, piece: &[u8], now: Instant, quality: &Quality, way: &mut Way) {
        if quality.largest.is_some_and(|most| piece.len() > most) {
            self.wedged.get_or_insert(piece.len());
        }
        if self.lost || self.wedged.is_some() || quality.cut == Some(Cut::Drop) {
            self.lost = true;
            return;
        }
        let mut due = now;
        if let Some(rate) = quality.rate {
            let start = way.busy_until.map_or(now, |until| until.max(now));
            due = start + transmission(piece.len(), rate);
            way.busy_until = Some(due);
        }
        due += Duration::from_millis(quality.delay_ms);
        if quality.jitter_ms > 0 {
            let most = quality.jitter_ms.saturating_mul(1000);
            due += Duration::from_micros(way.dice.random_range(0..=most));
        }
        due += retransmissions(piece.len(), quality.loss_per_mille, way);
        // A stalled piece stalls what comes after it.
        let last = self.held.back().map(|(due, _)| *due);
        due = last.map_or(due, |last| due.max(last));
        self.held_bytes += piece.len();
        self.held.push_back((due, piece.to_vec()));
    }

    /// The weather on this way has become another.
    pub fn turn(&mut self, now: Instant, quality: &Quality) {
        if quality.cut == Some(Cut::Drop) {
            // What is held back is still on the wire: lost with it.
            self.lost |= !self.held.is_empty();
            self.discard();
            return;
        }
        // What is on the wire need not wait longer than what comes now: a heal ends every stall.
        let limit = now + Duration::from_millis(quality.delay_ms + quality.jitter_ms);
        for (due, _) in &mut self.held {
            *due = (*due).min(limit);
        }
    }

    /// Whether the stream lost bytes that would get through today, so that what comes now would
    /// arrive without them.
    pub fn is_torn(&self, quality: &Quality) -> bool {
        let wedged = match (self.wedged, quality.largest) {
            (Some(size), Some(largest)) => size > largest,
            _ => false,
        };
        self.lost && !wedged && quality.cut != Some(Cut::Drop)
    }

    /// Nobody is there to take it.
    pub fn discard(&mut self) {
        self.held.clear();
        self.held_bytes = 0;
        self.front_done = 0;
    }
}

fn transmission(bytes: usize, rate: u64) -> Duration {
    let micros = (bytes as u64).saturating_mul(1_000_000) / rate.max(1);
    Duration::from_micros(micros)
}

/// How long a piece waits for those of its packets that are lost: all that were are sent again at
/// once, after a time that doubles.
fn retransmissions(bytes: usize, loss_per_mille: u64, way: &mut Way) -> Duration {
    let mut missing = bytes.div_ceil(PACKET_BYTES);
    let mut stall = Duration::ZERO;
    for attempt in 0..=RETRANSMISSIONS_MAX {
        let draws = 0..missing;
        missing = draws
            .filter(|_| way.dice.random_range(0..1000) < loss_per_mille)
            .count();
        if missing == 0 {
            break;
        }
        stall += RETRANSMISSION_TIMEOUT * 2_u32.pow(attempt);
    }
    stall
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(quality: &Quality, sizes: &[usize]) -> (Wire, Vec<Duration>) {
        let (mut wire, mut way) = (Wire::default(), Way::new(7));
        let now = Instant::now();
        for size in sizes {
            wire.carry(&vec![0; *size], now, quality, &mut way);
        }
        let due = wire.held.iter().map(|(due, _)| *due - now).collect();
        (wire, due)
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn jitter_keeps_the_order_and_the_bounds() {
        let quality = Quality {
            delay_ms: 20,
            jitter_ms: 50,
            ..Quality::default()
        };
        let (_, due) = carried(&quality, &[1; 100]);
        assert!(due.is_sorted());
        assert!(due[0] >= 20 * MS);
        assert!(due[0] < due[99]);
        assert!(due[99] <= 70 * MS);
        assert_eq!(due, carried(&quality, &[1; 100]).1, "the same seed");
    }

    #[test]
    fn a_lost_packet_stalls_all_behind_it() {
        let loss = |loss_per_mille| Quality {
            loss_per_mille,
            ..Quality::default()
        };
        let (_, due) = carried(&loss(30), &[100; 200]);
        let first = due.iter().position(|due| !due.is_zero()).unwrap();
        assert!(first > 0);
        assert!(due[first..].iter().all(|due| *due >= 200 * MS));
        // A large piece is many packets: rarely are all of them there the first time.
        let (_, due) = carried(&loss(30), &[1 << 20]);
        assert!(due[0] >= 200 * MS);
        let (_, due) = carried(&loss(1000), &[1]);
        assert_eq!(due[0], 200 * MS * 1023);
        let (_, due) = carried(&loss(0), &[1 << 20]);
        assert_eq!(due[0], Duration::ZERO);
    }

    #[test]
    fn a_narrow_link_carries_one_piece_after_the_other_and_takes_no_more_than_fits() {
        let quality = Quality {
            rate: Some(1000),
            ..Quality::default()
        };
        let (wire, due) = carried(&quality, &[100, 200]);
        assert_eq!(due, [100 * MS, 300 * MS]);
        assert_eq!(wire.room(&quality), 0);
        let (wire, _) = carried(&quality, &[100]);
        assert_eq!(wire.room(&quality), NARROW_READ);
    }

    #[test]
    fn what_is_too_large_takes_with_it_all_that_follows() {
        let short = Quality {
            largest: Some(500),
            ..Quality::default()
        };
        let (mut wire, due) = carried(&short, &[500, 501, 1]);
        assert_eq!(due.len(), 1);
        assert!(wire.has_lost() && !wire.is_torn(&short));
        // A way that would carry it now: the stream has a hole.
        let wider = Quality {
            largest: Some(501),
            ..Quality::default()
        };
        assert!(wire.is_torn(&wider) && wire.is_torn(&Quality::default()));
        wire.arrived(500);
        assert!(wire.is_empty());
    }

    #[test]
    fn a_heal_ends_every_stall_and_a_cut_takes_what_is_under_way() {
        let slow = Quality {
            delay_ms: 60_000,
            ..Quality::default()
        };
        let now = Instant::now();
        let (mut wire, _) = carried(&slow, &[10, 10]);
        wire.turn(now, &Quality::default());
        assert_eq!(wire.due(), Some(now));
        wire.turn(now, &Quality::cut(Cut::Drop));
        assert!(wire.is_empty() && wire.is_torn(&Quality::default()));
        assert!(!wire.is_torn(&Quality::cut(Cut::Drop)));
    }
}

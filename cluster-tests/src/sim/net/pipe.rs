//! One direction of a connection: bytes on their way, in order, as TCP keeps it.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io;
use std::task::Waker;

/// What a sender may have on its way and unread before it waits: the socket buffers of both ends.
pub(super) const WINDOW_BYTES: usize = 256 << 10;
/// Linux: the first retransmission comes after so long, each next one after twice as long.
const RETRANSMIT_US: u64 = 200_000;
const RETRANSMIT_MAX_US: u64 = 10_000_000;

/// What travels.
#[derive(Debug)]
pub(super) enum Freight {
    Bytes(Bytes),
    /// Nothing comes after it.
    Fin,
    /// The connection is no more.
    Reset,
}

impl Freight {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Fin | Self::Reset => 0,
        }
    }
}

/// One piece: when it arrives, or is sent again.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) due: u64,
    pub(super) freight: Freight,
}

/// Times are microseconds of the simulation.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) from: usize,
    pub(super) to: usize,
    /// The other direction.
    pub(super) back: u64,
    way: VecDeque<Piece>,
    way_bytes: usize,
    ready: VecDeque<Bytes>,
    ready_bytes: usize,
    /// Arrived, and the sender does not know: the way back is cut.
    unacknowledged: usize,
    /// The end of a link of so many bytes a second.
    free_at: u64,
    attempts: u32,
    finished: bool,
    /// Why nothing passes any more.
    pub(super) broken: Option<io::ErrorKind>,
    /// The sending end is there no more, or will send nothing.
    pub(super) sender_gone: bool,
    pub(super) receiver_gone: bool,
    /// The machine of the receiver went down with this connection and does not remember it.
    pub(super) forgotten: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

impl Pipe {
    pub(super) fn new(from: usize, to: usize, back: u64) -> Self {
        Self {
            from,
            to,
            back,
            way: VecDeque::new(),
            way_bytes: 0,
            ready: VecDeque::new(),
            ready_bytes: 0,
            unacknowledged: 0,
            free_at: 0,
            attempts: 0,
            finished: false,
            broken: None,
            sender_gone: false,
            receiver_gone: false,
            forgotten: false,
            reader: None,
            writer: None,
        }
    }

    /// How many bytes may be sent now.
    pub(super) fn room(&self) -> usize {
        WINDOW_BYTES.saturating_sub(self.way_bytes + self.ready_bytes + self.unacknowledged)
    }

    /// Sends a piece that takes `delay`, on a link of `rate` bytes a second.
    pub(super) fn send(&mut self, now: u64, delay: u64, rate: Option<u64>, freight: Freight) {
        let mut due = now + delay;
        if let Some(rate) = rate {
            let takes = (freight.len() as u64).saturating_mul(1_000_000) / rate.max(1);
            self.free_at = self.free_at.max(now) + takes;
            due = self.free_at + delay;
        }
        // TCP delivers in order: nothing overtakes.
        let due = self.way.back().map_or(due, |last| due.max(last.due));
        self.way_bytes += freight.len();
        self.way.push_back(Piece { due, freight });
    }

    pub(super) fn is_idle(&self) -> bool {
        self.way.is_empty() && self.unacknowledged == 0
    }

    /// The next piece, if its time has come.
    pub(super) fn due(&self, now: u64) -> Option<&Freight> {
        let piece = self.way.front().filter(|piece| piece.due <= now)?;
        Some(&piece.freight)
    }

    /// It did not arrive: TCP sends it again, later each time.
    pub(super) fn retransmit(&mut self, now: u64) {
        let wait = RETRANSMIT_US
            .saturating_mul(1 << self.attempts.min(16))
            .min(RETRANSMIT_MAX_US);
        self.attempts += 1;
        if let Some(piece) = self.way.front_mut() {
            piece.due = now + wait;
        }
    }

    /// It arrives. `acknowledged`: the sender hears of it.
    pub(super) fn arrive(&mut self, acknowledged: bool) {
        self.attempts = 0;
        let Some(piece) = self.way.pop_front() else {
            return;
        };
        self.way_bytes -= piece.freight.len();
        match piece.freight {
            // Nobody reads it.
            Freight::Bytes(_) if self.receiver_gone => {}
            Freight::Bytes(bytes) => {
                if !acknowledged {
                    self.unacknowledged += bytes.len();
                }
                self.ready_bytes += bytes.len();
                self.ready.push_back(bytes);
            }
            Freight::Fin => self.finished = true,
            Freight::Reset => self.broken = Some(io::ErrorKind::ConnectionReset),
        }
    }

    /// The way back is open (again).
    pub(super) fn acknowledge(&mut self) {
        self.unacknowledged = 0;
    }

    pub(super) fn lags(&self) -> bool {
        self.unacknowledged > 0
    }

    /// Fills `buffer`; `Some(0)` is the end; none: nothing has arrived.
    pub(super) fn read(&mut self, buffer: &mut tokio::io::ReadBuf<'_>) -> Option<io::Result<()>> {
        if self.ready.is_empty() {
            if let Some(kind) = self.broken {
                return Some(Err(kind.into()));
            }
            return self.finished.then_some(Ok(()));
        }
        while let Some(front) = self.ready.front_mut() {
            let count = front.len().min(buffer.remaining());
            if count == 0 {
                break;
            }
            buffer.put_slice(front.get(..count).unwrap_or_default());
            front.advance(count);
            self.ready_bytes -= count;
            if front.is_empty() {
                self.ready.pop_front();
            }
        }
        Some(Ok(()))
    }

    /// Everything on its way and unread is gone.
    pub(super) fn sever(&mut self, kind: io::ErrorKind) {
        self.broken = Some(kind);
        self.way.clear();
        self.ready.clear();
        (self.way_bytes, self.ready_bytes, self.unacknowledged) = (0, 0, 0);
    }

    /// What is on its way never arrives, and nobody is told.
    pub(super) fn vanish(&mut self) {
        self.way.clear();
        self.way_bytes = 0;
    }

    /// Nobody will ask for it again.
    pub(super) fn is_over(&self) -> bool {
        self.sender_gone && self.receiver_gone && self.is_idle()
    }

    pub(super) fn wakers(&mut self) -> impl Iterator<Item = Waker> {
        self.reader.take().into_iter().chain(self.writer.take())
    }
}

//! One link: a TCP proxy on the way from a dialling node to a dialled one.
//!
//! What a link does is a [`LinkState`], watched by every connection on it:
//!
//! - A cut direction swallows what arrives for it, the end of the stream included: the sender sees
//!   a healthy connection to a silent peer, as over a real network that loses packets.
//!   That the receiver is gone is news too, which travels against the bytes: if the way back is
//!   cut, the sender goes on into the void until the heal.
//! - A connection that lost bytes is useless afterwards, so it is reset when the direction heals.
//!   (Real TCP would retransmit, after a backoff nobody wants to wait for; a reset is the harder
//!   case for the product and quick.)
//! - A connection opened while either direction is cut is accepted and goes nowhere: a handshake
//!   needs both. It is reset at heal.
//! - A delay holds bytes back, in order.

use anyhow::{Context, Result};
use std::collections::VecDeque;
use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

/// How much one direction of one connection may hold back under a delay.
const DELAYED_BYTES_MAX: usize = 4 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a link does to the bytes of the two directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkState {
    /// Dialler to dialled.
    pub forth_cut: bool,
    /// Dialled to dialler.
    pub back_cut: bool,
    /// Each way.
    pub delay: Duration,
}

impl LinkState {
    fn is_cut(&self, direction: Direction) -> bool {
        match direction {
            Direction::Forth => self.forth_cut,
            Direction::Back => self.back_cut,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Direction {
    Forth,
    Back,
}

impl Direction {
    fn opposite(self) -> Self {
        match self {
            Self::Forth => Self::Back,
            Self::Back => Self::Forth,
        }
    }
}

/// Why a pump ended, if not by an ordinary end of the stream.
struct Broken;

/// A running proxy; it ends, connections included, when dropped.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    state: watch::Sender<LinkState>,
    accept: JoinHandle<()>,
}

impl Link {
    /// Listens on `listen` (port 0: any that is free); forwards to `target`, which need not exist
    /// yet.
    ///
    /// # Errors
    /// The address is in use.
    pub async fn open(listen: &str, target: String) -> Result<Self> {
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("listen on {listen}"))?;
        let address = listener.local_addr().context("a listener's address")?;
        let (state, watched) = watch::channel(LinkState::default());
        let accept = tokio::spawn(accept(listener, target, watched));
        Ok(Self {
            address,
            state,
            accept,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From here on the link behaves so, for open connections too.
    pub fn set(&self, state: LinkState) {
        self.state.send_if_modified(|current| {
            let changed = *current != state;
            *current = state;
            changed
        });
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

/// Owns the connections: when it is aborted, so are they.
async fn accept(listener: TcpListener, target: String, state: watch::Receiver<LinkState>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A failed accept (no descriptors left) is the next one's trouble.
                if let Ok((dialler, _)) = accepted {
                    connections.spawn(connection(dialler, target.clone(), state.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(dialler: TcpStream, target: String, mut state: watch::Receiver<LinkState>) {
    let start = *state.borrow_and_update();
    if start.forth_cut || start.back_cut {
        hang(dialler, state).await;
        return;
    }
    let Ok(Ok(dialled)) = timeout(CONNECT_TIMEOUT, TcpStream::connect(&target)).await else {
        reset(&dialler);
        return;
    };
    // Nagle's algorithm here would show as latency of the product.
    if dialler
        .set_nodelay(true)
        .and_then(|()| dialled.set_nodelay(true))
        .is_err()
    {
        return;
    }
    let (mut dialler, mut dialled) = (dialler, dialled);
    let outcome = {
        let (dialler_read, dialler_write) = dialler.split();
        let (dialled_read, dialled_write) = dialled.split();
        tokio::try_join!(
            pump(dialler_read, dialled_write, Direction::Forth, state.clone()),
            pump(dialled_read, dialler_write, Direction::Back, state),
        )
    };
    if outcome.is_err() {
        reset(&dialler);
        reset(&dialled);
    }
}

/// A connection opened during a cut: it swallows what comes until the link heals.
async fn hang(mut dialler: TcpStream, mut state: watch::Receiver<LinkState>) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        tokio::select! {
            read = dialler.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            },
            changed = state.changed() => {
                let now = *state.borrow_and_update();
                if changed.is_err() || !(now.forth_cut || now.back_cut) {
                    break;
                }
            }
        }
    }
    reset(&dialler);
}

/// Carries one direction until its stream ends, forwarding the end.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: Direction,
    mut state: watch::Receiver<LinkState>,
) -> Result<(), Broken> {
    let mut buffer = vec![0; 64 << 10];
    let mut held: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut held_bytes = 0;
    let mut lost = false;
    let mut ended = false;
    // Nobody takes the bytes any more, and their sender cannot know.
    let mut void = false;
    let back = direction.opposite();
    loop {
        if ended && held.is_empty() && !lost && !void {
            if to.shutdown().await.is_ok() {
                return Ok(());
            }
            void = hides(&state, back)?;
        }
        let due = held.front().map(|(due, _)| *due);
        tokio::select! {
            biased;
            changed = state.changed() => {
                changed.map_err(|_| Broken)?;
                if void && !state.borrow().is_cut(back) {
                    return Err(Broken);
                }
                if state.borrow_and_update().is_cut(direction) {
                    // What is held back is still on the wire: lost with it.
                    lost |= !held.is_empty();
                    held.clear();
                    held_bytes = 0;
                } else if lost {
                    return Err(Broken);
                }
            }
            () = async { match due { Some(due) => sleep_until(due).await, None => pending().await } } => {
                if let Some((_, bytes)) = held.pop_front() {
                    held_bytes -= bytes.len();
                    if !void && to.write_all(&bytes).await.is_err() {
                        void = hides(&state, back)?;
                    }
                }
            }
            read = from.read(&mut buffer), if !ended && held_bytes < DELAYED_BYTES_MAX => {
                let count = match read {
                    Ok(count) => count,
                    // A reset is swallowed by a cut like anything else.
                    Err(_) if state.borrow().is_cut(direction) => 0,
                    Err(_) => return Err(Broken),
                };
                let bytes = buffer.get(..count).unwrap_or_default();
                let now = *state.borrow();
                ended = count == 0;
                if now.is_cut(direction) {
                    lost = true;
                } else if ended {
                    // The loop's head forwards it once nothing is held back.
                } else if now.delay.is_zero() && held.is_empty() {
                    if !void && to.write_all(bytes).await.is_err() {
                        void = hides(&state, back)?;
                    }
                } else {
                    held_bytes += count;
                    held.push_back((Instant::now() + now.delay, bytes.to_vec()));
                }
            }
        }
    }
}

/// Whether a cut of `way` hides that a receiver is gone; else the connection is broken.
fn hides(state: &watch::Receiver<LinkState>, way: Direction) -> Result<bool, Broken> {
    if state.borrow().is_cut(way) {
        Ok(true)
    } else {
        Err(Broken)
    }
}

/// The peer sees a reset, not an orderly end.
fn reset(stream: &TcpStream) {
    // If it fails the socket is gone already.
    drop(stream.set_zero_linger());
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;

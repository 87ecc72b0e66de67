//! One link: a TCP proxy in front of a member's peer port.
//!
//! What happens on it is the weather on the two ways between who dialled and who was dialled
//! ([`super::sky`]), watched by every connection:
//!
//! - [`Cut::Drop`] swallows what arrives for the direction, the end of the stream included: the
//!   sender sees a healthy connection to a silent peer, as over a real network that loses packets.
//!   That the receiver is gone is news too, which travels against the bytes: if the way back is
//!   cut, the sender goes on into the void until the heal.
//! - A connection that lost bytes is useless afterwards, so it is reset when the direction heals.
//!   (Real TCP would retransmit, after a backoff nobody wants to wait for; a reset is the harder
//!   case for the product and quick.)
//! - A connection opened while either direction drops, or takes nothing new ([`Cut::NewOnly`]), is
//!   accepted and goes nowhere: a handshake needs both. It is reset at heal.
//! - [`Cut::Reset`] of either direction resets what is open and, at once, what is opened.
//! - Delays, loss and narrow links hold bytes back, in order ([`super::wire`]). The handshake takes no
//!   time: the proxy accepts at once.

use super::diallers::Diallers;
use super::pump::pump;
use super::sky::{Sky, View};
use super::weather::Cut;
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Who dials a link.
#[derive(Clone, Debug)]
pub enum Origin {
    /// This member alone was told of it.
    Node(usize),
    /// Any member: the kernel says which.
    Any(Arc<Diallers>),
}

/// Whom a link leads to.
#[derive(Clone, Debug)]
pub struct Target {
    pub node: usize,
    /// It need not listen yet.
    pub address: String,
}

/// A running proxy; it ends, connections included, when dropped.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    accept: JoinHandle<()>,
}

impl Link {
    /// Listens on `listen` (port 0: any that is free) and forwards, as the weather allows.
    ///
    /// # Errors
    /// The address is in use.
    pub async fn open(
        listen: &str,
        origin: Origin,
        target: Target,
        sky: &Arc<Sky>,
    ) -> Result<Self> {
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("listen on {listen}"))?;
        let address = listener.local_addr().context("a listener's address")?;
        let accept = tokio::spawn(accept(listener, origin, target, Arc::clone(sky)));
        Ok(Self { address, accept })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

/// Owns the connections: when it is aborted, so are they.
async fn accept(listener: TcpListener, origin: Origin, target: Target, sky: Arc<Sky>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A failed accept (no descriptors left) is the next one's trouble.
                if let Ok((dialler, _)) = accepted {
                    let (origin, target, sky) = (origin.clone(), target.clone(), Arc::clone(&sky));
                    connections.spawn(async move {
                        match origin.of(&dialler).await {
                            Some(from) => {
                                let view = sky.view(from, target.node);
                                connection(dialler, &target.address, view).await;
                            }
                            // Gone already, or no member: nobody whose way could be cut.
                            None => reset(&dialler),
                        }
                    });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

impl Origin {
    async fn of(&self, dialler: &TcpStream) -> Option<usize> {
        match self {
            Self::Node(node) => Some(*node),
            Self::Any(diallers) => diallers.who(dialler).await,
        }
    }
}

/// What becomes of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handshake {
    Passes,
    Hangs,
    Reset,
}

fn handshake(view: &View) -> Handshake {
    for way in [view.quality(), view.back()] {
        match way.cut {
            None => {}
            Some(Cut::Reset) => return Handshake::Reset,
            Some(Cut::Drop | Cut::NewOnly) => return Handshake::Hangs,
        }
    }
    Handshake::Passes
}

/// `view`: of the way from who dialled.
async fn connection(dialler: TcpStream, target: &str, view: View) {
    match handshake(&view) {
        Handshake::Passes => {}
        Handshake::Hangs => return hang(dialler, view).await,
        Handshake::Reset => return reset(&dialler),
    }
    let Ok(Ok(dialled)) = timeout(CONNECT_TIMEOUT, TcpStream::connect(target)).await else {
        return reset(&dialler);
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
    let back = view.turned();
    let outcome = {
        let (dialler_read, dialler_write) = dialler.split();
        let (dialled_read, dialled_write) = dialled.split();
        tokio::try_join!(
            pump(dialler_read, dialled_write, view),
            pump(dialled_read, dialler_write, back),
        )
    };
    if outcome.is_err() {
        reset(&dialler);
        reset(&dialled);
    }
}

/// A connection opened during a cut: it swallows what comes until the link heals.
async fn hang(mut dialler: TcpStream, mut view: View) {
    let mut buffer = vec![0; 16 << 10];
    while handshake(&view) == Handshake::Hangs {
        tokio::select! {
            read = dialler.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            },
            () = view.changed() => {}
        }
    }
    reset(&dialler);
}

/// The peer sees a reset, not an orderly end.
fn reset(stream: &TcpStream) {
    // If it fails the socket is gone already.
    drop(stream.set_zero_linger());
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;

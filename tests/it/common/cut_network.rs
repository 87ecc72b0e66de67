//! The network in memory, from which members can be cut off. Their clients still reach them, until
//! they are severed: a member that stops waits for its clients, and those that share the test's
//! thread stand still while it waits for the member.

use futures_util::future::{FusedFuture, FutureExt};
use quorate::env::network::{BoxFuture, Listener, Network, Stream};
use quorate::env::network_memory::MemoryNetwork;
use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional, duplex};
use tokio::sync::watch;

const PIPE_BYTES: usize = 1 << 20;

/// Which members are cut off from each other. Clones share it.
#[derive(Clone)]
pub struct Cuts {
    apart: Arc<watch::Sender<BTreeSet<usize>>>,
    /// Whose clients are gone.
    severed: Arc<watch::Sender<BTreeSet<usize>>>,
}

impl Default for Cuts {
    fn default() -> Self {
        let nobody = || Arc::new(watch::channel(BTreeSet::new()).0);
        Self {
            apart: nobody(),
            severed: nobody(),
        }
    }
}

impl Cuts {
    /// Ends the member's connections to and from all others; new ones are refused.
    pub fn cut_off(&self, member: usize) {
        self.apart.send_modify(|apart| {
            apart.insert(member);
        });
    }

    pub fn heal(&self) {
        self.apart.send_replace(BTreeSet::new());
    }

    /// To the member it is as if all its clients had hung up. What it told them before is theirs.
    pub fn sever_clients(&self, member: usize) {
        self.severed.send_modify(|severed| {
            severed.insert(member);
        });
    }

    /// Clients may come again.
    pub fn admit_clients(&self, member: usize) {
        self.severed.send_modify(|severed| {
            severed.remove(&member);
        });
    }
}

/// The network as one member has it.
pub struct CutNetwork {
    pub member: usize,
    pub cuts: Cuts,
    pub inner: MemoryNetwork,
}

/// Whose peer port an address is.
fn peer(address: &str) -> Option<usize> {
    let number = address.strip_prefix("peer-")?.split(':').next()?;
    number.parse().ok()
}

impl Network for CutNetwork {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        let Some(other) = peer(address) else {
            return self.inner.connect(address);
        };
        Box::pin(async move {
            let ends = [self.member, other];
            let is_cut = move |apart: &BTreeSet<usize>| ends.iter().any(|end| apart.contains(end));
            let mut apart = self.cuts.apart.subscribe();
            if is_cut(&apart.borrow_and_update()) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let mut far = self.inner.connect(address).await?;
            let (near, mut middle) = duplex(PIPE_BYTES);
            tokio::spawn(async move {
                tokio::select! {
                    // The cut is looked at first: else one last question, and even its answer, may
                    // pass after whoever cut goes on.
                    biased;
                    _ = apart.wait_for(is_cut) => {}
                    _ = copy_bidirectional(&mut middle, &mut far) => {}
                }
            });
            Ok(Stream::new(near, address.to_owned()))
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        if peer(address).is_some() {
            return self.inner.listen(address);
        }
        Box::pin(async move {
            Ok(Box::new(Door {
                inner: self.inner.listen(address).await?,
                member: self.member,
                severed: self.cuts.severed.subscribe(),
            }) as Box<dyn Listener>)
        })
    }
}

/// Where a member's clients come in.
struct Door {
    inner: Box<dyn Listener>,
    member: usize,
    severed: watch::Receiver<BTreeSet<usize>>,
}

impl Listener for Door {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let inner = self.inner.accept().await?;
            let (peer, member) = (inner.peer().to_owned(), self.member);
            let mut severed = self.severed.clone();
            let end = async move {
                // A sender that is gone severs nobody.
                if severed.wait_for(|all| all.contains(&member)).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let stream = Severable {
                inner,
                end: Box::pin(end.fuse()),
            };
            Ok(Stream::new(stream, peer))
        })
    }

    fn local_address(&self) -> String {
        self.inner.local_address()
    }

    fn connections_max(&self) -> usize {
        self.inner.connections_max()
    }
}

/// The member's end of a client's connection.
struct Severable<End> {
    inner: Stream,
    end: Pin<Box<End>>,
}

impl<End: FusedFuture<Output = ()>> AsyncRead for Severable<End> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        if read.is_ready() {
            return read;
        }
        // Nothing read is the end.
        if self.end.is_terminated() || self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }
}

impl<End> AsyncWrite for Severable<End> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

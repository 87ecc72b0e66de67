//! Ends of connections, and how a host makes them.

use super::fabric::Fabric;
use quorate::env::network::BoxFuture;
use quorate::env::{Listener, Network, Stream};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    fabric: Fabric,
    reads: u64,
    writes: u64,
    peer: String,
}

impl End {
    pub(super) fn new(fabric: Fabric, reads: u64, writes: u64, peer: String) -> Self {
        Self {
            fabric,
            reads,
            writes,
            peer,
        }
    }

    fn into_stream(self) -> Stream {
        let peer = self.peer.clone();
        Stream::new(self, peer)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.fabric.close(self.writes, self.reads);
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.fabric.read(self.reads, buffer, context.waker());
        read.map_or(Poll::Pending, Poll::Ready)
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.fabric.write(self.writes, bytes, context.waker());
        written.map_or(Poll::Pending, Poll::Ready)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fabric.finish(self.writes);
        Poll::Ready(Ok(()))
    }
}

/// A bound address.
#[derive(Debug)]
pub(super) struct Listening {
    fabric: Fabric,
    address: String,
}

impl Listening {
    pub(super) fn new(fabric: Fabric, address: String) -> Self {
        Self { fabric, address }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.fabric.unlisten(&self.address);
    }
}

impl Listener for Listening {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(std::future::poll_fn(|context| {
            let end = self.fabric.accept(&self.address, context.waker());
            end.map_or(Poll::Pending, |end| Poll::Ready(end.map(End::into_stream)))
        }))
    }

    fn local_address(&self) -> String {
        self.address.clone()
    }
}

/// The network as a host sees it.
#[derive(Clone, Debug)]
pub struct HostNetwork {
    fabric: Fabric,
    host: usize,
}

impl HostNetwork {
    /// Host 0 is the laboratory, others are the members by their numbers.
    pub fn new(fabric: &Fabric, host: usize) -> Self {
        Self {
            fabric: fabric.clone(),
            host,
        }
    }
}

/// The host of `10.0.0.N:port`.
fn host_of(address: &str) -> io::Result<usize> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let number = host.strip_prefix("10.0.0.").and_then(|n| n.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("{address} is nowhere in the simulation")))
}

impl Network for HostNetwork {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let to = host_of(address)?;
            let answer = self.fabric.connect(self.host, to, address);
            let end = answer
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::ConnectionAborted.into()));
            end.map(End::into_stream)
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listening = self.fabric.listen(self.host, address)?;
            Ok(Box::new(listening) as Box<dyn Listener>)
        })
    }
}

//! Connections as values.

use crate::telemetry::metrics::ConnectionTraffic;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where connections come from and go to. Addresses are `host:port`.
pub trait Network: Send + Sync + 'static {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>>;
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;
}

pub trait Listener: Send {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>>;
    /// The bound `host:port`, with the real port where 0 was asked for.
    fn local_address(&self) -> String;
    /// How many connections may be open at once.
    fn connections_max(&self) -> usize {
        usize::MAX
    }
}

trait ReadWrite: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ReadWrite for T {}

/// A duplex byte stream. Boxed, so that TCP, TLS and a simulated link are one type upstairs.
pub struct Stream {
    inner: Box<dyn ReadWrite>,
    peer: String,
    /// Where its bytes are counted, if anywhere.
    traffic: Option<Arc<ConnectionTraffic>>,
}

impl Stream {
    pub fn new(inner: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, peer: String) -> Self {
        Self {
            inner: Box::new(inner),
            peer,
            traffic: None,
        }
    }

    /// From now on its bytes are counted.
    pub fn counted(mut self, traffic: Arc<ConnectionTraffic>) -> Self {
        self.traffic = Some(traffic);
        self
    }

    fn count_sent(&self, sent: &Poll<io::Result<usize>>) {
        if let (Some(traffic), Poll::Ready(Ok(bytes))) = (&self.traffic, sent) {
            traffic.sent(*bytes);
        }
    }

    /// The other end, for logs.
    pub fn peer(&self) -> &str {
        &self.peer
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        if let Some(traffic) = &self.traffic {
            traffic.received(buffer.filled().len().saturating_sub(before));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.count_sent(&sent);
        sent
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.count_sent(&sent);
        sent
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

impl tonic::transport::server::Connected for Stream {
    /// Where the connection's bytes are counted: whoever learns whose it is can say so.
    type ConnectInfo = Option<Arc<ConnectionTraffic>>;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.traffic.clone()
    }
}

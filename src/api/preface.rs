//! A client's first bytes. HTTP/2 begins with 24 that never change, and the pings that find a dead
//! connection begin after them: a connection on which they do not come is given up here. The first
//! request may need [mending](super::authority).

use super::authority::Mender;
use crate::env::Stream;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream whose beginning is looked at.
pub(super) struct Opening {
    stream: Stream,
    mender: Mender,
    /// Looked at and not yet handed on: `ready[handed..]`.
    ready: Vec<u8>,
    handed: usize,
    heard: Arc<AtomicBool>,
}

/// Knows whether the first bytes have come.
pub(super) struct Preface {
    heard: Arc<AtomicBool>,
}

pub(super) fn listen_for(stream: Stream) -> (Opening, Preface) {
    let heard = Arc::new(AtomicBool::new(false));
    let opening = Opening {
        stream,
        mender: Mender::default(),
        ready: Vec::new(),
        handed: 0,
        heard: heard.clone(),
    };
    (opening, Preface { heard })
}

impl Preface {
    /// Returns if they are not here after `patience`; never if they are.
    pub(super) async fn missing(&self, patience: Duration) {
        tokio::time::sleep(patience).await;
        if self.has_come() {
            std::future::pending::<()>().await;
        }
    }

    fn has_come(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }
}

impl AsyncRead for Opening {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let ready = this.ready.get(this.handed..).unwrap_or_default();
            if !ready.is_empty() {
                let count = ready.len().min(buffer.remaining());
                buffer.put_slice(ready.get(..count).unwrap_or_default());
                this.handed += count;
                return Poll::Ready(Ok(()));
            }
            if this.mender.trusts() {
                // Nothing is kept for a connection that needs nothing.
                this.ready = Vec::new();
                return Pin::new(&mut this.stream).poll_read(context, buffer);
            }
            this.ready.clear();
            this.handed = 0;
            let mut bytes = [0; 4096];
            let mut bytes = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut bytes))?;
            if bytes.filled().is_empty() {
                // The end, perhaps in the middle of a frame: somebody else's to judge.
                this.mender.end(&mut this.ready);
                if this.ready.is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
            this.mender.feed(bytes.filled(), &mut this.ready);
            if this.mender.preface_has_come() {
                this.heard.store(true, Ordering::Relaxed);
            }
        }
    }
}

impl AsyncWrite for Opening {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn a_client_that_does_not_begin_is_missed_and_one_that_did_is_not() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (mut client, server) = tokio::io::duplex(1024);
            let (mut opening, preface) = listen_for(Stream::new(server, "test".to_owned()));
            let mut bytes = [0; 24];
            client.write_all(&[7; 23]).await.unwrap();
            opening.read_exact(&mut bytes[1..]).await.unwrap();
            preface.missing(Duration::from_millis(1)).await;
            client.write_all(&[7]).await.unwrap();
            opening.read_exact(&mut bytes[..1]).await.unwrap();
            assert!(preface.has_come());
        });
    }
}

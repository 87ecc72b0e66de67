//! A client's first bytes: HTTP/2 begins with 24 that never change, and the pings that find a dead
//! connection begin after them. So a connection on which they do not come is given up here.

use crate::env::Stream;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// `PRI * HTTP/2.0` and what follows it.
const PREFACE_BYTES: usize = 24;

/// A stream whose first bytes are counted.
pub(super) struct Opening {
    stream: Stream,
    heard: Arc<AtomicUsize>,
}

/// Knows whether the first bytes have come.
pub(super) struct Preface {
    heard: Arc<AtomicUsize>,
}

pub(super) fn listen_for(stream: Stream) -> (Opening, Preface) {
    let heard = Arc::new(AtomicUsize::new(0));
    let opening = Opening {
        stream,
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
        self.heard.load(Ordering::Relaxed) >= PREFACE_BYTES
    }
}

impl AsyncRead for Opening {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let heard = self.heard.load(Ordering::Relaxed);
        if heard < PREFACE_BYTES {
            let heard = heard + (buffer.filled().len() - before);
            self.heard.store(heard, Ordering::Relaxed);
        }
        read
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
            let mut bytes = [0; PREFACE_BYTES];
            client.write_all(&[7; PREFACE_BYTES - 1]).await.unwrap();
            opening.read_exact(&mut bytes[1..]).await.unwrap();
            preface.missing(Duration::from_millis(1)).await;
            client.write_all(&[7]).await.unwrap();
            opening.read_exact(&mut bytes[..1]).await.unwrap();
            assert!(preface.has_come());
        });
    }
}

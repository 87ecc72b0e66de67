//! A client's first bytes. HTTP/2 begins with 24 that never change; whatever begins otherwise is
//! HTTP/1.1, or nonsense that its parser refuses. The pings that find a dead connection begin after
//! the first bytes: whoever waits for them must set a limit. The first HTTP/2 request may need
//! [mending](super::authority).

use super::authority::{Mender, PREFACE};
use crate::env::Stream;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// A stream whose beginning is looked at.
pub(super) struct Opening {
    stream: Stream,
    mender: Mender,
    /// Looked at and not yet handed on: `ready[handed..]`.
    ready: Vec<u8>,
    handed: usize,
}

/// Reads until it is clear what the client speaks. Nothing is lost: the answer begins with what was
/// read.
///
/// # Errors
/// If the client leaves before.
pub(super) async fn begin(mut stream: Stream) -> io::Result<(Opening, Protocol)> {
    let mut first = [0; PREFACE.len()];
    let mut read = 0;
    loop {
        let room = first.get_mut(read..).unwrap_or_default();
        read += match stream.read(room).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => count,
        };
        let held = first.get(..read).unwrap_or_default();
        let protocol = match PREFACE.strip_prefix(held) {
            Some([]) => Protocol::Http2,
            Some(_) => continue,
            None => Protocol::Http1,
        };
        let mut ready = Vec::with_capacity(PREFACE.len());
        let mender = match protocol {
            Protocol::Http1 => Mender::trusting(),
            Protocol::Http2 => Mender::default(),
        };
        let mut opening = Opening {
            stream,
            mender,
            ready: Vec::new(),
            handed: 0,
        };
        opening.mender.feed(held, &mut ready);
        opening.ready = ready;
        return Ok((opening, protocol));
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
    use tokio::io::AsyncWriteExt;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn the_protocol_is_told_however_the_first_bytes_are_cut_and_nothing_is_lost() {
        let http1 = b"POST /v3/kv/range HTTP/1.1\r\n\r\n".as_slice();
        let http2 = [PREFACE.as_slice(), b"\0\0\0\x04\0\0\0\0\0"].concat();
        for (sent, expected) in [(http1, Protocol::Http1), (&http2, Protocol::Http2)] {
            for cut in 1..sent.len() {
                block_on(async {
                    let (mut client, server) = tokio::io::duplex(1024);
                    let begun = begin(Stream::new(server, "test".to_owned()));
                    tokio::pin!(begun);
                    client.write_all(&sent[..cut]).await.unwrap();
                    let early = futures_util::poll!(&mut begun);
                    client.write_all(&sent[cut..]).await.unwrap();
                    client.shutdown().await.unwrap();
                    let (mut opening, protocol) = match early {
                        Poll::Ready(begun) => begun.unwrap(),
                        Poll::Pending => begun.await.unwrap(),
                    };
                    assert_eq!(protocol, expected);
                    let mut read = Vec::new();
                    opening.read_to_end(&mut read).await.unwrap();
                    assert_eq!(read, sent, "cut at {cut}");
                });
            }
        }
    }

    #[test]
    fn a_client_that_leaves_in_its_first_bytes_is_an_error() {
        block_on(async {
            let (mut client, server) = tokio::io::duplex(1024);
            client.write_all(&PREFACE[..23]).await.unwrap();
            drop(client);
            assert!(begin(Stream::new(server, "test".to_owned())).await.is_err());
        });
    }
}

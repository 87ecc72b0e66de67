//! What a connection's task writes in one turn, sent at once.
//!
//! h2 gives every DATA frame of 256 bytes or more to the kernel by itself, and a system call into TCP costs more
//! than all else of an answer: the events of a hundred watchers on ten connections were a hundred of them, and
//! are ten. So what is written and flushed stays here until the connection's task has done what it could
//! ([`Cork::turn`]). Nothing waits for a timer, or for more to come.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// More is sent before the turn's end. Four frames of the size that clients take unless they say more.
const HELD_BYTES_MAX: usize = 64 * 1024;
/// A connection that waits keeps no larger buffer; h2 keeps one of this size too.
const KEPT_BYTES_MAX: usize = 16 * 1024;

/// The connection's end of a stream: what is written to it is held.
#[derive(Debug)]
pub struct Corked<S>(Arc<Mutex<Held<S>>>);

/// The end of its task, which lets go of what is held.
#[derive(Debug)]
pub struct Cork<S>(Arc<Mutex<Held<S>>>);

#[derive(Debug)]
struct Held<S> {
    stream: S,
    bytes: Vec<u8>,
    /// So many of them have gone.
    sent: usize,
}

/// Both ends.
pub fn cork<S>(stream: S) -> (Corked<S>, Cork<S>) {
    let held = Arc::new(Mutex::new(Held {
        stream,
        bytes: Vec::new(),
        sent: 0,
    }));
    (Corked(Arc::clone(&held)), Cork(held))
}

/// A lock is only poisoned if its holder panicked, which ends the process.
fn lock<S>(held: &Mutex<Held<S>>) -> MutexGuard<'_, Held<S>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: AsyncWrite + Unpin> Held<S> {
    /// Ready once nothing is held.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(left @ [_, ..]) = self.bytes.get(self.sent..) {
            match ready!(Pin::new(&mut self.stream).poll_write(context, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        self.sent = 0;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        Poll::Ready(Ok(()))
    }

    fn poll_hold(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        if self.bytes.len() + length > HELD_BYTES_MAX {
            ready!(self.poll_send(context))?;
        }
        if length > HELD_BYTES_MAX {
            return Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        }
        for slice in slices {
            self.bytes.extend_from_slice(slice);
        }
        Poll::Ready(Ok(length))
    }
}

impl<S: AsyncWrite + Unpin> Cork<S> {
    /// Lets the connection do what it can, and then sends what it wrote. To be called whenever the connection would
    /// be polled.
    pub fn turn<C: Future>(
        &self,
        connection: Pin<&mut C>,
        context: &mut Context<'_>,
    ) -> Poll<C::Output> {
        let ended = connection.poll(context);
        // Pending: it is this task that wakes when there is room. An error the connection meets when it reads.
        let _sent = lock(&self.0).poll_send(context);
        ended
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Corked<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_hold(context, &[IoSlice::new(bytes)])
    }

    /// Done at the end of the turn.
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = lock(&self.0);
        ready!(held.poll_send(context))?;
        Pin::new(&mut held.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_hold(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::pin::pin;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Keeps what each call wrote apart, and takes no more than `room` of it.
    struct Wire {
        writes: Vec<Vec<u8>>,
        room: usize,
    }

    impl AsyncWrite for Wire {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.room);
            if taken == 0 {
                return Poll::Pending;
            }
            self.room -= taken;
            self.writes.push(bytes[..taken].to_vec());
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn corked(room: usize) -> (Corked<Wire>, Cork<Wire>) {
        let writes = Vec::new();
        cork(Wire { writes, room })
    }

    fn writes(cork: &Cork<Wire>) -> Vec<Vec<u8>> {
        lock(&cork.0).stream.writes.clone()
    }

    #[tokio::test]
    async fn the_frames_of_a_turn_are_one_write() {
        let (mut stream, cork) = corked(usize::MAX);
        let mut connection = pin!(async {
            for frame in [b"one ", b"two ", b"six "] {
                stream.write_all(frame).await.unwrap();
                stream.flush().await.unwrap();
            }
            assert!(writes(&cork).is_empty());
            tokio::task::yield_now().await;
            assert_eq!(writes(&cork), [b"one two six "]);
            stream.write_all(b"ten ").await.unwrap();
        });
        poll_fn(|context| cork.turn(connection.as_mut(), context)).await;
        assert_eq!(writes(&cork), [b"one two six ".to_vec(), b"ten ".to_vec()]);
    }

    #[tokio::test]
    async fn who_reads_slowly_is_waited_for_and_gets_all() {
        let (ours, mut theirs) = tokio::io::duplex(1000);
        let (mut stream, cork) = cork(ours);
        let said: Vec<u8> = (0..300_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        let mut connection = pin!(async {
            for (number, frame) in said.chunks(777).enumerate() {
                stream.write_all(frame).await.unwrap();
                stream.flush().await.unwrap();
                assert!(lock(&cork.0).bytes.len() <= HELD_BYTES_MAX);
                if number % 200 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            stream.shutdown().await.unwrap();
        });
        let mut heard = Vec::new();
        let turns = poll_fn(|context| cork.turn(connection.as_mut(), context));
        let ((), all) = tokio::join!(turns, theirs.read_to_end(&mut heard));
        all.unwrap();
        assert_eq!(heard, said);
    }

    #[tokio::test]
    async fn what_is_long_passes_and_what_was_before_goes_first() {
        let (mut stream, cork) = corked(usize::MAX);
        let long = vec![b'l'; HELD_BYTES_MAX + 1];
        stream.write_all(b"short").await.unwrap();
        stream.write_all(&long).await.unwrap();
        assert_eq!(writes(&cork), [b"short".to_vec(), long]);
        assert!(lock(&cork.0).bytes.capacity() <= KEPT_BYTES_MAX);
    }

    #[tokio::test]
    async fn a_turn_without_room_goes_on_at_the_next() {
        let (mut stream, cork) = corked(3);
        let mut connection = pin!(async {
            stream.write_all(b"abcdef").await.unwrap();
            std::future::pending::<()>().await;
        });
        for _ in 0..2 {
            let turn = poll_fn(|context| Poll::Ready(cork.turn(connection.as_mut(), context)));
            assert!(turn.await.is_pending());
            lock(&cork.0).stream.room = 10;
        }
        assert_eq!(writes(&cork), [b"abc".to_vec(), b"def".to_vec()]);
    }
}

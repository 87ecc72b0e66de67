//! A stream that can be taken back from whoever reads it.
//!
//! HTTP/2 keeps the body of a request until it is sent: a peer that stopped reading holds it for as
//! long as its connection lives, even when nobody waits for the answer any more. openraft's stream of
//! requests holds a lock that the next session needs, so it must end with the session and not with
//! the body. Closing the valve drops the inner stream at once; the body sees an orderly end.

use futures_util::{Stream, StreamExt};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// Closes when it is dropped.
pub(super) trait Valve: Send {}

struct Shared<S> {
    /// `None` once closed.
    inner: Option<S>,
    reader: Option<Waker>,
}

struct Handle<S>(Arc<Mutex<Shared<S>>>);

impl<S: Send> Valve for Handle<S> {}

impl<S> Drop for Handle<S> {
    fn drop(&mut self) {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (inner, reader) = (shared.inner.take(), shared.reader.take());
        drop(shared);
        drop(inner);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// The reader's side: the items of the inner stream until the valve closes.
pub(super) struct Valved<S>(Arc<Mutex<Shared<S>>>);

/// Puts a stream behind a valve.
pub(super) fn valve<S>(inner: S) -> (Box<dyn Valve>, Valved<S>)
where
    S: Send + 'static,
{
    let shared = Arc::new(Mutex::new(Shared {
        inner: Some(inner),
        reader: None,
    }));
    (Box::new(Handle(shared.clone())), Valved(shared))
}

impl<S: Stream + Unpin> Stream for Valved<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(inner) = &mut shared.inner else {
            return Poll::Ready(None);
        };
        let polled = inner.poll_next_unpin(context);
        if polled.is_pending() {
            shared.reader = Some(context.waker().clone());
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use tokio::sync::Mutex as AsyncMutex;

    #[tokio::test]
    async fn closing_ends_a_reader_that_waits() {
        let (valve, mut valved) = valve(stream::iter([1]).chain(stream::pending()));
        assert_eq!(valved.next().await, Some(1));
        let reader = tokio::spawn(async move { valved.next().await });
        // The reader is waiting before the valve closes, or sees it closed: the end is the same.
        tokio::task::yield_now().await;
        drop(valve);
        assert_eq!(reader.await.unwrap(), None);
    }

    #[tokio::test]
    async fn closing_frees_what_the_stream_holds_even_if_nobody_reads() {
        let lock = Arc::new(AsyncMutex::new(()));
        let held = lock.clone();
        let inner = Box::pin(stream::once(async move {
            let _guard = held.lock_owned().await;
            std::future::pending::<()>().await;
        }));
        let (valve, mut valved) = valve(inner);
        let polled = futures_util::poll!(valved.next());
        assert!(polled.is_pending());
        assert!(lock.try_lock().is_err(), "the stream holds it");
        drop(valve);
        assert!(lock.try_lock().is_ok(), "and it is gone, unread");
    }
}

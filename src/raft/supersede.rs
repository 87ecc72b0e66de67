//! Drops append messages that a later one makes superfluous.
//!
//! Half of all appends carry no entry: they only tell a follower that the commit index has moved,
//! and cost two messages and four wake-ups a put on an otherwise idle cluster. Such a notice is held
//! for a moment; whatever comes next on the stream carries a commit index at least as high, and the
//! notice is forgotten. openraft matches answers to requests by log position, not by count, so a
//! request that was never sent is answered by the one after it.
//!
//! The price: a follower applies up to [`HOLD`] later. A linearizable read on a follower does not
//! wait for it: it is told the commit index with the leader's answer.

use super::type_config::TypeConfig;
use futures_util::stream::Fuse;
use futures_util::{Stream, StreamExt};
use openraft::raft::AppendEntriesRequest;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// How long a notice waits for something that makes it superfluous.
const HOLD: Duration = Duration::from_millis(2);

type Request = AppendEntriesRequest<TypeConfig>;

/// The stream of requests without superfluous notices.
pub(super) struct Supersede<S> {
    /// Fused: a notice held at the end is handed out first, and then the input is asked again.
    input: Fuse<S>,
    held: Option<(Request, Pin<Box<Sleep>>)>,
}

impl<S: Stream> Supersede<S> {
    pub(super) fn new(input: S) -> Self {
        Self {
            input: input.fuse(),
            held: None,
        }
    }
}

impl<S: Stream<Item = Request> + Unpin> Stream for Supersede<S> {
    type Item = Request;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Request>> {
        loop {
            match self.input.poll_next_unpin(context) {
                Poll::Ready(Some(request)) if request.entries.is_empty() => {
                    // The first notice's time counts, so that a row of them is not held for ever.
                    let timer = self
                        .held
                        .take()
                        .map_or_else(|| Box::pin(sleep(HOLD)), |(_, t)| t);
                    self.held = Some((request, timer));
                }
                Poll::Ready(Some(request)) => {
                    self.held = None;
                    return Poll::Ready(Some(request));
                }
                Poll::Ready(None) => {
                    return Poll::Ready(self.held.take().map(|(request, _)| request));
                }
                Poll::Pending => break,
            }
        }
        let Some((_, timer)) = &mut self.held else {
            return Poll::Pending;
        };
        match timer.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(self.held.take().map(|(request, _)| request)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::type_config::{Entry, log_id_of, vote_of};
    use super::*;
    use crate::types::Position;
    use futures_util::stream;
    use openraft::EntryPayload;
    use tokio_stream::wrappers::ReceiverStream;

    fn request(commit: u64, entry: Option<u64>) -> Request {
        let at = |index| log_id_of(Position { term: 1, index });
        let entries = entry.map(|index| Entry {
            log_id: at(index),
            payload: EntryPayload::Blank,
        });
        Request {
            vote: vote_of(1, 1, true),
            prev_log_id: None,
            entries: entries.into_iter().collect(),
            leader_commit: Some(at(commit)),
        }
    }

    fn commits(requests: &[Request]) -> Vec<u64> {
        requests
            .iter()
            .filter_map(|request| Some(request.leader_commit?.index))
            .collect()
    }

    #[tokio::test]
    async fn a_notice_is_dropped_only_for_what_follows_it() {
        let input = [
            request(1, Some(2)),
            request(2, None),
            request(2, Some(3)),
            request(3, None),
        ];
        let sent: Vec<_> = Supersede::new(stream::iter(input)).collect().await;
        assert_eq!(
            commits(&sent),
            [1, 2, 3],
            "the notice of 2 went with entry 3"
        );
        assert!(sent[2].entries.is_empty(), "the last notice is not lost");
    }

    #[tokio::test]
    async fn a_notice_held_at_the_end_is_the_last() {
        // As openraft's: it panics when it is asked beyond its end.
        let input = stream::unfold(Some(request(5, None)), async |next| Some((next?, None)));
        let mut sent = Supersede::new(Box::pin(input));
        assert_eq!(commits(&[sent.next().await.unwrap()]), [5]);
        assert!(sent.next().await.is_none());
        assert!(sent.next().await.is_none());
    }

    #[tokio::test]
    async fn a_notice_that_nothing_follows_is_sent_after_a_moment() {
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        let mut sent = Supersede::new(ReceiverStream::new(receiver));
        sender.send(request(7, None)).await.unwrap();
        let before = tokio::time::Instant::now();
        assert_eq!(commits(&[sent.next().await.unwrap()]), [7]);
        assert!(before.elapsed() >= HOLD);
    }
}

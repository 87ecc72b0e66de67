use super::*;
use crate::proto::etcdserverpb::PutRequest;
use http_body::Frame;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use tokio::sync::oneshot;

/// A client's body, in chunks.
struct Chunks(VecDeque<Bytes>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|chunk| Ok(Frame::data(chunk))))
    }
}

fn put(key: &str) -> PutRequest {
    PutRequest {
        key: key.to_owned().into(),
        ..PutRequest::default()
    }
}

/// The bytes of some messages, cut into pieces of `size`.
fn messages(keys: &[&str], size: usize, limit: usize) -> Messages {
    let all: Vec<u8> = keys
        .iter()
        .flat_map(|key| grpc::framed(&put(key)).unwrap())
        .collect();
    let chunks = all.chunks(size).map(Bytes::copy_from_slice).collect();
    Messages::new(&HeaderMap::new(), Chunks(chunks), limit)
}

#[tokio::test]
async fn messages_come_whole_however_they_were_cut() {
    for size in [1, 2, 7, 1000] {
        let mut messages = messages(&["a", "", "bcd"], size, 100);
        for key in ["a", "", "bcd"] {
            assert_eq!(messages.next().await.unwrap(), Some(put(key)));
        }
        assert_eq!(messages.next::<PutRequest>().await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_message_too_long_or_cut_short_is_refused() {
    let mut long = messages(&["a long key"], 5, 11);
    let refused = long.next::<PutRequest>().await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let mut short = Messages::new(&HeaderMap::new(), Chunks([Bytes::from("\0\0\0")].into()), 9);
    let refused = short.next::<PutRequest>().await.unwrap_err();
    assert_eq!(refused.code(), Code::Internal);
}

async fn next(answers: &mut Answers) -> Option<Result<Bytes, Status>> {
    std::future::poll_fn(|context| answers.poll_next(context)).await
}

#[tokio::test]
async fn a_stream_ends_with_what_its_task_says() {
    let mut good =
        open(|replies| async move { replies.send(&put("a")).await.map_err(|Gone| Status::ok("")) });
    let framed = grpc::framed(&put("a")).unwrap();
    assert_eq!(next(&mut good).await.unwrap().unwrap(), framed);
    assert!(next(&mut good).await.is_none());
    let mut bad = open(|_| async { Err(Status::unavailable("no")) });
    let refused = next(&mut bad).await.unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(next(&mut bad).await.is_none());
}

#[tokio::test]
async fn a_client_that_goes_ends_the_task() {
    let (held, given_back) = oneshot::channel::<()>();
    let answers = open(|replies| async move {
        let _held = held;
        // More than the queue holds: it waits for a client that never reads.
        while replies.send(&put("a")).await.is_ok() {}
        Ok(())
    });
    drop(answers);
    assert!(given_back.await.is_err(), "what the task held was dropped");
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_a_bounded_number_of_bytes() {
    let said = Arc::new(Semaphore::new(0));
    let counted = said.clone();
    let mut answers = open(|replies| async move {
        let chunk = Bytes::from(vec![0; 300_000]);
        while replies.send_framed(chunk.clone()).await.is_ok() {
            counted.add_permits(1);
        }
        Ok(())
    });
    said.acquire_many(3).await.unwrap().forget();
    tokio::task::yield_now().await;
    assert_eq!(
        said.available_permits(),
        0,
        "three of them are the megabyte"
    );
    // One taken, one more said.
    next(&mut answers).await.unwrap().unwrap();
    said.acquire().await.unwrap().forget();
    tokio::task::yield_now().await;
    assert_eq!(said.available_permits(), 0);
    // What is longer than the room waits alone.
    let mut long = open(|replies| async move {
        let chunk = Bytes::from(vec![0; 3 << 20]);
        replies.send_framed(chunk.clone()).await.unwrap();
        replies.send_framed(chunk).await.unwrap();
        Ok(())
    });
    for _ in 0..2 {
        assert_eq!(next(&mut long).await.unwrap().unwrap().len(), 3 << 20);
    }
    assert!(next(&mut long).await.is_none());
}

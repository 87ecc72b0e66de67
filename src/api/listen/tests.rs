use super::*;
use crate::api::plain::PlainBody;
use crate::env::network::BoxFuture;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Short, where it is waited for; long, where it must not end anything.
const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(3600);

/// Answers with nothing.
struct Nothing;

impl Plain for Nothing {
    fn answer(&self, _request: Request<Incoming>) -> BoxFuture<'static, Response<PlainBody>> {
        Box::pin(async { Response::new(Box::pin(Empty) as PlainBody) })
    }
}

struct Empty;

impl Body for Empty {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

/// What a client hears that says this, keeps its end open and waits for the other's.
async fn hears(says: &[u8], patience: Patience) -> Vec<u8> {
    let (client, server) = tokio::io::duplex(4096);
    let (_keep, stop) = watch::channel(false);
    let port = Port {
        doors: None,
        plain: Arc::new(Nothing),
    };
    let server = Stream::new(server, "test".to_owned());
    let (heard, ()) = tokio::join!(
        talk(client, says),
        serve_connection(server, port, stop, patience)
    );
    heard
}

async fn talk(mut client: DuplexStream, says: &[u8]) -> Vec<u8> {
    // However it is closed.
    client.write_all(says).await.ok();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.ok();
    heard
}

#[tokio::test]
async fn a_client_that_says_nothing_or_too_little_is_left() {
    let patience = Patience {
        beginning: SHORT,
        head: LONG,
    };
    assert!(hears(b"", patience).await.is_empty());
    assert!(
        hears(b"PRI * HTTP/2.0\r\n\r\nSM", patience)
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn a_head_that_never_ends_is_not_waited_for() {
    let patience = Patience {
        beginning: LONG,
        head: SHORT,
    };
    let heard = hears(b"GET /health HTTP/1.1\r\nhost: m\r\nx-slow: ", patience).await;
    assert!(!heard.starts_with(b"HTTP/1.1 200"), "{heard:?}");
    // One request, and then silence: answered, and closed.
    let heard = hears(b"GET /health HTTP/1.1\r\nhost: m\r\n\r\n", patience).await;
    assert!(heard.starts_with(b"HTTP/1.1 200"), "{heard:?}");
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let patience = Patience {
        beginning: LONG,
        head: LONG,
    };
    let line = format!("x-long: {}\r\n", "a".repeat(1000));
    let head = format!("GET / HTTP/1.1\r\nhost: m\r\n{}", line.repeat(90));
    let heard = hears(head.as_bytes(), patience).await;
    assert!(heard.starts_with(b"HTTP/1.1 431"), "{heard:?}");
}

use super::*;
use crate::env::network_memory::MemoryNetwork;
use crate::proto::etcdserverpb::{PutRequest, PutResponse, RangeRequest, RangeResponse};
use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

/// What a member says next: a code other than 0 refuses.
type Script = Arc<Mutex<VecDeque<i32>>>;

/// The frames of an answer.
struct Frames(VecDeque<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

fn answer(path: &str, code: i32) -> http::Response<Frames> {
    let response = http::Response::builder().header("content-type", "application/grpc");
    if code != 0 {
        let refusal = response
            .header("grpc-status", code)
            .header("grpc-message", "refused");
        return refusal.body(Frames(VecDeque::new())).unwrap();
    }
    let message = if path.ends_with("/Range") {
        RangeResponse {
            count: 7,
            ..RangeResponse::default()
        }
        .encode_to_vec()
    } else {
        PutResponse::default().encode_to_vec()
    };
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.put_slice(&message);
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let frames = [Frame::data(framed.freeze()), Frame::trailers(trailers)];
    response.body(Frames(frames.into())).unwrap()
}

/// A member that follows its script, then never answers.
async fn member(network: &MemoryNetwork, address: &str, script: &[i32]) -> Script {
    let script: Script = Arc::new(Mutex::new(script.iter().copied().collect()));
    let mut listener = network.listen(address).await.unwrap();
    let follow = Arc::clone(&script);
    tokio::spawn(async move {
        while let Ok(stream) = listener.accept().await {
            let script = Arc::clone(&follow);
            let service = service_fn(move |request: http::Request<Incoming>| {
                let next = script.lock().unwrap().pop_front();
                async move {
                    match next {
                        Some(code) => Ok::<_, Infallible>(answer(request.uri().path(), code)),
                        None => std::future::pending().await,
                    }
                }
            });
            let builder = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    script
}

fn client(network: &MemoryNetwork, endpoints: &[&str]) -> Client {
    client_for(network, endpoints, Duration::from_secs(60))
}

fn client_for(network: &MemoryNetwork, endpoints: &[&str], timeout: Duration) -> Client {
    let network: Arc<dyn Network> = Arc::new(network.clone());
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|endpoint| (*endpoint).to_owned())
        .collect();
    Client::new(&network, &endpoints, Duration::from_secs(60), timeout)
}

const UNAVAILABLE: i32 = 14;
const INVALID: i32 = 3;

fn left(script: &Script) -> usize {
    script.lock().unwrap().len()
}

#[tokio::test]
async fn a_read_goes_on_to_the_next_member() {
    let network = MemoryNetwork::default();
    let first = member(&network, "first:1", &[UNAVAILABLE]).await;
    let second = member(&network, "second:1", &[UNAVAILABLE, 0]).await;
    let client = client(&network, &["http://first:1", "nobody:1", "second:1"]);
    // First, second, then both once more: the first has nothing more to say.
    first.lock().unwrap().push_back(UNAVAILABLE);
    let response = client.range(RangeRequest::default()).await.unwrap();
    assert_eq!(response.count, 7);
    assert_eq!((left(&first), left(&second)), (0, 0));
}

#[tokio::test]
async fn a_refused_read_is_not_repeated() {
    let network = MemoryNetwork::default();
    let only = member(&network, "only:1", &[INVALID, 0]).await;
    let error = client(&network, &["only:1"])
        .range(RangeRequest::default())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "refused");
    assert_eq!(left(&only), 1);
}

#[tokio::test]
async fn a_write_that_was_sent_is_never_sent_again() {
    let network = MemoryNetwork::default();
    let first = member(&network, "first:1", &[UNAVAILABLE, 0]).await;
    let second = member(&network, "second:1", &[0]).await;
    let client = client(&network, &["first:1", "second:1"]);
    let error = client.put(PutRequest::default()).await.unwrap_err();
    assert!(matches!(&error, ClientError::Status(status) if status.code() == Code::Unavailable));
    assert_eq!((left(&first), left(&second)), (1, 1));
    // The next call begins at the next member.
    client.put(PutRequest::default()).await.unwrap();
    assert_eq!((left(&first), left(&second)), (1, 0));
}

#[tokio::test]
async fn a_write_that_nobody_heard_goes_to_the_next_member() {
    let network = MemoryNetwork::default();
    let second = member(&network, "second:1", &[0]).await;
    client(&network, &["nobody:1", "second:1"])
        .put(PutRequest::default())
        .await
        .unwrap();
    assert_eq!(left(&second), 0);
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let network = MemoryNetwork::default();
    let silent = member(&network, "silent:1", &[]).await;
    let patience = Duration::from_millis(200);
    let start = Instant::now();
    let client = client_for(&network, &["silent:1"], patience);
    let error = client.put(PutRequest::default()).await.unwrap_err();
    assert!(start.elapsed() >= patience);
    assert_eq!(error.to_string(), "context deadline exceeded");
    let client = client_for(&network, &["nobody:1"], patience);
    let error = client.put(PutRequest::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut));
    assert_eq!(left(&silent), 0);
}

//! Watches and renewals against members that follow a script.

use super::*;
use crate::env::Network;
use crate::env::network_memory::MemoryNetwork;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::etcdserverpb::{
    LeaseKeepAliveRequest, LeaseKeepAliveResponse, ResponseHeader, WatchCreateRequest,
    WatchRequest, WatchResponse,
};
use crate::proto::mvccpb::{Event, KeyValue};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

const UNAVAILABLE: i32 = 14;
const PATIENCE: Duration = Duration::from_secs(60);

/// What a member says on one stream, and how that ends: `None` is silence.
struct Act {
    answers: Vec<Vec<u8>>,
    ending: Option<(i32, &'static str)>,
}

/// The acts to come, and the first messages of the streams so far.
#[derive(Default)]
struct Scene {
    acts: VecDeque<Act>,
    heard: Vec<Bytes>,
}

type Stage = Arc<Mutex<Scene>>;

struct Frames {
    frames: VecDeque<Frame<Bytes>>,
    ends: bool,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None if self.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

fn framed(message: &[u8]) -> Frame<Bytes> {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.len()).unwrap());
    bytes.put_slice(message);
    Frame::data(bytes.freeze())
}

async fn first_message(mut body: Incoming) -> (Bytes, Incoming) {
    let mut bytes = BytesMut::new();
    loop {
        if let Some(mut head) = bytes.get(1..5) {
            let length = usize::try_from(head.get_u32()).unwrap();
            if let Some(message) = bytes.get(5..5 + length) {
                return (Bytes::copy_from_slice(message), body);
            }
        }
        let next = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context));
        let frame = next.await.expect("a message").unwrap();
        bytes.put(frame.into_data().unwrap());
    }
}

async fn perform(stage: Stage, request: http::Request<Incoming>) -> http::Response<Frames> {
    let (message, questions) = first_message(request.into_body()).await;
    // Dropped, it would reset the stream.
    tokio::spawn(async move {
        let _questions = questions;
        std::future::pending::<()>().await;
    });
    let act = {
        let mut scene = stage.lock().unwrap();
        scene.heard.push(message);
        scene.acts.pop_front()
    };
    let Some(act) = act else {
        return std::future::pending().await;
    };
    let mut frames: VecDeque<_> = act.answers.iter().map(|answer| framed(answer)).collect();
    if let Some((code, text)) = act.ending {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", code.into());
        trailers.insert("grpc-message", text.parse().unwrap());
        frames.push_back(Frame::trailers(trailers));
    }
    let body = Frames {
        frames,
        ends: act.ending.is_some(),
    };
    let response = http::Response::builder().header("content-type", "application/grpc");
    response.body(body).unwrap()
}

async fn member(network: &MemoryNetwork, address: &str, acts: Vec<Act>) -> Stage {
    let stage = Stage::default();
    stage.lock().unwrap().acts = acts.into();
    let mut listener = network.listen(address).await.unwrap();
    let of_this_member = Arc::clone(&stage);
    tokio::spawn(async move {
        while let Ok(stream) = listener.accept().await {
            let stage = Arc::clone(&of_this_member);
            let service = service_fn(move |request| {
                let stage = Arc::clone(&stage);
                async move { Ok::<_, Infallible>(perform(stage, request).await) }
            });
            let builder = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    stage
}

fn client(network: &MemoryNetwork, endpoints: &[&str]) -> Client {
    let network: Arc<dyn Network> = Arc::new(network.clone());
    let endpoints: Vec<_> = endpoints.iter().map(|name| (*name).to_owned()).collect();
    Client::new(&network, &endpoints, PATIENCE, PATIENCE)
}

fn answer(revision: i64, change: impl FnOnce(&mut WatchResponse)) -> Vec<u8> {
    let header = ResponseHeader {
        revision,
        ..ResponseHeader::default()
    };
    let mut response = WatchResponse {
        header: Some(header),
        ..WatchResponse::default()
    };
    change(&mut response);
    response.encode_to_vec()
}

fn created(revision: i64) -> Vec<u8> {
    answer(revision, |response| response.created = true)
}

fn event(mod_revision: i64) -> Event {
    let kv = KeyValue {
        mod_revision,
        ..KeyValue::default()
    };
    Event {
        kv: Some(kv),
        ..Event::default()
    }
}

/// Where the streams of a member began.
fn starts(stage: &Stage) -> Vec<i64> {
    let scene = stage.lock().unwrap();
    let start = |message: &Bytes| {
        let request = WatchRequest::decode(message.clone()).unwrap();
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => create.start_revision,
            other => panic!("{other:?}"),
        }
    };
    scene.heard.iter().map(start).collect()
}

fn watch(client: &Client) -> Watch<'_> {
    Watch::new(client, WatchCreateRequest::default())
}

fn revisions(answer: &WatchResponse) -> Vec<i64> {
    let events = answer.events.iter();
    events
        .map(|event| event.kv.as_ref().unwrap().mod_revision)
        .collect()
}

#[tokio::test]
async fn a_watch_goes_on_at_the_next_member_behind_what_it_has_seen() {
    let network = MemoryNetwork::default();
    let first = Act {
        answers: vec![
            created(10),
            answer(12, |part| {
                part.events = vec![event(11)];
                part.fragment = true;
            }),
            answer(12, |part| part.events = vec![event(12)]),
        ],
        ending: Some((UNAVAILABLE, "going down")),
    };
    let second = Act {
        answers: vec![
            created(20),
            answer(13, |answer| answer.events = vec![event(13)]),
        ],
        ending: None,
    };
    let first = member(&network, "first:1", vec![first]).await;
    let second = member(&network, "second:1", vec![second]).await;
    let client = client(&network, &["first:1", "second:1"]);
    let mut watch = watch(&client);
    let merged = watch.next().await.unwrap().unwrap();
    assert_eq!(revisions(&merged), [11, 12]);
    let resumed = watch.next().await.unwrap().unwrap();
    assert_eq!(revisions(&resumed), [13]);
    assert_eq!((starts(&first), starts(&second)), (vec![0], vec![13]));
}

#[tokio::test]
async fn a_fragment_that_was_not_completed_is_asked_for_again() {
    let network = MemoryNetwork::default();
    let torn = Act {
        answers: vec![
            created(10),
            answer(12, |part| {
                part.events = vec![event(11)];
                part.fragment = true;
            }),
        ],
        ending: Some((UNAVAILABLE, "going down")),
    };
    let whole = Act {
        answers: vec![
            created(12),
            answer(12, |answer| answer.events = vec![event(11), event(12)]),
        ],
        ending: None,
    };
    let only = member(&network, "only:1", vec![torn, whole]).await;
    let client = client(&network, &["only:1"]);
    let found = watch(&client).next().await.unwrap().unwrap();
    assert_eq!(revisions(&found), [11, 12]);
    assert_eq!(starts(&only), [0, 11]);
}

#[tokio::test]
async fn only_its_own_progress_moves_a_watch() {
    let network = MemoryNetwork::default();
    let progress = |of, revision| Act {
        answers: vec![created(10), answer(revision, |answer| answer.watch_id = of)],
        ending: Some((UNAVAILABLE, "going down")),
    };
    let acts = vec![progress(-1, 20), progress(0, 30)];
    let only = member(&network, "only:1", acts).await;
    let client = client(&network, &["only:1"]);
    let mut watch = watch(&client);
    for revision in [20, 30] {
        let progress = watch.next().await.unwrap().unwrap();
        assert_eq!(progress.header.unwrap().revision, revision);
    }
    // The next stream is asked for and never answered.
    let waiting = tokio::time::timeout(PATIENCE, async {
        tokio::select! {
            _ = watch.next() => {}
            () = async {
                while starts(&only).len() < 3 {
                    tokio::task::yield_now().await;
                }
            } => {}
        }
    });
    waiting.await.unwrap();
    assert_eq!(starts(&only), [0, 11, 31]);
}

#[tokio::test]
async fn a_watch_ends_where_etcds_client_ends_it() {
    let network = MemoryNetwork::default();
    let refused = |code, text| Act {
        answers: Vec::new(),
        ending: Some((code, text)),
    };
    let compacted = Act {
        answers: vec![
            created(10),
            answer(0, |answer| {
                answer.canceled = true;
                answer.compact_revision = 7;
            }),
        ],
        ending: None,
    };
    let canceled = Act {
        answers: vec![answer(10, |answer| {
            answer.created = true;
            answer.canceled = true;
            answer.cancel_reason = "etcdserver: permission denied".to_owned();
        })],
        ending: None,
    };
    let acts = vec![
        refused(UNAVAILABLE, "etcdserver: no leader"),
        refused(16, "etcdserver: invalid auth token"),
        canceled,
        compacted,
    ];
    member(&network, "only:1", acts).await;
    let client = client(&network, &["only:1"]);
    for text in [
        "etcdserver: no leader",
        "etcdserver: invalid auth token",
        "etcdserver: permission denied",
    ] {
        let mut watch = watch(&client);
        let error = watch.next().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), text);
        assert!(watch.next().await.is_none());
    }
    let mut watch = watch(&client);
    let last = watch.next().await.unwrap().unwrap();
    assert_eq!((last.canceled, last.compact_revision), (true, 7));
    assert!(watch.next().await.is_none());
}

fn renewed(ttl: i64) -> Vec<u8> {
    let response = LeaseKeepAliveResponse {
        id: 5,
        ttl,
        ..LeaseKeepAliveResponse::default()
    };
    response.encode_to_vec()
}

#[tokio::test]
async fn a_member_that_says_nothing_is_left_for_the_next_one() {
    let network = MemoryNetwork::default();
    let silent_after_one = Act {
        answers: vec![renewed(2)],
        ending: None,
    };
    let goes_on = Act {
        answers: vec![renewed(2), renewed(0)],
        ending: None,
    };
    member(&network, "first:1", vec![silent_after_one]).await;
    let second = member(&network, "second:1", vec![goes_on]).await;
    let client = client(&network, &["first:1", "second:1"]);
    let mut keep_alive = KeepAlive::new(&client, 5);
    assert_eq!(keep_alive.next().await.unwrap().ttl, 2);
    assert_eq!(keep_alive.next().await.unwrap().ttl, 2);
    let question = second.lock().unwrap().heard[0].clone();
    assert_eq!(LeaseKeepAliveRequest::decode(question).unwrap().id, 5);
    // A lease without time left is gone.
    assert!(keep_alive.next().await.is_none());
}

#[tokio::test]
async fn a_lease_that_nobody_renews_is_taken_for_dead_when_its_time_is_over() {
    let network = MemoryNetwork::default();
    let once = Act {
        answers: vec![renewed(1)],
        ending: None,
    };
    member(&network, "only:1", vec![once]).await;
    let client = client(&network, &["only:1"]);
    let mut keep_alive = KeepAlive::new(&client, 5);
    assert_eq!(keep_alive.next().await.unwrap().ttl, 1);
    let start = tokio::time::Instant::now();
    assert!(keep_alive.next().await.is_none());
    assert!(start.elapsed() >= Duration::from_millis(900));
}

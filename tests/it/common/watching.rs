//! A client's end of one watch stream.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use super::{Cluster, PATIENCE, eventually};
use quorate::proto::etcdserverpb::watch_request::RequestUnion;
use quorate::proto::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use quorate::proto::mvccpb::Event;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

pub struct Watching {
    requests: Option<mpsc::Sender<WatchRequest>>,
    responses: Streaming<WatchResponse>,
}

impl Watching {
    pub async fn open(cluster: &Cluster, member: usize) -> Self {
        Self::open_as(cluster, member, false).await
    }

    /// One that ends when its member has no leader.
    pub async fn open_with_leader(cluster: &Cluster, member: usize) -> Self {
        Self::open_as(cluster, member, true).await
    }

    async fn open_as(cluster: &Cluster, member: usize, has_leader: bool) -> Self {
        let mut client = cluster.watch(member).max_decoding_message_size(usize::MAX);
        eventually("a watch stream", async || {
            let (requests, queue) = mpsc::channel(16);
            let mut request = tonic::Request::new(ReceiverStream::new(queue));
            if has_leader {
                let metadata = request.metadata_mut();
                metadata.insert("hasleader", "true".parse().ok()?);
            }
            let answer = client.watch(request).await.ok()?;
            Some(Self {
                requests: Some(requests),
                responses: answer.into_inner(),
            })
        })
        .await
    }

    pub async fn say(&mut self, request: WatchRequest) {
        let requests = self.requests.as_ref().unwrap();
        requests.send(request).await.unwrap();
    }

    async fn ask(&mut self, request: RequestUnion) {
        self.say(WatchRequest {
            request_union: Some(request),
        })
        .await;
    }

    pub async fn create(&mut self, request: WatchCreateRequest) {
        self.ask(RequestUnion::CreateRequest(request)).await;
    }

    pub async fn cancel(&mut self, watch_id: i64) {
        self.ask(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }))
            .await;
    }

    pub async fn progress(&mut self) {
        self.ask(RequestUnion::ProgressRequest(WatchProgressRequest {}))
            .await;
    }

    /// Says that it will say no more.
    pub fn close(&mut self) {
        self.requests = None;
    }

    pub async fn next(&mut self) -> WatchResponse {
        let next = timeout(PATIENCE, self.responses.message()).await;
        next.expect("a response in time").unwrap().expect("no end")
    }

    /// How the stream ends.
    pub async fn end(&mut self) -> Status {
        loop {
            match timeout(PATIENCE, self.responses.message()).await.unwrap() {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok("the end"),
                Err(status) => return status,
            }
        }
    }

    /// So many events, however many responses they come in. Their revisions never fall, and no
    /// response shares one with the response before.
    pub async fn events(&mut self, count: usize) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        while events.len() < count {
            let response = self.next().await;
            let revision = |event: &Event| event.kv.as_ref().unwrap().mod_revision;
            if let (Some(last), Some(first)) = (events.last(), response.events.first()) {
                assert!(revision(last) < revision(first), "a revision is whole");
            }
            if let Some(last) = response.events.last() {
                assert!(response.header.unwrap().revision >= revision(last));
            }
            events.extend(response.events);
        }
        assert_eq!(events.len(), count, "and no more");
        events
    }
}

/// A watcher of one key.
pub fn single(key: &str) -> WatchCreateRequest {
    WatchCreateRequest {
        key: key.to_owned().into(),
        ..WatchCreateRequest::default()
    }
}

/// A watcher of everything.
pub fn all() -> WatchCreateRequest {
    WatchCreateRequest {
        range_end: vec![0].into(),
        ..WatchCreateRequest::default()
    }
}

pub fn words(events: &[Event]) -> Vec<String> {
    let word = |event: &Event| {
        let kv = event.kv.as_ref().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let kind = event.r#type().as_str_name();
        format!("{kind} {}={}", text(&kv.key), text(&kv.value))
    };
    events.iter().map(word).collect()
}

//! A watch stream, message by message.

use crate::cluster::local::PATIENCE;
use crate::door::{Answer, Door};
use anyhow::{Context as _, Result};
use futures_util::stream;
use quorate::proto::etcdserverpb::watch_request::RequestUnion;
use quorate::proto::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Request, Streaming};

const REQUESTS_QUEUED: usize = 16;

/// See the module's text.
pub(super) struct Listener {
    requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

impl Listener {
    /// Opens a stream and asks for a first watcher: a server may say nothing before.
    pub(super) async fn open(door: &Door, create: WatchCreateRequest) -> Answer<Self> {
        Self::open_as(door, create, false).await
    }

    /// As [`Listener::open`], and perhaps only while there is a leader.
    pub(super) async fn open_as(
        door: &Door,
        create: WatchCreateRequest,
        has_leader: bool,
    ) -> Answer<Self> {
        let (requests, waiting) = mpsc::channel(REQUESTS_QUEUED);
        let first = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        // The queue is empty.
        drop(requests.try_send(first));
        let outgoing = stream::unfold(waiting, |mut waiting: mpsc::Receiver<_>| async {
            waiting.recv().await.map(|request| (request, waiting))
        });
        let mut request = Request::new(outgoing);
        if has_leader {
            let value = tonic::metadata::MetadataValue::from_static("true");
            request.metadata_mut().insert("hasleader", value);
        }
        let answers = door.clone().watch.watch(request).await?.into_inner();
        Ok(Self { requests, answers })
    }

    async fn ask(&self, request: RequestUnion) -> Result<()> {
        let request = WatchRequest {
            request_union: Some(request),
        };
        self.requests
            .send(request)
            .await
            .context("the stream has ended")
    }

    pub(super) async fn create(&self, create: WatchCreateRequest) -> Result<()> {
        self.ask(RequestUnion::CreateRequest(create)).await
    }

    pub(super) async fn cancel(&self, watch_id: i64) -> Result<()> {
        self.ask(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }))
            .await
    }

    pub(super) async fn ask_progress(&self) -> Result<()> {
        self.ask(RequestUnion::ProgressRequest(WatchProgressRequest {}))
            .await
    }

    /// The next message.
    ///
    /// # Errors
    /// There is none in time, or the stream ends.
    pub(super) async fn next(&mut self) -> Result<WatchResponse> {
        let message = timeout(PATIENCE, self.answers.message()).await;
        message
            .context("nothing is said")??
            .context("the stream ended")
    }

    /// The next message, if it comes within `limit`.
    ///
    /// # Errors
    /// The stream ends.
    pub(super) async fn next_within(&mut self, limit: Duration) -> Result<Option<WatchResponse>> {
        match timeout(limit, self.answers.message()).await {
            Ok(message) => Ok(Some(message?.context("the stream ended")?)),
            Err(_) => Ok(None),
        }
    }

    /// How the stream ends; messages before that are dropped.
    pub(super) async fn end(mut self) -> Result<tonic::Status> {
        let end = async {
            loop {
                match self.answers.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return tonic::Status::ok("the end of the stream"),
                    Err(status) => return status,
                }
            }
        };
        timeout(PATIENCE, end)
            .await
            .context("the stream does not end")
    }
}

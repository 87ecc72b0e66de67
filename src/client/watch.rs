//! A watch that goes on where it was when its member goes away.

use super::connection::Connection;
use super::retry::{Client, ClientError, is_passing, is_servers_word};
use crate::proto::etcdserverpb::watch_client::WatchClient;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::etcdserverpb::{
    WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use crate::types::Revision;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status, Streaming};

/// Questions on their way to the member: the creation, and those for progress.
const QUESTIONS_MAX: usize = 16;
/// The id of an answer that is for every watcher of a stream.
const EVERY_WATCHER: i64 = -1;

/// One watcher. It asks only members that have a leader, and ends when one says that it has none,
/// as etcd's client does.
pub struct Watch<'c> {
    client: &'c Client,
    /// Its start revision is where the next stream begins; 0 before the first one.
    request: WatchCreateRequest,
    open: Option<Open<'c>>,
    /// Fragments whose last one is still to come.
    parts: Option<WatchResponse>,
    has_ended: bool,
}

struct Open<'c> {
    connection: &'c Connection,
    questions: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

impl<'c> Watch<'c> {
    pub fn new(client: &'c Client, request: WatchCreateRequest) -> Self {
        Self {
            client,
            request,
            open: None,
            parts: None,
            has_ended: false,
        }
    }

    /// The next answer with events, or one without: progress. What a compaction cancelled is an
    /// answer too, the last one. `None` when it has ended. May be dropped and called again.
    pub async fn next(&mut self) -> Option<Result<WatchResponse, ClientError>> {
        while !self.has_ended {
            let found = match self.receive().await {
                Ok(Some(answer)) => self.take(answer),
                Ok(None) => continue,
                Err(error) => Some(Err(error)),
            };
            if let Some(found) = found {
                self.has_ended |= found.as_ref().map_or(true, |answer| answer.canceled);
                return Some(found);
            }
        }
        None
    }

    /// Asks for an answer without events that says how far the watch is.
    pub fn request_progress(&self) {
        let union = RequestUnion::ProgressRequest(WatchProgressRequest {});
        let question = WatchRequest {
            request_union: Some(union),
        };
        // Between two streams, or behind too many questions, nobody is there to tell.
        if let Some(open) = &self.open {
            open.questions.try_send(question).unwrap_or_default();
        }
    }

    /// `None`: the stream is lost, the next call opens another one.
    async fn receive(&mut self) -> Result<Option<WatchResponse>, ClientError> {
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                self.parts = None;
                self.open.insert(open(self.client, &self.request).await?)
            }
        };
        let lost = match open.answers.message().await {
            Ok(Some(answer)) => return Ok(Some(answer)),
            Ok(None) => None,
            Err(status) => Some(status),
        };
        let connection = open.connection;
        self.open = None;
        if let Some(status) = lost {
            judge(status, connection)?;
        }
        self.client.pause().await;
        Ok(None)
    }

    /// What an answer means for the next stream, and what of it the caller hears.
    fn take(&mut self, answer: WatchResponse) -> Option<Result<WatchResponse, ClientError>> {
        let header_revision = answer.header.as_ref().map_or(0, |header| header.revision);
        if answer.canceled && answer.compact_revision == 0 {
            return Some(Err(ClientError::Canceled(answer.cancel_reason)));
        }
        if answer.created && !answer.canceled {
            // From now on: what comes after the revision at which the watcher was made.
            self.next_is(header_revision + 1, self.request.start_revision == 0);
            return None;
        }
        let answer = match self.parts.take() {
            Some(mut first) => {
                first.events.extend(answer.events);
                first.fragment = answer.fragment;
                first
            }
            None => answer,
        };
        if answer.fragment {
            self.parts = Some(answer);
            return None;
        }
        match answer.events.last().and_then(|event| event.kv.as_ref()) {
            Some(kv) => self.next_is(kv.mod_revision + 1, true),
            // Before 3.5.8 an answer for all watchers may be ahead of this one's events.
            None => self.next_is(header_revision + 1, answer.watch_id != EVERY_WATCHER),
        }
        Some(Ok(answer))
    }

    fn next_is(&mut self, revision: Revision, applies: bool) {
        if applies && revision > self.request.start_revision {
            self.request.start_revision = revision;
        }
    }
}

/// A stream on which the watcher is asked for.
async fn open<'c>(
    client: &'c Client,
    request: &WatchCreateRequest,
) -> Result<Open<'c>, ClientError> {
    loop {
        let (connection, channel) = client.reach().await;
        let (questions, messages) = mpsc::channel(QUESTIONS_MAX);
        let create = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(request.clone())),
        };
        questions.try_send(create).unwrap_or_default();
        let mut client_of_one = WatchClient::new(channel).max_decoding_message_size(usize::MAX);
        let request = require_leader(ReceiverStream::new(messages));
        match client_of_one.watch(request).await {
            Ok(response) => {
                return Ok(Open {
                    connection,
                    questions,
                    answers: response.into_inner(),
                });
            }
            Err(status) => judge(status, connection)?,
        }
        client.pause().await;
    }
}

/// Whether another stream may do better. An error ends the watch.
fn judge(status: Status, connection: &Connection) -> Result<(), ClientError> {
    if !is_servers_word(&status) {
        connection.forget();
        return Ok(());
    }
    let has_no_leader =
        status.code() == Code::Unavailable && status.message() == "etcdserver: no leader";
    if is_passing(&status) && !has_no_leader {
        Ok(())
    } else {
        Err(status.into())
    }
}

/// A member without a leader shall say so, rather than be silent.
pub(super) fn require_leader<T>(messages: T) -> Request<T> {
    let mut request = Request::new(messages);
    let metadata = request.metadata_mut();
    metadata.insert("hasleader", MetadataValue::from_static("true"));
    request
}

//! Leases, and the loop that keeps one alive.

use super::connection::Connection;
use super::retry::{Client, ClientError, Repeat, is_servers_word};
use super::watch::require_leader;
use crate::proto::etcdserverpb::lease_client::LeaseClient;
use crate::proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use crate::types::LeaseId;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

/// Before a stream is opened again; etcd's client waits as long.
const REOPEN_AFTER: Duration = Duration::from_millis(500);
/// Until the first answer says how long the lease lives, beyond the time to dial.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(1);

impl Client {
    pub async fn lease_grant(
        &self,
        request: LeaseGrantRequest,
    ) -> Result<LeaseGrantResponse, ClientError> {
        self.call(
            Repeat::WhileUnavailable,
            request,
            |channel, request| async move { lease(channel).lease_grant(request).await },
        )
        .await
    }

    pub async fn lease_revoke(
        &self,
        request: LeaseRevokeRequest,
    ) -> Result<LeaseRevokeResponse, ClientError> {
        self.call(
            Repeat::WhileUnavailable,
            request,
            |channel, request| async move { lease(channel).lease_revoke(request).await },
        )
        .await
    }

    pub async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
    ) -> Result<LeaseTimeToLiveResponse, ClientError> {
        self.call(
            Repeat::WhileUnavailable,
            request,
            |channel, request| async move { lease(channel).lease_time_to_live(request).await },
        )
        .await
    }

    pub async fn lease_leases(&self) -> Result<LeaseLeasesResponse, ClientError> {
        self.call(
            Repeat::WhileUnavailable,
            LeaseLeasesRequest {},
            |channel, request| async move { lease(channel).lease_leases(request).await },
        )
        .await
    }

    /// One renewal. A lease that is gone is an error, in etcd's words.
    pub async fn lease_keep_alive_once(
        &self,
        id: LeaseId,
    ) -> Result<LeaseKeepAliveResponse, ClientError> {
        let request = LeaseKeepAliveRequest { id };
        self.call(
            Repeat::WhileUnavailable,
            request,
            |channel, request| async move {
                let (metadata, extensions, message) = request.into_parts();
                let messages = tokio_stream::once(message);
                let request = Request::from_parts(metadata, extensions, messages);
                let answers = lease(channel).lease_keep_alive(request).await?;
                match answers.into_inner().message().await? {
                    Some(answer) if answer.ttl > 0 => Ok(Response::new(answer)),
                    Some(_) => Err(Status::not_found("etcdserver: requested lease not found")),
                    None => Err(Status::unavailable("the stream ended")),
                }
            },
        )
        .await
    }
}

fn lease(channel: Channel) -> LeaseClient<Channel> {
    LeaseClient::new(channel).max_decoding_message_size(usize::MAX)
}

/// Keeps one lease alive for as long as [`KeepAlive::next`] is awaited: a third of its life after
/// each answer it asks again, and a member that says nothing is left for the next one.
pub struct KeepAlive<'c> {
    client: &'c Client,
    id: LeaseId,
    open: Option<Open<'c>>,
    /// When to ask again.
    due: Instant,
    /// How long an answer may take before another member is asked.
    answer_max: Duration,
    /// The lease is taken for dead then, if nothing else is heard.
    deadline: Instant,
}

struct Open<'c> {
    connection: &'c Connection,
    questions: mpsc::Sender<LeaseKeepAliveRequest>,
    answers: Streaming<LeaseKeepAliveResponse>,
    /// A question is on its way.
    is_asked: bool,
}

impl<'c> KeepAlive<'c> {
    pub fn new(client: &'c Client, id: LeaseId) -> Self {
        let first = client.dial_timeout() + FIRST_ANSWER_MAX;
        Self {
            client,
            id,
            open: None,
            due: Instant::now(),
            answer_max: first,
            deadline: Instant::now() + first,
        }
    }

    /// The next answer. `None`: the lease expired or was revoked, or nobody was heard for as long
    /// as it lives. May be dropped and called again.
    pub async fn next(&mut self) -> Option<LeaseKeepAliveResponse> {
        let deadline = self.deadline;
        let answer = tokio::time::timeout_at(deadline, self.answer()).await;
        answer.ok().flatten()
    }

    async fn answer(&mut self) -> Option<LeaseKeepAliveResponse> {
        loop {
            tokio::time::sleep_until(self.due).await;
            let waiting = tokio::time::timeout(self.answer_max, self.ask());
            match waiting.await {
                Ok(Some(answer)) if answer.ttl <= 0 => return None,
                Ok(Some(answer)) => {
                    let life = Duration::from_secs(answer.ttl.unsigned_abs());
                    let now = Instant::now();
                    (self.due, self.deadline) = (now + life / 3, now + life);
                    self.answer_max = (life / 3).max(REOPEN_AFTER);
                    return Some(answer);
                }
                Ok(None) | Err(_) => {
                    // Whoever was silent may be at the end of a dead link.
                    if let Some(open) = self.open.take() {
                        open.connection.forget();
                    }
                    self.due = Instant::now() + REOPEN_AFTER;
                }
            }
        }
    }

    /// `None` if the stream is of no use any more.
    async fn ask(&mut self) -> Option<LeaseKeepAliveResponse> {
        let question = LeaseKeepAliveRequest { id: self.id };
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(open(self.client, question).await?),
        };
        if !open.is_asked {
            open.questions.send(question).await.ok()?;
            open.is_asked = true;
        }
        match open.answers.message().await {
            Ok(answer) => {
                open.is_asked = false;
                answer
            }
            Err(_) => None,
        }
    }
}

/// A stream on which the first question is asked.
async fn open(client: &Client, question: LeaseKeepAliveRequest) -> Option<Open<'_>> {
    let (connection, channel) = client.reach().await;
    let (questions, messages) = mpsc::channel(1);
    questions.try_send(question).ok()?;
    let request = require_leader(ReceiverStream::new(messages));
    match lease(channel).lease_keep_alive(request).await {
        Ok(response) => Some(Open {
            connection,
            questions,
            answers: response.into_inner(),
            is_asked: true,
        }),
        Err(status) => {
            if !is_servers_word(&status) {
                connection.forget();
            }
            None
        }
    }
}

//! The client and its rules of repetition.

use super::connection::Connection;
use crate::env::Network;
use crate::proto::etcdserverpb::cluster_client::ClusterClient;
use crate::proto::etcdserverpb::kv_client::KvClient;
use crate::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use crate::proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse,
    MemberListRequest, MemberListResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
    StatusRequest, StatusResponse, TxnRequest, TxnResponse,
};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

/// Between two rounds over all endpoints; etcd's clients wait as long.
const BACKOFF: Duration = Duration::from_millis(25);
/// etcd's clients give a read up after as many tries.
const READ_TRIES_MAX: usize = 100;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server's answer, or the transport's.
    #[error("{}", .0.message())]
    Status(#[source] Box<Status>),
    /// In Go's words, which people search for.
    #[error("context deadline exceeded")]
    TimedOut,
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// Talks to a cluster through any of its members.
pub struct Client {
    connections: Vec<Connection>,
    /// Where the next call begins.
    next: AtomicUsize,
    timeout: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// A read: again if the member could not answer.
    WhileUnavailable,
    /// A write: again only if it was never sent.
    UnlessSent,
}

impl Client {
    /// `endpoints` must not be empty. `timeout` is for a whole call with all its tries.
    pub fn new(
        network: &Arc<dyn Network>,
        endpoints: &[String],
        dial_timeout: Duration,
        timeout: Duration,
    ) -> Self {
        assert!(!endpoints.is_empty(), "a client needs an endpoint");
        let connections = endpoints
            .iter()
            .map(|endpoint| Connection::new(Arc::clone(network), endpoint, dial_timeout))
            .collect();
        Self {
            connections,
            next: AtomicUsize::new(0),
            timeout,
        }
    }

    pub async fn range(&self, request: RangeRequest) -> Result<RangeResponse, ClientError> {
        self.call(
            Repeat::WhileUnavailable,
            request,
            |channel, request| async move { kv(channel).range(request).await },
        )
        .await
    }

    pub async fn put(&self, request: PutRequest) -> Result<PutResponse, ClientError> {
        self.call(Repeat::UnlessSent, request, |channel, request| async move {
            kv(channel).put(request).await
        })
        .await
    }

    pub async fn delete_range(
        &self,
        request: DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, ClientError> {
        self.call(Repeat::UnlessSent, request, |channel, request| async move {
            kv(channel).delete_range(request).await
        })
        .await
    }

    pub async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, ClientError> {
        self.call(Repeat::UnlessSent, request, |channel, request| async move {
            kv(channel).txn(request).await
        })
        .await
    }

    pub async fn compact(
        &self,
        request: CompactionRequest,
    ) -> Result<CompactionResponse, ClientError> {
        self.call(Repeat::UnlessSent, request, |channel, request| async move {
            kv(channel).compact(request).await
        })
        .await
    }

    pub async fn member_list(
        &self,
        request: MemberListRequest,
    ) -> Result<MemberListResponse, ClientError> {
        self.call(
            Repeat::WhileUnavailable,
            request,
            |channel, request| async move {
                ClusterClient::new(channel)
                    .max_decoding_message_size(usize::MAX)
                    .member_list(request)
                    .await
            },
        )
        .await
    }

    pub async fn status(&self, request: StatusRequest) -> Result<StatusResponse, ClientError> {
        self.call(
            Repeat::WhileUnavailable,
            request,
            |channel, request| async move { MaintenanceClient::new(channel).status(request).await },
        )
        .await
    }

    async fn call<Q, A, Answering>(
        &self,
        repeat: Repeat,
        question: Q,
        send: impl Fn(Channel, Request<Q>) -> Answering,
    ) -> Result<A, ClientError>
    where
        Q: Clone,
        Answering: Future<Output = Result<Response<A>, Status>>,
    {
        let deadline = Instant::now() + self.timeout;
        let tries = self.tries(repeat, question, send, deadline);
        tokio::time::timeout_at(deadline, tries)
            .await
            .unwrap_or(Err(ClientError::TimedOut))
    }

    async fn tries<Q, A, Answering>(
        &self,
        repeat: Repeat,
        question: Q,
        send: impl Fn(Channel, Request<Q>) -> Answering,
        deadline: Instant,
    ) -> Result<A, ClientError>
    where
        Q: Clone,
        Answering: Future<Output = Result<Response<A>, Status>>,
    {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut sent = 0;
        for attempt in 0.. {
            if attempt > 0 && attempt % self.connections.len() == 0 {
                tokio::time::sleep(BACKOFF).await;
            }
            let connection =
                &self.connections[first.wrapping_add(attempt) % self.connections.len()];
            // Not dialled is not sent: whatever it is, the next endpoint may try.
            let Ok(channel) = connection.channel().await else {
                continue;
            };
            let mut request = Request::new(question.clone());
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
            sent += 1;
            match send(channel, request).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => {
                    if !is_servers_word(&status) {
                        connection.forget();
                    }
                    // However the transport puts it.
                    if Instant::now() >= deadline {
                        return Err(ClientError::TimedOut);
                    }
                    let may_repeat = repeat == Repeat::WhileUnavailable
                        && status.code() == Code::Unavailable
                        && sent < READ_TRIES_MAX;
                    if !may_repeat {
                        return Err(status.into());
                    }
                }
            }
        }
        Err(ClientError::TimedOut)
    }
}

fn kv(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(usize::MAX)
}

/// Whether a member said so, rather than the transport on its way.
fn is_servers_word(status: &Status) -> bool {
    std::error::Error::source(status).is_none()
}

#[cfg(test)]
mod tests;

//! The client and its rules of repetition.

use super::connection::Connection;
use crate::env::Network;
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
    /// The member ended a watch, and why.
    #[error("{0}")]
    Canceled(String),
}

impl ClientError {
    /// Whether another member, or the same one later, may know better.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Status(status) => !is_servers_word(status) || is_passing(status),
            Self::TimedOut => true,
            Self::Canceled(_) => false,
        }
    }
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
    dial_timeout: Duration,
    timeout: Duration,
}

/// What may be said twice is what etcd's own client says twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// A read, or what may as well happen twice: again if the member could not answer.
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
            dial_timeout,
            timeout,
        }
    }

    pub(super) fn dial_timeout(&self) -> Duration {
        self.dial_timeout
    }

    /// Between two tries of what is tried for ever.
    pub(super) async fn pause(&self) {
        tokio::time::sleep(BACKOFF).await;
    }

    pub(super) async fn call<Q, A, Answering>(
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

    /// A member to open a stream on: the next one that can be dialled, sought for as long as the
    /// caller waits.
    pub(super) async fn reach(&self) -> (&Connection, Channel) {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        for attempt in 0_usize.. {
            if attempt > 0 && attempt.is_multiple_of(self.connections.len()) {
                tokio::time::sleep(BACKOFF).await;
            }
            let connection =
                &self.connections[first.wrapping_add(attempt) % self.connections.len()];
            if let Ok(channel) = connection.channel().await {
                return (connection, channel);
            }
        }
        unreachable!("the attempts do not end")
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

/// Whether a member said so, rather than the transport on its way.
pub(super) fn is_servers_word(status: &Status) -> bool {
    std::error::Error::source(status).is_none()
}

/// Whether a member means that it cannot just now.
pub(super) fn is_passing(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Internal)
}

#[cfg(test)]
mod tests;

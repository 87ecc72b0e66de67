//! Accepting clients: gRPC and plain HTTP on one port.

use super::dispatch::Doors;
use super::plain::{self, AnswerBody, Plain};
use super::preface::{self, Opening, Protocol};
use crate::env::cork::cork;
use crate::env::{Listener, Stream};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

/// How often an idle connection is asked whether it lives, and how long it may take to answer:
/// without this a half-open link is never noticed (invariant 11).
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const PATIENCE: Patience = Patience {
    beginning: Duration::from_secs(10),
    // Longer than scrapers and probes usually pause.
    head: Duration::from_secs(75),
};
/// Of an HTTP/1.1 connection: bounds the head of a request, and what is read of a body at once.
const HTTP1_BUFFER_BYTES: usize = 64 * 1024;
/// Room for one request of the largest size without a round trip for the window.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// After this running requests are cut off.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Out of file descriptors, most likely: give clients time to go.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a client is waited for.
#[derive(Clone, Copy)]
struct Patience {
    /// A connection must begin within this.
    beginning: Duration,
    /// The head of an HTTP/1.1 request must be here within this, counted from the end of the request
    /// before it.
    head: Duration,
}

/// What answers on a port.
#[derive(Clone)]
pub struct Port {
    /// None where gRPC is not served: the ports of metrics.
    pub doors: Option<Doors>,
    pub plain: Arc<dyn Plain>,
}

/// Serves clients until `stop` turns true (or its sender is gone); then lets running requests
/// finish, closes every connection and returns.
///
/// Concurrent streams of a connection are not limited, as in etcd: one client's thousands of
/// watchers and waiting requests share a connection. What is bounded is inside: the node's own
/// admission, and the message size. Connections are as many as the process may have files open, less
/// what it needs itself; one more waits in the kernel's queue.
pub async fn serve(mut listener: Box<dyn Listener>, port: Port, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let connections_max = listener.connections_max().min(Semaphore::MAX_PERMITS);
    let room = Arc::new(Semaphore::new(connections_max));
    loop {
        tokio::select! {
            accepted = accept(listener.as_mut(), &room) => match accepted {
                Ok((stream, permit)) => {
                    let (port, stop) = (port.clone(), stop.clone());
                    connections.spawn(async move {
                        serve_connection(stream, port, stop, PATIENCE).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "accept of a client failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_GRACE, finished).await.is_err() {
        connections.shutdown().await;
    }
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &mut dyn Listener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(Stream, OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await;
    let permit = permit.map_err(std::io::Error::other)?;
    Ok((listener.accept().await?, permit))
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone cannot say stop any more.
    stop.wait_for(|stop| *stop).await.ok();
}

async fn serve_connection(
    stream: Stream,
    port: Port,
    mut stop: watch::Receiver<bool>,
    patience: Patience,
) {
    let peer = stream.peer().to_owned();
    let begun = tokio::select! {
        begun = tokio::time::timeout(patience.beginning, preface::begin(stream)) => begun,
        () = stopped(&mut stop) => return,
    };
    let ended = match begun {
        Ok(Ok((opening, Protocol::Http2))) => serve_http2(opening, port, &mut stop).await,
        Ok(Ok((opening, Protocol::Http1))) => serve_http1(opening, port, &mut stop, patience).await,
        Ok(Err(error)) => {
            tracing::debug!(peer, %error, "a client connected and left");
            return;
        }
        Err(_) => {
            tracing::debug!(peer, "a client connected and said nothing");
            return;
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer, %error, "a client's connection ended");
    }
}

/// Calls and whatever else comes, on one connection.
async fn serve_http2(
    opening: Opening,
    port: Port,
    stop: &mut watch::Receiver<bool>,
) -> hyper::Result<()> {
    let service = service_fn(move |request| {
        let port = port.clone();
        async move {
            Ok::<_, Infallible>(match port.doors {
                Some(doors) if plain::is_call(&request) => {
                    doors.answer(request).await.map(AnswerBody::Call)
                }
                // In a box, as the doors' rare calls.
                _ => Box::pin(port.plain.answer(request))
                    .await
                    .map(AnswerBody::Plain),
            })
        }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .max_concurrent_streams(None)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    let (opening, cork) = cork(opening);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(opening), service));
    tokio::select! {
        ended = poll_fn(|context| cork.turn(connection.as_mut(), context)) => ended,
        () = stopped(stop) => {
            connection.as_mut().graceful_shutdown();
            poll_fn(|context| cork.turn(connection.as_mut(), context)).await
        }
    }
}

/// One request after the other. There are no pings here: a connection that is silent for
/// too long between two requests is closed.
async fn serve_http1(
    opening: Opening,
    port: Port,
    stop: &mut watch::Receiver<bool>,
    patience: Patience,
) -> hyper::Result<()> {
    let service = service_fn(move |request| {
        let answer = port.plain.answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .max_buf_size(HTTP1_BUFFER_BYTES);
    let connection = builder.serve_connection(TokioIo::new(opening), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = &mut connection => ended,
        () = stopped(stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

#[cfg(test)]
mod tests;

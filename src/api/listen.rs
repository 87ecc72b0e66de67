//! Accepting clients.

use super::dispatch::Doors;
use super::preface;
use crate::env::{Listener, Stream};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

/// How often an idle connection is asked whether it lives, and how long it may take to answer:
/// without this a half-open link is never noticed (invariant 11).
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection must begin within this.
const PREFACE_PATIENCE: Duration = Duration::from_secs(10);
/// Room for one request of the largest size without a round trip for the window.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// After this running requests are cut off.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Out of file descriptors, most likely: give clients time to go.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves clients until `stop` turns true (or its sender is gone); then lets running requests
/// finish, closes every connection and returns.
///
/// Concurrent streams of a connection are not limited, as in etcd: one client's thousands of
/// watchers and waiting requests share a connection. What is bounded is inside: the node's own
/// admission, and the message size. Connections are as many as the process may have files open, less
/// what it needs itself; one more waits in the kernel's queue.
pub async fn serve(mut listener: Box<dyn Listener>, doors: Doors, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let connections_max = listener.connections_max().min(Semaphore::MAX_PERMITS);
    let room = Arc::new(Semaphore::new(connections_max));
    loop {
        tokio::select! {
            accepted = accept(listener.as_mut(), &room) => match accepted {
                Ok((stream, permit)) => {
                    let (doors, stop) = (doors.clone(), stop.clone());
                    connections.spawn(async move {
                        serve_connection(stream, doors, stop).await;
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

async fn serve_connection(stream: Stream, doors: Doors, mut stop: watch::Receiver<bool>) {
    let peer = stream.peer().to_owned();
    let service = service_fn(move |request| {
        let doors = doors.clone();
        async move { Ok::<_, Infallible>(doors.answer(request).await) }
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
    let (stream, preface) = preface::listen_for(stream);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = preface.missing(PREFACE_PATIENCE) => {
            tracing::debug!(peer, "a client connected and said nothing");
            return;
        }
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer, %error, "a client's connection ended");
    }
}

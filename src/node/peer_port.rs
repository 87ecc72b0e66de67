//! The peer port's connections. They belong to the member: when it stops they are cut, and the calls
//! on them given up, whatever the other end does. So nothing of a member that has stopped is held
//! by a peer that keeps its connection.

use crate::env::{Listener, Stream};
use crate::raft::{LinkTimes, PeerService};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::codegen::Service;
use tonic::transport::server::Connected;

/// HTTP/2 windows: the appends in flight of one round trip.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// HTTP/2's own default is 16 KiB: a snapshot of gigabytes would come in a hundred thousand pieces.
const FRAME_BYTES: u32 = 256 << 10;
/// After a failed accept, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves peers until it is dropped, and its connections with it.
pub(super) async fn serve(mut listener: Box<dyn Listener>, service: PeerService, times: LinkTimes) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(stream) => {
                    let stream = stream.counted(Arc::default());
                    connections.spawn(serve_connection(stream, service.clone(), times));
                }
                Err(error) => {
                    tracing::warn!(%error, "accept of a peer failed");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve_connection(stream: Stream, service: PeerService, times: LinkTimes) {
    let peer = stream.peer().to_owned();
    let traffic = stream.connect_info();
    let server = service.into_server();
    let service = service_fn(move |mut request: http::Request<_>| {
        // Where the service finds whose connection it is.
        request.extensions_mut().insert(traffic.clone());
        server.clone().call(request)
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(None)
        .keep_alive_interval(times.keep_alive_interval)
        .keep_alive_timeout(times.keep_alive_timeout)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(peer, %error, "a peer's connection ended");
    }
}

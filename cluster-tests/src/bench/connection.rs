//! The load's client: the generated code on one HTTP/2 connection, and nothing between.
//!
//! tonic's own `Channel` puts a queue, a task and a reconnecting balancer in front of a connection, and the
//! client shares the machine with the servers that it measures: here a request is a stream, no more. It dials
//! once. What is lost with the connection is an error, and [`Connection::dial`] makes another one.

use anyhow::{Context as _, Result};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quorate::proto::etcdserverpb::cluster_client::ClusterClient;
use quorate::proto::etcdserverpb::kv_client::KvClient;
use quorate::proto::etcdserverpb::lease_client::LeaseClient;
use quorate::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate::proto::etcdserverpb::watch_client::WatchClient;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response, Uri};
use tower::Service;

/// As large as etcd's own clients let it grow: an answer of a thousand keys fits.
const WINDOW_BYTES: u32 = 4 << 20;

/// A connection to one member; clones share it.
#[derive(Clone, Debug)]
pub struct Connection {
    requests: SendRequest<Body>,
    origin: Uri,
}

impl Connection {
    /// Dials `host:port`. The connection ends when the last clone is dropped.
    ///
    /// # Errors
    /// Nobody listens there, or it does not speak HTTP/2.
    pub async fn dial(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("dial {address}"))?;
        stream.set_nodelay(true).context("set nodelay")?;
        let (requests, connection) = Builder::new(TokioExecutor::new())
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .with_context(|| format!("speak HTTP/2 to {address}"))?;
        // It ends with the connection; what it would say, the requests say too.
        tokio::spawn(async move { drop(connection.await) });
        let origin = Uri::try_from(format!("http://{address}")).context("origin")?;
        Ok(Self { requests, origin })
    }

    pub fn kv(&self) -> KvClient<Self> {
        KvClient::with_origin(self.clone(), self.origin.clone())
            .max_decoding_message_size(usize::MAX)
    }

    pub fn cluster(&self) -> ClusterClient<Self> {
        ClusterClient::with_origin(self.clone(), self.origin.clone())
    }

    pub fn lease(&self) -> LeaseClient<Self> {
        LeaseClient::with_origin(self.clone(), self.origin.clone())
    }

    pub fn watch(&self) -> WatchClient<Self> {
        WatchClient::with_origin(self.clone(), self.origin.clone())
            .max_decoding_message_size(usize::MAX)
    }

    pub fn maintenance(&self) -> MaintenanceClient<Self> {
        MaintenanceClient::with_origin(self.clone(), self.origin.clone())
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.requests.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.requests.send_request(request))
    }
}

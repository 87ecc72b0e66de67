//! The load's client: the generated code on one HTTP/2 connection, and nothing between.
//!
//! The client shares the machine with the servers that it measures, and what it costs stands between any two of
//! them: a server half as expensive is not twice as fast beside a client as expensive. tonic's own `Channel` puts
//! a queue, a task and a reconnecting balancer in front of a connection, hyper's client another queue and a task
//! for each request. Here a request is a stream, no more. It dials once. What is lost with the connection is an
//! error, and [`Connection::dial`] makes another one.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::FutureExt as _;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use quorate::env::cork::cork;
use quorate::proto::etcdserverpb::cluster_client::ClusterClient;
use quorate::proto::etcdserverpb::kv_client::KvClient;
use quorate::proto::etcdserverpb::lease_client::LeaseClient;
use quorate::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate::proto::etcdserverpb::watch_client::WatchClient;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response, Uri};
use tower::Service;

/// As large as etcd's own clients let it grow: an answer of a thousand keys fits.
const WINDOW_BYTES: u32 = 4 << 20;
const STREAMS_AT_FIRST: usize = 100;

/// A connection to one member; clones share it.
#[derive(Clone, Debug)]
pub struct Connection {
    requests: SendRequest<Bytes>,
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
        let (stream, cork) = cork(stream);
        let (requests, connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            // Until the server has said how many it takes.
            .initial_max_send_streams(STREAMS_AT_FIRST)
            .handshake(stream)
            .await
            .with_context(|| format!("speak HTTP/2 to {address}"))?;
        // It ends with the connection; what it would say, the requests say too.
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            drop(poll_fn(|context| cork.turn(connection.as_mut(), context)).await);
        });
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
    type Response = Response<Answer>;
    type Error = h2::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, h2::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        self.requests.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (head, body) = request.into_parts();
        let opened = self
            .requests
            .send_request(Request::from_parts(head, ()), false);
        Box::pin(async move {
            let (answered, stream): (ResponseFuture, _) = opened?;
            send_what_is_there(stream, body)?;
            Ok(answered.await?.map(Answer::new))
        })
    }
}

/// Sends a body that is whole in one go, and leaves one that is still to come to a task.
fn send_what_is_there(mut stream: SendStream<Bytes>, mut body: Body) -> Result<(), h2::Error> {
    // The end is said with the last message, not after it.
    let mut held: Option<Bytes> = None;
    loop {
        match body.frame().now_or_never() {
            Some(Some(frame)) => {
                if let Some(before) = held.replace(message(frame)?) {
                    stream.send_data(before, false)?;
                }
            }
            Some(None) => return stream.send_data(held.unwrap_or_default(), true),
            None => break,
        }
    }
    if let Some(held) = held {
        stream.send_data(held, false)?;
    }
    // Whoever awaits the answer hears what goes wrong.
    tokio::spawn(async move { send_as_it_comes(stream, body).await.ok() });
    Ok(())
}

async fn send_as_it_comes(mut stream: SendStream<Bytes>, mut body: Body) -> Result<(), h2::Error> {
    while let Some(frame) = body.frame().await {
        stream.send_data(message(frame)?, false)?;
    }
    stream.send_data(Bytes::new(), true)
}

/// A client sends messages, and no trailers.
fn message(frame: Result<Frame<Bytes>, tonic::Status>) -> Result<Bytes, h2::Error> {
    let data = frame.ok().and_then(|frame| frame.into_data().ok());
    data.ok_or_else(|| h2::Reason::INTERNAL_ERROR.into())
}

/// The body of an answer: messages, then the status.
#[derive(Debug)]
pub struct Answer {
    stream: RecvStream,
    has_messages: bool,
}

impl Answer {
    fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            has_messages: true,
        }
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if self.has_messages {
            if let Some(data) = ready!(self.stream.poll_data(context)).transpose()? {
                // Read is taken: the server may send as much again.
                self.stream.flow_control().release_capacity(data.len())?;
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            self.has_messages = false;
        }
        let status = ready!(self.stream.poll_trailers(context))?;
        Poll::Ready(status.map(|status| Ok(Frame::trailers(status))))
    }
}

//! The ceiling: a server that answers every call with an empty message, whatever was asked.
//!
//! It does what no gRPC server can do without: HTTP/2 (hyper, as Quorate has it, with the same windows), the
//! request read to its end, one message and a status back; one thread. What the same client reaches with it is
//! what that client can see of any server on this machine.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::net::TcpListener;
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Response};

const STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// A frame of gRPC with nothing in it: every field has its default.
static EMPTY_MESSAGE: [u8; 5] = [0; 5];

/// Serves until the process is killed.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(address: &str) -> Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address}"))?;
    loop {
        let (stream, _) = listener.accept().await.context("accept")?;
        stream.set_nodelay(true).context("set nodelay")?;
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .auto_date_header(false)
            .max_concurrent_streams(None)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let connection = builder.serve_connection(TokioIo::new(stream), service_fn(answer));
        // A client that leaves is no error of ours.
        tokio::spawn(async move { drop(connection.await) });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    // Whoever breaks off is answered too, and does not hear it.
    drop(request.into_body().collect().await);
    let mut response = Response::new(Answer::Message);
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    Ok(response)
}

/// What is still to be sent.
enum Answer {
    Message,
    Status,
    Nothing,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let (frame, next) = match *self {
            Self::Message => {
                let message = Bytes::from_static(&EMPTY_MESSAGE);
                (Some(Frame::data(message)), Self::Status)
            }
            Self::Status => {
                let mut trailers = HeaderMap::with_capacity(1);
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                (Some(Frame::trailers(trailers)), Self::Nothing)
            }
            Self::Nothing => (None, Self::Nothing),
        };
        *self = next;
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

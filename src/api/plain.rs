//! What is asked on a client port and is no gRPC call.
//!
//! The room that answers it lies above the doors, so it comes in as a value ([`Plain`]). Its answers
//! are boxed; the answers of calls, which come a hundred thousand times a second, are not.

use super::grpc::ReplyBody;
use crate::env::network::BoxFuture;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Answers plain HTTP requests. Never fails: a refusal is an answer.
pub trait Plain: Send + Sync + 'static {
    fn answer(&self, request: Request<Incoming>) -> BoxFuture<'static, Response<PlainBody>>;
}

/// The body of a plain answer.
pub type PlainBody = Pin<Box<dyn Body<Data = Bytes, Error = Infallible> + Send>>;

/// Whether a request is for the doors, told as etcd tells it.
pub(super) fn is_call<B>(request: &Request<B>) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE);
    request.version() == Version::HTTP_2
        && content_type
            .map(HeaderValue::as_bytes)
            .is_some_and(|value| value.starts_with(b"application/grpc"))
}

/// The body of any answer on a client port.
pub(super) enum AnswerBody {
    Call(ReplyBody),
    Plain(PlainBody),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Call(body) => Pin::new(body).poll_frame(context),
            Self::Plain(body) => body.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Call(body) => body.is_end_stream(),
            Self::Plain(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Call(body) => body.size_hint(),
            Self::Plain(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_http_2_and_says_grpc() {
        let request = |version, content_type: &str| {
            let request = Request::builder().version(version);
            is_call(&request.header(CONTENT_TYPE, content_type).body(()).unwrap())
        };
        assert!(request(Version::HTTP_2, "application/grpc"));
        assert!(request(Version::HTTP_2, "application/grpc+proto"));
        assert!(!request(Version::HTTP_2, "application/json"));
        assert!(!request(Version::HTTP_11, "application/grpc"));
        assert!(!is_call(&Request::new(())));
    }
}

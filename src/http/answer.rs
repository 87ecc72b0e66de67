//! Answers that are whole at once, as Go's `net/http` writes them.

use crate::api::PlainBody;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

pub(super) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer of one piece.
pub(super) fn whole(
    status: StatusCode,
    content_type: HeaderValue,
    body: impl Into<Bytes>,
) -> Response<PlainBody> {
    let mut response = Response::new(Box::pin(Whole(body.into())) as PlainBody);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

pub(super) fn empty() -> Response<PlainBody> {
    Response::new(Box::pin(Whole(Bytes::new())))
}

/// Text that no browser may take for something else.
pub(super) fn plain_text(status: StatusCode, text: String) -> Response<PlainBody> {
    let mut response = whole(status, TEXT, text);
    let no_guessing = HeaderValue::from_static("nosniff");
    response
        .headers_mut()
        .insert(X_CONTENT_TYPE_OPTIONS, no_guessing);
    response
}

/// Go's `http.Error`: the text and a line end, whether it had one or not.
pub(super) fn error(status: StatusCode, text: &str) -> Response<PlainBody> {
    plain_text(status, format!("{text}\n"))
}

pub(super) fn not_found() -> Response<PlainBody> {
    error(StatusCode::NOT_FOUND, "404 page not found")
}

/// Refuses a method other than GET.
pub(super) fn only_get(method: &Method) -> Result<(), Box<Response<PlainBody>>> {
    if method == Method::GET {
        return Ok(());
    }
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET"));
    Err(Box::new(response))
}

struct Whole(Bytes);

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = std::mem::take(&mut self.0);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.0.len()).unwrap_or(u64::MAX))
    }
}

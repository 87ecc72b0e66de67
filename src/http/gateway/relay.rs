//! From an HTTP request to a call, and from its answer to an HTTP answer.

use super::super::answer;
use super::messages::Messages;
use super::methods::{Method, Methods};
use super::objects::Objects;
use super::refusal;
use crate::api::{Doors, PlainBody, ReplyBody};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method as Verb, Request, Response, Version};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::timeout;
use tonic::{Code, Status};

/// A message may take so many times its bytes as JSON: base64 and the names around it.
const JSON_PER_MESSAGE: usize = 2;
/// How long the body of a unary call may take to arrive.
const ARRIVAL_PATIENCE: Duration = Duration::from_secs(60);

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// What every answer of a call says about the answer behind it.
const BEHIND: HeaderName = HeaderName::from_static("grpc-metadata-content-type");
/// A client's own metadata comes under names that begin so.
const METADATA: &str = "grpc-metadata-";

/// The JSON gateway. Cheap to clone.
#[derive(Clone)]
pub(in crate::http) struct Gateway {
    doors: Doors,
    methods: Arc<Methods>,
    json_bytes_max: usize,
}

impl Gateway {
    /// # Errors
    /// If the build's descriptors lack a call.
    pub(in crate::http) fn new(doors: Doors) -> anyhow::Result<Self> {
        let json_bytes_max = doors.message_bytes_max().saturating_mul(JSON_PER_MESSAGE);
        Ok(Self {
            doors,
            methods: Arc::new(Methods::new()?),
            json_bytes_max,
        })
    }

    /// Answers a request to `/v3/...`.
    pub(in crate::http) async fn answer(
        &self,
        path: &str,
        request: Request<Incoming>,
    ) -> Response<PlainBody> {
        let Some(method) = self.methods.get(path) else {
            return refusal::refuse(&Status::not_found("Not Found"));
        };
        if request.method() != Verb::POST {
            return refusal::refuse(&Status::unimplemented("Method Not Allowed"));
        }
        match self.call(method, request).await {
            Ok(response) => response,
            Err(status) => refusal::refuse(&status),
        }
    }

    async fn call(
        &self,
        method: &Method,
        request: Request<Incoming>,
    ) -> Result<Response<PlainBody>, Status> {
        let (head, body) = request.into_parts();
        let metadata = metadata(&head.headers)?;
        let question = if method.takes_stream {
            Question::streamed(method.clone(), body, self.json_bytes_max).await?
        } else {
            let json = timeout(ARRIVAL_PATIENCE, read(body, self.json_bytes_max)).await;
            let json = json.map_err(|_| {
                Status::deadline_exceeded("quorate: the request did not arrive in time")
            })??;
            let frame = method.question(&json).map_err(Status::invalid_argument)?;
            Question::Whole(frame)
        };
        let mut call = Request::new(question);
        *call.method_mut() = Verb::POST;
        *call.version_mut() = Version::HTTP_2;
        *call.uri_mut() = http::Uri::from_static(method.path);
        *call.headers_mut() = metadata;
        let answered = self.doors.clone().answer(call).await;
        let refused = Status::from_header_map(answered.headers());
        if let Some(status) = refused.filter(|status| status.code() != Code::Ok) {
            return Err(status);
        }
        let mut messages = Messages::of(answered.into_body());
        // A stream that fails before its first message has an error for an answer.
        let first = poll_fn(|context| messages.poll_next(context)).await?;
        let mut response = if method.gives_stream {
            let lines = Lines {
                method: method.clone(),
                first,
                rest: Some(messages),
            };
            let body = Box::pin(lines) as PlainBody;
            let mut response = Response::new(body);
            response.headers_mut().insert(CONTENT_TYPE, answer::JSON);
            response
        } else {
            let message =
                first.ok_or_else(|| Status::internal("quorate: a call without answer"))?;
            let mut json = Vec::with_capacity(2 * message.len());
            written(method, message, &mut json)?;
            answer::whole(http::StatusCode::OK, answer::JSON, json)
        };
        response.headers_mut().insert(BEHIND, GRPC);
        Ok(response)
    }
}

fn written(method: &Method, message: Bytes, out: &mut Vec<u8>) -> Result<(), Status> {
    method.answer(message, out).map_err(|error| {
        tracing::error!(path = method.path, %error, "an answer that is no message");
        Status::internal("quorate: an answer that is no message")
    })
}

/// The whole of a body that may not be longer than `bytes_max`.
async fn read(mut body: Incoming, bytes_max: usize) -> Result<Vec<u8>, Status> {
    let mut whole = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|_| Status::cancelled("the client is gone"))?;
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > bytes_max {
                return Err(Status::resource_exhausted(format!(
                    "quorate: a request of more than {bytes_max} bytes"
                )));
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole)
}

/// What of the headers belongs to the call: a token, a deadline, and what is named as metadata.
fn metadata(headers: &HeaderMap) -> Result<HeaderMap, Status> {
    let mut metadata = HeaderMap::new();
    for (name, value) in headers {
        let named = name.as_str().strip_prefix(METADATA);
        if let Some(name) = named.and_then(|name| HeaderName::try_from(name).ok()) {
            metadata.append(name, value.clone());
        }
    }
    if let Some(token) = headers.get(AUTHORIZATION) {
        metadata.insert(AUTHORIZATION, token.clone());
    }
    if let Some(asked) = headers.get(GRPC_TIMEOUT) {
        if !is_timeout(asked.as_bytes()) {
            let asked = String::from_utf8_lossy(asked.as_bytes());
            let text = format!("invalid grpc-timeout: {asked}");
            return Err(Status::invalid_argument(text));
        }
        metadata.insert(GRPC_TIMEOUT, asked.clone());
    }
    metadata.insert(CONTENT_TYPE, GRPC);
    Ok(metadata)
}

fn is_timeout(text: &[u8]) -> bool {
    let Some((unit, digits)) = text.split_last() else {
        return false;
    };
    b"HMSmun".contains(unit)
        && (1..=8).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
}

/// The body of a call.
enum Question {
    Whole(Bytes),
    Streamed(Box<Streamed>),
    End,
}

/// Requests that are translated as they come.
struct Streamed {
    method: Method,
    body: Incoming,
    objects: Objects,
    /// Translated, and not asked for yet.
    ready: Option<Bytes>,
}

impl Question {
    /// Waits for the first request, so that one that is no JSON can be refused as such.
    async fn streamed(method: Method, body: Incoming, bytes_max: usize) -> Result<Self, Status> {
        let mut streamed = Streamed {
            method,
            body,
            objects: Objects::new(bytes_max),
            ready: None,
        };
        let first = poll_fn(|context| streamed.poll_next(context)).await;
        streamed.ready = match first.map_err(Status::invalid_argument)? {
            None => return Ok(Self::End),
            first => first,
        };
        Ok(Self::Streamed(Box::new(streamed)))
    }
}

impl Streamed {
    /// The next request as a frame, or `None` when the client has said everything.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, String>> {
        if let Some(ready) = self.ready.take() {
            return Poll::Ready(Ok(Some(ready)));
        }
        loop {
            match self.objects.next() {
                Err(error) => return Poll::Ready(Err(error.to_string())),
                Ok(Some(object)) => return Poll::Ready(self.method.question(&object).map(Some)),
                Ok(None) => {}
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                None => return Poll::Ready(Ok(None)),
                Some(Err(error)) => return Poll::Ready(Err(error.to_string())),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.objects.feed(data);
                    }
                }
            }
        }
    }
}

impl Body for Question {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match &mut *self {
            Self::Whole(frame) => {
                let frame = std::mem::take(frame);
                *self = Self::End;
                Some(frame)
            }
            Self::Streamed(streamed) => {
                let next = ready!(streamed.poll_next(context)).unwrap_or_else(|error| {
                    // As in Go: what cannot be read ends the questions, not the answers.
                    tracing::debug!(error, "a stream of requests ends");
                    None
                });
                if next.is_none() {
                    *self = Self::End;
                }
                next
            }
            Self::End => None,
        };
        Poll::Ready(next.map(|frame| Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::End)
    }
}

/// A stream of answers: `{"result":{...}}`, a line each. They are fetched as the client reads them.
struct Lines {
    method: Method,
    first: Option<Bytes>,
    /// None at the end.
    rest: Option<Messages<ReplyBody>>,
}

impl Lines {
    fn line(&self, message: Bytes) -> Result<Vec<u8>, Status> {
        let mut line = br#"{"result":"#.to_vec();
        written(&self.method, message, &mut line)?;
        line.extend_from_slice(b"}\n");
        Ok(line)
    }
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match (self.first.take(), &mut self.rest) {
            (Some(first), _) => Ok(Some(first)),
            (None, Some(rest)) => ready!(rest.poll_next(context)),
            (None, None) => Ok(None),
        };
        let line = match next.and_then(|next| next.map(|next| self.line(next)).transpose()) {
            Ok(Some(line)) => line,
            Ok(None) => {
                self.rest = None;
                return Poll::Ready(None);
            }
            Err(status) => {
                self.rest = None;
                refusal::last_line(&status)
            }
        };
        Poll::Ready(Some(Ok(Frame::data(line.into()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_a_deadline_and_named_metadata_go_with_the_call() {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-metadata-hasleader", HeaderValue::from_static("true"));
        headers.insert(AUTHORIZATION, HeaderValue::from_static("token"));
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_static("5S"));
        headers.insert("accept", HeaderValue::from_static("*/*"));
        headers.insert(CONTENT_TYPE, answer::JSON);
        let call = metadata(&headers).unwrap();
        assert_eq!(call["hasleader"], "true");
        assert_eq!(call["authorization"], "token");
        assert_eq!(call["grpc-timeout"], "5S");
        assert_eq!(call["content-type"], "application/grpc");
        assert_eq!(call.len(), 4);
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_static("x"));
        let status = metadata(&headers).unwrap_err();
        assert_eq!(status.message(), "invalid grpc-timeout: x");
    }
}

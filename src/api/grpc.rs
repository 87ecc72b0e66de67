//! gRPC's framing over HTTP/2: one message in, one message (or a refusal) out.
//!
//! A message that arrived in one DATA frame, nearly every one, is a slice of the connection's own
//! buffer and is never copied; the answer is encoded once into a buffer of exactly its size.
//! The size limit is looked at as soon as the five-byte prefix is here, before anything of the
//! message is kept.

use super::stream::Answers;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use prost::Message;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::{Code, Status};

/// Compressed flag and length.
pub(super) const PREFIX_BYTES: usize = 5;

/// How much of a refused question is read before the refusal is sent, and for how long.
const DRAIN_BYTES: usize = 16 * 1024 * 1024;
const DRAIN_PATIENCE: Duration = Duration::from_millis(100);

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(super) const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const HAS_LEADER: HeaderName = HeaderName::from_static("hasleader");
const CLIENT_API_VERSION: HeaderName = HeaderName::from_static("client-api-version");
const OK: HeaderValue = HeaderValue::from_static("0");

/// What the headers of a call say, as far as we care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Metadata {
    /// How long the client is going to wait.
    pub(super) timeout: Option<Duration>,
    /// The client wants an error at once rather than wait for a leader.
    pub(super) require_leader: bool,
}

impl Metadata {
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Status> {
        if let Some(version) = headers.get(CLIENT_API_VERSION)
            && std::str::from_utf8(version.as_bytes()).is_err()
        {
            return Err(Status::invalid_argument(
                "etcdserver: invalid client api version",
            ));
        }
        let timeout = headers.get(GRPC_TIMEOUT).map(parse_timeout).transpose()?;
        let require_leader = headers.get(HAS_LEADER).is_some_and(|value| value == "true");
        Ok(Self {
            timeout,
            require_leader,
        })
    }
}

/// At most eight digits and a unit.
fn parse_timeout(value: &HeaderValue) -> Result<Duration, Status> {
    let text = value.to_str().unwrap_or("");
    let malformed = || Status::internal(format!("malformed grpc-timeout: {text:?}"));
    let (digits, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(malformed)?;
    let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let amount: u64 = digits
        .parse()
        .ok()
        .filter(|_| is_number)
        .ok_or_else(malformed)?;
    match unit {
        "H" => Ok(Duration::from_secs(amount * 3600)),
        "M" => Ok(Duration::from_secs(amount * 60)),
        "S" => Ok(Duration::from_secs(amount)),
        "m" => Ok(Duration::from_millis(amount)),
        "u" => Ok(Duration::from_micros(amount)),
        "n" => Ok(Duration::from_nanos(amount)),
        _ => Err(malformed()),
    }
}

/// Refuses what is not a gRPC call at all, in the words of grpc-go.
pub(super) fn check_call<B>(request: &Request<B>) -> Result<(), Box<Response<ReplyBody>>> {
    let content_type = request
        .headers()
        .get(CONTENT_TYPE)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let is_grpc = content_type
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')));
    if !is_grpc {
        let text = String::from_utf8_lossy(content_type);
        let status =
            Status::invalid_argument(format!("invalid gRPC request content-type {text:?}"));
        let mut response = refuse(&status);
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Box::new(response));
    }
    if request.method() != Method::POST {
        let method = request.method();
        let status = Status::internal(format!(
            "Received a HEADERS frame with :method {:?} which should be POST",
            method.as_str()
        ));
        let mut response = refuse(&status);
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        return Err(Box::new(response));
    }
    Ok(())
}

/// Reads the one message of a unary call. Longer than `limit` is refused in grpc-go's words; a
/// message that is not whole after `patience` is waited for no longer.
pub(super) async fn read_message<B>(
    headers: &HeaderMap,
    body: &mut B,
    limit: usize,
    patience: Duration,
) -> Result<Bytes, Status>
where
    B: Body<Data = Bytes> + Unpin,
{
    let read = tokio::time::timeout(patience, read_whole(headers, body, limit))
        .await
        .unwrap_or_else(|_| {
            Err(Status::deadline_exceeded(
                "quorate: the request message did not arrive in time",
            ))
        });
    if read.is_err() {
        drain(body).await;
    }
    read
}

/// Throws away what the client is still sending, for a while. An answer that overtakes its question
/// resets the stream, and there are clients that then report the reset and not the answer.
pub(super) async fn drain<B>(body: &mut B)
where
    B: Body<Data = Bytes> + Unpin,
{
    let rest = async {
        let mut left = DRAIN_BYTES;
        while !body.is_end_stream() && left > 0 {
            let Ok(Some(data)) = next_data(body).await else {
                break;
            };
            left = left.saturating_sub(data.len());
        }
    };
    // A stream that the client keeps open is answered all the same.
    tokio::time::timeout(DRAIN_PATIENCE, rest)
        .await
        .unwrap_or_default();
}

async fn read_whole<B>(headers: &HeaderMap, body: &mut B, limit: usize) -> Result<Bytes, Status>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut whole = Bytes::new();
    let mut gathered = BytesMut::new();
    let mut expected = None;
    while let Some(data) = next_data(body).await? {
        if whole.is_empty() && gathered.is_empty() {
            whole = data;
        } else {
            // The message came in pieces: from now on it is gathered in one buffer of its size.
            if gathered.is_empty() {
                gathered.reserve(
                    expected
                        .unwrap_or(PREFIX_BYTES)
                        .max(whole.len() + data.len()),
                );
                gathered.extend_from_slice(&std::mem::take(&mut whole));
            }
            gathered.extend_from_slice(&data);
        }
        let held: &[u8] = if gathered.is_empty() {
            &whole
        } else {
            &gathered
        };
        if expected.is_none() {
            let encoding = headers.get(GRPC_ENCODING);
            expected = read_prefix(encoding, held, limit)?.map(|length| length + PREFIX_BYTES);
        }
        if expected.is_some_and(|expected| held.len() > expected) {
            return Err(Status::internal(
                "protocol error: more than one request message",
            ));
        }
        if body.is_end_stream() {
            break;
        }
    }
    let mut message = if gathered.is_empty() {
        whole
    } else {
        gathered.freeze()
    };
    if expected != Some(message.len()) {
        return Err(Status::internal(
            "protocol error: the request message is not whole",
        ));
    }
    Ok(message.split_off(PREFIX_BYTES))
}

pub(super) async fn next_data<B>(body: &mut B) -> Result<Option<Bytes>, Status>
where
    B: Body<Data = Bytes> + Unpin,
{
    loop {
        match poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
            None => return Ok(None),
            Some(Err(_)) => return Err(Status::cancelled("the client is gone")),
            Some(Ok(frame)) => {
                // Trailers of a request mean nothing.
                if let Ok(data) = frame.into_data()
                    && !data.is_empty()
                {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// The message's length, once the prefix is here.
pub(super) fn read_prefix(
    encoding: Option<&HeaderValue>,
    held: &[u8],
    limit: usize,
) -> Result<Option<usize>, Status> {
    let Some((&[flag, a, b, c, d], _)) = held.split_first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    if flag == 1 {
        let encoding = encoding.map_or(&b"identity"[..], HeaderValue::as_bytes);
        return Err(match encoding {
            b"identity" | b"" => {
                Status::internal("grpc: compressed flag set with identity or empty encoding")
            }
            other => Status::unimplemented(format!(
                "grpc: Decompressor is not installed for grpc-encoding {:?}",
                String::from_utf8_lossy(other)
            )),
        });
    }
    if flag != 0 {
        return Err(Status::internal(format!(
            "grpc: received unexpected payload format {flag}"
        )));
    }
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if length > limit {
        return Err(Status::resource_exhausted(format!(
            "grpc: received message larger than max ({length} vs. {limit})"
        )));
    }
    Ok(Some(length))
}

/// A request message that is not one.
pub(super) fn malformed(error: &prost::DecodeError) -> Status {
    Status::internal(format!("grpc: error unmarshalling request: {error}"))
}

/// A message with its prefix, in one buffer of exactly its size.
pub(super) fn framed<M: Message>(message: &M) -> Result<Bytes, Status> {
    let length = message.encoded_len();
    // etcd's own limit for what a server sends is 2 GiB.
    let prefix = u32::try_from(length).map_err(|_| {
        Status::resource_exhausted(format!(
            "grpc: trying to send message larger than max ({length} vs. {})",
            i32::MAX
        ))
    })?;
    let mut buffer = BytesMut::with_capacity(PREFIX_BYTES + length);
    buffer.put_u8(0);
    buffer.put_u32(prefix);
    message.encode_raw(&mut buffer);
    Ok(buffer.freeze())
}

fn respond(body: ReplyBody) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

/// One message and status OK.
pub(super) fn reply<M: Message>(message: &M) -> Response<ReplyBody> {
    match framed(message) {
        Ok(bytes) => respond(ReplyBody(Kind::Message(bytes))),
        Err(status) => refuse(&status),
    }
}

/// As many messages as `queue` brings; when it closes, status OK.
pub(super) fn reply_stream(answers: Answers) -> Response<ReplyBody> {
    respond(ReplyBody(Kind::Stream(answers)))
}

/// No message, a status other than OK.
pub(super) fn refuse(status: &Status) -> Response<ReplyBody> {
    let mut response = respond(ReplyBody(Kind::End));
    add_status(status, response.headers_mut());
    response
}

fn add_status(status: &Status, headers: &mut HeaderMap) {
    if status.add_header(headers).is_err() {
        // A text that no header can hold; the code alone still can.
        let code = HeaderValue::from(i32::from(status.code()));
        headers.insert(GRPC_STATUS, code);
    }
}

fn trailers_of(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    add_status(status, &mut trailers);
    trailers
}

/// The body of an answer: nothing in it is boxed.
pub struct ReplyBody(Kind);

enum Kind {
    Stream(Answers),
    Message(Bytes),
    Trailers,
    End,
}

impl ReplyBody {
    /// The length of its one message with its frame, if it has one.
    pub(super) fn message_bytes(&self) -> Option<usize> {
        match &self.0 {
            Kind::Message(bytes) => Some(bytes.len()),
            Kind::Stream(_) | Kind::Trailers | Kind::End => None,
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Kind::Stream(answers) = &mut self.0 {
            let frame = match answers.poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(bytes))) => Frame::data(bytes),
                Poll::Ready(Some(Err(status))) => {
                    answers.end(status.code());
                    self.0 = Kind::End;
                    Frame::trailers(trailers_of(&status))
                }
                Poll::Ready(None) => {
                    answers.end(Code::Ok);
                    self.0 = Kind::End;
                    Frame::trailers(trailers_of(&Status::ok("")))
                }
            };
            return Poll::Ready(Some(Ok(frame)));
        }
        match std::mem::replace(&mut self.0, Kind::End) {
            Kind::Stream(_) => Poll::Ready(None),
            Kind::Message(bytes) => {
                self.0 = Kind::Trailers;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Trailers => {
                let mut trailers = HeaderMap::with_capacity(1);
                trailers.insert(GRPC_STATUS, OK);
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Kind::End => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Kind::End)
    }

    fn size_hint(&self) -> SizeHint {
        // Exact sizes become a content-length header, which no gRPC answer has.
        match &self.0 {
            Kind::End => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests;

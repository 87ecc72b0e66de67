use super::*;
use crate::proto::etcdserverpb::PutRequest;
use std::collections::VecDeque;
use tonic::Code;

const LIMIT: usize = 100;

/// A request body that comes in the given pieces.
struct Pieces(VecDeque<Frame<Bytes>>);

impl Pieces {
    fn of(pieces: &[&[u8]]) -> Self {
        Self(
            pieces
                .iter()
                .map(|piece| Frame::data(Bytes::copy_from_slice(piece)))
                .collect(),
        )
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0][..], &length.to_be_bytes(), message].concat()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}

fn read(headers: &HeaderMap, pieces: &[&[u8]]) -> Result<Bytes, Status> {
    let mut body = Pieces::of(pieces);
    block_on(read_message(
        headers,
        &mut body,
        LIMIT,
        Duration::from_secs(60),
    ))
}

/// A body of which nothing more ever comes.
struct Silence;

impl Body for Silence {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Pending
    }
}

#[test]
fn a_message_that_never_comes_is_not_waited_for() {
    let patience = Duration::from_millis(1);
    let headers = HeaderMap::new();
    let read = block_on(read_message(&headers, &mut Silence, LIMIT, patience));
    assert_eq!(read.unwrap_err().code(), Code::DeadlineExceeded);
}

#[test]
fn a_message_is_whole_however_it_is_cut() {
    for message in [&b""[..], b"m", b"a longer message", &[7; LIMIT]] {
        let framed = frame(message);
        for cut in 0..=framed.len() {
            for second in cut..=framed.len() {
                let pieces = [&framed[..cut], &framed[cut..second], &framed[second..]];
                let read = read(&HeaderMap::new(), &pieces).unwrap();
                assert_eq!(read, message, "{cut} {second}");
            }
        }
    }
}

#[test]
fn a_message_in_one_piece_is_not_copied() {
    let piece = Bytes::from(frame(b"some value"));
    let pointer = piece.as_ptr();
    let mut body = Pieces(VecDeque::from([Frame::data(piece)]));
    let patience = Duration::from_secs(60);
    let message = block_on(read_message(&HeaderMap::new(), &mut body, LIMIT, patience)).unwrap();
    assert_eq!(message.as_ptr(), pointer.wrapping_add(PREFIX_BYTES));
}

#[test]
fn a_message_over_the_limit_is_refused_at_its_prefix_in_grpc_gos_words() {
    let framed = frame(&[0; LIMIT + 1]);
    for pieces in [
        vec![&framed[..]],
        vec![&framed[..5]],
        vec![&framed[..3], &framed[3..9]],
    ] {
        let status = read(&HeaderMap::new(), &pieces).unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(
            status.message(),
            "grpc: received message larger than max (101 vs. 100)"
        );
    }
}

#[test]
fn what_is_no_message_is_refused() {
    let whole = frame(b"abc");
    let refused = |pieces: &[&[u8]]| read(&HeaderMap::new(), pieces).unwrap_err();
    assert_eq!(refused(&[]).code(), Code::Internal);
    assert_eq!(refused(&[&whole[..3]]).code(), Code::Internal);
    assert_eq!(refused(&[&whole[..7]]).code(), Code::Internal);
    assert_eq!(refused(&[&whole, &whole]).code(), Code::Internal);
    assert_eq!(refused(&[&[2, 0, 0, 0, 0]]).code(), Code::Internal);
    assert_eq!(refused(&[&[1, 0, 0, 0, 0]]).code(), Code::Internal);
    let mut headers = HeaderMap::new();
    headers.insert(GRPC_ENCODING, HeaderValue::from_static("gzip"));
    let status = read(&headers, &[&[1, 0, 0, 0, 0]]).unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(
        status.message(),
        "grpc: Decompressor is not installed for grpc-encoding \"gzip\""
    );
    // Named, but not used.
    assert_eq!(read(&headers, &[&whole]).unwrap(), "abc");
}

#[test]
fn timeouts_have_at_most_eight_digits_and_a_unit() {
    let parse = |text: &'static str| parse_timeout(&HeaderValue::from_static(text));
    for (text, expected) in [
        ("1S", Duration::from_secs(1)),
        ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ("2M", Duration::from_secs(120)),
        ("250m", Duration::from_millis(250)),
        ("7u", Duration::from_micros(7)),
        ("0n", Duration::ZERO),
    ] {
        assert_eq!(parse(text).unwrap(), expected);
    }
    for text in [
        "",
        "S",
        "1",
        "123456789S",
        "-1S",
        "+1S",
        "1s",
        "1.5S",
        " 1S",
    ] {
        assert_eq!(parse(text).unwrap_err().code(), Code::Internal, "{text:?}");
    }
    let metadata = |bytes: &'static [u8]| {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_bytes(bytes).unwrap());
        Metadata::read(&headers)
    };
    assert!(metadata(b"1\xffS").is_err());
}

#[test]
fn only_true_asks_for_a_leader() {
    for (value, expected) in [("true", true), ("false", false), ("1", false)] {
        let mut headers = HeaderMap::new();
        headers.insert(HAS_LEADER, HeaderValue::from_static(value));
        assert_eq!(Metadata::read(&headers).unwrap().require_leader, expected);
    }
    assert!(!Metadata::read(&HeaderMap::new()).unwrap().require_leader);
    let mut headers = HeaderMap::new();
    headers.insert(
        CLIENT_API_VERSION,
        HeaderValue::from_bytes(b"3.\xff").unwrap(),
    );
    let status = Metadata::read(&headers).unwrap_err();
    assert_eq!(status.message(), "etcdserver: invalid client api version");
}

#[test]
fn what_is_no_call_gets_an_http_answer_too() {
    let request = |method: &str, content_type: &str| {
        let request = Request::builder()
            .method(method)
            .header(CONTENT_TYPE, content_type);
        check_call(&request.body(()).unwrap()).map_err(|response| response.status())
    };
    assert_eq!(request("POST", "application/grpc"), Ok(()));
    assert_eq!(request("POST", "application/grpc+proto"), Ok(()));
    assert_eq!(request("POST", "application/grpc;v=1"), Ok(()));
    assert_eq!(
        request("POST", "application/grpcx"),
        Err(StatusCode::UNSUPPORTED_MEDIA_TYPE)
    );
    assert_eq!(
        request("POST", "text/html"),
        Err(StatusCode::UNSUPPORTED_MEDIA_TYPE)
    );
    assert_eq!(
        request("GET", "application/grpc"),
        Err(StatusCode::METHOD_NOT_ALLOWED)
    );
}

fn frames(mut response: Response<ReplyBody>) -> Vec<Frame<Bytes>> {
    let mut frames = Vec::new();
    block_on(async {
        while let Some(Ok(frame)) =
            poll_fn(|context| Pin::new(response.body_mut()).poll_frame(context)).await
        {
            frames.push(frame);
        }
    });
    frames
}

#[test]
fn an_answer_is_one_message_and_the_status_behind_it() {
    let message = PutRequest {
        key: "k".into(),
        value: vec![1; 500].into(),
        ..Default::default()
    };
    let response = reply(&message);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
    assert!(!response.headers().contains_key(GRPC_STATUS));
    let [data, trailers] = &frames(response)[..] else {
        panic!()
    };
    let data = data.data_ref().unwrap();
    assert_eq!(data[..], frame(&message.encode_to_vec())[..]);
    assert_eq!(trailers.trailers_ref().unwrap()[GRPC_STATUS], "0");
}

#[test]
fn a_refusal_is_headers_alone() {
    let response = refuse(&Status::not_found("unknown service"));
    assert_eq!(response.headers()[GRPC_STATUS], "5");
    assert_eq!(response.headers()["grpc-message"], "unknown%20service");
    assert!(response.body().is_end_stream());
    assert!(frames(response).is_empty());
}

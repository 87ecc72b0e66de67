//! gRPC's frames: a flag, a length, a message.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body::Body;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::{Code, Status};

const PREFIX_BYTES: usize = 5;

/// A message as one frame; `None` if it is longer than any frame.
pub(super) fn framed(message: &[u8]) -> Option<Bytes> {
    let length = u32::try_from(message.len()).ok()?;
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    frame.put_u8(0);
    frame.put_u32(length);
    frame.put_slice(message);
    Some(frame.freeze())
}

/// The messages of an answer's body, and the status behind them.
pub(super) struct Messages<B> {
    body: B,
    /// The beginning of a frame.
    held: BytesMut,
}

impl<B> Messages<B>
where
    B: Body<Data = Bytes, Error = Infallible> + Unpin,
{
    pub(super) fn of(body: B) -> Self {
        Self {
            body,
            held: BytesMut::new(),
        }
    }

    /// The next message, or `None` at the end.
    ///
    /// # Errors
    /// The status at the end, if it is not OK.
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Status>> {
        loop {
            if let Some(message) = self.take() {
                return Poll::Ready(Ok(Some(message)));
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                None => return Poll::Ready(Ok(None)),
                Some(Ok(frame)) => frame,
            };
            match frame.into_data() {
                Ok(data) => self.held.extend_from_slice(&data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return Poll::Ready(match Status::from_header_map(&trailers) {
                        Some(status) if status.code() != Code::Ok => Err(status),
                        _ => Ok(None),
                    });
                }
            }
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        let (&[_, a, b, c, d], rest) = self.held.split_first_chunk::<PREFIX_BYTES>()?;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
        if rest.len() < length {
            return None;
        }
        self.held.advance(PREFIX_BYTES);
        Some(self.held.split_to(length).freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use http_body::Frame;
    use std::collections::VecDeque;

    struct Pieces(VecDeque<Frame<Bytes>>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }
    }

    fn next(messages: &mut Messages<Pieces>) -> Result<Option<Bytes>, Status> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        match messages.poll_next(&mut context) {
            Poll::Ready(next) => next,
            Poll::Pending => panic!("pieces never wait"),
        }
    }

    #[test]
    fn messages_are_whole_however_the_frames_are_cut_and_the_status_is_last() {
        let both = [framed(b"first").unwrap(), framed(b"").unwrap()].concat();
        for cut in 0..both.len() {
            let mut trailers = HeaderMap::new();
            Status::not_found("gone").add_header(&mut trailers).unwrap();
            let pieces = [
                Frame::data(Bytes::copy_from_slice(&both[..cut])),
                Frame::data(Bytes::copy_from_slice(&both[cut..])),
                Frame::trailers(trailers),
            ];
            let mut messages = Messages::of(Pieces(pieces.into()));
            assert_eq!(next(&mut messages).unwrap().unwrap(), "first");
            assert_eq!(next(&mut messages).unwrap().unwrap(), "");
            assert_eq!(next(&mut messages).unwrap_err().message(), "gone");
        }
        let mut messages = Messages::of(Pieces(VecDeque::new()));
        assert!(next(&mut messages).unwrap().is_none());
    }
}

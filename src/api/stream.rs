//! Calls that go on: many messages in, many out.
//!
//! Each has a task of its own, [`open`]ed with two ends: [`Messages`] from the client and
//! [`Replies`] to it. What a task says waits in a short queue; a client that does not read stops its
//! own task and nobody else. The task belongs to the answer's body: when the client, or the
//! connection, goes, the body is dropped and the task ends at its next await. So whatever a task
//! holds elsewhere must be given back by a `Drop`.

use super::grpc::{self, GRPC_ENCODING, PREFIX_BYTES};
use super::meters::{Frames, Inward, Metered};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt};
use http::header::{HeaderMap, HeaderValue};
use http_body::Body;
use prost::Message;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tonic::{Code, Status};

/// Chunks of one stream that may wait for its client to read, and bytes of them; one that is longer
/// waits alone.
const QUEUE_CHUNKS_MAX: usize = 16;
const QUEUE_BYTES_MAX: u32 = 1 << 20;

/// The client is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// The messages that a client sends on one call.
pub(super) struct Messages {
    body: BoxStream<'static, Result<Bytes, Status>>,
    encoding: Option<HeaderValue>,
    held: BytesMut,
    limit: usize,
    meter: Option<Inward>,
}

impl Messages {
    /// Messages longer than `limit` are refused.
    pub(super) fn new<B>(headers: &HeaderMap, body: B, limit: usize) -> Self
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
    {
        let chunks = stream::unfold(body, async |mut body| {
            let chunk = grpc::next_data(&mut body).await.transpose()?;
            Some((chunk, body))
        });
        Self {
            body: chunks.boxed(),
            encoding: headers.get(GRPC_ENCODING).cloned(),
            held: BytesMut::new(),
            limit,
            meter: None,
        }
    }

    /// From now on they are counted.
    pub(super) fn counted(mut self, meter: Inward) -> Self {
        self.meter = Some(meter);
        self
    }

    /// The next message, or `None` once the client has said its last. Given up half way, nothing is
    /// lost.
    pub(super) async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(length) = grpc::read_prefix(self.encoding.as_ref(), &self.held, self.limit)?
                && self.held.len() >= PREFIX_BYTES + length
            {
                self.held.advance(PREFIX_BYTES);
                let message = self.held.split_to(length).freeze();
                if let Some(meter) = &self.meter {
                    meter.received(length);
                }
                return M::decode(message)
                    .map(Some)
                    .map_err(|error| grpc::malformed(&error));
            }
            match self.body.next().await {
                Some(chunk) => self.held.extend_from_slice(&chunk?),
                None if self.held.is_empty() => return Ok(None),
                None => return Err(Status::internal("protocol error: a message is not whole")),
            }
        }
    }
}

/// Where a stream's task puts what it says. Cheap to clone.
#[derive(Clone)]
pub(super) struct Replies {
    queue: mpsc::Sender<Result<Bytes, Status>>,
    /// Bytes that there is room for.
    room: Arc<Semaphore>,
}

/// What a chunk takes of the room.
fn space_of(chunk: &Bytes) -> u32 {
    u32::try_from(chunk.len()).map_or(QUEUE_BYTES_MAX, |bytes| bytes.min(QUEUE_BYTES_MAX))
}

impl Replies {
    /// Says one message; waits while the client is behind.
    pub(super) async fn send<M: Message>(&self, message: &M) -> Result<(), Gone> {
        match grpc::framed(message) {
            Ok(framed) => self.send_framed(framed).await,
            Err(refused) => self.queue.send(Err(refused)).await.map_err(|_| Gone),
        }
    }

    /// Bytes that are framed already: whole messages, or the next part of one.
    pub(super) async fn send_framed(&self, bytes: Bytes) -> Result<(), Gone> {
        let space = self.room.acquire_many(space_of(&bytes)).await;
        let space = space.map_err(|_| Gone)?;
        self.queue.send(Ok(bytes)).await.map_err(|_| Gone)?;
        // Given back when the chunk is taken.
        space.forget();
        Ok(())
    }

    /// Returns when the client is gone.
    pub(super) async fn gone(&self) {
        self.queue.closed().await;
    }
}

/// The other end: what the body of the answer is made of.
pub(super) struct Answers {
    queue: mpsc::Receiver<Result<Bytes, Status>>,
    room: Arc<Semaphore>,
    task: AbortHandle,
    /// None once the stream has ended.
    metered: Option<Metered>,
    frames: Frames,
}

impl Answers {
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Status>>> {
        let next = self.queue.poll_recv(context);
        if let Poll::Ready(Some(Ok(bytes))) = &next {
            self.room.add_permits(space_of(bytes) as usize);
            if let Some(metered) = &self.metered {
                metered.sent(self.frames.begun_in(bytes), bytes.len());
            }
        }
        next
    }

    /// From now on they are counted.
    pub(super) fn counted(mut self, metered: Metered) -> Self {
        self.metered = Some(metered);
        self
    }

    /// How the stream ended.
    pub(super) fn end(&mut self, code: Code) {
        if let Some(metered) = self.metered.take() {
            metered.end(code);
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts the task of a stream. It ends the stream with OK when it returns, with a refusal when it
/// fails.
pub(super) fn open<Serving>(serve: impl FnOnce(Replies) -> Serving) -> Answers
where
    Serving: Future<Output = Result<(), Status>> + Send + 'static,
{
    let (queue, answers) = mpsc::channel(QUEUE_CHUNKS_MAX);
    let room = Arc::new(Semaphore::new(QUEUE_BYTES_MAX as usize));
    let serving = serve(Replies {
        queue: queue.clone(),
        room: room.clone(),
    });
    let task = tokio::spawn(async move {
        if let Err(status) = serving.await {
            // A client that is gone is told nothing.
            queue.send(Err(status)).await.ok();
        }
    });
    Answers {
        queue: answers,
        room,
        task: task.abort_handle(),
        metered: None,
        frames: Frames::default(),
    }
}

#[cfg(test)]
mod tests;

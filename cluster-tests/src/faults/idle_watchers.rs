//! Watchers that ask for everything and do not read: what they have not taken is not held for them,
//! whether it was written before they came or after. When they read again they are told all of it.

use super::Context;
use super::arena::Arena;
use crate::cluster::local::PATIENCE;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use quorate::proto::etcdserverpb::watch_client::WatchClient;
use quorate::proto::etcdserverpb::watch_request::RequestUnion;
use quorate::proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

const WATCHERS: u64 = 16;
/// Before they come, and again while they do not read.
const PUTS: i64 = 400;
const VALUE_BYTES: usize = 100_000;
const BYTES: usize = 2 * 400 * VALUE_BYTES;
/// What one of them may cost the member. Held for it would be eighty megabytes.
const BYTES_EACH_MAX: u64 = 8 << 20;
/// What the store itself needs for so many bytes: its memtables and caches.
const STORE_BYTES_MAX: u64 = 192 << 20;

struct Idle {
    _requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

/// # Errors
/// The member grows with what its clients do not read, or does not tell them all of it.
pub async fn tell(context: &Context) -> Result<String> {
    let mut arena = Arena::open(context, "idle-watchers", 1, &[]).await?;
    let url = arena.cluster.client_url(1);
    let mut last = put(&arena, PUTS).await?;
    let before = arena.cluster.member(1)?.resident_bytes()?;
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        watchers.push(watch(&url).await?);
    }
    let mut most = before;
    // Their catching up goes on beside these.
    for _ in 0..10 {
        last = put(&arena, PUTS / 10).await?;
        most = most.max(arena.cluster.member(1)?.resident_bytes()?);
    }
    let grown = most - before;
    arena.say(&format!(
        "{WATCHERS} watchers that do not read {} MB: the member grew by {} MB",
        BYTES >> 20,
        grown >> 20
    ));
    ensure!(
        grown <= STORE_BYTES_MAX + WATCHERS * BYTES_EACH_MAX,
        "the member grew by {} MB",
        grown >> 20
    );
    for idle in watchers {
        drain(idle, last).await?;
    }
    let hash = arena.close_unjudged().await?;
    Ok(format!(
        "{WATCHERS} watchers that did not read cost {} MB at most, the store's own included, and were \
         told all {last} revisions; hash {hash}",
        grown >> 20
    ))
}

/// Answers the last revision.
async fn put(arena: &Arena, count: i64) -> Result<i64> {
    let mut door = arena.cluster.door(1, PATIENCE)?;
    let value = Bytes::from(vec![b'v'; VALUE_BYTES]);
    let mut last = 0;
    for _ in 0..count {
        last = door.put("key", value.clone()).await.context("put")?;
    }
    Ok(last)
}

/// Everything from the beginning, on a connection of its own; reads no further than that it is
/// created.
async fn watch(url: &str) -> Result<Idle> {
    let endpoint = Endpoint::from_shared(url.to_owned()).context("endpoint")?;
    let channel = endpoint.connect().await.context("dial")?;
    let mut client = WatchClient::new(channel).max_decoding_message_size(usize::MAX);
    let (requests, queue) = mpsc::channel(1);
    let create = WatchCreateRequest {
        key: Bytes::from_static(&[0]),
        range_end: Bytes::from_static(&[0]),
        start_revision: 2,
        prev_kv: true,
        ..WatchCreateRequest::default()
    };
    let request = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    };
    requests.send(request).await?;
    let responses = client.watch(ReceiverStream::new(queue)).await;
    let mut responses = responses.context("watch")?.into_inner();
    let created = responses.message().await.context("created")?;
    ensure!(created.is_some_and(|it| it.created), "it is not created");
    Ok(Idle {
        _requests: requests,
        responses,
    })
}

/// Reads to the last revision: each once, in order.
async fn drain(mut idle: Idle, last: i64) -> Result<()> {
    let mut next = 2;
    while next <= last {
        let response = timeout(PATIENCE, idle.responses.message()).await;
        let response = response.context("a response in time")??;
        for event in response.context("no end")?.events {
            let at = event.kv.map_or(0, |kv| kv.mod_revision);
            ensure!(at == next, "revision {at} came where {next} was due");
            next += 1;
        }
    }
    Ok(())
}

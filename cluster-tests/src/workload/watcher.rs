//! A watcher: it stays with its member, opens its watch anew after every loss, and writes down every
//! response of every stream.

use super::client::Ground;
use super::wire::pair;
use crate::door::Door;
use crate::history::call::Range;
use crate::history::watch::{Event, Kind, Tidings, Told, WatchRequest, WatchStream};
use anyhow::{Context as _, Result};
use bytes::Bytes;
use quorate::proto::etcdserverpb::watch_create_request::FilterType;
use quorate::proto::etcdserverpb::watch_request::RequestUnion;
use quorate::proto::etcdserverpb::{
    WatchCreateRequest, WatchProgressRequest, WatchRequest as WireRequest, WatchResponse,
};
use quorate::proto::mvccpb;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, timeout};
use tokio_stream::wrappers::ReceiverStream;

/// How long a member may take to take a stream. One that stands still takes none.
const OPEN_PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);
/// Between two questions for progress.
const QUESTION_PERIOD: Duration = Duration::from_millis(250);
/// A stream on which nothing came for so long, though it asked for progress, is given up: a process
/// that stands still keeps its sockets.
const SILENCE_MAX: Duration = Duration::from_secs(4);

/// What is watched, and how.
#[derive(Clone, Debug)]
pub struct Watch {
    pub name: String,
    pub workload: &'static str,
    pub node: usize,
    /// `start_revision` of the first stream; later ones begin after what was told.
    pub request: WatchRequest,
    /// Ends a stream by itself after so long, and opens the next one.
    pub reopens_after: Option<Duration>,
    /// Of a watch that is opened once: it ends with its stream, or after this.
    pub once: bool,
}

impl Watch {
    /// Everything in the store.
    pub fn everything() -> Range {
        Range {
            key: "\0".to_owned(),
            end: Some("\0".to_owned()),
            ..Range::default()
        }
    }
}

/// Watches until the run is over.
pub async fn watch(mut ground: Ground, watch: Watch) {
    let mut next = watch.request.start_revision;
    while !ground.is_over() {
        let Some(url) = ground.members.url(watch.node) else {
            return;
        };
        let mut stream = WatchStream {
            watcher: watch.name.clone(),
            workload: watch.workload.to_owned(),
            node: watch.node,
            opened: ground.recorder.now(),
            request: WatchRequest {
                start_revision: next,
                ..watch.request.clone()
            },
            told: Vec::new(),
            ended: None,
        };
        let outcome = one_stream(&mut ground, &url, &watch, &mut stream).await;
        let why = match outcome {
            Ok(why) => why.to_owned(),
            Err(error) => format!("{error:#}"),
        };
        let compacted = stream.told.iter().rev().find_map(|told| match &told.what {
            Tidings::Canceled {
                compact_revision, ..
            } => Some(*compact_revision),
            _ => None,
        });
        let last = stream
            .events()
            .map(|(_, event)| event.kv.mod_revision)
            .max();
        next = next.max(last.map_or(0, |last| last + 1));
        // What was compacted cannot be told any more; the next stream begins where it can be.
        next = next.max(compacted.unwrap_or(0));
        // A fragment that was cut off is told again from its revision on.
        if let Some(Told {
            what: Tidings::Events { fragment: true, .. },
            ..
        }) = stream.told.last()
        {
            next = last.unwrap_or(next);
        }
        if !ground.is_over() {
            stream.ended = Some((ground.recorder.now(), why));
        }
        // Streams that were never opened are no news.
        if !stream.told.is_empty() {
            ground.recorder.watch(stream);
        }
        if watch.once {
            return;
        }
        let pause = Instant::now() + PAUSE;
        ground.sleep(pause).await;
    }
}

/// One stream, to its end, and why it ended.
async fn one_stream(
    ground: &mut Ground,
    url: &str,
    watch: &Watch,
    stream: &mut WatchStream,
) -> Result<&'static str> {
    // The deadline would be the stream's.
    let mut door = Door::open(url, Duration::from_secs(3600))?;
    let (requests, queue) = mpsc::channel(1);
    let say = |request| WireRequest {
        request_union: Some(request),
    };
    let create = RequestUnion::CreateRequest(create_request(&stream.request));
    requests.send(say(create)).await.context("ask")?;
    let opening = door.watch.watch(ReceiverStream::new(queue));
    let mut responses = timeout(OPEN_PATIENCE, opening)
        .await
        .context("no answer")?
        .context("open the stream")?
        .into_inner();
    let begun = Instant::now();
    let mut heard = Instant::now();
    let mut questions = interval(QUESTION_PERIOD);
    let mut over = ground.stop.clone();
    loop {
        tokio::select! {
            response = responses.message() => {
                let Some(response) = response.context("the stream")? else {
                    return Ok("the stream ended");
                };
                heard = Instant::now();
                let told = told(ground.recorder.now(), response);
                let canceled = matches!(told.what, Tidings::Canceled { .. });
                let known = match &told.what {
                    Tidings::Events { events, .. } => {
                        events.last().map_or(0, |event| event.kv.mod_revision)
                    }
                    Tidings::Progress => told.revision,
                    Tidings::Created | Tidings::Canceled { .. } => 0,
                };
                ground.recorder.tell(&watch.name, known);
                stream.told.push(told);
                if canceled {
                    return Ok("cancelled");
                }
            }
            _ = questions.tick() => {
                if watch.reopens_after.is_some_and(|after| begun.elapsed() >= after) {
                    return Ok("given up to begin anew");
                }
                if heard.elapsed() > SILENCE_MAX {
                    return Ok("silent");
                }
                let question = RequestUnion::ProgressRequest(WatchProgressRequest {});
                // A question that is still on its way need not be asked again.
                requests.try_send(say(question)).unwrap_or_default();
            }
            _ = over.wait_for(|over| *over) => return Ok("the run is over"),
        }
    }
}

fn create_request(request: &WatchRequest) -> WatchCreateRequest {
    let mut filters = Vec::new();
    if request.no_put {
        filters.push(FilterType::Noput.into());
    }
    if request.no_delete {
        filters.push(FilterType::Nodelete.into());
    }
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    WatchCreateRequest {
        key: bytes(&request.range.key),
        range_end: request.range.end.as_deref().map(bytes).unwrap_or_default(),
        start_revision: request.start_revision,
        progress_notify: request.progress_notify,
        filters,
        prev_kv: request.prev_kv,
        fragment: request.fragment,
        ..WatchCreateRequest::default()
    }
}

fn told(at: u64, response: WatchResponse) -> Told {
    let revision = response.header.as_ref().map_or(0, |header| header.revision);
    let what = if response.canceled {
        Tidings::Canceled {
            compact_revision: response.compact_revision,
            reason: response.cancel_reason,
        }
    } else if response.created {
        Tidings::Created
    } else if response.events.is_empty() {
        Tidings::Progress
    } else {
        Tidings::Events {
            events: response.events.into_iter().map(event).collect(),
            fragment: response.fragment,
        }
    };
    Told { at, revision, what }
}

fn event(event: mvccpb::Event) -> Event {
    let kind = match event.r#type() {
        mvccpb::event::EventType::Put => Kind::Put,
        mvccpb::event::EventType::Delete => Kind::Delete,
    };
    Event {
        kind,
        kv: event.kv.map(pair).unwrap_or_default(),
        previous: event.prev_kv.map(pair),
    }
}

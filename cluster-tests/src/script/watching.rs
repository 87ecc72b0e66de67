//! Watches of a story: opened once, told in the story's own time.

use super::question::range;
use super::stage::{Stage, unknown};
use super::words::Words;
use crate::door::Door;
use crate::wait::{Look, until};
use crate::workload::wire::pair;
use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use quorate::proto::etcdserverpb::watch_request::RequestUnion;
use quorate::proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use quorate::proto::mvccpb::Event;
use quorate::proto::mvccpb::event::EventType;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

const PATIENCE: Duration = Duration::from_secs(30);

/// A watch and what it was told.
pub struct Watch {
    heard: Arc<Mutex<Heard>>,
    /// Events that the story has told.
    told: usize,
    task: JoinHandle<()>,
    /// The stream lives as long as somebody may ask something on it.
    _requests: mpsc::Sender<WatchRequest>,
}

#[derive(Default)]
struct Heard {
    events: Vec<Event>,
    /// Places of events whose revision had begun in an earlier response: no fragments are asked for, so
    /// that must not be.
    pieces: BTreeSet<usize>,
    /// Why nothing more comes.
    end: Option<String>,
}

impl Heard {
    fn take(&mut self, events: Vec<Event>) {
        let first = events.first().and_then(|event| event.kv.as_ref());
        if first.is_some_and(|kv| kv.mod_revision == self.revision()) {
            self.pieces.insert(self.events.len());
        }
        self.events.extend(events);
    }

    /// The latest revision of an event.
    fn revision(&self) -> i64 {
        let last = self.events.last().and_then(|event| event.kv.as_ref());
        last.map_or(0, |kv| kv.mod_revision)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Opens it, and waits until the member has taken it.
    async fn open(mut door: Door, create: WatchCreateRequest) -> Result<Self> {
        let (requests, queue) = mpsc::channel(1);
        let request = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        requests.send(request).await.context("ask for the watch")?;
        let opening = door.watch.watch(ReceiverStream::new(queue));
        let opened = timeout(PATIENCE, opening).await.context("no answer")?;
        let mut responses = opened.context("open the watch")?.into_inner();
        let first = timeout(PATIENCE, responses.message()).await;
        let first = first.context("no answer")?.context("the stream")?;
        let first = first.context("the stream ended")?;
        ensure!(first.created, "the first response creates nothing");
        let heard = Arc::new(Mutex::new(Heard::default()));
        Ok(Self {
            heard: Arc::clone(&heard),
            told: 0,
            task: tokio::spawn(hear(responses, heard)),
            _requests: requests,
        })
    }

    /// Whether there is something that the story has not told.
    pub fn has_news(&self) -> bool {
        let heard = lock(&self.heard);
        heard.events.len() > self.told || heard.end.is_some()
    }

    async fn wait(
        &self,
        what: &str,
        limit: Duration,
        ready: impl Fn(&Heard) -> bool,
    ) -> Result<()> {
        until(what, limit, async || {
            let heard = lock(&self.heard);
            if ready(&heard) {
                return Look::Ready(());
            }
            let (count, revision) = (heard.events.len(), heard.revision());
            Look::NotYet(format!(
                "{count} events, up to revision {revision}; end: {:?}",
                heard.end
            ))
        })
        .await
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn hear(mut responses: Streaming<WatchResponse>, heard: Arc<Mutex<Heard>>) {
    loop {
        let end = match responses.message().await {
            Ok(Some(response)) if response.canceled => Some(cancelled(&response)),
            Ok(Some(response)) => {
                lock(&heard).take(response.events);
                None
            }
            Ok(None) | Err(_) => Some("the stream broke".to_owned()),
        };
        if end.is_some() {
            lock(&heard).end = end;
            return;
        }
    }
}

fn cancelled(response: &WatchResponse) -> String {
    let mut text = "cancelled".to_owned();
    if !response.cancel_reason.is_empty() {
        text = format!("{text}: {}", response.cancel_reason);
    }
    if response.compact_revision != 0 {
        text = format!("{text}; compact_revision {}", response.compact_revision);
    }
    text
}

/// "put a=1 @2, was a=0 @1"
fn in_words(event: &Event) -> String {
    let kv = event.kv.clone().map(pair).unwrap_or_default();
    let mut text = match event.r#type() {
        EventType::Put => format!("put {kv}"),
        EventType::Delete => format!("delete {} @{}", kv.key, kv.mod_revision),
    };
    if let Some(previous) = event.prev_kv.clone().map(pair) {
        text = format!("{text}, was {previous}");
    }
    text
}

impl Stage {
    /// `f1: watch NAME KEY [prefix] [previous] [from=REVISION]`
    pub(super) async fn watch(&mut self, words: &mut Words) -> Result<String> {
        let name = words.next("the watch's name")?;
        let range = range(words)?;
        let end = range.end.unwrap_or_default();
        let create = WatchCreateRequest {
            key: Bytes::from(range.key.into_bytes()),
            range_end: Bytes::from(end.into_bytes()),
            prev_kv: words.flag("previous"),
            start_revision: words.number("from")?.unwrap_or(0),
            ..WatchCreateRequest::default()
        };
        let at = words.at()?;
        words.finish()?;
        // The deadline would be the stream's.
        let door = self.door(&at, Duration::from_secs(3600))?;
        let watch = Watch::open(door, create).await?;
        ensure!(
            !self.watches.contains_key(&name),
            "there is a {name} already"
        );
        self.watches.insert(name, watch);
        Ok("watching".to_owned())
    }

    /// `told NAME to=REVISION` or `told NAME end`: what it was told since it told last.
    pub(super) async fn told(&mut self, words: &mut Words) -> Result<String> {
        let name = words.next("the watch")?;
        let limit = self.within(words)?.unwrap_or(PATIENCE);
        let end = words.flag("end");
        let to: Option<i64> = words.number("to")?;
        words.finish()?;
        let Some(watch) = self.watches.get_mut(&name) else {
            return unknown("watch", &name);
        };
        match (to, end) {
            (Some(to), false) => {
                let what = format!("{name} to be told of revision {to}");
                watch
                    .wait(&what, limit, |heard| heard.revision() >= to)
                    .await?;
            }
            (None, true) => {
                let what = format!("the end of {name}");
                watch
                    .wait(&what, limit, |heard| heard.end.is_some())
                    .await?;
            }
            _ => bail!("told NAME to=REVISION, or told NAME end"),
        }
        let heard = lock(&watch.heard);
        let mut lines = Vec::new();
        for (at, event) in heard.events.iter().enumerate().skip(watch.told) {
            let piece = heard.pieces.contains(&at);
            let note = if piece { ", in another response" } else { "" };
            lines.push(format!("{}{note}", in_words(event)));
        }
        watch.told = heard.events.len();
        lines.extend(heard.end.clone().filter(|_| end));
        let lines = lines.iter().map(|line| format!("{name}: {line}"));
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }

    /// `f1: complete NAME from=REVISION`: in a store where every revision changes one key that is
    /// watched, it was told all up to the store's latest, each once and in order.
    pub(super) async fn complete(&mut self, words: &mut Words) -> Result<String> {
        let name = words.next("the watch")?;
        let from: i64 = words.number("from")?.context("complete NAME from=N")?;
        let limit = self.within(words)?.unwrap_or(PATIENCE);
        let at = words.at()?;
        words.finish()?;
        let read = self.door(&at, PATIENCE)?.get("complete").await;
        let (latest, _) = read.context("the latest revision")?;
        let Some(watch) = self.watches.get_mut(&name) else {
            return unknown("watch", &name);
        };
        let what = format!("{name} to be told of revision {latest}");
        watch
            .wait(&what, limit, |heard| heard.revision() >= latest)
            .await?;
        let heard = lock(&watch.heard);
        let told = heard.events.iter().filter_map(|event| event.kv.as_ref());
        let told: Vec<i64> = told.map(|kv| kv.mod_revision).collect();
        watch.told = heard.events.len();
        let expected: Vec<i64> = (from..=latest).collect();
        if told == expected {
            return Ok(format!(
                "{name} was told every revision from {from} on, once and in order"
            ));
        }
        let mut pairs = told.iter().zip(&expected);
        let wrong = pairs.position(|(told, expected)| told != expected);
        let wrong = wrong.unwrap_or(told.len().min(expected.len()));
        bail!(
            "{name} was told {} revisions of {}; at place {wrong} it was told {:?} instead of {:?}",
            told.len(),
            expected.len(),
            told.get(wrong),
            expected.get(wrong)
        )
    }
}

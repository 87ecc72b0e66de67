//! A cache of everything below the registry: a list, and a watch from its revision on, which is
//! resumed on another member where it broke off.

use super::REGISTRY;
use super::objects::{self, registry_end};
use crate::door::Door;
use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use futures_util::stream;
use quorate::proto::etcdserverpb::watch_request::RequestUnion;
use quorate::proto::etcdserverpb::{
    WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use quorate::proto::mvccpb::event::EventType;
use quorate::proto::mvccpb::{Event, KeyValue};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::Request;

/// How often progress is asked for while a read waits for it.
const ASK_PERIOD: Duration = Duration::from_millis(100);
/// A list, and the first answer to a watch, from a member that is well.
const DEADLINE: Duration = Duration::from_secs(5);
const REQUESTS_QUEUED: usize = 16;

/// A cache that is kept up to date until it is dropped.
#[derive(Debug)]
pub(super) struct Reflector {
    cache: Cache,
    task: JoinHandle<()>,
}

/// What the cache knows, for readers.
#[derive(Clone, Debug, Default)]
pub(super) struct Cache(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: Mutex<Known>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Known {
    /// The list that it began with.
    list: Option<objects::List>,
    now: BTreeMap<Bytes, KeyValue>,
    events: Vec<Event>,
    /// Everything up to here is known: the last event's revision, or that of a progress message.
    revision: i64,
    /// Whether a read waits for progress.
    wanted: i64,
    resumed: usize,
    /// How the last watch ended.
    ended: String,
    /// What broke a promise.
    wrong: Option<String>,
}

/// What a cache saw.
#[derive(Debug)]
pub(super) struct History {
    /// The revision of its list.
    pub began: i64,
    events: Vec<Event>,
}

impl History {
    pub(super) fn events(&self) -> &[Event] {
        &self.events
    }

    /// The revisions after `revision` and their keys, in order.
    pub(super) fn since(&self, revision: i64) -> Vec<(i64, Bytes)> {
        let pairs = self.events.iter().filter_map(|event| event.kv.as_ref());
        let since = pairs.filter(|kv| kv.mod_revision > revision);
        since.map(|kv| (kv.mod_revision, kv.key.clone())).collect()
    }
}

impl Reflector {
    /// Begins with the member at `at`, from 0.
    ///
    /// # Errors
    /// A URL is not one.
    pub(super) fn start(urls: &[String], at: usize) -> Result<Self> {
        let doors: Vec<Door> = urls
            .iter()
            .map(|url| Door::open(url, DEADLINE))
            .collect::<Result<_>>()?;
        let cache = Cache::default();
        let task = tokio::spawn(keep(cache.clone(), doors, at));
        Ok(Self { cache, task })
    }

    pub(super) fn cache(&self) -> Cache {
        self.cache.clone()
    }
}

impl Drop for Reflector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Watches one member after the other; ends when a promise is broken.
async fn keep(cache: Cache, doors: Vec<Door>, at: usize) {
    let mut members = doors.into_iter().cycle().skip(at);
    while cache.lock().wrong.is_none() {
        let Some(door) = members.next() else { return };
        // Whatever ends it, it goes on with the next member.
        let ended = watch_member(&cache, door).await;
        {
            let mut known = cache.lock();
            known.resumed += 1;
            known.ended = format!("{ended:?}");
        }
        cache.0.news.notify_waiters();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Lists if nothing is known yet, and watches until the stream ends.
async fn watch_member(cache: &Cache, mut door: Door) -> Result<()> {
    if cache.lock().list.is_none() {
        let list = objects::list(&mut door, 0).await?;
        let mut known = cache.lock();
        known.now.clone_from(&list.objects);
        known.revision = list.revision;
        known.list = Some(list);
        // The start is no resumption.
        known.resumed = 0;
    }
    let start_revision = cache.lock().revision + 1;
    let (requests, waiting) = mpsc::channel::<WatchRequest>(REQUESTS_QUEUED);
    let create = WatchCreateRequest {
        key: Bytes::from_static(REGISTRY.as_bytes()),
        range_end: registry_end(),
        start_revision,
        progress_notify: true,
        prev_kv: true,
        ..WatchCreateRequest::default()
    };
    let send = async |request| {
        let request_union = Some(request);
        let sent = requests.send(WatchRequest { request_union }).await;
        sent.context("the stream is gone")
    };
    send(RequestUnion::CreateRequest(create)).await?;
    let outgoing = stream::unfold(waiting, |mut waiting| async {
        waiting.recv().await.map(|request| (request, waiting))
    });
    let mut request = Request::new(outgoing);
    request.metadata_mut().insert("hasleader", "true".parse()?);
    let mut answers = door.watch.watch(request).await?.into_inner();
    loop {
        let message = match timeout(ASK_PERIOD, answers.message()).await {
            Ok(message) => message?.context("the stream ended")?,
            Err(_) => {
                if cache.is_wanted() {
                    send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await?;
                }
                continue;
            }
        };
        ensure!(!message.canceled, "canceled: {}", message.cancel_reason);
        let heard = cache.lock().hear(message, start_revision);
        if let Err(wrong) = heard {
            cache.lock().wrong = Some(format!("{wrong:#}"));
        }
        cache.0.news.notify_waiters();
        if cache.lock().wrong.is_some() {
            return Ok(());
        }
        if cache.is_wanted() {
            send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await?;
        }
    }
}

impl Known {
    fn hear(&mut self, message: WatchResponse, start_revision: i64) -> Result<()> {
        let header = message.header.as_ref().map_or(0, |header| header.revision);
        if message.created {
            return Ok(());
        }
        if message.events.is_empty() {
            ensure!(
                header >= self.revision,
                "progress goes back from {} to {header}",
                self.revision
            );
            self.revision = header;
            return Ok(());
        }
        let known = self.revision;
        for event in message.events {
            let kv = event.kv.as_ref().context("an event without a pair")?;
            let revision = kv.mod_revision;
            ensure!(
                revision > known && revision >= self.revision && revision >= start_revision,
                "revision {revision} is told when {} is known, of a watch from {start_revision}",
                self.revision
            );
            let before = self.now.get(&kv.key);
            ensure!(
                event.prev_kv.as_ref() == before,
                "before {revision}, {:?} was {before:?}, and the event says {:?}",
                kv.key,
                event.prev_kv
            );
            match event.r#type() {
                EventType::Put => {
                    let version = before.map_or(0, |before| before.version) + 1;
                    ensure!(kv.version == version, "{kv:?} over {before:?}");
                    self.now.insert(kv.key.clone(), kv.clone());
                }
                EventType::Delete => {
                    ensure!(
                        before.is_some(),
                        "{:?} was deleted, and was not there",
                        kv.key
                    );
                    self.now.remove(&kv.key);
                }
            }
            self.revision = revision;
            self.events.push(event);
        }
        ensure!(
            header >= self.revision,
            "events of {} under {header}",
            self.revision
        );
        Ok(())
    }
}

impl Cache {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_wanted(&self) -> bool {
        let known = self.lock();
        known.wanted > known.revision
    }

    /// Waits until everything up to `revision` is known.
    ///
    /// # Errors
    /// Not within `limit`, or the cache has heard what it must not.
    pub(super) async fn wait_fresh(&self, revision: i64, limit: Duration) -> Result<()> {
        let fresh = async {
            loop {
                let news = self.0.news.notified();
                {
                    let mut known = self.lock();
                    if let Some(wrong) = &known.wrong {
                        bail!("{wrong}");
                    }
                    if known.revision >= revision && known.list.is_some() {
                        return Ok(());
                    }
                    known.wanted = known.wanted.max(revision);
                }
                // Between the look and the wait nothing is missed for longer than this.
                drop(timeout(ASK_PERIOD, news).await);
            }
        };
        let outcome = timeout(limit, fresh).await;
        outcome.unwrap_or_else(|_| {
            let known = self.lock();
            bail!(
                "revision {revision} is not known after {limit:?}, but {}; {} times resumed, the \
                 last time after {}",
                known.revision,
                known.resumed,
                known.ended
            )
        })
    }

    /// What was there at a revision that is known.
    ///
    /// # Errors
    /// It is older than the list.
    pub(super) fn at(&self, revision: i64) -> Result<BTreeMap<Bytes, KeyValue>> {
        let known = self.lock();
        let list = known.list.as_ref().context("no list yet")?;
        ensure!(
            list.revision <= revision,
            "the list is newer than {revision}"
        );
        let mut objects = list.objects.clone();
        for event in &known.events {
            let Some(kv) = &event.kv else { continue };
            if kv.mod_revision > revision {
                break;
            }
            match event.r#type() {
                EventType::Put => objects.insert(kv.key.clone(), kv.clone()),
                EventType::Delete => objects.remove(&kv.key),
            };
        }
        Ok(objects)
    }

    /// How often the watch went on elsewhere.
    pub(super) fn resumed(&self) -> usize {
        self.lock().resumed
    }

    /// What it saw.
    pub(super) fn history(&self) -> History {
        let known = self.lock();
        History {
            began: known.list.as_ref().map_or(0, |list| list.revision),
            events: known.events.clone(),
        }
    }
}

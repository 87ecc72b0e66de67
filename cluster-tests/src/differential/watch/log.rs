//! Every event there was, as the reference tells it.

use super::heard::Item;
use super::stream::Stream;
use crate::door::Door;
use anyhow::{Result, bail};
use quorate::proto::etcdserverpb::WatchCreateRequest;
use quorate::proto::etcdserverpb::watch_create_request::FilterType;
use quorate::proto::etcdserverpb::watch_request::RequestUnion;
use quorate::proto::mvccpb::Event;
use quorate::proto::mvccpb::event::EventType;
use std::collections::BTreeSet;
use std::time::Duration;

/// All events from the first revision on.
#[derive(Debug)]
pub struct Log {
    stream: Stream,
    /// By revision, without a gap: each revision has events.
    revisions: Vec<Vec<Event>>,
}

/// The revision of `Log::revisions`' first element.
const FIRST: i64 = 2;

impl Log {
    /// Watches everything on a store that is new.
    ///
    /// # Errors
    /// The stream ends at once.
    pub async fn open(door: Door) -> Result<Self> {
        let stream = Stream::open(door);
        let everything = WatchCreateRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            start_revision: 1,
            ..WatchCreateRequest::default()
        };
        stream.send(RequestUnion::CreateRequest(everything)).await?;
        Ok(Self {
            stream,
            revisions: Vec::new(),
        })
    }

    /// Reads on until the events of `revision` are here.
    ///
    /// # Errors
    /// They do not come within `limit`, or not one after the other.
    pub async fn read_until(&mut self, revision: i64, limit: Duration) -> Result<()> {
        let there = self
            .stream
            .listen(limit, |heard| heard.last_revision(0) >= revision);
        let there = revision < FIRST || there.await;
        let (items, broken) = {
            let mut heard = self.stream.heard();
            (heard.take(0), heard.broken.clone())
        };
        for item in items {
            if let Item::Events { revision, events } = item {
                if revision != self.end() {
                    bail!("the reference skips to revision {revision}");
                }
                self.revisions.push(events);
            }
        }
        if !there || !broken.is_empty() {
            bail!("the reference does not tell all until {revision}: {broken:?}");
        }
        Ok(())
    }

    /// The first revision that is not there.
    fn end(&self) -> i64 {
        let count = i64::try_from(self.revisions.len());
        count.map_or(i64::MAX, |count| FIRST + count)
    }

    fn events(&self, revision: i64) -> &[Event] {
        let at = usize::try_from(revision - FIRST).ok();
        at.and_then(|at| self.revisions.get(at))
            .map_or(&[], Vec::as_slice)
    }

    /// The latest revision from `from` on of which `create` wants an event; 0 for none.
    pub fn last_wanted(&self, create: &WatchCreateRequest, from: i64) -> i64 {
        let wanted = |revision: &i64| self.events(*revision).iter().any(|e| wants(create, e));
        (from.max(FIRST)..self.end())
            .rev()
            .find(wanted)
            .unwrap_or(0)
    }

    /// Whether a compaction at `revision` leaves less of it than it had: a deletion, which etcd 3.4
    /// forgets, or a key that changed twice.
    pub fn loses_by_compaction(&self, revision: i64) -> bool {
        let mut keys = BTreeSet::new();
        self.events(revision).iter().any(|event| {
            let key = event.kv.as_ref().map(|kv| kv.key.clone());
            event.r#type() == EventType::Delete || !keys.insert(key)
        })
    }
}

/// Whether an event is in the watched range and not filtered.
fn wants(create: &WatchCreateRequest, event: &Event) -> bool {
    let filtered = match event.r#type() {
        EventType::Put => FilterType::Noput,
        EventType::Delete => FilterType::Nodelete,
    };
    let Some(kv) = &event.kv else {
        return false;
    };
    let first: &[u8] = if create.key.is_empty() {
        &[0]
    } else {
        &create.key
    };
    let inside = match create.range_end.as_ref() {
        [] => *kv.key == *first,
        [0] => *kv.key >= *first,
        end => *kv.key >= *first && *kv.key < *end,
    };
    inside && !create.filters.contains(&(filtered as i32))
}

//! Objects, and the controllers that create, update and delete them: each change is a transaction
//! that holds only if the object is still what its writer last saw.

use super::REGISTRY;
use super::reflector::History;
use crate::door::{Answer, Door};
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use quorate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::response_op::Response;
use quorate::proto::etcdserverpb::{
    Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use quorate::proto::mvccpb::KeyValue;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Few, so that controllers compete for them.
const OBJECTS: u32 = 40;
/// Of a list; few enough for several pages.
const PAGE_OBJECTS: i64 = 7;
/// Of the lease of an event, in seconds. kube-apiserver never renews nor revokes it.
const EVENT_TTL: i64 = 3_600;

/// Everything below the registry's prefix, at one revision.
#[derive(Clone, Debug)]
pub(super) struct List {
    pub revision: i64,
    pub objects: BTreeMap<Bytes, KeyValue>,
}

/// The end of the range of everything below the registry.
pub(super) fn registry_end() -> Bytes {
    let mut end = REGISTRY.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

/// Lists in pages, all at the revision of the first (0: the latest): a page begins after the last
/// key of the one before.
///
/// # Errors
/// A page fails, or they do not add up.
pub(super) async fn list(door: &mut Door, at: i64) -> Result<List> {
    let mut revision = at;
    let mut objects = BTreeMap::new();
    let mut key = Bytes::from_static(REGISTRY.as_bytes());
    loop {
        let request = RangeRequest {
            key: key.clone(),
            range_end: registry_end(),
            limit: PAGE_OBJECTS,
            revision,
            ..RangeRequest::default()
        };
        let page = door.kv.range(request).await.context("a page")?.into_inner();
        if revision == 0 {
            revision = page.header.as_ref().map_or(0, |header| header.revision);
        }
        let left = page.count - i64::try_from(page.kvs.len()).context("a page")?;
        ensure!(
            page.more == (left > 0),
            "a page of {} tells more: {}",
            page.count,
            page.more
        );
        let last = page.kvs.last().map(|kv| kv.key.clone());
        objects.extend(page.kvs.into_iter().map(|kv| (kv.key.clone(), kv)));
        match last {
            Some(last) if page.more => key = [last.as_ref(), &[0]].concat().into(),
            _ => return Ok(List { revision, objects }),
        }
    }
}

/// What controllers were told of their updates.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    told: Arc<Mutex<Told>>,
}

#[derive(Debug, Default)]
struct Told {
    /// The value that was put, or of a deletion the one that was deleted, and the revision.
    acknowledged: HashMap<(Bytes, i64), Bytes>,
    /// Values that may have been put.
    unknown: Vec<Bytes>,
    refused: usize,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acknowledged, refused by their guard, of unknown outcome.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let told = self.lock();
        (told.acknowledged.len(), told.refused, told.unknown.len())
    }

    /// Every acknowledged update is in the history, and each one of the history was built upon the
    /// one before.
    ///
    /// # Errors
    /// The update that is not.
    pub(super) fn judge(&self, history: &History) -> Result<()> {
        let told = self.lock();
        let mut found = 0;
        for event in history.events() {
            let kv = event.kv.as_ref().context("an event without a pair")?;
            let before = event.prev_kv.as_ref();
            if let Some(value) = told.acknowledged.get(&(kv.key.clone(), kv.mod_revision)) {
                let is = if kv.version == 0 {
                    before.map(|before| &before.value)
                } else {
                    Some(&kv.value)
                };
                ensure!(
                    is == Some(value),
                    "{:?} at {} is {is:?}, and {value:?} was acknowledged",
                    kv.key,
                    kv.mod_revision
                );
                found += 1;
            }
            // "count by whom": an update counts on from what it was guarded by.
            if let (true, Some(before)) = (kv.version > 1, before) {
                ensure!(
                    count(&kv.value)? == count(&before.value)? + 1,
                    "lost: {:?} over {:?}",
                    kv,
                    before
                );
            }
        }
        let before = told
            .acknowledged
            .keys()
            .filter(|(_, at)| *at <= history.began)
            .count();
        ensure!(
            found + before == told.acknowledged.len(),
            "{found} of {} acknowledged updates are in the history, {before} are older",
            told.acknowledged.len()
        );
        Ok(())
    }
}

/// The count in a value: "12 by 3.45".
fn count(value: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(value).context("a value that nobody wrote")?;
    let count = text.split(' ').next().unwrap_or_default();
    count
        .parse()
        .with_context(|| format!("no count in {text:?}"))
}

/// One client: it knows objects as it last saw them, like a controller with an old cache.
#[derive(Debug)]
pub(super) struct Controller {
    number: usize,
    doors: Vec<Door>,
    at: usize,
    random: StdRng,
    seen: HashMap<Bytes, KeyValue>,
    writes: u64,
    event_lease: Option<i64>,
    ledger: Ledger,
}

impl Controller {
    pub(super) fn new(number: usize, doors: Vec<Door>, seed: u64, ledger: Ledger) -> Self {
        Self {
            number,
            at: number % doors.len().max(1),
            doors,
            random: StdRng::seed_from_u64(seed ^ number as u64),
            seen: HashMap::new(),
            writes: 0,
            event_lease: None,
            ledger,
        }
    }

    /// Until it is to stop.
    ///
    /// # Errors
    /// An answer makes no sense.
    pub(super) async fn run(mut self, stop: Arc<AtomicBool>) -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            if self.event_lease.is_none() {
                self.grant().await;
                continue;
            }
            let number = self.random.random_range(0..OBJECTS);
            let kind = if number % 8 == 0 { "events" } else { "pods" };
            let key = Bytes::from(format!("{REGISTRY}{kind}/default/object-{number:03}"));
            self.change(key, kind == "events").await?;
        }
        Ok(())
    }

    fn door(&mut self) -> Result<&mut Door> {
        self.doors.get_mut(self.at).context("no member")
    }

    /// On to the next member, after an error.
    async fn move_on(&mut self) {
        self.at = (self.at + 1) % self.doors.len();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    async fn grant(&mut self) {
        let request = LeaseGrantRequest {
            ttl: EVENT_TTL,
            id: 0,
        };
        let Ok(door) = self.door() else { return };
        match door.lease.lease_grant(request).await {
            Ok(granted) => self.event_lease = Some(granted.into_inner().id),
            Err(_) => self.move_on().await,
        }
    }

    /// One guarded transaction: create, update, or sometimes delete.
    async fn change(&mut self, key: Bytes, with_lease: bool) -> Result<()> {
        self.writes += 1;
        let seen = self.seen.get(&key).cloned();
        let delete = seen.is_some() && self.random.random_range(0..12) == 0;
        let base = seen
            .as_ref()
            .map(|kv| count(&kv.value))
            .transpose()?
            .unwrap_or(0);
        let value = Bytes::from(format!("{} by {}.{}", base + 1, self.number, self.writes));
        let then = if delete {
            Request::RequestDeleteRange(DeleteRangeRequest {
                key: key.clone(),
                ..DeleteRangeRequest::default()
            })
        } else {
            Request::RequestPut(PutRequest {
                key: key.clone(),
                value: value.clone(),
                lease: if with_lease {
                    self.event_lease.unwrap_or(0)
                } else {
                    0
                },
                ..PutRequest::default()
            })
        };
        let guard = seen.as_ref().map_or(0, |kv| kv.mod_revision);
        let answer = guarded(self.door()?, &key, guard, then).await;
        let Ok(told) = answer else {
            if !delete {
                self.ledger.lock().unknown.push(value);
            }
            // What is there now is asked by the next attempt, whose guard fails.
            self.move_on().await;
            return Ok(());
        };
        match told {
            Guarded::Held { revision } if delete => {
                self.seen.remove(&key);
                let before = seen.map(|kv| kv.value).unwrap_or_default();
                self.ledger
                    .lock()
                    .acknowledged
                    .insert((key, revision), before);
            }
            Guarded::Held { revision } => {
                let now = KeyValue {
                    key: key.clone(),
                    value: value.clone(),
                    mod_revision: revision,
                    ..KeyValue::default()
                };
                self.seen.insert(key.clone(), now);
                let earlier = self
                    .ledger
                    .lock()
                    .acknowledged
                    .insert((key, revision), value);
                ensure!(
                    earlier.is_none(),
                    "two updates were told revision {revision}"
                );
            }
            Guarded::Refused { now } => {
                self.ledger.lock().refused += 1;
                match now {
                    Some(kv) => self.seen.insert(key, kv),
                    None => self.seen.remove(&key),
                };
            }
        }
        Ok(())
    }
}

/// What became of a guarded transaction.
pub(super) enum Guarded {
    Held {
        revision: i64,
    },
    /// What stands there instead.
    Refused {
        now: Option<KeyValue>,
    },
}

/// If the key's mod revision is `guard` (0: it does not exist) then that, else a read of it.
async fn guarded(door: &mut Door, key: &Bytes, guard: i64, then: Request) -> Answer<Guarded> {
    let compare = Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Mod as i32,
        key: key.clone(),
        target_union: Some(TargetUnion::ModRevision(guard)),
        ..Compare::default()
    };
    if_else(door, compare, key, then).await
}

/// A transaction of one comparison and one operation, or else a read of the key.
pub(super) async fn if_else(
    door: &mut Door,
    compare: Compare,
    key: &Bytes,
    then: Request,
) -> Answer<Guarded> {
    let otherwise = Request::RequestRange(RangeRequest {
        key: key.clone(),
        ..RangeRequest::default()
    });
    let operation = |request| {
        vec![RequestOp {
            request: Some(request),
        }]
    };
    let txn = TxnRequest {
        compare: vec![compare],
        success: operation(then),
        failure: operation(otherwise),
    };
    let answer = door.kv.txn(txn).await?.into_inner();
    let revision = answer.header.as_ref().map_or(0, |header| header.revision);
    if answer.succeeded {
        return Ok(Guarded::Held { revision });
    }
    let read = answer
        .responses
        .into_iter()
        .next()
        .and_then(|one| one.response);
    let now = match read {
        Some(Response::ResponseRange(range)) => range.kvs.into_iter().next(),
        _ => None,
    };
    Ok(Guarded::Refused { now })
}

//! The same watch stream on both sides.

use super::super::difference::differ;
use super::heard::Item;
use super::log::Log;
use super::stream::Stream;
use crate::door::Door;
use anyhow::Result;
use quorate::proto::etcdserverpb::watch_request::RequestUnion;
use quorate::proto::etcdserverpb::{WatchCancelRequest, WatchCreateRequest, WatchProgressRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// An event, or an answer, that is not there after this does not come.
const PATIENCE: Duration = Duration::from_secs(20);
/// Progress may be refused in silence; then a client asks again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// A stream to the subject and one to the reference, which are told the same.
#[derive(Debug)]
pub struct Pair {
    ours: Stream,
    theirs: Stream,
    /// Those that have not ended.
    watchers: BTreeMap<i64, Live>,
    /// Those that a compaction ended.
    compacted: BTreeSet<i64>,
}

#[derive(Debug)]
struct Live {
    create: WatchCreateRequest,
    /// The latest revision of which it must get an event, of those until `looked_at`.
    wanted: i64,
    looked_at: i64,
    /// It certainly has read its way up to the present, on both sides: it began there, or has
    /// received something since.
    caught_up: bool,
}

/// What became of a creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    Lives(i64),
    Refused,
    Compacted,
}

impl Pair {
    pub fn open(ours: Door, theirs: Door) -> Self {
        Self {
            ours: Stream::open(ours),
            theirs: Stream::open(theirs),
            watchers: BTreeMap::new(),
            compacted: BTreeSet::new(),
        }
    }

    pub fn watchers(&self) -> usize {
        self.watchers.len()
    }

    /// Whether a watcher of this id was ended by a compaction: see `exceptions`.
    pub fn was_compacted(&self, id: i64) -> bool {
        self.compacted.contains(&id)
    }

    async fn send(&self, request: RequestUnion) -> Result<()> {
        self.ours.send(request.clone()).await?;
        self.theirs.send(request).await
    }

    /// Creates a watcher on stores that are at revision `now`, compacted at `compacted`, and
    /// compares what both say.
    ///
    /// # Errors
    /// A difference.
    pub async fn create(
        &mut self,
        create: WatchCreateRequest,
        now: i64,
        compacted: i64,
    ) -> Result<Creation> {
        let before = (
            self.ours.heard().created.len(),
            self.theirs.heard().created.len(),
        );
        self.send(RequestUnion::CreateRequest(create.clone()))
            .await?;
        let answered = tokio::join!(
            self.ours
                .listen(PATIENCE, |heard| heard.created.len() > before.0),
            self.theirs
                .listen(PATIENCE, |heard| heard.created.len() > before.1)
        );
        let ids = (
            self.ours.heard().created.last().copied(),
            self.theirs.heard().created.last().copied(),
        );
        let (Some(id), Some(same)) = ids else {
            differ!("{create:?} is answered {answered:?}: ours, theirs");
        };
        if answered != (true, true) || id != same {
            differ!("{create:?} is answered {answered:?}, with the ids {ids:?}: ours, theirs");
        }
        if id == -1 {
            self.compare(id)?;
            return Ok(Creation::Refused);
        }
        if create.start_revision > 0 && create.start_revision < compacted {
            let ended = tokio::join!(
                self.ours.listen(PATIENCE, |heard| heard.is_canceled(id)),
                self.theirs.listen(PATIENCE, |heard| heard.is_canceled(id))
            );
            if ended != (true, true) {
                differ!(
                    "a watch from {}, compacted at {compacted}, ends {ended:?}: ours, theirs",
                    create.start_revision
                );
            }
            self.compare(id)?;
            self.compacted.insert(id);
            return Ok(Creation::Compacted);
        }
        let caught_up = create.start_revision == 0 || create.start_revision > now;
        let live = Live {
            wanted: 0,
            looked_at: if create.start_revision == 0 {
                now
            } else {
                create.start_revision - 1
            },
            create,
            caught_up,
        };
        self.watchers.insert(id, live);
        Ok(Creation::Lives(id))
    }

    /// Hears every watcher out until revision `now`, and compares.
    ///
    /// # Errors
    /// A difference.
    pub async fn sync(&mut self, log: &Log, now: i64) -> Result<usize> {
        let mut events = 0;
        let ids: Vec<i64> = self.watchers.keys().copied().collect();
        for id in ids {
            let Some(live) = self.watchers.get_mut(&id) else {
                continue;
            };
            let latest = log.last_wanted(&live.create, live.looked_at + 1);
            live.wanted = live.wanted.max(latest);
            live.looked_at = live.looked_at.max(now);
            let wanted = live.wanted;
            let heard = tokio::join!(
                self.ours
                    .listen(PATIENCE, |heard| heard.last_revision(id) >= wanted),
                self.theirs
                    .listen(PATIENCE, |heard| heard.last_revision(id) >= wanted)
            );
            if heard != (true, true) {
                differ!(
                    "the events until {wanted} are there: {heard:?}, ours, theirs\n{}",
                    self.describe(id)
                );
            }
            let heard = self.compare(id)?;
            if let Some(live) = self.watchers.get_mut(&id) {
                live.caught_up |= heard > 0;
            }
            events += heard;
        }
        self.nothing_else()?;
        Ok(events)
    }

    /// Takes what `id` has heard on both sides; how many revisions.
    fn compare(&self, id: i64) -> Result<usize> {
        let ours = self.ours.heard().take(id);
        let theirs = self.theirs.heard().take(id);
        if ours != theirs {
            let same = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
            let rest = |items: &[Item]| -> Vec<Item> {
                items.iter().skip(same).take(3).cloned().collect()
            };
            differ!(
                "after {same} that are equal, of {} and {}, ours: {:#?}\ntheirs: {:#?}\n{}",
                ours.len(),
                theirs.len(),
                rest(&ours),
                rest(&theirs),
                self.describe(id)
            );
        }
        let events = ours
            .iter()
            .filter(|item| matches!(item, Item::Events { .. }));
        Ok(events.count())
    }

    /// Nobody else may have heard anything, and no promise may be broken.
    fn nothing_else(&self) -> Result<()> {
        for (whose, stream) in [("ours", &self.ours), ("theirs", &self.theirs)] {
            let heard = stream.heard();
            let stray: Vec<i64> = heard
                .unread()
                .into_iter()
                .filter(|id| !self.watchers.contains_key(id))
                .collect();
            if !stray.is_empty() || !heard.broken.is_empty() || heard.ended.is_some() {
                differ!(
                    "{whose}: {stray:?} hear what they should not; broken: {:?}; ended: {:?}",
                    heard.broken,
                    heard.ended
                );
            }
        }
        Ok(())
    }

    fn describe(&self, id: i64) -> String {
        let live = self.watchers.get(&id);
        format!(
            "watcher {id}: {live:?}; ours has ended: {:?}, theirs: {:?}",
            self.ours.heard().ended,
            self.theirs.heard().ended
        )
    }

    /// Cancels `id`, which may be no watcher's: then nothing must come of it.
    ///
    /// # Errors
    /// A difference.
    pub async fn cancel(&mut self, id: i64, log: &Log, now: i64) -> Result<()> {
        self.sync(log, now).await?;
        let request = WatchCancelRequest { watch_id: id };
        self.send(RequestUnion::CancelRequest(request)).await?;
        if self.watchers.contains_key(&id) {
            let ended = tokio::join!(
                self.ours.listen(PATIENCE, |heard| heard.is_canceled(id)),
                self.theirs.listen(PATIENCE, |heard| heard.is_canceled(id))
            );
            if ended != (true, true) {
                differ!(
                    "a cancel is answered {ended:?}: ours, theirs\n{}",
                    self.describe(id)
                );
            }
            self.compare(id)?;
            self.watchers.remove(&id);
        }
        Ok(())
    }

    /// Cancels those that may still be reading the past: a compaction ends them, or not, by chance.
    ///
    /// # Errors
    /// A difference.
    pub async fn cancel_readers_of_the_past(&mut self, log: &Log, now: i64) -> Result<()> {
        self.sync(log, now).await?;
        let reading = self.watchers.iter().filter(|(_, live)| !live.caught_up);
        let reading: Vec<i64> = reading.map(|(id, _)| *id).collect();
        for id in reading {
            self.cancel(id, log, now).await?;
        }
        Ok(())
    }

    /// Asks for progress, if all watchers have caught up and none begins in the future; whether it
    /// was asked.
    ///
    /// # Errors
    /// A difference.
    pub async fn progress(&mut self, log: &Log, now: i64) -> Result<bool> {
        self.sync(log, now).await?;
        let ready = |live: &Live| live.caught_up && live.create.start_revision <= now;
        if self.watchers.is_empty() || !self.watchers.values().all(ready) {
            return Ok(false);
        }
        for (whose, stream) in [("ours", &self.ours), ("theirs", &self.theirs)] {
            stream.heard().progress.clear();
            let deadline = Instant::now() + PATIENCE;
            loop {
                let request = RequestUnion::ProgressRequest(WatchProgressRequest {});
                stream.send(request).await?;
                let told = |revisions: &[i64]| revisions.iter().any(|revision| *revision >= now);
                if stream
                    .listen(ASK_AGAIN, |heard| told(&heard.progress))
                    .await
                {
                    break;
                }
                if Instant::now() > deadline {
                    differ!("{whose}: no progress at {now} with {:?}", self.watchers);
                }
            }
            let told = stream.heard().progress.clone();
            if told.iter().any(|revision| *revision > now) {
                differ!("{whose}: progress {told:?} at revision {now}");
            }
        }
        Ok(true)
    }
}

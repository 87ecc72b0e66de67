//! Random steps on watch streams.

use super::generate::Generator;
use super::lockstep::Outcome;
use super::steps::{STREAMS, Step, WatchStep};
use super::watch::pair::Creation;
use quorate::proto::etcdserverpb::WatchCreateRequest;
use rand::Rng;
use std::collections::BTreeSet;

/// Watchers that a stream has before no more are made.
const WATCHERS_MAX: usize = 8;

/// The watchers that there are, by stream.
#[derive(Debug, Default)]
pub(super) struct Watches {
    streams: [BTreeSet<i64>; STREAMS],
}

impl Watches {
    pub(super) fn learn(&mut self, stream: usize, what: &WatchStep, outcome: &Outcome) {
        let Some(watchers) = self.streams.get_mut(stream) else {
            return;
        };
        match (what, outcome) {
            (WatchStep::Create(_), Outcome::Created(Creation::Lives(id))) => {
                watchers.insert(*id);
            }
            (WatchStep::Cancel(id), _) => {
                watchers.remove(id);
            }
            (WatchStep::Close, _) => watchers.clear(),
            _ => {}
        }
    }
}

impl Generator {
    pub(super) fn watch_step(&mut self) -> Step {
        let stream = self.random.random_range(0..STREAMS);
        let watchers = self
            .watches
            .streams
            .get(stream)
            .cloned()
            .unwrap_or_default();
        let what = match self.below(100) {
            _ if watchers.is_empty() => WatchStep::Create(self.watch_create()),
            0..45 if watchers.len() < WATCHERS_MAX => WatchStep::Create(self.watch_create()),
            0..60 => WatchStep::Cancel(self.some_watcher(&watchers)),
            60..75 => WatchStep::Progress,
            75..97 => WatchStep::Compare,
            _ => WatchStep::Close,
        };
        Step::Watch { stream, what }
    }

    /// One that lives, seldom another one.
    fn some_watcher(&mut self, watchers: &BTreeSet<i64>) -> i64 {
        let nth = self.random.random_range(0..watchers.len().max(1));
        let lives = watchers.iter().nth(nth).copied();
        match lives {
            Some(id) if !self.one_in(12) => id,
            _ => self.random.random_range(-3..12),
        }
    }

    fn watch_create(&mut self) -> WatchCreateRequest {
        let key = self.key();
        let mut create = WatchCreateRequest {
            range_end: self.range_end(&key),
            key,
            start_revision: self.start_revision(),
            prev_kv: self.one_in(2),
            fragment: self.one_in(3),
            // Sent after ten minutes, by default.
            progress_notify: self.one_in(4),
            ..WatchCreateRequest::default()
        };
        match self.below(10) {
            // Most events happen here.
            0..3 => {
                create.key = vec![b's'].into();
                create.range_end = vec![b't'].into();
            }
            3..5 => {
                create.key = vec![0].into();
                create.range_end = vec![0].into();
            }
            _ => {}
        }
        if self.one_in(4) {
            // Sometimes both, or one twice; seldom one that nobody knows.
            let count = self.random.random_range(1..3);
            let highest = if self.one_in(8) { 3 } else { 2 };
            create.filters = (0..count)
                .map(|_| self.random.random_range(0..highest))
                .collect();
        }
        let begins_now = create.start_revision == 0 || create.start_revision > self.revision;
        if begins_now && self.one_in(5) {
            // Sometimes in use already. Not from a compacted revision: see `exceptions`.
            create.watch_id = self.random.random_range(0..10);
        }
        create
    }

    /// The present, the past (compacted too), the future. Not negative: see `exceptions`.
    fn start_revision(&mut self) -> i64 {
        match self.below(10) {
            0..4 => 0,
            4..5 => self.revision + self.random.random_range(1..20),
            _ => match self.some_revision() {
                // Of those in the far future nothing is ever heard.
                revision if revision > self.revision + 20 => self.revision + 1,
                revision => revision.max(0),
            },
        }
    }
}

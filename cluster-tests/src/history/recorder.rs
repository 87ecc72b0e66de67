//! The growing history, shared by those who write it.

use super::operation::Operation;
use super::timeline::{LifeChange, Sample, WeatherChange, Window};
use super::watch::WatchStream;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// What has been noted so far. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder {
    start: Instant,
    notes: Arc<Mutex<Notes>>,
}

/// In the order of noting.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    pub operations: Vec<Operation>,
    pub watches: Vec<WatchStream>,
    pub windows: Vec<Window>,
    pub weather: Vec<WeatherChange>,
    pub lives: Vec<LifeChange>,
    pub samples: Vec<Sample>,
    /// The last revision that each watcher was told of, by events or as progress.
    told: BTreeMap<String, i64>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            notes: Arc::default(),
        }
    }
}

impl Recorder {
    /// Microseconds since the run began.
    pub fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// A panicking writer leaves whole notes behind.
    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn operation(&self, operation: Operation) {
        self.notes().operations.push(operation);
    }

    /// A watcher knows all up to this revision.
    pub fn tell(&self, watcher: &str, revision: i64) {
        let mut notes = self.notes();
        if let Some(told) = notes.told.get_mut(watcher) {
            *told = (*told).max(revision);
        } else {
            notes.told.insert(watcher.to_owned(), revision);
        }
    }

    /// The last revision that a watcher was told of; 0 for none.
    pub fn told(&self, watcher: &str) -> i64 {
        self.notes().told.get(watcher).copied().unwrap_or(0)
    }

    pub fn watch(&self, stream: WatchStream) {
        self.notes().watches.push(stream);
    }
}

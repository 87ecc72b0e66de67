//! The growing history, shared by those who write it.

use super::operation::Operation;
use super::timeline::{LifeChange, Sample, WeatherChange, Window};
use super::watch::WatchStream;
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

    pub fn watch(&self, stream: WatchStream) {
        self.notes().watches.push(stream);
    }
}

//! What all proxies of a cluster share: the weather, and of each directed way what outlives a
//! connection: until when it is busy, and its dice.
//!
//! Every connection looks up its own two ways here, so a change of the weather is one value sent once,
//! and a proxy opened later is under it like the others.

use super::weather::{Quality, Weather};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::time::Instant;

/// The weather over all links of one cluster.
#[derive(Debug)]
pub struct Sky {
    weather: watch::Sender<Weather>,
    ways: Mutex<BTreeMap<(usize, usize), Way>>,
    seed: u64,
}

/// What the connections of one directed way have in common.
#[derive(Debug)]
pub struct Way {
    /// A narrow link carries one piece after the other, of whichever connection.
    pub busy_until: Option<Instant>,
    pub dice: StdRng,
}

impl Way {
    pub fn new(seed: u64) -> Self {
        Self {
            busy_until: None,
            dice: StdRng::seed_from_u64(seed),
        }
    }
}

impl Sky {
    /// Clear. Jitter and loss are drawn from `seed`, for each way its own numbers.
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            weather: watch::Sender::new(Weather::clear()),
            ways: Mutex::default(),
            seed,
        })
    }

    /// From here on it is so, for open connections too.
    pub fn set(&self, weather: &Weather) {
        self.weather.send_if_modified(|current| {
            if current == weather {
                return false;
            }
            // What a way queued under another weather, it need not carry first.
            for ((from, to), way) in self.lock().iter_mut() {
                if current.way(*from, *to) != weather.way(*from, *to) {
                    way.busy_until = None;
                }
            }
            current.clone_from(weather);
            true
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(usize, usize), Way>> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn weather(&self) -> Weather {
        self.weather.borrow().clone()
    }

    /// What one direction of a connection sees of it.
    pub fn view(self: &Arc<Self>, from: usize, to: usize) -> View {
        View {
            sky: Arc::clone(self),
            watched: self.weather.subscribe(),
            from,
            to,
        }
    }
}

/// The weather on one way and on the way back.
#[derive(Debug)]
pub struct View {
    sky: Arc<Sky>,
    watched: watch::Receiver<Weather>,
    from: usize,
    to: usize,
}

impl View {
    /// What the way does to the bytes on it now.
    pub fn quality(&self) -> Quality {
        self.watched.borrow().way(self.from, self.to)
    }

    /// What the way back does now.
    pub fn back(&self) -> Quality {
        self.watched.borrow().way(self.to, self.from)
    }

    /// Waits for the weather to change anywhere.
    pub async fn changed(&mut self) {
        // The sender lives in the sky, which this view holds.
        if self.watched.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The same two ways seen from the other end. A change that this view has not told of yet, the
    /// other tells of too.
    pub fn turned(&self) -> Self {
        Self {
            sky: Arc::clone(&self.sky),
            watched: self.watched.clone(),
            from: self.to,
            to: self.from,
        }
    }

    /// Does something with what the connections of this way share.
    pub fn with_way<T>(&self, act: impl FnOnce(&mut Way) -> T) -> T {
        let mut ways = self.sky.lock();
        let (from, to) = (self.from as u64, self.to as u64);
        let way = ways
            .entry((self.from, self.to))
            .or_insert_with(|| Way::new(self.sky.seed ^ (from << 40) ^ (to << 32)));
        act(way)
    }
}

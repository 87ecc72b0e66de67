//! What a simulated member is given for the outside world.

use super::disk::Now;
use super::net::{Fabric, HostNetwork};
use quorate::env::network::BoxFuture;
use quorate::env::threads::{Job, Joiner, Pause};
use quorate::env::{Clock, Disk, Env, Randomness, Threads, Worker};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The time of day when a simulation begins, in seconds since 1970: 2100-01-01. What has a real clock never
/// comes to it.
pub const EPOCH_S: u64 = 4_102_444_800;

/// A member's clock on the wall.
#[derive(Clone, Debug)]
pub struct WallClock {
    pub now: Now,
    /// How wrong it is.
    pub offset_ms: Arc<AtomicI64>,
}

impl Clock for WallClock {
    fn unix_ms(&self) -> u64 {
        let true_ms = EPOCH_S * 1000 + self.now.load(Ordering::Relaxed) / 1000;
        true_ms.saturating_add_signed(self.offset_ms.load(Ordering::Relaxed))
    }
}

/// Another sequence for every boot.
struct Seeded(Mutex<StdRng>);

impl Randomness for Seeded {
    fn next_u64(&self) -> u64 {
        let mut random = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        random.random()
    }
}

/// No threads: everything runs on the host's one, after what the disk takes.
struct Inline {
    pause: Pause,
    log: Worker,
}

impl Threads for Inline {
    fn worker(&self, _: &str) -> io::Result<Worker> {
        Ok(Worker::paused(self.pause.clone()))
    }

    fn is_inline(&self) -> bool {
        true
    }

    fn later(&self, job: Job) {
        self.log.post(job);
    }

    fn spawn(&self, name: &str, _: Job) -> io::Result<Joiner> {
        let why = format!("there are no threads in a simulation, yet {name} was asked for");
        Err(io::Error::other(why))
    }

    fn runtime(&self, name: &str, _: BoxFuture<'static, ()>) -> io::Result<()> {
        let why = format!("a simulated member has one runtime, yet {name} was asked for");
        Err(io::Error::other(why))
    }
}

/// Of one boot of the member `node`.
pub fn member(
    fabric: &Fabric,
    node: usize,
    seed: u64,
    clock: WallClock,
    disk: Arc<dyn Disk>,
    pause: Pause,
) -> Env {
    Env {
        network: Arc::new(HostNetwork::new(fabric, node)),
        disk,
        clock: Arc::new(clock),
        randomness: Arc::new(Seeded(Mutex::new(StdRng::seed_from_u64(seed)))),
        threads: Arc::new(Inline {
            log: Worker::paused(pause.clone()),
            pause,
        }),
    }
}

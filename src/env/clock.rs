//! The time of day and randomness. Elapsed time is tokio's own (`tokio::time::Instant`).
#![allow(
    clippy::disallowed_methods,
    reason = "env is the one home of the real clock"
)]

use std::time::{SystemTime, UNIX_EPOCH};

pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970. May jump; nothing safe depends on it.
    fn unix_ms(&self) -> u64;
}

pub trait Randomness: Send + Sync + 'static {
    fn next_u64(&self) -> u64;
}

#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

#[derive(Debug, Clone, Copy)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn next_u64(&self) -> u64 {
        rand::random()
    }
}

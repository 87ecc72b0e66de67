//! One host: what runs on it, on a runtime of its own, whose time is ours.
//!
//! Each host is a turmoil simulation of one: a current-thread runtime whose clock stands until it is
//! told to go on by a tick. So a host can be left out: it is then a process that stands still
//! (SIGSTOP), and when it goes on, its clock has jumped before any of its tasks has its turn, as a
//! kernel's has. A clock that runs fast has a tick more now and then. A crash is the end of the
//! runtime, with all that was on it.

use std::future::Future;
use std::time::Duration;
use tokio::sync::mpsc;

/// How far time goes at once.
pub const TICK: Duration = Duration::from_millis(1);
/// Longer than any run.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

pub struct Host {
    sim: turmoil::Sim<'static>,
    jumps: mpsc::UnboundedSender<Duration>,
    /// Ticks that it was left out since its last one.
    missed: u32,
    /// Thousandths of a tick that its clock is ahead by.
    ahead: i64,
    /// How much faster its clock runs than time, of a thousand.
    rate_per_mille: i64,
    ended: bool,
}

impl Host {
    /// Starts `software`; it has its first turn in the first tick. Its tasks are the runtime's.
    pub fn start(
        name: &str,
        seed: u64,
        software: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self::with(name, seed, async move {
            let software = tokio::spawn(software);
            // A panic is told by whoever ticks.
            if let Err(error) = software.await {
                std::panic::resume_unwind(error.into_panic());
            }
        })
    }

    /// Of software that stays on this thread. Such a host is never left out.
    pub fn with(name: &str, seed: u64, software: impl Future<Output = ()> + 'static) -> Self {
        let mut sim = turmoil::Builder::new()
            .tick_duration(TICK)
            .simulation_duration(FOR_EVER)
            .rng_seed(seed)
            .build();
        let (jumps, mut queue) = mpsc::unbounded_channel();
        sim.client(name, async move {
            // This task is of the local set, and comes before those of the runtime.
            let mut software = std::pin::pin!(software);
            loop {
                tokio::select! {
                    biased;
                    Some(missed) = queue.recv() => tokio::time::advance(missed).await,
                    () = &mut software => return Ok(()),
                }
            }
        });
        Self {
            sim,
            jumps,
            missed: 0,
            ahead: 0,
            rate_per_mille: 0,
            ended: false,
        }
    }

    /// One tick of time. Answers whether the software has ended.
    ///
    /// # Errors
    /// It panicked.
    pub fn tick(&mut self) -> Result<bool, String> {
        if self.ended {
            return Ok(true);
        }
        if self.missed > 0 {
            // It is received: the receiver lives as long as the software.
            self.jumps.send(TICK * self.missed).unwrap_or_default();
            self.missed = 0;
        }
        self.ahead += 1000 + self.rate_per_mille;
        while self.ahead >= 1000 && !self.ended {
            self.ahead -= 1000;
            self.ended = self.sim.step().map_err(|error| error.to_string())?;
        }
        Ok(self.ended)
    }

    /// A tick without it.
    pub fn miss(&mut self) {
        self.missed = self.missed.saturating_add(1);
    }

    /// From now on its clock runs so much faster than time, of a thousand; slower, if negative.
    pub fn set_clock_rate(&mut self, per_mille: i64) {
        self.rate_per_mille = per_mille.clamp(-900, 1000);
    }
}

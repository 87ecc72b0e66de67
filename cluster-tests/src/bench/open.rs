//! The open loop: requests come when they come, whether or not earlier ones were answered.
//!
//! Latency is counted from the moment at which a request was due, not from when a client had time to send it:
//! a server that stands still for a second is charged for everything that should have been asked meanwhile
//! (coordinated omission, as wrk2 corrects it). A thread of its own keeps the time, because the runtime's
//! timers know only milliseconds.

use super::load::{Caller, Outcome};
use anyhow::{Context as _, Result};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Requests of one slot are due together.
const SLOT: Duration = Duration::from_micros(250);

/// An open loop's load.
#[derive(Clone, Copy, Debug)]
pub struct Arrivals {
    pub per_second: f64,
    pub duration: Duration,
}

/// What an open loop saw.
#[derive(Debug)]
pub struct OpenOutcome {
    pub outcome: Outcome,
    /// Requests that were due.
    pub offered: u64,
    /// Of these were never asked, because all callers were waiting still.
    pub unasked: u64,
}

/// A caller for each request that can be under way at once.
///
/// # Errors
/// A caller panicked.
pub async fn open_loop<C: Caller>(callers: Vec<C>, arrivals: Arrivals) -> Result<OpenOutcome> {
    let (due, queue) = mpsc::unbounded_channel();
    let clock = std::thread::spawn(move || keep_time(arrivals, &due));
    let seen = ask(callers, queue).await;
    drop(clock.join());
    seen
}

/// Asks what is due, as often as it is, until nothing more will be.
async fn ask<C: Caller>(
    mut idle: Vec<C>,
    mut queue: mpsc::UnboundedReceiver<(Instant, u64)>,
) -> Result<OpenOutcome> {
    let most = idle.len();
    let mut busy: JoinSet<(C, Instant, std::result::Result<(), tonic::Status>)> = JoinSet::new();
    let mut all = OpenOutcome {
        outcome: Outcome::new()?,
        offered: 0,
        unasked: 0,
    };
    let start = Instant::now();
    let mut last_answer = start;
    let mut ended = false;
    while !ended || !busy.is_empty() {
        tokio::select! {
            biased;
            Some(answered) = busy.join_next(), if !busy.is_empty() => {
                let (caller, due, answer) = answered.context("a caller")?;
                idle.push(caller);
                let now = Instant::now();
                match answer {
                    Ok(()) => {
                        all.outcome.record(now - due);
                        all.outcome.gap = all.outcome.gap.max(now - last_answer);
                        last_answer = now;
                    }
                    Err(status) => all.outcome.fail(&status),
                }
            }
            slot = queue.recv(), if !ended => match slot {
                None => ended = true,
                Some((due, count)) => {
                    all.offered += count;
                    for _ in 0..count {
                        match idle.pop() {
                            None => all.unasked += 1,
                            Some(mut caller) => {
                                busy.spawn(async move {
                                    let answer = caller.call().await;
                                    (caller, due, answer)
                                });
                            }
                        }
                    }
                }
            },
        }
    }
    debug_assert_eq!(idle.len(), most);
    all.outcome.wall = start.elapsed();
    Ok(all)
}

/// Says when requests are due, and how many.
fn keep_time(arrivals: Arrivals, due: &mpsc::UnboundedSender<(Instant, u64)>) {
    let start = Instant::now();
    let mut told = 0;
    let mut slot = 0_u32;
    loop {
        let at = SLOT * slot;
        if at >= arrivals.duration {
            return;
        }
        std::thread::sleep((start + at).saturating_duration_since(Instant::now()));
        let until_now = whole(arrivals.per_second * (at + SLOT).as_secs_f64());
        if until_now > told && due.send((start + at, until_now - told)).is_err() {
            return;
        }
        told = until_now;
        slot += 1;
    }
}

/// Far below 2^52, and not negative.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "see above"
)]
fn whole(count: f64) -> u64 {
    count as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Status;

    /// Is answered at once.
    struct Answered;

    impl Caller for Answered {
        async fn call(&mut self) -> std::result::Result<(), Status> {
            Ok(())
        }
    }

    /// Is refused.
    struct Refused;

    impl Caller for Refused {
        async fn call(&mut self) -> std::result::Result<(), Status> {
            Err(Status::unavailable("no"))
        }
    }

    fn callers<C>(count: usize, caller: fn() -> C) -> Vec<C> {
        std::iter::repeat_with(caller).take(count).collect()
    }

    #[tokio::test]
    async fn everything_that_was_due_is_counted() {
        let arrivals = Arrivals {
            per_second: 1000.0,
            duration: Duration::from_millis(100),
        };
        let seen = open_loop(callers(200, || Answered), arrivals)
            .await
            .unwrap();
        assert_eq!((seen.offered, seen.unasked), (100, 0));
        assert_eq!(seen.outcome.latencies_us.len(), 100);
        let seen = open_loop(callers(200, || Refused), arrivals).await.unwrap();
        assert_eq!((seen.offered, seen.outcome.failed()), (100, 100));
    }

    /// The correction: whoever was due while everything stood still has waited since then.
    #[tokio::test]
    async fn latency_counts_from_when_a_request_was_due() {
        let (due, queue) = mpsc::unbounded_channel();
        let a_second_ago = Instant::now().checked_sub(Duration::from_secs(1));
        due.send((a_second_ago.unwrap(), 5)).unwrap();
        drop(due);
        let seen = ask(callers(3, || Answered), queue).await.unwrap();
        assert_eq!(
            (seen.offered, seen.unasked),
            (5, 2),
            "three can ask at once"
        );
        assert_eq!(seen.outcome.latencies_us.len(), 3);
        assert!(seen.outcome.latencies_us.min() >= 999_000);
    }
}

//! A share of the CPU, without cgroups and without root: a process runs for a part of every tenth of a
//! second and stands still for the rest.
//!
//! It differs from a quota of the kernel's in that the process stands still at the end of its part
//! whether it worked or slept, so its timers are late too: a machine that is too busy, rather than
//! one that is slow.

use super::identity::Identity;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// One turn of running and standing.
const CYCLE: Duration = Duration::from_millis(100);

/// Holds a process back until it is dropped; then the process runs, unless it is paused. A process that
/// is started anew meanwhile is held back too.
#[derive(Debug)]
#[must_use = "dropped, it holds nothing back"]
pub struct Throttle {
    identity: Identity,
    task: JoinHandle<()>,
}

impl Throttle {
    /// It runs for `percent` of the time, from 1 to 99.
    pub fn new(identity: Identity, percent: u32) -> Self {
        let part = CYCLE * percent.clamp(1, 99) / 100;
        identity.throttle();
        let held = identity.clone();
        let task = tokio::spawn(async move {
            let mut cycles = interval(CYCLE);
            // On a machine that is late itself, parts are not caught up.
            cycles.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                cycles.tick().await;
                held.turn(true);
                sleep(part).await;
                held.turn(false);
            }
        });
        Self { identity, task }
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        self.task.abort();
        self.identity.unthrottle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::process::Process;
    use crate::wait::{Look, until};

    /// The letter that /proc/PID/stat has for what the process does; T: it stands still.
    fn state(process: &mut Process) -> char {
        let stat = format!("/proc/{}/stat", process.pid().unwrap());
        let stat = std::fs::read_to_string(stat).unwrap();
        stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
    }

    async fn comes_to(process: &mut Process, stands: bool) {
        until(
            "it to run or stand",
            Duration::from_secs(5),
            async || match state(process) {
                state if (state == 'T') == stands => Look::Ready(()),
                state => Look::NotYet(state.to_string()),
            },
        )
        .await
        .unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_throttled_process_gets_its_share_and_runs_on_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let arguments = vec!["-c".into(), "while :; do :; done".into()];
        let mut process = Process::new("/bin/sh".into(), arguments, dir.path().join("log"));
        process.start().unwrap();
        let throttle = process.throttle(20);
        comes_to(&mut process, true).await;
        comes_to(&mut process, false).await;
        let before = process.cpu_time().unwrap();
        let clock = std::time::Instant::now();
        // The passing of time is the condition: a share is one of time.
        sleep(10 * CYCLE).await;
        let used = process.cpu_time().unwrap() - before;
        assert!(used < clock.elapsed() / 2, "{used:?}");
        // Paused by somebody, it is not woken by its throttle's end.
        process.pause().unwrap();
        comes_to(&mut process, true).await;
        drop(throttle);
        assert_eq!(state(&mut process), 'T');
        process.resume().unwrap();
        comes_to(&mut process, false).await;
        let throttle = process.throttle(1);
        comes_to(&mut process, true).await;
        drop(throttle);
        comes_to(&mut process, false).await;
    }
}

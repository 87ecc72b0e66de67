//! As which process a member runs: what all those agree on who signal it.
//!
//! A process id is a stranger's as soon as its process has been reaped. So signals are sent, and
//! ends are taken note of, under one lock.

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A child process that comes and goes; whoever has a copy sees which it is now.
#[derive(Clone, Debug, Default)]
pub struct Identity(Arc<Mutex<Running>>);

#[derive(Debug, Default)]
struct Running {
    pid: Option<u32>,
    /// It stands still because somebody said so.
    paused: bool,
    /// How many [`super::throttle::Throttle`]s hold it back.
    throttles: usize,
}

impl Identity {
    /// Of a process that somebody else started and reaps.
    pub fn of(pid: u32) -> Self {
        let identity = Self::default();
        identity.start(pid);
        identity
    }

    /// Its process id, if it runs and has not been reaped.
    pub fn pid(&self) -> Option<u32> {
        self.lock().pid
    }

    pub fn is_paused(&self) -> bool {
        self.lock().paused
    }

    /// It runs, as this.
    pub fn start(&self, pid: u32) {
        let mut running = self.lock();
        running.pid = Some(pid);
        running.paused = false;
    }

    /// Looks whether it has ended, and reaps it then; nobody signals it meanwhile.
    pub fn reap<T>(&self, look: impl FnOnce() -> Option<T>) -> Option<T> {
        let mut running = self.lock();
        let end = look();
        if end.is_some() {
            running.pid = None;
            running.paused = false;
        }
        end
    }

    /// # Errors
    /// It does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.lock().signal(signal)
    }

    /// It stands still, its sockets stay open.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self) -> Result<()> {
        let mut running = self.lock();
        running.signal(Signal::SIGSTOP)?;
        running.paused = true;
        Ok(())
    }

    /// # Errors
    /// It does not run.
    pub fn resume(&self) -> Result<()> {
        let mut running = self.lock();
        running.signal(Signal::SIGCONT)?;
        running.paused = false;
        Ok(())
    }

    /// From here on [`Identity::turn`] is obeyed.
    pub fn throttle(&self) {
        self.lock().throttles += 1;
    }

    /// One throttle less; without any it runs on.
    pub fn unthrottle(&self) {
        let mut running = self.lock();
        running.throttles = running.throttles.saturating_sub(1);
        if running.throttles == 0 {
            running.turn(true);
        }
    }

    /// A throttled process runs or stands, unless somebody paused it or it does not run.
    pub fn turn(&self, runs: bool) {
        let running = self.lock();
        if running.throttles > 0 {
            running.turn(runs);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid.context("it does not run")?;
        let pid = i32::try_from(pid).context("a process id beyond the kernel's")?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("send {signal}"))
    }

    fn turn(&self, runs: bool) {
        let signal = if runs {
            Signal::SIGCONT
        } else {
            Signal::SIGSTOP
        };
        if !self.paused {
            // It fails only if the process has ended.
            drop(self.signal(signal));
        }
    }
}

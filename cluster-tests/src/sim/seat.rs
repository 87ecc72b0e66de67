//! A member's place: its disk, which outlives it, and the process, which comes and goes.

use super::disk::{Caller, Now, Operation, SimDisk};
use super::env::{WallClock, member};
use super::host::Host;
use super::net::{Fabric, Parting};
use crate::schedule::fault::Trouble;
use anyhow::Result;
use quorate::config::Config;
use quorate::env::network::BoxFuture;
use quorate::env::threads::Pause;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// A process with a share of a processor runs at the beginning of each such period, as under a cgroup's
/// quota.
const PERIOD_US: u64 = 100_000;
/// How often a job that hangs looks whether it still does.
const LOOK: Duration = Duration::from_millis(5);
/// A disk of no room.
const FULL: Option<u64> = Some(0);

pub(super) struct Seat {
    node: usize,
    seed: u64,
    boots: u64,
    disk: SimDisk,
    clock: WallClock,
    /// `new` or `existing`.
    state: &'static str,
    others: Vec<usize>,
    process: Option<Process>,
    rate_per_mille: i64,
    /// Percent of a processor.
    share: Option<u32>,
}

struct Process {
    host: Host,
    stop: watch::Sender<bool>,
    /// What it said at its end.
    said: Arc<Mutex<Option<String>>>,
}

/// What a job of the disk takes that begins now: nothing comes back while it hangs.
fn pass(disk: SimDisk) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let usual = disk.pause();
        if !usual.is_zero() {
            sleep(usual).await;
        }
        while disk.trouble().hangs() {
            sleep(LOOK).await;
        }
    })
}

impl Seat {
    pub(super) fn new(node: usize, seed: u64, disk: SimDisk, now: Now) -> Self {
        Self {
            node,
            seed,
            boots: 0,
            disk,
            clock: WallClock {
                now,
                offset_ms: Arc::new(AtomicI64::new(0)),
            },
            state: "new",
            others: Vec::new(),
            process: None,
            rate_per_mille: 0,
            share: None,
        }
    }

    pub(super) fn introduce(&mut self, state: &'static str, others: Vec<usize>) {
        (self.state, self.others) = (state, others);
    }

    pub(super) fn state(&self) -> &'static str {
        self.state
    }

    pub(super) fn others(&self) -> &[usize] {
        &self.others
    }

    pub(super) fn disk(&self) -> &SimDisk {
        &self.disk
    }

    pub(super) fn runs(&self) -> bool {
        self.process.is_some()
    }

    pub(super) fn boot(&mut self, fabric: &Fabric, config: Config) {
        self.boots += 1;
        // Another sequence for each boot: it would else draw the same election timeouts again.
        let seed = self
            .seed
            .wrapping_add(self.boots.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let disk = self.disk.clone();
        let pause: Pause = Arc::new(move || pass(disk.clone()));
        let env = member(
            fabric,
            self.node,
            seed,
            self.clock.clone(),
            Arc::new(self.disk.clone()),
            pause,
        );
        let (stop, stopping) = watch::channel(false);
        let said = Arc::new(Mutex::new(None));
        let saying = said.clone();
        let software = async move {
            if let Err(error) = quorate::server::serve(config, env, stopping).await {
                *saying.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{error:#}"));
            }
        };
        let mut host = Host::start(&format!("n{}", self.node), seed, software);
        host.set_clock_rate(self.rate_per_mille);
        fabric.returns(self.node);
        self.share = None;
        self.process = Some(Process { host, stop, said });
    }

    /// One tick of time. Of a process that is no more: why, where it says.
    pub(super) fn tick(&mut self, now: u64) -> Option<Option<String>> {
        let share = self.share.map_or(100, u64::from);
        let process = self.process.as_mut()?;
        if now % PERIOD_US >= PERIOD_US * share / 100 {
            process.host.miss();
            return None;
        }
        match process.host.tick() {
            Ok(false) => None,
            Err(panic) => Some(Some(panic)),
            Ok(true) => {
                let said = process.said.lock().unwrap_or_else(PoisonError::into_inner);
                Some(said.clone())
            }
        }
    }

    /// The process has ended by itself: what it left is the next one's.
    pub(super) fn bury(&mut self, fabric: &Fabric) -> Result<()> {
        self.end(fabric, Parting::Process, |disk, root, _| disk.kill(root))
    }

    /// It dies here and now, if it lives. `power`: with its machine, and what was not synced is gone.
    pub(super) fn kill(&mut self, fabric: &Fabric, power: bool) -> Result<()> {
        if power {
            self.end(fabric, Parting::Machine, |disk, root, random| {
                disk.power_cut(root, random)
            })
        } else if self.process.is_some() {
            self.bury(fabric)
        } else {
            Ok(())
        }
    }

    fn end(
        &mut self,
        fabric: &Fabric,
        parting: Parting,
        crash: impl FnOnce(&SimDisk, &std::path::Path, &mut StdRng) -> std::io::Result<SimDisk>,
    ) -> Result<()> {
        fabric.parts(self.node, parting);
        self.boots += 1;
        let root = self
            .disk
            .root()
            .with_file_name(format!("n{}.{}", self.node, self.boots));
        let mut random = StdRng::seed_from_u64(self.seed ^ self.boots);
        let next = crash(&self.disk, &root, &mut random)?;
        let old = std::mem::replace(&mut self.disk, next);
        // In this order: destructors write, to what is nobody's any more.
        drop(self.process.take());
        old.remove_root()?;
        Ok(())
    }

    /// As by SIGTERM.
    pub(super) fn stop(&self) {
        if let Some(process) = &self.process {
            process.stop.send_replace(true);
        }
    }

    /// None: all of a processor; 0: it stands still.
    pub(super) fn set_share(&mut self, percent: Option<u32>) {
        self.share = percent;
    }

    pub(super) fn set_clock_rate(&mut self, per_mille: i64) {
        self.rate_per_mille = per_mille;
        if let Some(process) = &mut self.process {
            process.host.set_clock_rate(per_mille);
        }
    }

    pub(super) fn set_offset(&mut self, ms: i64) {
        self.clock.offset_ms.store(ms, Ordering::Relaxed);
    }

    pub(super) fn is_punctual(&self) -> bool {
        self.clock.offset_ms.load(Ordering::Relaxed) == 0
    }

    /// Its disk is in trouble, or well. `usual_us`: what a job takes when it is well.
    pub(super) fn set_disk(&mut self, trouble: Option<Trouble>, usual_us: (u64, u64)) {
        let us = Duration::from_micros;
        self.disk.heal();
        let disk = self.disk.trouble();
        disk.set_latency(us(usual_us.0), us(usual_us.1));
        let fail = |operation| {
            for caller in [Caller::Member, Caller::Engine] {
                disk.fail_often(caller, operation, 1.0);
            }
        };
        match trouble {
            None => {}
            Some(Trouble::Slow { ms }) => {
                disk.set_latency(Duration::from_millis(ms), us(usual_us.1));
            }
            Some(Trouble::ReadError) => fail(Operation::Read),
            Some(Trouble::WriteError) => fail(Operation::Write),
            Some(Trouble::SyncError) => fail(Operation::Sync),
            Some(Trouble::Full) => self.disk.set_room(FULL),
            Some(Trouble::Hang) => disk.hang(),
        }
    }
}

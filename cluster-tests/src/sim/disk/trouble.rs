//! What can be wrong with a disk that a member uses: errors, no room, slowness. A driver switches it
//! on and off; it stays over a restart, for it is the disk's.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Simulated microseconds since the run began; the driver moves it.
pub type Now = Arc<AtomicU64>;

/// Linux's numbers of them.
pub const EIO: i32 = 5;
pub const ENOSPC: i32 = 28;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Of bytes, or of a directory.
    Read,
    /// Of bytes, and changes of names.
    Write,
    /// Of files and directories.
    Sync,
}

/// Whose calls are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// What goes through `quorate::env::Disk`: the log, the small files, snapshots.
    Member,
    /// RocksDB, which is only reached where libc's calls are ours (the simulator's binary).
    Engine,
}

#[derive(Debug, Default)]
struct Failing {
    /// So many from now.
    next: u64,
    /// Each of the others, with this probability.
    chance: f64,
}

/// The trouble of one disk.
#[derive(Debug)]
pub struct Trouble {
    seed: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    random: StdRng,
    failing: BTreeMap<(Caller, Operation), Failing>,
    /// The engine's calls so far, by the file's name: its threads come to a file one after another,
    /// but to their files in any order.
    calls: BTreeMap<String, u64>,
    /// Bytes that the engine may still write; `None`: there is room.
    engine_room: Option<u64>,
    base: Duration,
    jitter: Duration,
    hangs: bool,
}

impl Trouble {
    /// None, at first.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            state: Mutex::new(State {
                random: StdRng::seed_from_u64(seed),
                failing: BTreeMap::new(),
                calls: BTreeMap::new(),
                engine_room: None,
                base: Duration::ZERO,
                jitter: Duration::ZERO,
                hangs: false,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next `times` calls of this kind fail with `EIO`. A sync that fails does what Linux does:
    /// what was not synced is lost, and the next sync says that all is well.
    ///
    /// Which calls of the engine's are next may depend on its threads, when two compact at once: for a
    /// run that must be repeatable, [`Self::fail_often`].
    pub fn fail_next(&self, caller: Caller, operation: Operation, times: u64) {
        super::syncs::arm();
        let mut state = self.lock();
        state.failing.entry((caller, operation)).or_default().next = times;
    }

    /// Each call of this kind fails with `EIO`, with a probability `chance` in 0..=1.
    pub fn fail_often(&self, caller: Caller, operation: Operation, chance: f64) {
        super::syncs::arm();
        let mut state = self.lock();
        let failing = state.failing.entry((caller, operation)).or_default();
        failing.chance = chance.clamp(0.0, 1.0);
    }

    /// Bytes that the engine may still write before it gets `ENOSPC`. What it removes gives no room
    /// back; a new budget, or none, does.
    pub(super) fn set_engine_room(&self, bytes: Option<u64>) {
        super::syncs::arm();
        self.lock().engine_room = bytes;
    }

    /// Takes `bytes` of the room on the real side.
    pub(super) fn spend(&self, bytes: u64) -> io::Result<()> {
        let spent = self.lock().spend(bytes);
        spent.map_err(io::Error::from_raw_os_error)
    }

    pub(super) fn engine_room(&self) -> Option<u64> {
        self.lock().engine_room
    }

    /// From now on every job takes `base` and up to `jitter` more.
    pub fn set_latency(&self, base: Duration, jitter: Duration) {
        let mut state = self.lock();
        (state.base, state.jitter) = (base, jitter);
    }

    /// Nothing that was asked of it comes back, until it is well again.
    pub fn hang(&self) {
        self.lock().hangs = true;
    }

    pub fn hangs(&self) -> bool {
        self.lock().hangs
    }

    /// The disk is well again: no errors, room, no hanging. Its latency stays.
    pub fn end(&self) {
        let mut state = self.lock();
        state.failing.clear();
        state.engine_room = None;
        state.hangs = false;
    }

    /// How long a job would take that begins now, on a disk that does not hang.
    pub fn pause(&self) -> Duration {
        let mut state = self.lock();
        let jitter_us = u64::try_from(state.jitter.as_micros()).unwrap_or(u64::MAX);
        let jitter = match jitter_us {
            0 => 0,
            most => state.random.random_range(0..=most),
        };
        state.base + Duration::from_micros(jitter)
    }

    /// Whether a call of the member's fails that begins now.
    pub(super) fn strikes(&self, operation: Operation) -> io::Result<()> {
        let state = &mut *self.lock();
        let Some(failing) = state.failing.get_mut(&(Caller::Member, operation)) else {
            return Ok(());
        };
        let strikes =
            failing.takes_one() || failing.chance > 0.0 && state.random.random_bool(failing.chance);
        if strikes {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        Ok(())
    }

    /// Whether a call of the engine's on the file `name` fails: the number of the error. `bytes` are
    /// to be written.
    pub(super) fn strikes_engine(
        &self,
        operation: Operation,
        name: &str,
        bytes: u64,
    ) -> Result<(), i32> {
        let state = &mut *self.lock();
        if let Some(failing) = state.failing.get_mut(&(Caller::Engine, operation)) {
            if failing.takes_one() {
                return Err(EIO);
            }
            if failing.chance > 0.0 {
                let calls = state.calls.entry(name.to_owned()).or_default();
                *calls += 1;
                let drawn = xxh3_64_with_seed(name.as_bytes(), self.seed ^ calls.rotate_left(20));
                if StdRng::seed_from_u64(drawn).random_bool(failing.chance) {
                    return Err(EIO);
                }
            }
        }
        state.spend(bytes)
    }
}

impl State {
    fn spend(&mut self, bytes: u64) -> Result<(), i32> {
        if let Some(room) = &mut self.engine_room {
            *room = room.checked_sub(bytes).ok_or(ENOSPC)?;
        }
        Ok(())
    }
}

impl Failing {
    fn takes_one(&mut self) -> bool {
        let takes = self.next > 0;
        self.next = self.next.saturating_sub(1);
        takes
    }
}

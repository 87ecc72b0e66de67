//! Clients at work: unique keys, registers that are overwritten, transactions, reads.
//!
//! Every value is written once in a run, and every key has one writer, so the judge can tell from
//! a value which operation wrote it. A writer has one operation outstanding. Everything a client
//! chooses comes from the seed.

use crate::door::Door;
use crate::faults::history::{Action, History, Outcome};
use anyhow::{Context, Result};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// After an error: a member that refuses at once is not asked a thousand times a second.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(20);

/// What the clients do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub clients: usize,
    /// Every call's.
    pub deadline: Duration,
    /// Of a hundred operations; the others are writes.
    pub reads: u32,
    /// A client stays with its member, instead of going on to the next one after an error.
    pub pinned: bool,
    pub seed: u64,
}

/// Clients that run until they are stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    /// Client c begins with member 1 + c mod n. `generation` makes this load's keys its own.
    ///
    /// # Errors
    /// A URL is not one.
    pub fn start(urls: &[String], plan: Plan, generation: u64, history: &History) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for number in 0..plan.clients {
            let doors = urls
                .iter()
                .map(|url| Door::open(url, plan.deadline))
                .collect::<Result<Vec<_>>>()?;
            let seed = plan.seed ^ (generation << 32) ^ number as u64;
            let client = Client {
                name: format!("{generation}.{number}"),
                register_of: (0..plan.clients)
                    .map(|c| format!("r{generation}.{c}"))
                    .collect(),
                number,
                at: number % doors.len().max(1),
                doors,
                plan,
                count: 0,
                random: StdRng::seed_from_u64(seed),
                history: history.clone(),
            };
            clients.spawn(client.run(Arc::clone(&stop)));
        }
        Ok(Self { stop, clients })
    }

    /// Returns when every client has finished its last operation, so that the history is whole.
    pub async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while self.clients.join_next().await.is_some() {}
    }
}

struct Client {
    name: String,
    register_of: Vec<String>,
    number: usize,
    doors: Vec<Door>,
    /// The member that is asked, from 0.
    at: usize,
    plan: Plan,
    count: u64,
    random: StdRng,
    history: History,
}

impl Client {
    async fn run(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            let action = self.next_action();
            let Some(door) = self.doors.get_mut(self.at) else {
                return;
            };
            let invoked = Instant::now();
            let outcome = perform(door, &action).await;
            let failed = matches!(outcome, Outcome::Unknown(_));
            self.history.record(self.at + 1, action, invoked, outcome);
            if failed {
                if !self.plan.pinned {
                    self.at = (self.at + 1) % self.doors.len();
                }
                sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }

    fn next_action(&mut self) -> Action {
        self.count += 1;
        let Self { name, count, .. } = self;
        let unique = |part: &str| {
            let key = format!("w{name}/{count:08}{part}");
            (
                Bytes::from(key),
                Bytes::from(format!("{name} wrote {count}{part}")),
            )
        };
        if self.random.random_range(0..100) < self.plan.reads {
            let whose = self.random.random_range(0..self.register_of.len());
            let key = self.register_of.get(whose).cloned().unwrap_or_default();
            return Action::Read(key.into());
        }
        match self.random.random_range(0..10) {
            0 => Action::Write(vec![unique("a"), unique("b"), unique("c")]),
            1..4 => {
                let register = self
                    .register_of
                    .get(self.number)
                    .cloned()
                    .unwrap_or_default();
                let (_, value) = unique("");
                Action::Write(vec![(register.into(), value)])
            }
            _ => Action::Write(vec![unique("")]),
        }
    }
}

async fn perform(door: &mut Door, action: &Action) -> Outcome {
    let written = match action {
        Action::Read(key) => match door.get(key.clone()).await {
            Ok((revision, kv)) => return Outcome::Read { revision, kv },
            Err(status) => Err(status),
        },
        Action::Write(pairs) => match pairs.as_slice() {
            [(key, value)] => door.put(key.clone(), value.clone()).await,
            pairs => door.put_all(pairs.to_vec()).await,
        },
    };
    match written {
        Ok(revision) => Outcome::Written { revision },
        Err(status) => Outcome::Unknown(format!("{}: {}", status.code(), status.message())),
    }
}

/// Between two probes.
const PROBE_PERIOD: Duration = Duration::from_millis(20);
const PROBE_DEADLINE: Duration = Duration::from_secs(2);
static PROBE_COUNT: AtomicU64 = AtomicU64::new(0);

/// A write of a key and a value that no other probe writes.
fn probe_write() -> Action {
    let count = PROBE_COUNT.fetch_add(1, Ordering::Relaxed);
    let key = format!("probe/{count:08}");
    Action::Write(vec![(key.into(), format!("probe {count}").into())])
}

/// Asks again and again, each time anew, until a write is acknowledged: the honest measure of when
/// a cluster serves again. A client with one operation outstanding would measure its own deadline.
///
/// Returns when the first of its writes was acknowledged. All of them are in the history.
///
/// # Errors
/// Not within `limit`.
pub async fn first_acknowledged(
    urls: &[(usize, String)],
    history: &History,
    limit: Duration,
) -> Result<Instant> {
    let doors: Vec<(usize, Door)> = urls
        .iter()
        .map(|(node, url)| Ok((*node, Door::open(url, PROBE_DEADLINE)?)))
        .collect::<Result<_>>()?;
    let since = Instant::now();
    let mut probes = JoinSet::new();
    let mut turn = doors.iter().cycle();
    let first = loop {
        if let Some(first) = history
            .since(since)
            .iter()
            .find(|operation| operation.is_acknowledged_write())
        {
            break Some(first.completed);
        }
        if since.elapsed() > limit {
            break None;
        }
        let (node, mut door) = turn.next().context("no member to ask")?.clone();
        let history = history.clone();
        probes.spawn(async move {
            let action = probe_write();
            let invoked = Instant::now();
            let outcome = perform(&mut door, &action).await;
            history.record(node, action, invoked, outcome);
        });
        sleep(PROBE_PERIOD).await;
    };
    while probes.join_next().await.is_some() {}
    first.with_context(|| format!("nothing was acknowledged for {limit:?}"))
}

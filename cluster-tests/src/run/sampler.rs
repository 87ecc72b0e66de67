//! Asks every member how it is, all the time: for the invariants, for the report, and for those who
//! must know who leads.

use super::site::Site;
use crate::history::recorder::Recorder;
use crate::history::timeline::Sample;
use crate::observe::{GLANCE, Observation};
use anyhow::Result;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

const PERIOD: Duration = Duration::from_millis(100);
/// What a member said so long ago is forgotten when one asks who leads.
const FRESH_US: u64 = 600_000;

/// Who leads, by what the members said last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    pub leader: Option<usize>,
    pub term: u64,
}

/// How often each member was started.
#[derive(Clone, Debug, Default)]
pub struct Boots {
    counts: Arc<Mutex<BTreeMap<usize, u32>>>,
}

impl Boots {
    pub fn started(&self, node: usize) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(node).or_default() += 1;
    }

    fn of(&self, node: usize) -> u32 {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(&node).copied().unwrap_or(0)
    }
}

#[derive(Debug)]
pub struct Sampler {
    tasks: JoinSet<()>,
    board: Arc<Board>,
    site: Arc<Site>,
}

/// The newest sample of each member.
#[derive(Debug)]
struct Board {
    recorder: Recorder,
    boots: Boots,
    latest: Mutex<BTreeMap<usize, Sample>>,
    leadership: watch::Sender<Leadership>,
}

impl Sampler {
    /// # Errors
    /// Never for nodes that exist.
    pub async fn start(site: &Arc<Site>, recorder: &Recorder) -> Result<Self> {
        let board = Arc::new(Board {
            recorder: recorder.clone(),
            boots: Boots::default(),
            latest: Mutex::default(),
            leadership: watch::Sender::default(),
        });
        let mut sampler = Self {
            tasks: JoinSet::new(),
            board,
            site: Arc::clone(site),
        };
        for node in site.nodes().await {
            sampler.add(node).await?;
        }
        Ok(sampler)
    }

    /// One more member.
    ///
    /// # Errors
    /// There is no such node.
    pub async fn add(&mut self, node: usize) -> Result<()> {
        let mut observer = self.site.observer(node).await?;
        let board = Arc::clone(&self.board);
        self.tasks.spawn(async move {
            let mut ticks = interval(PERIOD);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let boot = board.boots.of(node);
                let at = board.recorder.now();
                // A member that does not answer is known by its silence.
                if let Ok(seen) = observer.look(false, GLANCE).await
                    && board.boots.of(node) == boot
                {
                    board.note(sample(at, node, boot, &seen));
                } else {
                    board.publish();
                }
            }
        });
        Ok(())
    }

    pub fn leader(&self) -> watch::Receiver<Leadership> {
        self.board.leadership.subscribe()
    }

    pub fn boots(&self) -> Boots {
        self.board.boots.clone()
    }

    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

impl Board {
    fn note(&self, sample: Sample) {
        {
            let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            latest.insert(sample.node, sample.clone());
        }
        self.recorder.notes().samples.push(sample);
        self.publish();
    }

    /// The leader of the highest term that said so lately, if nobody has said that it is over.
    fn publish(&self) {
        let now = self.recorder.now();
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = latest.values().filter(|s| s.at + FRESH_US > now);
        let term = fresh.clone().map(|s| s.term).max().unwrap_or(0);
        let leader = fresh
            .filter(|s| s.role == "leader" && s.leader == s.member)
            .max_by_key(|s| s.term);
        let leadership = Leadership {
            leader: leader.map(|s| s.node),
            term,
        };
        self.leadership.send_if_modified(|known| {
            let changed = *known != leadership;
            *known = leadership;
            changed
        });
    }
}

fn sample(at: u64, node: usize, boot: u32, seen: &Observation) -> Sample {
    let role = if seen.learner {
        "learner".to_owned()
    } else {
        seen.role.to_lowercase()
    };
    Sample {
        at,
        node,
        member: seen.member_id,
        role,
        term: seen.term,
        term_lags: seen.term_lags,
        leader: seen.leader,
        last_log: seen.last_log_index,
        snapshot: seen.snapshot_index,
        committed: seen.committed_index,
        applied: seen.applied_index,
        purged: seen.purged_index,
        revision: seen.revision,
        snapshots_installed: seen.snapshots_installed,
        boot,
    }
}

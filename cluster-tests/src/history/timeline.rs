//! What befell the cluster: faults, the weather, members' lives, what members said of themselves.

use crate::cluster::weather::Quality;
use crate::schedule::fault::Fault;
use serde::{Deserialize, Serialize};

/// A step of the schedule as it happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Window {
    /// By number in the schedule, from 0.
    pub step: usize,
    /// The nemesis that it belongs to: `isolate-leader`.
    pub nemesis: String,
    pub fault: Fault,
    /// In words, with the nodes that it hit: "n1 (leader) is cut from everybody".
    pub text: String,
    pub began: u64,
    pub ended: u64,
    /// Who led when it began.
    pub leader: Option<usize>,
    /// Members that it hit; those of a cut: the smaller side.
    pub struck: Vec<usize>,
    /// Why it was not done: this cluster cannot express it, or there was no leader to strike.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub skipped: Option<String>,
}

/// All ways that were not clear, from a moment on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeatherChange {
    pub at: u64,
    /// (from, to, how).
    pub ways: Vec<(usize, usize, Quality)>,
}

/// How a member is, from a moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifeChange {
    pub at: u64,
    pub node: usize,
    pub life: Life,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Life {
    Up,
    /// It has so many percent of a processor.
    Slowed(u32),
    Paused,
    Down,
    /// Killed, and what it had not synced is gone.
    PowerCut,
    /// Removed from the cluster for ever.
    Gone,
}

/// What a member said of itself. A member that does not answer is not sampled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Sample {
    pub at: u64,
    pub node: usize,
    pub member: u64,
    /// `leader`, `follower`, `candidate`, `learner`.
    pub role: String,
    pub term: u64,
    /// That term is the newest entry's that it has applied; its own may be higher.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub term_lags: bool,
    /// The member id of the leader that it names; 0: none.
    pub leader: u64,
    pub last_log: u64,
    /// The last entry that its newest snapshot stands for; 0: it has none, or does not say.
    pub snapshot: u64,
    pub committed: u64,
    pub applied: u64,
    pub purged: u64,
    pub revision: i64,
    pub snapshots_installed: u64,
    /// Grows when the process is started anew: the number of its starts.
    pub boot: u32,
}

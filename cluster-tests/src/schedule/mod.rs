//! Which faults, when: a schedule is data.
//!
//! A [`Schedule`] is a list of steps, each a [`Fault`] with a beginning and a length. It
//! is generated from a seed, printed, stored with the history and can be given back to repeat a run.
//! A fault names roles ("the leader"), which are bound to nodes when it strikes, by a
//! [`Cast`](cast::Cast); from then on what it does is a pure function of time: the *weather* on every
//! link and the *life* of every member ([`effect`]). Faults that overlap add up to the worse of each.
//! Whoever carries them out, real processes or a simulation, only makes the world so; and since every
//! step ends, every schedule ends healed.
//!
//! | file | idea |
//! |---|---|
//! | [`fault`] | the taxonomy as an enum |
//! | [`cast`] | who plays the leader, the follower, the hub |
//! | [`effect`] | what a fault makes of the world at a moment |
//! | [`nemesis`] | the catalogue: named faults, what each must leave standing |
//! | [`generate`] | schedules from a seed |

pub mod cast;
pub mod effect;
pub mod fault;
pub mod generate;
pub mod nemesis;

use fault::Fault;
use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Schedule {
    pub seed: u64,
    pub nodes: usize,
    /// By time.
    pub steps: Vec<Step>,
    /// When clients stop; after the last step, with time to prove liveness.
    pub ends_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    pub at_ms: u64,
    pub for_ms: u64,
    /// The catalogue's name for it.
    pub nemesis: String,
    pub fault: Fault,
}

impl Step {
    pub fn ends_ms(&self) -> u64 {
        self.at_ms + self.for_ms
    }
}

impl Schedule {
    /// When the last fault is over.
    pub fn healed_ms(&self) -> u64 {
        self.steps.iter().map(Step::ends_ms).max().unwrap_or(0)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            let (from, to) = (seconds(step.at_ms), seconds(step.ends_ms()));
            writeln!(
                formatter,
                "{from:>6} to {to:>6} s  {}: {}",
                step.nemesis, step.fault
            )?;
        }
        write!(
            formatter,
            "{:>6} s            clients stop",
            seconds(self.ends_ms)
        )
    }
}

/// 12.5
fn seconds(ms: u64) -> String {
    format!("{}.{}", ms / 1000, ms % 1000 / 100)
}

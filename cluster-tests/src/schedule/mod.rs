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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_act: Option<LastAct>,
    /// When clients stop; after the last step, with time to prove liveness.
    pub ends_ms: u64,
}

/// The liveness act (TigerBeetle's VOPR has it): at its beginning whatever is under way ends, but only a
/// random majority is healed by that. It must make progress with nobody's help, for what the others know
/// is out of reach; then these are healed too, and all must come together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LastAct {
    /// When it is due; members that are being changed are awaited.
    pub at_ms: u64,
    /// So long the majority is alone.
    pub for_ms: u64,
    /// What keeps the others away: a fault of [`fault::Who::Rest`] or of [`fault::Shape::Rest`].
    pub fault: Fault,
}

impl LastAct {
    pub fn ends_ms(&self) -> u64 {
        self.at_ms + self.for_ms
    }

    /// As the conductor begins it.
    pub fn as_step(&self) -> Step {
        Step {
            at_ms: self.at_ms,
            for_ms: self.for_ms,
            nemesis: nemesis::LAST_ACT.to_owned(),
            fault: self.fault.clone(),
        }
    }
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
    /// All that is to befall the cluster.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        let steps = self.steps.iter().map(|step| &step.fault);
        steps.chain(self.last_act.iter().map(|act| &act.fault))
    }

    /// The nemeses that it is made of, each once.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for step in &self.steps {
            if !names.contains(&step.nemesis) {
                names.push(step.nemesis.clone());
            }
        }
        names
    }

    /// When the last fault is over.
    pub fn healed_ms(&self) -> u64 {
        let steps = self.steps.iter().map(Step::ends_ms).max().unwrap_or(0);
        steps.max(self.last_act.as_ref().map_or(0, LastAct::ends_ms))
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
        if let Some(act) = &self.last_act {
            let (from, to) = (seconds(act.at_ms), seconds(act.ends_ms()));
            writeln!(formatter, "{from:>6} to {to:>6} s  last act: {}", act.fault)?;
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

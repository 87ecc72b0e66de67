//! A call by a client, with its outcome and its time.

use super::call::{Answer, Call};
use serde::{Deserialize, Serialize};

/// One call, as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Operation {
    /// Who asked: `bank.3`. It has one operation outstanding.
    pub client: String,
    /// By [`crate::workload::Workload::name`]; keys of a workload begin with it and a slash.
    pub workload: String,
    /// Which member was asked, from 1.
    pub node: usize,
    /// Microseconds since the run began.
    pub invoked: u64,
    pub completed: u64,
    pub call: Call,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Ok {
        header: Header,
        answer: Answer,
    },
    /// An error that says that nothing was done.
    Refused(String),
    /// An error, or no answer: perhaps it was done, once; perhaps it will be.
    Unknown(String),
}

/// What every answer says beside its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The store's, when it answered.
    pub revision: i64,
    pub term: u64,
    pub member: u64,
}

impl Operation {
    pub fn answer(&self) -> Option<(&Header, &Answer)> {
        match &self.outcome {
            Outcome::Ok { header, answer } => Some((header, answer)),
            Outcome::Refused(_) | Outcome::Unknown(_) => None,
        }
    }

    pub fn is_ok(&self) -> bool {
        self.answer().is_some()
    }

    pub fn is_acknowledged_write(&self) -> bool {
        self.is_ok() && self.call.writes()
    }

    /// When it was over for sure: an unknown one may take effect at the end of time.
    pub fn settled(&self) -> u64 {
        match self.outcome {
            Outcome::Unknown(_) if self.call.writes() => u64::MAX,
            _ => self.completed,
        }
    }
}

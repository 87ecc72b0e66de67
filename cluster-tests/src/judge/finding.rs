//! What a judge says.

use serde::{Deserialize, Serialize};

/// The outcome of one judge over one recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// `linearizable`, `watch-reliable`, `liveness`.
    pub judge: String,
    /// What it holds, in a sentence a non-expert understands.
    pub promise: String,
    pub verdict: Verdict,
    /// How many times the property was evaluated: operations, events, samples.
    pub evaluated: u64,
    /// What was found, in a sentence: "23,402 operations on 40 keys".
    pub summary: String,
    /// How near it came to failing, where that can be said: "slowest recovery 1.8 of 5 election
    /// timeouts".
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub margin: Option<String>,
    /// The first few, the worst first.
    #[serde(default)]
    pub violations: Vec<Violation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Passed,
    /// The run had nothing for this judge: its workload was not asked for, or this cluster does not
    /// tell what it needs.
    NotApplicable,
    /// It failed in a way that this server is known for ([`super::known`]). Does not fail the run.
    Known,
    /// It could not decide within its budget. Fails the run.
    Unknown,
    Failed,
}

impl Verdict {
    pub fn fails_run(self) -> bool {
        matches!(self, Self::Unknown | Self::Failed)
    }

    /// Something is wrong for certain.
    pub fn is_violation(self) -> bool {
        self == Self::Failed
    }
}

/// One thing that must not be, with what one needs to see it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Violation {
    /// "A read shows a value that was overwritten before it began".
    pub title: String,
    /// Why it cannot be, with the values: one or two sentences.
    pub explanation: String,
    /// The state that the offender contradicts: "r/1 = 17 at revision 420".
    pub contradicts: String,
    /// Numbers of operations in the recording: the smallest set that shows it, in the order of
    /// invocation.
    pub operations: Vec<usize>,
    /// The one of them that cannot be placed.
    pub offender: Option<usize>,
    /// (stream, response) numbers in the recording's watches.
    pub watch: Option<(usize, usize)>,
    pub key: Option<String>,
    /// Microseconds; when it shows.
    pub at: Option<u64>,
}

impl Finding {
    pub fn passed(judge: &str, promise: &str, evaluated: u64, summary: impl Into<String>) -> Self {
        Self {
            judge: judge.to_owned(),
            promise: promise.to_owned(),
            verdict: Verdict::Passed,
            evaluated,
            summary: summary.into(),
            margin: None,
            violations: Vec::new(),
        }
    }

    pub fn not_applicable(judge: &str, promise: &str, why: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::NotApplicable,
            ..Self::passed(judge, promise, 0, why)
        }
    }

    pub fn unknown(judge: &str, promise: &str, evaluated: u64, why: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Unknown,
            ..Self::passed(judge, promise, evaluated, why)
        }
    }

    pub fn failed(judge: &str, promise: &str, evaluated: u64, violations: Vec<Violation>) -> Self {
        let summary = match violations.as_slice() {
            [] => String::new(),
            [one] => one.title.clone(),
            [first, more @ ..] => format!("{}; and {} more", first.title, more.len()),
        };
        Self {
            verdict: Verdict::Failed,
            violations,
            ..Self::passed(judge, promise, evaluated, summary)
        }
    }

    /// Passed if there are no violations.
    pub fn of(
        judge: &str,
        promise: &str,
        evaluated: u64,
        summary: impl Into<String>,
        violations: Vec<Violation>,
    ) -> Self {
        if violations.is_empty() {
            Self::passed(judge, promise, evaluated, summary)
        } else {
            Self::failed(judge, promise, evaluated, violations)
        }
    }

    #[must_use]
    pub fn with_margin(mut self, margin: impl Into<String>) -> Self {
        self.margin = Some(margin.into());
        self
    }
}

//! `/livez` and `/readyz`: health in single checks. Alive is a member that can read what it holds;
//! ready is one that clients may be sent to.

use super::answer;
use super::health::Health;
use super::query::Query;
use crate::api::PlainBody;
use crate::mvcc::AlarmKind;
use crate::telemetry::metrics::Counter;
use http::{Response, StatusCode};
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// No member is known to hold other data than the rest.
    DataCorruption,
    /// This member reads its own state.
    SerializableRead,
    /// A quorum stands behind it.
    LinearizableRead,
    /// It serves everything, not only what learners serve.
    NonLearner,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Self::DataCorruption => "data_corruption",
            Self::SerializableRead => "serializable_read",
            Self::LinearizableRead => "linearizable_read",
            Self::NonLearner => "non_learner",
        }
    }

    async fn run(self, health: &Health) -> Result<(), String> {
        let etcds = |error| format!("etcdserver: {error}");
        match self {
            Self::DataCorruption if health.node.alarms().any(AlarmKind::Corrupt) => {
                Err("alarm activated: CORRUPT".to_owned())
            }
            Self::DataCorruption => Ok(()),
            Self::SerializableRead => health.read(true).await.map_err(etcds),
            Self::LinearizableRead => health.read(false).await.map_err(etcds),
            Self::NonLearner if health.node.is_learner() => {
                Err("not supported for learner".to_owned())
            }
            Self::NonLearner => Ok(()),
        }
    }
}

/// A check and how often it went which way.
struct Counted {
    check: Check,
    succeeded: Counter,
    failed: Counter,
    last_succeeded: AtomicBool,
}

/// One check's numbers.
pub(super) struct Tally {
    /// `livez` or `readyz`.
    pub(super) kind: &'static str,
    pub(super) name: &'static str,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) last_succeeded: bool,
}

/// One of the two lists.
pub(super) struct Checks {
    /// `livez` or `readyz`.
    name: &'static str,
    list: Vec<Counted>,
}

impl Checks {
    pub(super) fn livez() -> Self {
        Self::new("livez", &[Check::SerializableRead])
    }

    pub(super) fn readyz() -> Self {
        let list = [
            Check::DataCorruption,
            Check::SerializableRead,
            Check::LinearizableRead,
            Check::NonLearner,
        ];
        Self::new("readyz", &list)
    }

    fn new(name: &'static str, list: &[Check]) -> Self {
        let counted = |check: &Check| Counted {
            check: *check,
            succeeded: Counter::default(),
            failed: Counter::default(),
            last_succeeded: AtomicBool::default(),
        };
        Self {
            name,
            list: list.iter().map(counted).collect(),
        }
    }

    /// How each check went so far.
    pub(super) fn tallies(&self) -> impl Iterator<Item = Tally> {
        self.list.iter().map(|counted| Tally {
            kind: self.name,
            name: counted.check.name(),
            succeeded: counted.succeeded.value(),
            failed: counted.failed.value(),
            last_succeeded: counted.last_succeeded.load(Ordering::Relaxed),
        })
    }

    /// Answers `/livez` (`rest` is empty) or `/livez/<check>`. `?exclude=<check>` leaves one out;
    /// one that is not there is no error. `?verbose` tells what went well, too.
    pub(super) async fn answer(
        &self,
        rest: &str,
        query: &Query,
        health: &Health,
    ) -> Response<PlainBody> {
        let chosen: Vec<&Counted> = match rest.strip_prefix('/') {
            None if !rest.is_empty() => return answer::not_found(),
            None => {
                let excluded = |counted: &&Counted| query.holds("exclude", counted.check.name());
                self.list.iter().filter(|check| !excluded(check)).collect()
            }
            Some(name) => {
                let named = |counted: &&Counted| counted.check.name() == name;
                match self.list.iter().find(named) {
                    Some(check) => vec![check],
                    None => return answer::not_found(),
                }
            }
        };
        let (mut report, mut well) = (String::new(), true);
        for counted in chosen {
            let name = counted.check.name();
            let outcome = counted.check.run(health).await;
            counted
                .last_succeeded
                .store(outcome.is_ok(), Ordering::Relaxed);
            match outcome {
                Ok(()) => {
                    counted.succeeded.increment();
                    report.push_str(&format!("[+]{name} ok\n"));
                }
                Err(reason) => {
                    counted.failed.increment();
                    well = false;
                    report.push_str(&format!("[-]{name} failed: {reason}\n"));
                }
            }
        }
        if !well {
            tracing::warn!(kind = self.name, report, "Health check error");
            return answer::error(StatusCode::SERVICE_UNAVAILABLE, &report);
        }
        if !query.has("verbose") {
            report.clear();
        }
        answer::plain_text(StatusCode::OK, report + "ok\n")
    }
}

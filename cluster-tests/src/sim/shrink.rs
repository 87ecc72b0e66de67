//! The smallest schedule that still fails in the same way.
//!
//! A schedule is data and a run is exact, so what fails can be made smaller by trying: faults are left out
//! (delta debugging, Zeller and Hildebrandt 2002: all, then halves, then smaller parts), the end comes
//! earlier, members and workloads are left out, faults become shorter and move together. What still fails
//! goes on, until a whole round changes nothing: then no single fault can be left out.
//!
//! This file is a pure function of what is asked about cases; `culprit` asks simulators.

use crate::report::words::counted;
use crate::schedule::nemesis;
use crate::schedule::{LastAct, Schedule, Step};
use crate::workload::Workload;
use anyhow::Result;
use std::fmt;

/// Before the first fault there are clients at work.
const CALM_MS: u64 = 2000;
/// Of a fault that is made shorter.
const FAULT_MS_MIN: u64 = 500;
/// Less is not worth a try.
const WORTH_MS: u64 = 500;
/// After the last fault: as much as schedules leave for recovery.
pub const RECOVERY_MS: u64 = 6000;
const SMALLER_CLUSTERS: [usize; 2] = [3, 5];

/// What is made smaller.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    pub schedule: Schedule,
    pub workloads: Vec<Workload>,
}

impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = self.schedule.faults().count() as u64;
        let workloads = self.workloads.len() as u64;
        let ends_ms = self.schedule.ends_ms;
        write!(
            formatter,
            "{} on {} members, {}, {}.{} s",
            counted(faults, "fault", "faults"),
            self.schedule.nodes,
            counted(workloads, "workload", "workloads"),
            ends_ms / 1000,
            ends_ms % 1000 / 100
        )
    }
}

/// How far it may go.
#[derive(Clone, Copy, Debug)]
pub struct Reducer {
    /// So much is left after the last fault: a run that ends as it heals has not recovered, which is no
    /// finding.
    pub recovery_ms: u64,
}

/// A part of a schedule that can be left out.
#[derive(Clone)]
enum Part {
    Step(Step),
    LastAct(LastAct),
}

impl Case {
    fn parts(&self) -> Vec<Part> {
        let steps = self.schedule.steps.iter().cloned().map(Part::Step);
        let last = self.schedule.last_act.iter().cloned().map(Part::LastAct);
        steps.chain(last).collect()
    }

    fn with_parts(&self, parts: &[Part]) -> Self {
        let mut case = self.clone();
        case.schedule.steps.clear();
        case.schedule.last_act = None;
        for part in parts {
            match part {
                Part::Step(step) => case.schedule.steps.push(step.clone()),
                Part::LastAct(act) => case.schedule.last_act = Some(act.clone()),
            }
        }
        case
    }

    /// All that is not before the step moves towards the beginning.
    fn moved(&self, step: usize, by_ms: u64) -> Self {
        let mut case = self.clone();
        let schedule = &mut case.schedule;
        for later in schedule.steps.iter_mut().skip(step) {
            later.at_ms -= by_ms;
        }
        if let Some(act) = &mut schedule.last_act {
            act.at_ms -= by_ms;
        }
        schedule.ends_ms -= by_ms;
        case
    }
}

impl Reducer {
    /// The smallest that was found of what `fails`, which `case` does. Once `fails` says no to everything,
    /// because its time is over, for one, it ends soon.
    ///
    /// # Errors
    /// Those of `fails`.
    pub async fn reduce(
        &self,
        mut case: Case,
        fails: &mut impl AsyncFnMut(&Case) -> Result<bool>,
    ) -> Result<Case> {
        loop {
            let before = case.clone();
            case = fewer_faults(case, fails).await?;
            // What makes every further try cheaper comes first.
            case = self.sooner(case, fails).await?;
            case = fewer_members(case, fails).await?;
            case = fewer_workloads(case, fails).await?;
            case = shorter(case, fails).await?;
            case = together(case, fails).await?;
            if case == before {
                return Ok(case);
            }
        }
    }

    /// The run ends earlier.
    async fn sooner(
        &self,
        mut case: Case,
        fails: &mut impl AsyncFnMut(&Case) -> Result<bool>,
    ) -> Result<Case> {
        let least = case.schedule.healed_ms().max(CALM_MS) + self.recovery_ms;
        let mut ends_ms = least;
        while ends_ms + WORTH_MS <= case.schedule.ends_ms {
            let mut sooner = case.clone();
            sooner.schedule.ends_ms = ends_ms;
            if fails(&sooner).await? {
                case = sooner;
                break;
            }
            // Too early: half of the way to where it is known to be late enough.
            ends_ms = (ends_ms + case.schedule.ends_ms).div_ceil(2);
        }
        Ok(case)
    }
}

/// Leaves out as many of `items` as it can: at the end no single one can be left out.
async fn fewer<T: Clone>(
    mut items: Vec<T>,
    mut fails: impl AsyncFnMut(&[T]) -> Result<bool>,
) -> Result<Vec<T>> {
    let mut size = items.len();
    while size > 0 {
        let before = items.len();
        let mut at = 0;
        while at < items.len() {
            let rest = items.iter().take(at).chain(items.iter().skip(at + size));
            let rest: Vec<T> = rest.cloned().collect();
            if fails(&rest).await? {
                items = rest;
            } else {
                at += size;
            }
        }
        // Single ones as often as that helps: leaving out one may make another needless.
        size = match size {
            1 if items.len() < before => 1,
            size => size / 2,
        };
    }
    Ok(items)
}

async fn fewer_faults(
    case: Case,
    fails: &mut impl AsyncFnMut(&Case) -> Result<bool>,
) -> Result<Case> {
    let parts = fewer(case.parts(), async |parts: &[Part]| {
        fails(&case.with_parts(parts)).await
    });
    let parts = parts.await?;
    Ok(case.with_parts(&parts))
}

async fn fewer_workloads(
    case: Case,
    fails: &mut impl AsyncFnMut(&Case) -> Result<bool>,
) -> Result<Case> {
    let with = |workloads: &[Workload]| Case {
        workloads: workloads.to_vec(),
        ..case.clone()
    };
    let workloads = fewer(case.workloads.clone(), async |some: &[Workload]| {
        // None at all means that the seed's are wanted.
        Ok(!some.is_empty() && fails(&with(some)).await?)
    });
    let workloads = workloads.await?;
    Ok(with(&workloads))
}

async fn fewer_members(
    mut case: Case,
    fails: &mut impl AsyncFnMut(&Case) -> Result<bool>,
) -> Result<Case> {
    for nodes in SMALLER_CLUSTERS {
        let fits = |step: &Step| {
            nemesis::find(&step.nemesis).is_none_or(|nemesis| nemesis.nodes_min <= nodes)
        };
        if nodes >= case.schedule.nodes || !case.schedule.steps.iter().all(fits) {
            continue;
        }
        let mut smaller = case.clone();
        smaller.schedule.nodes = nodes;
        if fails(&smaller).await? {
            case = smaller;
        }
    }
    Ok(case)
}

/// Each fault lasts half as long, and again, while that is enough.
async fn shorter(
    mut case: Case,
    fails: &mut impl AsyncFnMut(&Case) -> Result<bool>,
) -> Result<Case> {
    for at in 0..case.schedule.steps.len() {
        loop {
            let mut halved = case.clone();
            let Some(step) = halved.schedule.steps.get_mut(at) else {
                break;
            };
            step.for_ms /= 2;
            if step.for_ms < FAULT_MS_MIN || !fails(&halved).await? {
                break;
            }
            case = halved;
        }
    }
    Ok(case)
}

/// Time in which nothing happens is left out.
async fn together(
    mut case: Case,
    fails: &mut impl AsyncFnMut(&Case) -> Result<bool>,
) -> Result<Case> {
    for at in 0..case.schedule.steps.len() {
        let steps = &case.schedule.steps;
        let earlier = steps.iter().take(at).map(Step::ends_ms).max().unwrap_or(0);
        let Some(step) = steps.get(at) else { break };
        // All of it, or half, or half of that: something may need the time.
        let mut idle = step.at_ms.saturating_sub(earlier.max(CALM_MS));
        while idle >= WORTH_MS {
            let moved = case.moved(at, idle);
            if fails(&moved).await? {
                case = moved;
                break;
            }
            idle /= 2;
        }
    }
    Ok(case)
}

#[cfg(test)]
#[path = "shrink_tests.rs"]
mod tests;

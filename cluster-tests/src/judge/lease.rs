//! Leases: a key lives as long as it was promised, and not much longer.
//!
//! - *Not early*: while an acknowledged grant or renewal is younger than its time to live, counted from
//!   the moment it was asked for, the key is there. (Server and client each measure a length of time; no
//!   clock is compared with another. Where a server's runs too fast, its lengths are so much shorter:
//!   nobody promises more.)
//! - *Not late*: once nobody renews, the key goes within its time to live and [`GRACE`]. A new leader
//!   gives every lease its whole time again, as etcd does, so time counts from the last change of
//!   leadership too, and from the end of a fault under which nothing could be decided.
//! - *Not again*: what was gone, or revoked, does not come back.

use super::case::Case;
use super::finding::{Finding, Violation};
use crate::history::call::{Act, Answer, Call};
use crate::history::operation::{Operation, Outcome};
use crate::schedule::fault::Fault;
use crate::schedule::nemesis;
use crate::workload::Workload;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

pub const EARLY: &str = "lease-early";
pub const LATE: &str = "lease-late";
pub const AGAIN: &str = "lease-again";
const EARLY_PROMISE: &str = "A key with a lease is there as long as its lease is renewed in time.";
const LATE_PROMISE: &str = "A key with a lease goes soon after the renewals stop.";
const AGAIN_PROMISE: &str = "A key that went with its lease does not come back.";

const SECOND: u64 = 1_000_000;
/// Beside the time to live: looking for expired leases, agreeing on each, a busy machine.
const GRACE: u64 = 4 * SECOND;
/// An unanswered renewal may reach the leader so much later than its client gave up.
const STRAY: u64 = 3 * SECOND;
const SHOWN: usize = 3;

#[derive(Default)]
struct Lease<'a> {
    key: Option<&'a str>,
    /// The acknowledged put.
    put: Option<(u64, usize)>,
    ttl: u64,
    /// Acknowledged grants and renewals: (asked, answered, number).
    renewed: Vec<(u64, u64, usize)>,
    /// Until when one without an answer may still take effect.
    maybe: u64,
    /// The revocation: (asked, acknowledged at, number).
    revoked: Option<(u64, Option<u64>, usize)>,
    /// Reads of the key: (asked, answered, there, number).
    looks: Vec<(u64, u64, bool, usize)>,
}

pub fn judge(case: &Case<'_>) -> Vec<Finding> {
    let leases = leases(case);
    let looks: u64 = leases.values().map(|lease| lease.looks.len() as u64).sum();
    if looks == 0 {
        let why = "no key with a lease was looked at";
        return vec![
            Finding::not_applicable(EARLY, EARLY_PROMISE, why),
            Finding::not_applicable(LATE, LATE_PROMISE, why),
            Finding::not_applicable(AGAIN, AGAIN_PROMISE, why),
        ];
    }
    let extensions = extensions(case);
    let (mut early, mut late, mut again) = (Vec::new(), Vec::new(), Vec::new());
    let (mut absent, mut slowest, mut nearest) = (0_u64, 0_u64, u64::MAX);
    for lease in leases.values() {
        let Some((put_at, _)) = lease.put else {
            continue;
        };
        let mut gone: Option<(u64, usize)> = None;
        for (asked, answered, there, number) in &lease.looks {
            if *asked <= put_at {
                continue;
            }
            if *there {
                if let Some(limit) = deadline(lease, *asked, &extensions) {
                    let over = asked.saturating_sub(limit.saturating_sub(GRACE));
                    slowest = slowest.max(over);
                    if *asked > limit {
                        let last = lease.renewed.iter().map(|(.., number)| *number).max();
                        let why = format!(
                            "nobody renewed it; it should have gone {} ms before",
                            (asked - limit) / 1000
                        );
                        late.push(violation(
                            case,
                            lease,
                            "A key outlives its lease",
                            &why,
                            last,
                            *number,
                        ));
                    }
                }
                let revoked = lease
                    .revoked
                    .and_then(|(_, at, number)| Some((at?, number)));
                let before = gone.or(revoked).filter(|(at, _)| at < asked);
                if let Some((_, before)) = before {
                    let why = "it had gone before this was asked".to_owned();
                    again.push(violation(
                        case,
                        lease,
                        "A key comes back after its lease ended",
                        &why,
                        Some(before),
                        *number,
                    ));
                }
                continue;
            }
            absent += 1;
            let first = gone.is_none_or(|(at, _)| *answered < at);
            if first {
                gone = Some((*answered, *number));
            }
            if lease.revoked.is_some_and(|(asked, ..)| asked <= *answered) {
                continue;
            }
            let alive = lease.renewed.iter().max_by_key(|(asked, ..)| *asked);
            if let Some((renewed, _, by)) = alive {
                let until = renewed + by_clock(case, lease.ttl, *renewed, *answered);
                nearest = nearest.min(answered.saturating_sub(until));
                if *answered < until {
                    let why = format!(
                        "it had been renewed for {} ms more",
                        (until - answered) / 1000
                    );
                    early.push(violation(
                        case,
                        lease,
                        "A key goes before its lease ends",
                        &why,
                        Some(*by),
                        *number,
                    ));
                }
            }
        }
    }
    let cut = |mut violations: Vec<Violation>| {
        violations.truncate(SHOWN);
        violations
    };
    let summary = format!(
        "{} leases, {looks} looks, {absent} of them after the end",
        leases.len()
    );
    let mut early = Finding::of(EARLY, EARLY_PROMISE, absent, &summary, cut(early));
    if nearest != u64::MAX {
        early = early.with_margin(format!(
            "the earliest end was {} ms after it might be",
            nearest / 1000
        ));
    }
    let late =
        Finding::of(LATE, LATE_PROMISE, looks - absent, &summary, cut(late)).with_margin(format!(
            "latest {} ms after its time, of {} ms",
            slowest / 1000,
            GRACE / 1000
        ));
    let again = Finding::of(AGAIN, AGAIN_PROMISE, looks - absent, &summary, cut(again));
    vec![early, late, again]
}

/// A length of time as the fastest clock measures it that some member had between these moments.
fn by_clock(case: &Case<'_>, length: u64, from: u64, to: u64) -> u64 {
    let lasting = case
        .windows()
        .filter(|window| window.began <= to && from <= window.ended);
    let rates = lasting.filter_map(|window| match window.fault {
        Fault::Clock { rate_per_mille, .. } => u64::try_from(rate_per_mille).ok(),
        _ => None,
    });
    length * 1000 / (1000 + rates.max().unwrap_or(0))
}

/// When the key must be gone, if nobody renews it after `asked`.
fn deadline(lease: &Lease<'_>, asked: u64, extensions: &Extensions) -> Option<u64> {
    let renewed = lease
        .renewed
        .iter()
        .map(|(_, answered, _)| *answered)
        .max()?;
    let standing = extensions.standing.iter();
    let mut latest = renewed.max(lease.maybe);
    for (_, ended) in standing.filter(|(began, _)| *began <= asked) {
        // Still lasting: nothing can be demanded.
        if *ended >= asked {
            return None;
        }
        latest = latest.max(*ended);
    }
    let led = extensions.elections.iter().filter(|at| **at <= asked).max();
    latest = latest.max(led.copied().unwrap_or(0));
    Some(latest + lease.ttl + GRACE)
}

/// What gives leases their time again.
struct Extensions {
    /// When a new term was first seen to be led, or spoken of by an answer.
    elections: Vec<u64>,
    /// Faults under which the cluster may stand still.
    standing: Vec<(u64, u64)>,
}

fn extensions(case: &Case<'_>) -> Extensions {
    let mut first: FxHashMap<u64, u64> = FxHashMap::default();
    let led = case
        .recording
        .samples
        .iter()
        .filter(|sample| sample.role == "leader");
    let led = led.map(|sample| (sample.term, sample.at));
    let spoken = case.recording.operations.iter().filter_map(|operation| {
        let (header, _) = operation.answer()?;
        Some((header.term, operation.completed))
    });
    for (term, at) in led.chain(spoken) {
        let seen = first.entry(term).or_insert(at);
        *seen = at.min(*seen);
    }
    let standing = case.windows().filter(|window| {
        nemesis::find(&window.nemesis).is_none_or(|one| one.expects.serves_within.is_none())
    });
    let patience = case.recording.election_timeout_us() * 3;
    Extensions {
        elections: first.into_values().collect(),
        standing: standing
            .map(|window| (window.began, window.ended + patience))
            .collect(),
    }
}

/// By lease, in the order of ids, so that what is shown is always the same.
fn leases<'a>(case: &Case<'a>) -> BTreeMap<i64, Lease<'a>> {
    let mut leases: BTreeMap<i64, Lease<'a>> = BTreeMap::new();
    let mut by_key: FxHashMap<&str, i64> = FxHashMap::default();
    let mut operations: Vec<(usize, &Operation)> = case.of(Workload::Lease).collect();
    operations.sort_by_key(|(_, operation)| operation.invoked);
    for (number, operation) in operations {
        let (asked, answered) = (operation.invoked, operation.completed);
        let told = operation.answer().map(|(_, answer)| answer);
        match (&operation.call, told) {
            (Call::Grant { id, .. } | Call::KeepAlive { id }, Some(Answer::Lease { ttl, .. })) => {
                let lease = leases.entry(*id).or_default();
                if *ttl > 0 {
                    lease.ttl = lease.ttl.max(u64::try_from(*ttl).unwrap_or(0) * SECOND);
                    lease.renewed.push((asked, answered, number));
                }
            }
            (Call::Grant { id, .. } | Call::KeepAlive { id }, _) => {
                if matches!(operation.outcome, Outcome::Unknown(_)) {
                    let lease = leases.entry(*id).or_default();
                    lease.maybe = lease.maybe.max(answered + STRAY);
                }
            }
            (Call::Revoke { id }, told) if !matches!(operation.outcome, Outcome::Refused(_)) => {
                let at = told.map(|_| answered);
                leases.entry(*id).or_default().revoked = Some((asked, at, number));
            }
            (Call::Txn(txn), Some(_)) => {
                if let [Act::Put { key, lease: id, .. }] = txn.then.as_slice()
                    && *id != 0
                {
                    by_key.insert(key, *id);
                    let lease = leases.entry(*id).or_default();
                    (lease.key, lease.put) = (Some(key.as_str()), Some((answered, number)));
                }
            }
            (Call::Range(range), Some(Answer::Range(found))) => {
                let fresh = range.end.is_none() && range.revision == 0 && !range.serializable;
                if let Some(lease) = by_key
                    .get(range.key.as_str())
                    .and_then(|id| leases.get_mut(id))
                    && fresh
                {
                    lease
                        .looks
                        .push((asked, answered, !found.kvs.is_empty(), number));
                }
            }
            _ => {}
        }
    }
    leases
}

fn violation(
    case: &Case<'_>,
    lease: &Lease<'_>,
    title: &str,
    why: &str,
    by: Option<usize>,
    number: usize,
) -> Violation {
    let key = lease.key.unwrap_or_default();
    let put = lease.put.map(|(_, put)| put);
    let look = case.operation(number);
    let node = look.map_or(0, |look| look.node);
    Violation {
        title: title.to_owned(),
        explanation: format!("n{node} was asked for {key}: {why}"),
        contradicts: format!("{key}, with a lease of {} s", lease.ttl / SECOND),
        operations: case.in_order(put.into_iter().chain(by).chain([number]).collect()),
        offender: Some(number),
        key: Some(key.to_owned()),
        at: look.map(|look| look.completed),
        ..Violation::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::call::Txn;
    use crate::history::recording::Recording;
    use crate::history::timeline::Window;
    use crate::judge::finding::Verdict;
    use crate::judge::imagined::Imagined;
    use crate::schedule::fault::Who;

    /// A lease of ten seconds, renewed once after three; its end after so many, a look after so many.
    fn judged(ends: Option<u64>, look: u64, revoke: bool, back: bool) -> Vec<String> {
        failed_in(&told(ends, look, revoke, back))
    }

    fn failed_in(recording: &Recording) -> Vec<String> {
        let findings = judge(&Case::new(recording)).into_iter();
        let failed = findings.filter(|one| one.verdict == Verdict::Failed);
        failed.map(|one| one.judge).collect()
    }

    fn told(ends: Option<u64>, look: u64, revoke: bool, back: bool) -> Recording {
        let mut store = Imagined::new();
        store.call("lease.0", Call::Grant { id: 7, ttl: 10 });
        let put = |store: &mut Imagined| {
            let act = Act::Put {
                key: "lease/a".into(),
                value: "7".into(),
                lease: 7,
            };
            store.call(
                "lease.0",
                Call::Txn(Txn {
                    then: vec![act],
                    ..Txn::default()
                }),
            );
        };
        put(&mut store);
        store.now = 3 * SECOND;
        store.call("lease.0", Call::KeepAlive { id: 7 });
        if revoke {
            store.call("lease.0", Call::Revoke { id: 7 });
        }
        if let Some(ends) = ends {
            store.now = ends * SECOND;
            store.expire(7);
            store.get("lease.0", "lease/a");
        }
        if back {
            let act = Act::Put {
                key: "lease/a".into(),
                value: "7".into(),
                lease: 7,
            };
            store.call(
                "lock.0",
                Call::Txn(Txn {
                    then: vec![act],
                    ..Txn::default()
                }),
            );
        }
        store.now = look * SECOND;
        store.get("lease.0", "lease/a");
        store.end()
    }

    #[test]
    fn in_time_passes() {
        assert_eq!(judged(Some(14), 15, false, false), [] as [String; 0]);
        assert_eq!(judged(None, 16, false, false), [] as [String; 0]);
        // A revocation is an end of its own.
        assert_eq!(judged(None, 4, true, false), [] as [String; 0]);
    }

    #[test]
    fn too_early_fails() {
        assert_eq!(judged(Some(12), 20, false, false), [EARLY]);
    }

    /// Seed 0 of the simulation, 300 s: 42 ms of 2 s, by a leader whose clock ran 42 thousandths too fast.
    #[test]
    fn a_fast_clock_ends_a_lease_earlier_by_as_much() {
        let mut recording = told(Some(12), 20, false, false);
        let mut run_by = |rate_per_mille| {
            recording.windows = vec![Window {
                step: 0,
                nemesis: "clock-rate".to_owned(),
                fault: Fault::Clock {
                    who: Who::Leader,
                    offset_ms: 0,
                    rate_per_mille,
                },
                text: String::new(),
                began: 5 * SECOND,
                ended: 20 * SECOND,
                leader: None,
                struck: vec![1],
                skipped: None,
            }];
            failed_in(&recording)
        };
        assert_eq!(run_by(200), [] as [String; 0]);
        assert_eq!(run_by(50), [EARLY], "not by as much");
        assert_eq!(run_by(-50), [EARLY]);
    }

    #[test]
    fn too_late_fails() {
        assert_eq!(judged(None, 18, false, false), [LATE]);
    }

    #[test]
    fn what_comes_back_fails() {
        assert_eq!(judged(Some(14), 15, false, true), [AGAIN]);
        assert_eq!(judged(None, 5, true, true), [AGAIN]);
    }
}

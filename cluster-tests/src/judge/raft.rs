//! Raft's properties on what members said of themselves, ten times a second.
//!
//! | judge | property (Ongaro's thesis, figure 3.2, and what follows from it) |
//! |---|---|
//! | `raft-one-leader` | Election Safety: at most one leader in a term |
//! | `raft-terms-rise` | a member's term never falls, over its restarts too |
//! | `raft-order` | purged <= applied <= committed; what is applied is in the log or in a snapshot; a leader has all that is committed |
//! | `raft-progress` | committed, applied and the revision never fall while a process lives |
//!
//! A restarted member may know less than before (what is committed it learns again, what was applied it
//! applies again), so progress counts from start to start; a term is on disk, so terms do not.

use super::finding::{Finding, Violation};
use crate::history::recording::Recording;
use crate::history::timeline::Sample;
use std::collections::BTreeMap;

/// Violations that are told; the rest is counted.
const TOLD: usize = 5;

fn finding(
    judge: &str,
    promise: &str,
    recording: &Recording,
    summary: String,
    mut violations: Vec<Violation>,
) -> Finding {
    let samples = recording.samples.len() as u64;
    if samples == 0 {
        return Finding::not_applicable(judge, promise, "no member was asked");
    }
    violations.truncate(TOLD);
    Finding::of(judge, promise, samples, summary, violations)
}

fn violation(sample: &Sample, title: String, contradicts: String) -> Violation {
    Violation {
        explanation: format!(
            "n{} said so {}.{:03} s after the run began, as {} of term {}",
            sample.node,
            sample.at / 1_000_000,
            sample.at / 1000 % 1000,
            sample.role,
            sample.term
        ),
        title,
        contradicts,
        at: Some(sample.at),
        ..Violation::default()
    }
}

fn leads(sample: &Sample) -> bool {
    sample.role == "leader"
}

pub fn one_leader(recording: &Recording) -> Finding {
    let mut leaders: BTreeMap<u64, &Sample> = BTreeMap::new();
    let mut violations = Vec::new();
    let mut followed: BTreeMap<usize, u64> = BTreeMap::new();
    for sample in &recording.samples {
        if !leads(sample) {
            followed.insert(sample.node, sample.term);
            continue;
        }
        // A leader whose term lags still names the one before, until its first entry is applied.
        let before = followed.get(&sample.node).copied().unwrap_or(u64::MAX);
        if sample.term_lags && sample.term <= before {
            continue;
        }
        let first = *leaders.entry(sample.term).or_insert(sample);
        if first.member != sample.member {
            violations.push(violation(
                sample,
                format!(
                    "two leaders in term {}: n{} and n{}",
                    sample.term, first.node, sample.node
                ),
                format!("n{} led term {}", first.node, first.term),
            ));
        }
    }
    finding(
        "raft-one-leader",
        "No term has two leaders",
        recording,
        format!("{} terms had a leader, each one", leaders.len()),
        violations,
    )
}

pub fn terms_rise(recording: &Recording) -> Finding {
    let mut last: BTreeMap<usize, &Sample> = BTreeMap::new();
    let mut violations = Vec::new();
    for sample in &recording.samples {
        if let Some(before) = last.insert(sample.node, sample)
            && sample.term < before.term
        {
            violations.push(violation(
                sample,
                format!("n{} forgot a term", sample.node),
                format!("n{} was in term {} before", before.node, before.term),
            ));
        }
    }
    let highest = recording.samples.iter().map(|sample| sample.term).max();
    finding(
        "raft-terms-rise",
        "No member forgets a term that it knew, not even by dying",
        recording,
        format!("up to term {}", highest.unwrap_or(0)),
        violations,
    )
}

pub fn order(recording: &Recording) -> Finding {
    let mut violations = Vec::new();
    for (at, sample) in recording.samples.iter().enumerate() {
        let mut check = |fine: bool, words: &str| {
            if !fine {
                violations.push(violation(
                    sample,
                    format!("n{}: {words}", sample.node),
                    format!(
                        "purged {}, applied {}, committed {}, last entry {}",
                        sample.purged, sample.applied, sample.committed, sample.last_log
                    ),
                ));
            }
        };
        check(
            sample.purged <= sample.applied,
            "purged what it has not applied",
        );
        check(
            sample.applied <= sample.committed,
            "applied what is not committed",
        );
        check(
            sample.applied <= sample.last_log.max(sample.snapshot)
                || installs(&recording.samples, at),
            "applied what it does not have",
        );
        // A follower may have heard of more than it has.
        check(
            !leads(sample) || sample.committed <= sample.last_log,
            "leads without all that is committed",
        );
    }
    finding(
        "raft-order",
        "Nothing is applied before it is committed, nothing thrown away before it is applied",
        recording,
        format!(
            "{} looks at {} members",
            recording.samples.len(),
            members(recording)
        ),
        violations,
    )
}

/// Whether the member's look at `at` fell into the installation of a snapshot: its state was replaced,
/// and its log goes on after the snapshot a moment later. Between the look before and the one after it
/// has counted an installation, and the one after has a snapshot that covers what was applied. A member
/// that dies in between begins anew, and is looked at then.
fn installs(samples: &[Sample], at: usize) -> bool {
    let (earlier, later) = samples.split_at(at);
    let Some((sample, later)) = later.split_first() else {
        return false;
    };
    let own = |other: &&Sample| other.node == sample.node;
    let before = earlier.iter().rev().find(own);
    let counted = before
        .filter(|before| before.boot == sample.boot)
        .map_or(0, |before| before.snapshots_installed);
    later.iter().find(own).is_none_or(|next| {
        next.boot != sample.boot
            || (next.snapshots_installed > counted && next.snapshot >= sample.applied)
    })
}

pub fn progress(recording: &Recording) -> Finding {
    let mut last: BTreeMap<(usize, u32), &Sample> = BTreeMap::new();
    let mut violations = Vec::new();
    for sample in &recording.samples {
        let Some(before) = last.insert((sample.node, sample.boot), sample) else {
            continue;
        };
        let fell = [
            ("committed index", before.committed > sample.committed),
            ("applied index", before.applied > sample.applied),
            ("revision", before.revision > sample.revision),
        ];
        for (what, _) in fell.iter().filter(|(_, fell)| *fell) {
            violations.push(violation(
                sample,
                format!("the {what} of n{} fell", sample.node),
                format!(
                    "committed {}, applied {}, revision {} before",
                    before.committed, before.applied, before.revision
                ),
            ));
        }
    }
    finding(
        "raft-progress",
        "What a member knows to be committed it does not take back",
        recording,
        format!("{} lives of {} members", last.len(), members(recording)),
        violations,
    )
}

fn members(recording: &Recording) -> usize {
    let nodes: std::collections::BTreeSet<usize> =
        recording.samples.iter().map(|sample| sample.node).collect();
    nodes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::finding::Verdict;

    fn sample(at: u64, node: usize, role: &str, term: u64) -> Sample {
        Sample {
            at,
            node,
            member: node as u64,
            role: role.to_owned(),
            term,
            last_log: 10,
            committed: 9,
            applied: 8,
            purged: 5,
            revision: 7,
            ..Sample::default()
        }
    }

    fn recording(samples: Vec<Sample>) -> Recording {
        Recording {
            samples,
            ..Recording::default()
        }
    }

    #[test]
    fn one_leader_each_term_is_fine_and_two_in_one_are_not() {
        let good = recording(vec![
            sample(1, 1, "leader", 1),
            sample(2, 2, "follower", 1),
            // Two leaders at once, of different terms: the older one does not know yet.
            sample(3, 2, "leader", 2),
            sample(4, 1, "leader", 1),
        ]);
        assert_eq!(one_leader(&good).verdict, Verdict::Passed);
        let bad = recording(vec![sample(1, 1, "leader", 4), sample(2, 2, "leader", 4)]);
        let finding = one_leader(&bad);
        assert_eq!(finding.verdict, Verdict::Failed);
        assert_eq!(
            finding.violations[0].title,
            "two leaders in term 4: n1 and n2"
        );
    }

    #[test]
    fn a_term_that_lags_is_a_leaders_own_once_it_has_risen() {
        let lagging = |at, node, role, term| Sample {
            term_lags: true,
            ..sample(at, node, role, term)
        };
        let mut samples = vec![
            lagging(1, 1, "follower", 1),
            lagging(2, 1, "leader", 2),
            lagging(2, 2, "follower", 2),
            // Elected in term 3, and says so only when it has applied something.
            lagging(3, 2, "leader", 2),
            lagging(4, 2, "leader", 3),
        ];
        assert_eq!(
            one_leader(&recording(samples.clone())).verdict,
            Verdict::Passed
        );
        samples.extend([lagging(5, 3, "follower", 2), lagging(6, 3, "leader", 3)]);
        assert_eq!(one_leader(&recording(samples)).verdict, Verdict::Failed);
    }

    #[test]
    fn a_term_is_not_forgotten_by_a_restart() {
        let reborn = Sample {
            boot: 1,
            applied: 0,
            committed: 0,
            revision: 1,
            ..sample(2, 1, "follower", 3)
        };
        let good = recording(vec![sample(1, 1, "leader", 3), reborn.clone()]);
        assert_eq!(terms_rise(&good).verdict, Verdict::Passed);
        assert_eq!(progress(&good).verdict, Verdict::Passed);
        let bad = recording(vec![sample(1, 1, "leader", 4), reborn]);
        assert_eq!(terms_rise(&bad).verdict, Verdict::Failed);
    }

    #[test]
    fn indices_have_their_order() {
        assert_eq!(
            order(&recording(vec![sample(1, 1, "leader", 1)])).verdict,
            Verdict::Passed
        );
        let ahead = |change: fn(&mut Sample)| {
            let mut sample = sample(1, 1, "leader", 1);
            change(&mut sample);
            order(&recording(vec![sample])).verdict
        };
        assert_eq!(ahead(|s| s.purged = 9), Verdict::Failed);
        assert_eq!(ahead(|s| s.applied = 10), Verdict::Failed);
        assert_eq!(ahead(|s| s.committed = 11), Verdict::Failed);
        assert_eq!(
            ahead(|s| {
                s.committed = 11;
                s.role = "learner".to_owned();
            }),
            Verdict::Passed
        );
    }

    #[test]
    fn what_is_applied_is_in_the_log_or_in_a_snapshot() {
        let life = |looks: &[(u64, u64, u64)]| {
            let looks = looks.iter().enumerate();
            let samples = looks.map(|(at, (applied, snapshot, installed))| Sample {
                committed: 20,
                applied: *applied,
                snapshot: *snapshot,
                snapshots_installed: *installed,
                ..sample(at as u64, 1, "follower", 1)
            });
            order(&recording(samples.collect())).verdict
        };
        assert_eq!(
            life(&[(10, 0, 0), (20, 20, 1), (20, 20, 1)]),
            Verdict::Passed
        );
        // Replaced already, and its log not yet.
        assert_eq!(
            life(&[(10, 0, 0), (20, 5, 0), (20, 20, 1)]),
            Verdict::Passed
        );
        assert_eq!(
            life(&[(10, 0, 0), (20, 5, 1), (20, 20, 1)]),
            Verdict::Passed
        );
        // Nothing was installed, or less.
        assert_eq!(
            life(&[(10, 0, 0), (20, 5, 0), (20, 20, 0)]),
            Verdict::Failed
        );
        assert_eq!(
            life(&[(10, 0, 0), (20, 5, 0), (20, 19, 1)]),
            Verdict::Failed
        );
        assert_eq!(
            life(&[(10, 9, 1), (20, 9, 1), (20, 20, 1)]),
            Verdict::Failed
        );
    }

    #[test]
    fn progress_does_not_go_back_within_a_life() {
        let back = Sample {
            revision: 6,
            ..sample(2, 1, "follower", 1)
        };
        let bad = recording(vec![sample(1, 1, "follower", 1), back]);
        assert_eq!(progress(&bad).verdict, Verdict::Failed);
    }

    #[test]
    fn without_samples_there_is_nothing_to_judge() {
        assert_eq!(
            one_leader(&Recording::default()).verdict,
            Verdict::NotApplicable
        );
    }
}

use super::*;
use crate::cluster::weather::Cut;
use crate::history::call::{Answer, Call, Txn};
use crate::history::operation::{Header, Operation, Outcome};
use crate::history::recording::About;
use crate::history::timeline::Sample;
use crate::judge::finding::Verdict;
use crate::schedule::fault::{Shape, Who};

const SECOND: u64 = 1_000_000;

fn window(nemesis: &str, began: u64, ended: u64) -> Window {
    Window {
        step: 0,
        nemesis: nemesis.to_owned(),
        fault: Fault::Partition {
            shape: Shape::IsolateLeader,
            how: Cut::Drop,
        },
        text: "n1 is cut".to_owned(),
        began,
        ended,
        leader: Some(1),
        struck: vec![1],
        skipped: None,
    }
}

/// Acknowledged writes, each asked 5 ms before its answer, at these milliseconds.
fn recording(windows: Vec<Window>, answers_ms: &[u64]) -> Recording {
    let operations = answers_ms.iter().map(|at| Operation {
        client: "probe".to_owned(),
        workload: "probe".to_owned(),
        node: 1,
        invoked: at * 1000 - 5000,
        completed: at * 1000,
        call: Call::Txn(Txn::put("a", "b")),
        outcome: Outcome::Ok {
            header: Header::default(),
            answer: Answer::Compacted,
        },
    });
    Recording {
        about: About {
            election_timeout_ms: 300,
            stopped: 60 * SECOND,
            ..About::default()
        },
        operations: operations.collect(),
        windows,
        ..Recording::default()
    }
}

fn every(ms: u64, spans: &[(u64, u64)]) -> Vec<u64> {
    let spans = spans
        .iter()
        .flat_map(|(from, to)| (*from..*to).step_by(usize::try_from(ms).unwrap()));
    spans.collect()
}

#[test]
fn a_silence_is_measured_from_end_to_end() {
    let writes = [(10, 12), (20, 25), (90, 95)];
    assert_eq!(longest_silence(&writes, 0, 100), 70);
    assert_eq!(longest_silence(&writes, 15, 60), 35);
    assert_eq!(longest_silence(&[], 10, 60), 50);
    // Asked before, answered within: that member had it already.
    assert_eq!(longest_silence(&[(5, 30)], 10, 60), 50);
}

#[test]
fn an_election_is_no_outage_and_silence_to_the_end_is_one() {
    let cut = || vec![window("isolate-leader", 2 * SECOND, 8 * SECOND)];
    let good = recording(cut(), &every(40, &[(1000, 2000), (2800, 12_000)]));
    let finding = during(&good);
    assert_eq!(finding.verdict, Verdict::Passed);
    assert!(finding.margin.unwrap().contains("2.6 election timeouts"));
    let bad = recording(cut(), &every(40, &[(1000, 2000), (8100, 12_000)]));
    let finding = during(&bad);
    assert_eq!(finding.verdict, Verdict::Failed);
    assert!(
        finding.violations[0].title.contains("6.00 s"),
        "{finding:?}"
    );
    // Standing still in the middle is as bad as at the beginning.
    let bad = recording(cut(), &every(40, &[(1000, 4000), (6900, 12_000)]));
    assert_eq!(during(&bad).verdict, Verdict::Failed);
}

#[test]
fn where_raft_must_stand_still_it_may() {
    let windows = vec![window("constrained", 2 * SECOND, 8 * SECOND)];
    let finding = during(&recording(windows, &every(40, &[(8100, 12_000)])));
    assert_eq!(finding.verdict, Verdict::NotApplicable);
}

#[test]
fn recovery_is_counted_from_the_heal() {
    let cut = || vec![window("constrained", 2 * SECOND, 8 * SECOND)];
    let good = recording(cut(), &every(40, &[(9000, 12_000)]));
    assert_eq!(recovery(&good).verdict, Verdict::Passed);
    let late = recording(cut(), &every(40, &[(10_500, 12_000)]));
    assert_eq!(recovery(&late).verdict, Verdict::Failed);
    let never = recording(cut(), &every(40, &[(1000, 7000)]));
    let finding = recovery(&never);
    assert_eq!(finding.verdict, Verdict::Failed);
    assert!(finding.violations[0].title.contains("never again"));
}

#[test]
fn who_is_struck_again_in_the_middle_of_a_recovery_owes_nothing_yet() {
    let faults = |again| {
        let mut next = window("constrained", again, again + 3 * SECOND);
        next.step = 1;
        vec![window("constrained", 2 * SECOND, 8 * SECOND), next]
    };
    // 2.4 s are a recovery's time here; after the second fault it serves at once.
    let served = every(40, &[(1000, 2000), (15_000, 20_000)]);
    let cut_short = recovery(&recording(faults(9 * SECOND), &served));
    assert_eq!(cut_short.verdict, Verdict::Failed);
    assert_eq!(cut_short.violations.len(), 1, "{cut_short:?}");
    let served = every(40, &[(1000, 2000), (12_100, 20_000)]);
    let cut_short = recovery(&recording(faults(9 * SECOND), &served));
    assert_eq!(cut_short.verdict, Verdict::Passed);
    assert_eq!(cut_short.evaluated, 1);
    let late = recovery(&recording(
        faults(11 * SECOND),
        &every(40, &[(14_100, 20_000)]),
    ));
    assert_eq!(late.verdict, Verdict::Failed);
}

#[test]
fn a_follower_that_flaps_must_not_depose_leaders() {
    let led = |terms: &[u64]| {
        let windows = vec![window("flapping", 2 * SECOND, 8 * SECOND)];
        let mut recording = recording(windows, &[]);
        recording.samples = terms
            .iter()
            .map(|term| Sample {
                at: 3 * SECOND,
                role: "leader".to_owned(),
                term: *term,
                ..Sample::default()
            })
            .collect();
        elections(&recording).verdict
    };
    assert_eq!(led(&[4]), Verdict::Passed);
    assert_eq!(led(&[4, 5, 6, 7, 8]), Verdict::Failed);
}

#[test]
fn in_the_last_act_a_majority_alone_makes_progress() {
    let act = || vec![window(nemesis::LAST_ACT, 10 * SECOND, 20 * SECOND)];
    let judged = |answers: &[(u64, u64)]| during(&recording(act(), &every(100, answers))).verdict;
    // It is given the time of a start before its first answer.
    assert_eq!(judged(&[(1000, 10_000), (14_000, 30_000)]), Verdict::Passed);
    assert_eq!(judged(&[(1000, 10_000), (20_000, 30_000)]), Verdict::Failed);
}

#[test]
fn a_leader_whose_disk_hangs_must_hand_over() {
    let hung = Window {
        fault: Fault::Disk {
            who: Who::Leader,
            trouble: Trouble::Hang,
        },
        ..window("disk-hang", 10 * SECOND, 20 * SECOND)
    };
    let leads = |node: usize, at: u64| Sample {
        at,
        node,
        role: "leader".to_owned(),
        ..Sample::default()
    };
    let told = |samples: Vec<Sample>| {
        let recording = Recording {
            samples,
            ..recording(vec![hung.clone()], &[])
        };
        deposed(&recording).verdict
    };
    let before = leads(1, 9 * SECOND);
    assert_eq!(
        told(vec![before.clone(), leads(2, 11 * SECOND)]),
        Verdict::Passed
    );
    assert_eq!(
        told(vec![before.clone(), leads(2, 13 * SECOND)]),
        Verdict::Failed
    );
    assert_eq!(
        told(vec![before.clone(), leads(1, 11 * SECOND)]),
        Verdict::Failed
    );
    assert_eq!(told(vec![before, leads(2, 21 * SECOND)]), Verdict::Failed);
}

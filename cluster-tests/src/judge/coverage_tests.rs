use super::*;
use crate::cluster::weather::Cut;
use crate::history::call::{Answer, Call, Txn};
use crate::history::operation::{Header, Operation, Outcome};
use crate::history::recording::About;
use crate::history::timeline::Sample;
use crate::judge::finding::Verdict;
use crate::schedule::fault::{Fault, Shape};
use crate::schedule::{Schedule, Step};

const SECOND: u64 = 1_000_000;

fn fault() -> Fault {
    Fault::Partition {
        shape: Shape::IsolateLeader,
        how: Cut::Drop,
    }
}

fn write(workload: &str, node: usize, at: u64) -> Operation {
    Operation {
        client: workload.to_owned(),
        workload: workload.to_owned(),
        node,
        invoked: at,
        completed: at + 3000,
        call: Call::Txn(Txn::put("a", "b")),
        outcome: Outcome::Ok {
            header: Header::default(),
            answer: Answer::Compacted,
        },
    }
}

/// Ten seconds of three members, a leader cut off from the third to the eighth and replaced; a write
/// every 20 ms.
fn good() -> Recording {
    let writes = (0..500_u64).map(|n| {
        let workload = if n % 2 == 0 { "register" } else { PROBE };
        write(workload, 1 + usize::try_from(n % 3).unwrap(), n * 20_000)
    });
    let leader = |at, node, term| Sample {
        at,
        node,
        role: "leader".to_owned(),
        term,
        ..Sample::default()
    };
    Recording {
        about: About {
            nodes: 3,
            workloads: vec!["register".to_owned()],
            election_timeout_ms: 300,
            stopped: 10 * SECOND,
            ..About::default()
        },
        schedule: Schedule {
            steps: vec![Step {
                at_ms: 3000,
                for_ms: 5000,
                nemesis: "isolate-leader".to_owned(),
                fault: fault(),
            }],
            ..Schedule::default()
        },
        operations: writes.collect(),
        windows: vec![Window {
            step: 0,
            nemesis: "isolate-leader".to_owned(),
            fault: fault(),
            text: String::new(),
            began: 3 * SECOND,
            ended: 8 * SECOND,
            leader: Some(1),
            struck: vec![1],
            skipped: None,
        }],
        samples: vec![leader(SECOND, 1, 1), leader(5 * SECOND, 2, 2)],
        ..Recording::default()
    }
}

#[test]
fn a_run_that_did_something_is_not_vacuous() {
    let run = good();
    assert_eq!(faults(&run).verdict, Verdict::Passed, "{:?}", faults(&run));
    assert_eq!(load(&run).verdict, Verdict::Passed, "{:?}", load(&run));
}

#[test]
fn a_fault_that_never_struck_and_one_that_did_not_bite_are_vacuous() {
    let mut run = good();
    run.windows.clear();
    assert_eq!(faults(&run).verdict, Verdict::Failed);
    let mut run = good();
    run.samples.truncate(1);
    assert_eq!(faults(&run).verdict, Verdict::Failed);
    let mut run = good();
    run.windows[0].skipped = Some("cannot".to_owned());
    assert_eq!(faults(&run).verdict, Verdict::Failed);
    let mut run = good();
    run.windows[0].leader = None;
    assert_eq!(faults(&run).verdict, Verdict::Failed);
}

#[test]
fn clients_that_did_not_work_are_vacuous() {
    let mut run = good();
    run.operations
        .retain(|operation| operation.invoked > 2 * SECOND);
    assert_eq!(load(&run).verdict, Verdict::Failed);
    let mut run = good();
    run.operations
        .retain(|operation| operation.workload == PROBE);
    assert_eq!(load(&run).verdict, Verdict::Failed);
    let mut run = good();
    run.operations.retain(|operation| operation.node != 3);
    assert_eq!(load(&run).verdict, Verdict::Failed);
}

#[test]
fn a_workload_whose_judge_saw_nothing_proves_nothing() {
    let recording = Recording {
        about: About {
            workloads: vec!["bank".to_owned(), "set".to_owned()],
            ..About::default()
        },
        ..Recording::default()
    };
    let bank = Finding::passed("bank", "", 3, "");
    let set = |evaluated| Finding::passed("set", "", evaluated, "");
    let found = judges(&recording, &[bank.clone(), set(1)]);
    assert_eq!(found.verdict, Verdict::Passed);
    let found = judges(&recording, &[bank, set(0)]);
    assert_eq!(found.verdict, Verdict::Failed);
    assert_eq!(found.violations.len(), 1);
}

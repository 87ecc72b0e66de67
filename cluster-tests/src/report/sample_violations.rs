//! What is wrong with the run made by hand, and what judges would say of it.

use super::sample_run::{S, pair};
use crate::history::call::{Answer, Call, Done, Found, Range, Txn};
use crate::history::operation::{Header, Operation, Outcome};
use crate::history::recording::Recording;
use crate::judge::finding::{Finding, Violation};

/// A read of an old leader's, after the write that it misses.
pub(super) fn plant(recording: &mut Recording) {
    let operation = |client: &str, node, invoked, completed, call, outcome| Operation {
        client: client.into(),
        workload: "register".into(),
        node,
        invoked,
        completed,
        call,
        outcome,
    };
    let put = |value: &str| Call::Txn(Txn::put("register/3", value));
    let ok = |revision, answer| Outcome::Ok {
        header: Header {
            revision,
            term: 2,
            member: 2,
        },
        answer,
    };
    let written = |revision| {
        ok(
            revision,
            Answer::Txn {
                succeeded: true,
                done: vec![Done::Put { previous: None }],
            },
        )
    };
    let read = |value, revision| {
        let kvs = vec![pair("register/3", value, revision)];
        ok(
            revision,
            Answer::Range(Found {
                kvs,
                more: false,
                count: 1,
            }),
        )
    };
    let get = || Call::Range(Range::one("register/3"));
    let planted = [
        operation(
            "register.0",
            2,
            9_900_000,
            9_912_000,
            put("16"),
            written(1702),
        ),
        operation(
            "register.2",
            3,
            9_906_000,
            10_300_000,
            put("21"),
            Outcome::Unknown("deadline exceeded".into()),
        ),
        operation(
            "register.1",
            3,
            9_930_000,
            9_934_500,
            put("17"),
            written(1709),
        ),
        operation("register.0", 2, 9_941_000, 9_943_000, get(), read(17, 1709)),
        operation("register.3", 1, 9_950_000, 9_951_200, get(), read(16, 1702)),
    ];
    recording.operations.extend(planted);
    recording
        .operations
        .sort_by_key(|operation| (operation.completed, operation.invoked));
}

/// What judges would say of it.
pub(super) fn findings(recording: &Recording, broken: bool) -> Vec<Finding> {
    let all = recording.operations.len() as u64;
    let at = |invoked: u64| {
        recording
            .operations
            .iter()
            .position(|o| o.invoked == invoked && o.workload == "register")
    };
    let linearizable = Violation {
        title: "A read shows a value that was overwritten before it began".into(),
        explanation: "register.3 read register/3 = 16 from n1, 15.5 ms after register.1 was told that 17 is written; n1 was cut off, and did not know."
            .into(),
        contradicts: "register/3 = 17 at revision 1709".into(),
        operations: [9_900_000, 9_906_000, 9_930_000, 9_941_000, 9_950_000].into_iter().filter_map(at).collect(),
        offender: at(9_950_000),
        key: Some("register/3".into()),
        ..Violation::default()
    };
    let gap = recording
        .watches
        .iter()
        .enumerate()
        .find_map(|(stream, watch)| {
            let response = watch.told.iter().position(|told| told.at >= 24 * S)?;
            (watch.node == 2 && watch.opened > 17 * S).then_some((stream, response))
        });
    let reliable = Violation {
        title: "A watcher was not told of changes that were made".into(),
        explanation: "watch.2 was told of a revision, then of one far above it; what is between was never delivered."
            .into(),
        contradicts: "the log, which has puts of watch/1 at every revision between".into(),
        watch: gap,
        ..Violation::default()
    };
    let faulty = |violation: Violation| if broken { vec![violation] } else { Vec::new() };
    vec![
        Finding::of(
            "linearizable",
            "Every read shows the latest write that was acknowledged before it began.",
            all,
            "every register has an order that explains all answers",
            faulty(linearizable),
        ),
        Finding::passed(
            "revision-oracle",
            "Every answer is the one that a single server would have given at its revision.",
            all,
            "every answer agrees with the log",
        ),
        Finding::of(
            "watch-reliable",
            "A watcher is told of every change, once, in order.",
            14_021,
            "3 watchers on 6 streams",
            faulty(reliable),
        ),
        Finding::passed(
            "liveness",
            "After every fault the cluster serves again, in time.",
            5,
            "5 of 5 faults",
        )
        .with_margin("slowest 0.01 of 5 election timeouts"),
        Finding::passed(
            "one-leader-per-term",
            "A term has one leader at most.",
            1742,
            "5 terms led",
        ),
        Finding::not_applicable(
            "lease",
            "A lease lives as long as it says.",
            "the workload was not asked for",
        ),
        Finding::passed(
            "coverage",
            "The run did enough for its verdict to mean something.",
            11,
            "4 elections, the leader struck 4 times",
        ),
    ]
}

use super::*;
use crate::history::call::{Act, Answer, Call, Compare, Done, Range, Relation, Target, Txn};
use crate::history::recording::Recording;
use crate::judge::finding::Verdict;
use crate::judge::imagined::{
    Imagined, answer_of, events_of, finding, found_in, header_of, verdict,
};

fn transfer(from: (&str, i64, &str), to: (&str, i64, &str)) -> Call {
    let unchanged = |key: &str, at| Compare {
        key: key.into(),
        relation: Relation::Equal,
        target: Target::ModRevision(at),
    };
    Call::Txn(Txn {
        compares: vec![unchanged(from.0, from.1), unchanged(to.0, to.1)],
        then: [Txn::put(from.0, from.2).then, Txn::put(to.0, to.2).then].concat(),
        otherwise: vec![Act::Get(Range::prefix("bank/"))],
    })
}

/// Puts, deletions, transactions over two keys, lists, reads of the past.
fn busy(count: usize) -> Imagined {
    let mut store = Imagined::new();
    store.keeps_past = count < 10_000;
    for turn in 0..count {
        let key = format!("register/{}", turn % 11);
        let client = format!("register.{}", turn % 5);
        match turn % 8 {
            0 | 1 => store.put(&client, &key, &format!("v{turn}")),
            2 => store.delete(&client, &key),
            3 => {
                let (one, other) = (format!("v{turn}"), format!("w{turn}"));
                store.call(
                    "bank.1",
                    transfer(("bank/1", 0, &one), ("bank/2", 0, &other)),
                )
            }
            4 => store.delete("bank.1", "bank/1"),
            5 if store.keeps_past => {
                let revision = (store.revision - 3).max(1);
                let range = Range {
                    revision,
                    limit: 3,
                    ..Range::prefix("register/")
                };
                store.call(&client, Call::Range(range))
            }
            _ => store.get(&client, &key),
        };
    }
    store
}

fn all(recording: &Recording) -> Vec<(String, Verdict)> {
    let findings = judge(&Case::new(recording)).into_iter();
    findings
        .map(|finding| (finding.judge, finding.verdict))
        .collect()
}

#[test]
fn a_right_history_passes() {
    let recording = busy(2000).end();
    for finding in judge(&Case::new(&recording)) {
        assert_eq!(finding.verdict, Verdict::Passed, "{finding:#?}");
        assert!(finding.evaluated > 500, "{finding:?}");
        assert!(!finding.summary.contains("not known"), "{finding:?}");
    }
}

#[test]
fn without_a_witness_nothing_is_guessed() {
    let mut store = busy(200);
    store.unknown("set.1", Call::Txn(Txn::put("set/1", "a")), true);
    store.get("set.1", "set/2");
    store.put("set.2", "set/3", "b");
    let mut recording = store.end();
    recording.watches.clear();
    recording.finale.clear();
    for finding in judge(&Case::new(&recording)) {
        assert_eq!(finding.verdict, Verdict::Passed, "{finding:#?}");
    }
    let found = finding(judge, REVISIONS, &recording);
    assert!(
        found
            .summary
            .contains("1 revisions are not known, 2 answers"),
        "{}",
        found.summary
    );
}

#[test]
fn a_stale_read_at_a_new_revision_fails() {
    let mut store = Imagined::new();
    let old = store.put("register.0", "register/a", "old");
    let new = store.put("register.0", "register/a", "new");
    let read = store.get("register.1", "register/a");
    let mut recording = store.end();
    let pair = &mut found_in(&mut recording, read).kvs[0];
    (pair.value, pair.mod_revision, pair.version) = ("old".into(), 2, 1);
    let found = finding(judge, REVISIONS, &recording);
    assert_eq!(found.verdict, Verdict::Failed);
    assert_eq!(found.violations[0].operations, [old, new, read]);
    assert_eq!(found.violations[0].offender, Some(read));
}

#[test]
fn a_stale_read_that_admits_it_fails_in_time() {
    let mut store = Imagined::new();
    let read = store.get("register.1", "register/a");
    let write = store.put("register.0", "register/a", "1");
    let mut recording = store.end();
    // It claims the old revision, rightly; but it was asked after the write was acknowledged.
    recording.operations[read].invoked = recording.operations[write].completed + 1;
    recording.operations[read].completed = recording.operations[write].completed + 2;
    assert_eq!(verdict(judge, REVISIONS, &recording), Verdict::Passed);
    let found = finding(judge, REAL_TIME, &recording);
    assert_eq!(found.verdict, Verdict::Failed);
    assert_eq!(found.violations[0].operations, [write, read]);
    // Of a serializable read nothing else was promised.
    if let Call::Range(range) = &mut recording.operations[read].call {
        range.serializable = true;
    }
    assert_eq!(verdict(judge, REAL_TIME, &recording), Verdict::Passed);
}

#[test]
fn a_revision_given_twice_fails() {
    let mut store = Imagined::new();
    store.put("register.0", "register/a", "1");
    let second = store.put("register.0", "register/b", "1");
    let mut recording = store.end();
    header_of(&mut recording, second).revision = 2;
    assert_eq!(verdict(judge, REVISIONS, &recording), Verdict::Failed);
    assert_eq!(verdict(judge, REAL_TIME, &recording), Verdict::Failed);
}

#[test]
fn a_wrong_branch_fails() {
    let mut store = Imagined::new();
    store.put("bank.0", "bank/1", "5");
    let txn = store.call("bank.0", transfer(("bank/1", 9, "4"), ("bank/2", 0, "1")));
    let mut recording = store.end();
    assert_eq!(verdict(judge, REVISIONS, &recording), Verdict::Passed);
    *answer_of(&mut recording, txn) = Answer::Txn {
        succeeded: true,
        done: vec![],
    };
    let found = finding(judge, REVISIONS, &recording);
    assert_eq!(found.verdict, Verdict::Failed);
    assert!(found.violations[0].title.contains("wrong branch"));
}

#[test]
fn a_wrong_previous_pair_count_or_more_fails() {
    let spoil: [fn(&mut Recording, usize, usize); 3] = [
        |recording, _, put| {
            if let Answer::Txn { done, .. } = answer_of(recording, put) {
                done[0] = Done::Put { previous: None };
            }
        },
        |recording, read, _| found_in(recording, read).count += 1,
        |recording, read, _| found_in(recording, read).more = true,
    ];
    for spoil in spoil {
        let mut store = Imagined::new();
        store.put("register.0", "register/a", "1");
        let put = store.put("register.0", "register/a", "2");
        let read = store.call("register.1", Call::Range(Range::prefix("register/")));
        let mut recording = store.end();
        assert_eq!(verdict(judge, REVISIONS, &recording), Verdict::Passed);
        spoil(&mut recording, read, put);
        assert_eq!(verdict(judge, REVISIONS, &recording), Verdict::Failed);
    }
}

#[test]
fn an_event_with_a_wrong_version_fails() {
    let mut store = Imagined::new();
    store.unknown("register.0", Call::Txn(Txn::put("register/a", "1")), true);
    let mut recording = store.end();
    assert_eq!(
        all(&recording)
            .iter()
            .filter(|(_, one)| *one == Verdict::Passed)
            .count(),
        3
    );
    events_of(&mut recording, 0, 1)[0].kv.version = 2;
    assert_eq!(verdict(judge, REVISIONS, &recording), Verdict::Failed);
}

#[test]
fn a_refused_write_that_happened_fails() {
    let mut store = Imagined::new();
    let write = store.unknown("register.0", Call::Txn(Txn::put("register/a", "1")), true);
    store.recording.operations[write].outcome =
        crate::history::operation::Outcome::Refused("no leader".into());
    let found = finding(judge, EXACTLY_ONCE, &store.end());
    assert_eq!(found.verdict, Verdict::Failed);
    assert!(found.violations[0].title.contains("refused"));
    assert_eq!(found.violations[0].operations, [write]);
}

#[test]
fn an_unanswered_write_that_happened_twice_fails() {
    let mut store = Imagined::new();
    let call = Call::Txn(Txn::put("register/a", "1"));
    store.unknown("register.0", call.clone(), true);
    let again = store.unknown("register.0", call, true);
    let mut recording = store.end();
    assert_eq!(verdict(judge, EXACTLY_ONCE, &recording), Verdict::Passed);
    recording.operations.remove(again);
    let found = finding(judge, EXACTLY_ONCE, &recording);
    assert_eq!(found.verdict, Verdict::Failed);
    assert!(found.violations[0].title.contains("twice"));
}

#[test]
fn half_a_transaction_fails() {
    let mut store = Imagined::new();
    let call = transfer(("bank/1", 0, "4"), ("bank/2", 0, "6"));
    let txn = store.unknown("bank.0", call, true);
    let mut recording = store.end();
    assert_eq!(verdict(judge, EXACTLY_ONCE, &recording), Verdict::Passed);
    events_of(&mut recording, 0, 1).pop();
    let found = finding(judge, EXACTLY_ONCE, &recording);
    assert_eq!(found.verdict, Verdict::Failed);
    assert_eq!(found.violations[0].operations, [txn]);
}

#[test]
fn a_change_that_nobody_asked_for_fails_and_the_end_of_a_lease_does_not() {
    let mut store = Imagined::new();
    let put = Act::Put {
        key: "lease/a".into(),
        value: "1".into(),
        lease: 7,
    };
    store.call(
        "lease.0",
        Call::Txn(Txn {
            then: vec![put],
            ..Txn::default()
        }),
    );
    store.put("register.0", "register/a", "1");
    store.expire(7);
    let mut recording = store.end();
    assert_eq!(verdict(judge, EXACTLY_ONCE, &recording), Verdict::Passed);
    let events = events_of(&mut recording, 0, 3);
    events[0].kv.key = "register/a".into();
    let found = finding(judge, EXACTLY_ONCE, &recording);
    assert_eq!(found.verdict, Verdict::Failed);
    assert_eq!(found.violations[0].watch, Some((0, 3)));
}

/// `cargo test -p cluster-tests --lib oracle::tests::a_million -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn a_million_operations() {
    let recording = busy(1_000_000).end();
    let start = std::time::Instant::now();
    let case = Case::new(&recording);
    let gathered = start.elapsed();
    let findings = judge(&case);
    println!("log {gathered:?}, all {:?}", start.elapsed());
    assert!(findings.iter().all(|one| one.verdict == Verdict::Passed));
}

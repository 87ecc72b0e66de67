use super::*;
use crate::history::call::{Compare, Range, Relation, Target, Txn};
use crate::history::recording::Recording;
use crate::judge::finding::Verdict;
use crate::judge::imagined::{Imagined, answer_of, finding};

/// Appends to one list, and reads another in the same transaction.
fn append(store: &mut Imagined, client: &str, list: &str, whole: &str, other: &str) -> usize {
    let mod_revision = store.revision_of(list);
    let compare = Compare {
        key: list.into(),
        relation: Relation::Equal,
        target: Target::ModRevision(mod_revision),
    };
    let get = Act::Get(Range::one(other));
    let then = [vec![get], Txn::put(list, whole).then].concat();
    store.call(
        client,
        Call::Txn(Txn {
            compares: vec![compare],
            then,
            ..Txn::default()
        }),
    )
}

fn read(store: &mut Imagined, client: &str) -> usize {
    let then = ["append/x", "append/y"].map(|list| Act::Get(Range::one(list)));
    store.call(
        client,
        Call::Txn(Txn {
            then: then.into(),
            ..Txn::default()
        }),
    )
}

fn value(recording: &mut Recording, number: usize, act: usize) -> &mut Found {
    match answer_of(recording, number) {
        Answer::Txn { done, .. } => match &mut done[act] {
            Done::Get(found) => found,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// x: a b; y: c; and a read of both.
fn lists() -> (Imagined, [usize; 4]) {
    let mut store = Imagined::new();
    let a = append(&mut store, "append.0", "append/x", "a", "append/y");
    let c = append(&mut store, "append.1", "append/y", "c", "append/x");
    let b = append(&mut store, "append.0", "append/x", "a,b", "append/y");
    let r = read(&mut store, "append.2");
    (store, [a, c, b, r])
}

fn judged(recording: &Recording) -> Finding {
    finding(judge, NAME, recording)
}

#[test]
fn a_right_history_passes() {
    let (store, _) = lists();
    let found = judged(&store.end());
    assert_eq!(found.verdict, Verdict::Passed, "{found:#?}");
    assert_eq!(found.evaluated, 4);
}

#[test]
fn a_lost_append_fails() {
    let (store, [_, _, _, read]) = lists();
    let mut recording = store.end();
    value(&mut recording, read, 0).kvs[0].value = "a".into();
    let found = judged(&recording);
    assert_eq!(found.verdict, Verdict::Failed);
    assert!(found.violations[0].title.contains("missing"), "{found:#?}");
}

#[test]
fn two_orders_an_element_twice_and_a_stranger_fail() {
    for (wrong, title) in [
        ("b,a", "two orders"),
        ("a,b,b", "twice"),
        ("a,b,z", "nobody"),
    ] {
        let (mut store, _) = lists();
        let again = read(&mut store, "append.2");
        let mut recording = store.end();
        value(&mut recording, again, 0).kvs[0].value = wrong.into();
        let found = judged(&recording);
        assert_eq!(found.verdict, Verdict::Failed, "{wrong}");
        let titled = found.violations.iter().any(|one| one.title.contains(title));
        assert!(titled, "{found:#?}");
    }
}

#[test]
fn a_refused_append_that_is_seen_fails() {
    let (store, [_, _, b, _]) = lists();
    let mut recording = store.end();
    recording.operations[b].outcome = Outcome::Refused("no".into());
    let found = judged(&recording);
    assert!(
        found
            .violations
            .iter()
            .any(|one| one.title.contains("not done")),
        "{found:#?}"
    );
}

#[test]
fn write_skew_is_a_circle() {
    let mut store = Imagined::new();
    let one = append(&mut store, "append.0", "append/x", "a", "append/y");
    let other = append(&mut store, "append.1", "append/y", "b", "append/x");
    read(&mut store, "append.2");
    let mut recording = store.end();
    // Both at once, neither sees the other.
    let from = recording.operations[one].invoked;
    recording.operations[other].invoked = from;
    recording.operations[one].completed = recording.operations[other].completed;
    assert_eq!(judged(&recording).verdict, Verdict::Passed);
    value(&mut recording, other, 0).kvs.clear();
    let found = judged(&recording);
    assert_eq!(found.verdict, Verdict::Failed);
    let circle = found.violations.last().unwrap();
    assert!(circle.title.contains("circle"), "{found:#?}");
    assert_eq!(circle.operations, [one, other]);
}

#[test]
fn an_unanswered_append_may_be_seen_or_not() {
    for done in [false, true] {
        let (mut store, _) = lists();
        let put = Txn::put("append/x", "a,b,d");
        store.unknown("append.1", Call::Txn(put), done);
        read(&mut store, "append.2");
        let found = judged(&store.end());
        assert_eq!(found.verdict, Verdict::Passed, "{found:#?}");
    }
}

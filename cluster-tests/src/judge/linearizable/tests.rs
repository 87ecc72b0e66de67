use super::*;
use crate::history::call::{Act, Compare, Found, Range, Relation, Target, Txn};
use crate::history::recording::Recording;
use crate::judge::finding::Verdict;
use crate::judge::imagined::{Imagined, finding, found_in};

fn swap(key: &str, from: &str, to: &str) -> Call {
    Call::Txn(Txn {
        compares: vec![Compare {
            key: key.into(),
            relation: Relation::Equal,
            target: Target::Value(from.into()),
        }],
        then: Txn::put(key, to).then,
        otherwise: vec![Act::Get(Range::one(key))],
    })
}

fn judged(recording: &Recording) -> Finding {
    finding(judge, NAME, recording)
}

/// Many operations of several clients, all answered rightly.
fn busy(count: usize) -> Imagined {
    let mut store = Imagined::new();
    for turn in 0..count {
        let key = format!("register/{}", turn % 3);
        let client = format!("register.{}", turn % 5);
        match turn % 7 {
            0 | 1 => store.put(&client, &key, &format!("v{turn}")),
            2 => store.delete(&client, &key),
            3 => store.call(
                &client,
                swap(&key, &format!("v{}", turn - 3), &format!("w{turn}")),
            ),
            _ => store.get(&client, &key),
        };
    }
    store
}

#[test]
fn a_right_history_passes() {
    let found = judged(&busy(3000).end());
    assert_eq!(found.verdict, Verdict::Passed, "{found:#?}");
    assert!(found.evaluated > 2900);
}

#[test]
fn calls_that_overlap_may_be_ordered_either_way() {
    let mut store = Imagined::new();
    store.put("register.0", "register/a", "1");
    let read = store.get("register.1", "register/a");
    let write = store.put("register.0", "register/a", "2");
    let mut recording = store.end();
    // The read lasts into the write, and shows what the write makes.
    recording.operations[read].completed = recording.operations[write].completed;
    found_in(&mut recording, read).kvs[0].value = "2".into();
    assert_eq!(judged(&recording).verdict, Verdict::Passed);
}

#[test]
fn a_stale_read_fails_and_is_shown_in_three_operations() {
    let mut store = busy(600);
    store.put("register.0", "register/0", "old");
    let new = store.put("register.1", "register/0", "new");
    let read = store.get("register.2", "register/0");
    for _ in 0..50 {
        store.get("register.3", "register/0");
    }
    let mut recording = store.end();
    found_in(&mut recording, read).kvs[0].value = "old".into();
    let found = judged(&recording);
    assert_eq!(found.verdict, Verdict::Failed);
    let violation = &found.violations[0];
    assert_eq!(violation.offender, Some(read));
    assert!(violation.operations.contains(&new) && violation.operations.contains(&read));
    assert!(violation.operations.len() <= 3, "{violation:#?}");
    assert_eq!(violation.key.as_deref(), Some("register/0"));
}

#[test]
fn a_lost_write_fails() {
    let mut store = Imagined::new();
    store.put("register.0", "register/a", "1");
    let read = store.get("register.1", "register/a");
    let mut recording = store.end();
    *found_in(&mut recording, read) = Found::default();
    assert_eq!(judged(&recording).verdict, Verdict::Failed);
}

#[test]
fn two_swaps_from_one_value_fail() {
    let mut store = Imagined::new();
    store.put("register.0", "register/a", "1");
    let first = store.call("register.0", swap("register/a", "1", "2"));
    let mut again = store.recording.operations[first].clone();
    again.client = "register.1".into();
    again.call = swap("register/a", "1", "3");
    again.invoked += 100;
    again.completed += 100;
    store.recording.operations.push(again);
    let found = judged(&store.end());
    assert_eq!(found.verdict, Verdict::Failed);
    assert!(found.violations[0].operations.len() >= 2);
}

#[test]
fn a_write_of_unknown_outcome_may_be_seen_late_or_never() {
    for done in [false, true] {
        let mut store = Imagined::new();
        store.put("register.0", "register/a", "1");
        let maybe = Call::Txn(Txn::put("register/a", "maybe"));
        store.unknown("register.1", maybe, done);
        store.get("register.2", "register/a");
        let found = judged(&store.end());
        assert_eq!(found.verdict, Verdict::Passed, "{found:#?}");
    }
}

#[test]
fn a_write_of_unknown_outcome_does_not_happen_twice() {
    let mut store = Imagined::new();
    let maybe = Call::Txn(Txn::put("register/a", "maybe"));
    store.unknown("register.1", maybe, true);
    store.get("register.2", "register/a");
    store.put("register.0", "register/a", "1");
    let read = store.get("register.2", "register/a");
    let mut recording = store.end();
    found_in(&mut recording, read).kvs[0].value = "maybe".into();
    assert_eq!(judged(&recording).verdict, Verdict::Failed);
}

#[test]
fn over_budget_is_unknown_and_fails_the_run() {
    let recording = busy(300).end();
    let found = find(&Case::new(&recording), 10, 1000);
    assert_eq!(found.verdict, Verdict::Unknown);
    assert!(found.verdict.fails_run());
}

#[test]
fn keys_that_are_no_registers_are_left_out() {
    let mut store = Imagined::new();
    let txn = Txn {
        then: [Txn::put("bank/1", "5").then, Txn::put("bank/2", "5").then].concat(),
        ..Txn::default()
    };
    store.call("bank.0", Call::Txn(txn));
    store.get("bank.1", "bank/1");
    assert_eq!(judged(&store.end()).verdict, Verdict::NotApplicable);
}

#[test]
fn writes_whose_fate_is_unknown_are_not_tried_one_upon_the_other() {
    use super::register::plain::{read, value, write};
    let mut values = Values::default();
    let written: Vec<State> = (0..24)
        .map(|number| value(&mut values, NAMES[number]))
        .collect();
    let writes = written.iter().map(|value| (write(*value), (0, u64::MAX)));
    // Seen long after, the last one first.
    let reads = written.iter().rev().zip(1..);
    let reads = reads.map(|(value, turn)| (read(*value), (100 * turn, 100 * turn + 1)));
    let (steps, spans): (Vec<Step>, Vec<Span>) = writes.chain(reads).unzip();
    let register = Register {
        numbers: (0..steps.len()).collect(),
        values,
        steps,
        spans,
    };
    let mut budget = 10_000;
    assert_eq!(register.search(&mut budget), search::Outcome::Legal);
}

const NAMES: [&str; 24] = [
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s",
    "t", "u", "v", "w", "x",
];

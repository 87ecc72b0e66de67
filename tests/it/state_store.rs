//! What the store promises those who share it: consistent views, durability told truly,
//! checkpoints, and refusal of what it does not understand.

use bytes::Bytes;
use quorate::state_machine::codec::{NESTING_MAX, decode_replies, encode_replies};
use quorate::state_machine::command::{DeleteRange, Operation, Put, Txn};
use quorate::state_machine::outcome::OperationResult;
use quorate::state_machine::{
    BatchBuilder, COMMAND_FORMAT_VERSION, Command, Entry, EntryBody, Outcome, Reply, StateMachine,
    StateOptions, Store,
};
use quorate::storage::EngineOptions;
use quorate::types::{KeyRange, Position, RangeEnd, RangeQuery};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

fn open(dir: &Path) -> StateMachine {
    let options = StateOptions {
        engine: EngineOptions::small(),
        ..StateOptions::default()
    };
    StateMachine::open(dir, &options).unwrap()
}

fn put(key: &str, value: &str) -> Command {
    Command::Put(Put {
        key: Bytes::from(key.to_owned()),
        value: Bytes::from(value.to_owned()),
        lease: 0,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    })
}

fn everything() -> KeyRange {
    KeyRange {
        start: Bytes::from_static(b"\0"),
        end: RangeEnd::Unbounded,
    }
}

fn encode(commands: &[Command]) -> Bytes {
    let mut batch = BatchBuilder::new();
    commands.iter().for_each(|command| batch.push(command));
    batch.finish()
}

fn next(machine: &StateMachine, body: EntryBody) -> Entry {
    let index = machine.applied().map_or(0, |position| position.index) + 1;
    Entry {
        position: Position { term: 1, index },
        body,
    }
}

fn apply(machine: &mut StateMachine, commands: &[Command]) -> Vec<Reply> {
    let entry = next(machine, EntryBody::Commands(encode(commands)));
    machine.apply(&[entry]).unwrap().remove(0)
}

fn value_at(store: &Store, key: &str, revision: i64) -> Option<Bytes> {
    let key = KeyRange::single(Bytes::from(key.to_owned()));
    let query = RangeQuery {
        revision,
        ..RangeQuery::latest(key)
    };
    let found = store.view().unwrap().range(&query).unwrap().unwrap();
    found.kvs.into_iter().next().map(|kv| kv.value)
}

/// Every put adds one key and every transaction replaces them all, so whatever a reader sees, all
/// values are equal, and their number is the count.
#[test]
fn a_view_never_mixes_two_batches() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = open(dir.path());
    let store = machine.store();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut views = 0u64;
                    let mut newest = 0;
                    while !done.load(Ordering::Acquire) || views == 0 {
                        let view = store.view().unwrap();
                        assert!(view.revision() >= newest, "revisions go forward");
                        newest = view.revision();
                        let all = view
                            .range(&RangeQuery::latest(everything()))
                            .unwrap()
                            .unwrap();
                        let limited = RangeQuery {
                            limit: 1,
                            ..RangeQuery::latest(everything())
                        };
                        let limited = view.range(&limited).unwrap().unwrap();
                        assert_eq!(limited.count, all.count);
                        assert!(all.kvs.iter().all(|kv| kv.mod_revision == view.revision()));
                        assert_eq!(all.count, view.revision() - 1);
                        views += 1;
                    }
                    views
                })
            })
            .collect();
        for n in 0..200 {
            let puts = (0..=n).map(|key| match put(&format!("{key:05}"), "v") {
                Command::Put(put) => Operation::Put(put),
                other => panic!("{other:?} is no put"),
            });
            let txn = Txn {
                compare: Vec::new(),
                success: puts.collect(),
                failure: Vec::new(),
            };
            apply(&mut machine, &[Command::Txn(txn)]);
            if n % 50 == 20 {
                store.flush().unwrap();
            }
        }
        done.store(true, Ordering::Release);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
}

#[test]
fn what_an_open_view_may_read_is_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = open(dir.path());
    let store = machine.store();
    for n in 0..50 {
        apply(&mut machine, &[put("k", &n.to_string())]);
    }
    store.flush().unwrap();
    let view = store.view().unwrap();
    let compact = Command::Compact {
        revision: store.revision(),
    };
    apply(&mut machine, &[compact, put("k", "last")]);
    assert_eq!(
        format!("{:?}", store.remove_compacted().unwrap()),
        "Waiting"
    );
    for revision in 2..=51 {
        let key = KeyRange::single(Bytes::from_static(b"k"));
        let query = RangeQuery {
            revision,
            ..RangeQuery::latest(key)
        };
        let found = view.range(&query).unwrap().unwrap();
        assert_eq!(found.kvs[0].value, (revision - 2).to_string());
    }
    drop(view);
    assert_eq!(
        format!("{:?}", store.remove_compacted().unwrap()),
        "Removed"
    );
    assert_eq!(format!("{:?}", store.remove_compacted().unwrap()), "Idle");
    assert_eq!(value_at(&store, "k", 51), Some(Bytes::from_static(b"49")));
}

#[test]
fn applied_is_durable_only_after_a_flush() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = open(dir.path());
    let store = machine.store();
    assert_eq!(store.durable_applied().unwrap(), None);
    apply(&mut machine, &[put("a", "1")]);
    apply(&mut machine, &[put("a", "2")]);
    assert_eq!(store.applied(), Some(Position { term: 1, index: 2 }));
    assert_eq!(store.durable_applied().unwrap(), None);
    store.flush().unwrap();
    assert_eq!(
        store.durable_applied().unwrap(),
        Some(Position { term: 1, index: 2 })
    );
    apply(&mut machine, &[put("a", "3")]);
    assert_eq!(
        store.durable_applied().unwrap(),
        Some(Position { term: 1, index: 2 })
    );
}

#[test]
fn a_checkpoint_is_labelled_from_inside_and_opens_as_a_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = open(&dir.path().join("state"));
    let membership = next(
        &machine,
        EntryBody::Membership {
            bytes: Bytes::from_static(b"three"),
            removed: Vec::new(),
        },
    );
    machine.apply(&[membership]).unwrap();
    apply(&mut machine, &[put("a", "1"), put("b", "2")]);
    let store = machine.store();
    let copy = dir.path().join("checkpoint");
    let hash = store.state_hash().unwrap();
    store.checkpoint(&copy).unwrap();
    // It does not follow.
    apply(&mut machine, &[put("a", "3")]);
    assert_ne!(store.state_hash().unwrap().1, hash.1);

    let label = Store::read_label(&copy).unwrap();
    assert_eq!(label.applied, Some(Position { term: 1, index: 2 }));
    let three = (Position { term: 1, index: 1 }, Bytes::from_static(b"three"));
    assert_eq!(label.membership, Some(three.clone()));
    let opened = open(&copy);
    assert_eq!(opened.membership(), Some(three));
    assert_eq!(opened.store().state_hash().unwrap(), hash);
    assert_eq!(opened.store().durable_applied().unwrap(), label.applied);
}

#[test]
fn an_entry_of_a_newer_format_is_named_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = open(dir.path());
    apply(&mut machine, &[put("a", "1")]);
    let before = machine.store().state_hash().unwrap();
    let mut newer = encode(&[put("a", "2")]).to_vec();
    newer[0] = COMMAND_FORMAT_VERSION + 1;
    let sound = next(&machine, EntryBody::Commands(encode(&[put("b", "1")])));
    let position = Position {
        term: 1,
        index: sound.position.index + 1,
    };
    let newer = Entry {
        position,
        body: EntryBody::Commands(Bytes::from(newer)),
    };
    let error = machine.apply(&[sound, newer]).unwrap_err();
    assert!(error.is_newer_format(), "{error}");
    assert!(error.to_string().contains("newer"), "{error}");
    assert_eq!(machine.store().state_hash().unwrap(), before);

    let garbage = next(
        &machine,
        EntryBody::Commands(Bytes::from_static(b"\x01garbage")),
    );
    let error = machine.apply(&[garbage]).unwrap_err();
    assert!(!error.is_newer_format(), "{error}");
    assert_eq!(machine.store().state_hash().unwrap(), before);
}

#[test]
fn entries_come_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = open(dir.path());
    apply(&mut machine, &[put("a", "1")]);
    apply(&mut machine, &[put("a", "2")]);
    for position in [
        Position { term: 1, index: 2 },
        Position { term: 0, index: 3 },
    ] {
        assert!(
            machine
                .apply(&[Entry {
                    position,
                    body: EntryBody::Blank
                }])
                .is_err()
        );
    }
    assert_eq!(machine.applied(), Some(Position { term: 1, index: 2 }));
}

#[test]
fn a_directory_of_a_newer_format_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    std::fs::write(dir.path().join("FORMAT"), "999\n").unwrap();
    let listing = || {
        let files = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|file| file.unwrap());
        let mut files: Vec<_> = files
            .map(|file| {
                (
                    file.file_name(),
                    file.metadata().unwrap().modified().unwrap(),
                )
            })
            .collect();
        files.sort();
        files
    };
    let before = listing();
    let error = StateMachine::open(dir.path(), &StateOptions::default())
        .err()
        .unwrap();
    assert!(error.is_newer_format(), "{error}");
    assert_eq!(listing(), before);
    assert!(Store::read_label(dir.path()).unwrap_err().is_newer_format());
}

/// A transaction that changes something and reads what it did, refused or not, is the same to the
/// state whether or not somebody waits for what it read.
#[test]
fn reads_that_nobody_waits_for_are_left_out_and_change_nothing() {
    let operation = |command| match command {
        Command::Put(put) => Operation::Put(put),
        other => panic!("{other:?} is no put"),
    };
    let txn = |revision| {
        let query = RangeQuery {
            revision,
            ..RangeQuery::latest(everything())
        };
        let inner = Txn {
            compare: Vec::new(),
            success: vec![operation(put("b", "2")), Operation::Range(query.clone())],
            failure: Vec::new(),
        };
        Command::Txn(Txn {
            compare: Vec::new(),
            success: vec![
                operation(put("a", "1")),
                Operation::Txn(inner),
                Operation::Range(query),
            ],
            failure: Vec::new(),
        })
    };
    // Latest, readable, compacted, of the future.
    let commands = [
        put("a", "0"),
        put("a", "0"),
        Command::Compact { revision: 3 },
        txn(0),
        txn(3),
        txn(2),
        txn(99),
    ];
    let run = |awaited: bool| {
        let dir = tempfile::tempdir().unwrap();
        let mut machine = open(dir.path());
        let mut replies = Vec::new();
        for command in &commands {
            let body = EntryBody::Commands(encode(std::slice::from_ref(command)));
            let entry = next(&machine, body);
            replies.extend(machine.apply_for(&[entry], |_| awaited, |_| {}).unwrap());
        }
        (machine.store().state_hash().unwrap(), replies.concat())
    };
    let (leader, follower) = (run(true), run(false));
    assert_eq!(leader.0, follower.0);
    let refusals = |replies: &[Reply]| -> Vec<_> {
        let refusals = replies.iter().map(|reply| reply.result.as_ref().err());
        refusals.map(Option::<&_>::copied).collect()
    };
    assert_eq!(refusals(&leader.1), refusals(&follower.1));
    let refused = refusals(&leader.1).into_iter().map(|it| it.is_some());
    assert_eq!(
        refused.collect::<Vec<_>>(),
        [false, false, false, false, false, true, true]
    );
    let found = |replies: &[Reply]| match &replies[3].result {
        Ok(Outcome::Txn(outcome)) => match &outcome.responses[2].result {
            OperationResult::Range(result) => result.kvs.len(),
            other => panic!("{other:?} is no range"),
        },
        other => panic!("{other:?} is no transaction"),
    };
    assert_eq!((found(&leader.1), found(&follower.1)), (2, 0));
}

/// Decoded, checked, applied, answered and dropped on a quarter of the stack that a thread has.
#[test]
fn transactions_nest_as_deep_as_the_door_lets_them() {
    let thread = std::thread::Builder::new().stack_size(512 << 10);
    let test = thread.spawn(deepest_transaction).unwrap();
    test.join().unwrap();
}

fn deepest_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = open(dir.path());
    let Command::Put(innermost) = put("deep", "1") else {
        panic!("a put")
    };
    let mut txn = Txn {
        compare: Vec::new(),
        success: vec![Operation::Put(innermost)],
        failure: Vec::new(),
    };
    for _ in 0..NESTING_MAX {
        let success = vec![Operation::Txn(txn)];
        txn = Txn {
            compare: Vec::new(),
            success,
            failure: Vec::new(),
        };
    }
    let replies = apply(&mut machine, &[Command::Txn(txn)]);
    assert!(matches!(replies[0].result, Ok(Outcome::Txn(_))));
    // A follower's client gets the reply over the wire.
    assert_eq!(decode_replies(encode_replies(&replies)), Ok(replies));
    assert_eq!(
        value_at(&machine.store(), "deep", 0),
        Some(Bytes::from_static(b"1"))
    );
}

/// Counts of old revisions, the pages of a long list, over more keys than one fence holds.
#[test]
fn pages_at_a_fixed_revision_count_alike_while_keys_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = open(dir.path());
    for n in 0..40 {
        let puts: Vec<_> = (0..50)
            .map(|m| put(&format!("{:05}", n * 50 + m), "v"))
            .collect();
        apply(&mut machine, &puts);
    }
    let store = machine.store();
    let fixed = store.revision();
    let mut start = Bytes::from_static(b"\0");
    let mut seen = 0i64;
    loop {
        let range = KeyRange {
            start: start.clone(),
            end: RangeEnd::Unbounded,
        };
        let query = RangeQuery {
            revision: fixed,
            limit: 300,
            ..RangeQuery::latest(range)
        };
        let page = store.view().unwrap().range(&query).unwrap().unwrap();
        assert_eq!(page.count, 2000 - seen);
        seen += i64::try_from(page.kvs.len()).unwrap();
        let Some(last) = page.kvs.last().filter(|_| page.more) else {
            break;
        };
        start = Bytes::from([last.key.as_ref(), b"\0"].concat());
        // Between two pages some keys go, some are overwritten, and some are new.
        let range = |from: &str, to: &str| KeyRange {
            start: Bytes::from(from.to_owned()),
            end: RangeEnd::Before(Bytes::from(to.to_owned())),
        };
        let doomed = range(&format!("{:05}", seen + 10), &format!("{:05}", seen + 60));
        let delete = DeleteRange {
            range: doomed,
            prev_kv: false,
        };
        let new = put(&format!("{seen:05}x"), "new");
        let old = put(&format!("{:05}", seen + 100), "newer");
        apply(&mut machine, &[Command::DeleteRange(delete), new, old]);
    }
    assert_eq!(seen, 2000);
}

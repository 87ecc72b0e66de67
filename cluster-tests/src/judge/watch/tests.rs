use super::*;
use crate::history::call::{Range, Txn};
use crate::history::recording::Recording;
use crate::history::watch::{Told, WatchRequest};
use crate::judge::finding::Verdict;
use crate::judge::imagined::{Imagined, events_of, finding};

/// A watcher of everything (0), of a prefix with previous pairs (1), of puts alone (2).
fn busy() -> Imagined {
    let mut store = Imagined::new();
    let prefix = WatchRequest {
        range: Range::prefix("watch/"),
        start_revision: 1,
        prev_kv: true,
        fragment: true,
        ..WatchRequest::default()
    };
    store.watch(prefix.clone());
    store.watch(WatchRequest {
        no_delete: true,
        ..prefix
    });
    for turn in 0..40 {
        let key = format!("watch/{}", turn % 5);
        match turn % 4 {
            0 | 1 => store.put("watch.0", &key, &format!("v{turn}")),
            2 => store.delete("watch.1", &key),
            _ => {
                let puts = ["watch/a", "watch/b", "register/x"];
                let value = format!("v{turn}");
                let then = puts.map(|key| Txn::put(key, &value).then).concat();
                let txn = Txn {
                    then,
                    ..Txn::default()
                };
                store.call("watch.0", Call::Txn(txn))
            }
        };
    }
    store
}

fn failed(recording: &Recording) -> Vec<String> {
    let findings = judge(&Case::new(recording)).into_iter();
    let failed = findings.filter(|finding| finding.verdict == Verdict::Failed);
    failed.map(|finding| finding.judge).collect()
}

/// Spoils the watcher of the prefix.
fn spoiled(spoil: impl FnOnce(&mut Recording)) -> Vec<String> {
    let mut recording = busy().end();
    spoil(&mut recording);
    failed(&recording)
}

fn told(recording: &mut Recording) -> &mut Vec<Told> {
    &mut recording.watches[1].told
}

#[test]
fn right_streams_pass() {
    let recording = busy().end();
    for finding in judge(&Case::new(&recording)) {
        assert_ne!(finding.verdict, Verdict::Failed, "{finding:#?}");
    }
    let found = finding(judge, "watch-reliable", &recording);
    assert!(found.evaluated > 80, "{found:?}");
}

#[test]
fn a_missing_event_fails() {
    assert_eq!(
        spoiled(|one| {
            told(one).remove(5);
        }),
        ["watch-reliable"]
    );
    // Of a transaction, one of two.
    assert_eq!(
        spoiled(|one| {
            events_of(one, 1, 3).pop();
        }),
        ["watch-reliable"]
    );
    assert_eq!(
        spoiled(|one| {
            told(one).remove(1);
        }),
        ["watch-resumable"]
    );
}

#[test]
fn an_event_twice_or_out_of_order_fails() {
    let twice = spoiled(|one| {
        let again = told(one)[4].clone();
        told(one).insert(6, again);
    });
    assert_eq!(twice, ["watch-ordered", "watch-unique"]);
    let swapped = spoiled(|one| told(one).swap(5, 6));
    assert!(swapped.contains(&"watch-ordered".to_owned()), "{swapped:?}");
}

#[test]
fn a_transaction_in_two_responses_fails_and_in_two_fragments_does_not() {
    let split = |fragment: bool| {
        spoiled(|one| {
            let mut second = told(one)[3].clone();
            events_of(one, 1, 3).pop();
            if let Tidings::Events { events, .. } = &mut second.what {
                events.remove(0);
            }
            told(one).insert(4, second);
            if let Tidings::Events {
                fragment: first, ..
            } = &mut told(one)[3].what
            {
                *first = fragment;
            }
        })
    };
    assert_eq!(split(false), ["watch-atomic"]);
    assert_eq!(split(true), [] as [String; 0]);
}

#[test]
fn what_was_not_asked_for_fails() {
    let other = spoiled(|one| {
        let event = events_of(one, 0, 3)[2].clone();
        events_of(one, 1, 3).push(event);
    });
    assert_eq!(other, ["watch-filter"]);
    let deletion = spoiled(|one| one.watches[1].request.no_delete = true);
    assert_eq!(deletion, ["watch-filter"]);
}

#[test]
fn progress_ahead_of_an_event_fails() {
    let ahead = spoiled(|one| {
        let revision = told(one)[6].revision;
        let progress = Told {
            at: 0,
            revision,
            what: Tidings::Progress,
        };
        told(one).insert(6, progress);
    });
    assert_eq!(ahead, ["watch-bookmarkable"]);
    let never = spoiled(|one| {
        let revision = told(one).pop().unwrap().revision;
        told(one).push(Told {
            at: 0,
            revision,
            what: Tidings::Progress,
        });
    });
    assert_eq!(never, ["watch-progress"]);
    let right = spoiled(|one| {
        let revision = told(one)[6].revision;
        told(one).insert(
            7,
            Told {
                at: 0,
                revision,
                what: Tidings::Progress,
            },
        );
    });
    assert_eq!(right, [] as [String; 0]);
}

#[test]
fn a_wrong_previous_pair_or_creation_fails() {
    assert_eq!(
        spoiled(|one| events_of(one, 1, 5)[0].previous = None),
        ["watch-prev-kv"]
    );
    let created = spoiled(|one| events_of(one, 1, 3)[0].kv.create_revision = 1);
    assert_eq!(created, ["watch-reliable", "watch-is-create"]);
}

#[test]
fn a_wrong_value_fails() {
    let wrong = spoiled(|one| events_of(one, 1, 3)[0].kv.value = "x".into());
    assert_eq!(wrong, ["watch-reliable"]);
}

#[test]
fn older_than_the_beginning_fails() {
    let old = spoiled(|one| one.watches[1].request.start_revision = 5);
    assert_eq!(old, ["watch-future"]);
}

#[test]
fn only_a_compaction_cuts_off() {
    let cut = |asked: bool, begins: i64| {
        let mut store = busy();
        if asked {
            store.call("compaction.0", Call::Compact { revision: 20 });
        }
        let late = store.watch(WatchRequest {
            range: Range::prefix("watch/"),
            start_revision: begins,
            ..WatchRequest::default()
        });
        let mut recording = store.end();
        recording.watches[late].told.push(Told {
            at: u64::MAX,
            revision: 30,
            what: Tidings::Canceled {
                compact_revision: 20,
                reason: String::new(),
            },
        });
        failed(&recording)
    };
    assert_eq!(cut(true, 10), [] as [String; 0]);
    assert_eq!(cut(true, 20), ["watch-compacted"]);
    assert_eq!(cut(false, 10), ["watch-compacted"]);
}

#[test]
fn a_deletion_at_the_edge_of_a_compaction_that_is_lost_fails() {
    let mut store = busy();
    let events = store.recording.watches[0].events();
    let deletion = events.filter(|(_, event)| event.kind == crate::history::watch::Kind::Delete);
    let revision = deletion
        .map(|(_, event)| event.kv.mod_revision)
        .nth(2)
        .unwrap();
    store.call("compaction.0", Call::Compact { revision });
    let mut recording = store.end();
    // It was told after the compaction.
    for told in &mut recording.watches[1].told {
        told.at = u64::MAX;
    }
    let found = finding(judge, "watch-edge", &recording);
    assert_eq!(found.verdict, Verdict::Passed, "{found:?}");
    let told = &mut recording.watches[1].told;
    told.retain(|told| told.revision != revision);
    assert_eq!(failed(&recording), ["watch-edge"]);
}

#[test]
fn a_deletion_that_nobody_was_ready_to_tell_is_not_lost_at_an_edge() {
    let mut store = busy();
    let events = store.recording.watches[0].events();
    let deletion = events.filter(|(_, event)| event.kind == crate::history::watch::Kind::Delete);
    let revision = deletion
        .map(|(_, event)| event.kv.mod_revision)
        .nth(2)
        .unwrap();
    store.call("compaction.0", Call::Compact { revision });
    let mut recording = store.end();
    // Told that it is complete before it was told of anything (etcd #15220).
    let told = &mut recording.watches[1].told;
    let latest = told.iter().map(|told| told.revision).max().unwrap();
    told.retain(|told| matches!(told.what, Tidings::Created));
    told.push(Told {
        at: u64::MAX,
        revision: latest,
        what: Tidings::Progress,
    });
    assert_eq!(failed(&recording), ["watch-progress"]);
}

#[test]
fn parts_that_were_not_asked_for_fail() {
    let parts = spoiled(|one| {
        one.watches[1].request.fragment = false;
        if let Tidings::Events { fragment, .. } = &mut told(one)[3].what {
            *fragment = true;
        }
    });
    assert_eq!(parts, ["watch-fragments"]);
}

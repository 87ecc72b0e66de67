//! Watching as clients see it: gRPC, whole members in one process. What members do to each other's
//! watchers is in `watch_members`; etcd's six promises have a test each in `src/watch/tests/promises.rs`.

use crate::common::watching::{Watching, all, single, words};
use crate::common::{Cluster, eventually};
use quorate::proto::etcdserverpb::watch_create_request::FilterType;
use quorate::proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, PutRequest, RequestOp, TxnRequest, WatchCreateRequest,
    WatchRequest, WatchResponse, request_op::Request,
};
use quorate::proto::mvccpb::event::EventType;
use std::time::Duration;

/// A member alone that serves, with a key at revision 2.
async fn one() -> Cluster {
    let cluster = Cluster::started(1);
    cluster.put(0, "first", "x").await;
    cluster
}

async fn put(cluster: &Cluster, key: &str, value: impl Into<bytes::Bytes>) -> i64 {
    let request = PutRequest {
        key: key.to_owned().into(),
        value: value.into(),
        ..PutRequest::default()
    };
    let answer = cluster.kv(0).put(request).await.unwrap().into_inner();
    answer.header.unwrap().revision
}

async fn delete(cluster: &Cluster, key: &str, range_end: &str) -> i64 {
    let request = DeleteRangeRequest {
        key: key.to_owned().into(),
        range_end: range_end.to_owned().into(),
        ..DeleteRangeRequest::default()
    };
    let answer = cluster.kv(0).delete_range(request).await.unwrap();
    answer.into_inner().header.unwrap().revision
}

async fn compact(cluster: &Cluster, revision: i64) {
    let request = CompactionRequest {
        revision,
        physical: false,
    };
    cluster.kv(0).compact(request).await.unwrap();
}

/// Puts of one transaction.
async fn put_all(cluster: &Cluster, keys: &[&str], value_bytes: usize) -> i64 {
    let put = |key: &&str| RequestOp {
        request: Some(Request::RequestPut(PutRequest {
            key: (*key).to_owned().into(),
            value: vec![b'v'; value_bytes].into(),
            ..PutRequest::default()
        })),
    };
    let request = TxnRequest {
        success: keys.iter().map(put).collect(),
        ..TxnRequest::default()
    };
    let answer = cluster.kv(0).txn(request).await.unwrap().into_inner();
    answer.header.unwrap().revision
}

fn revision(response: &WatchResponse) -> i64 {
    response.header.as_ref().unwrap().revision
}

#[tokio::test]
async fn created_comes_first_and_says_from_where() {
    let cluster = one().await;
    let mut watching = Watching::open(&cluster, 0).await;
    watching.create(single("a")).await;
    let created = watching.next().await;
    assert!(created.created && !created.canceled);
    assert_eq!((created.watch_id, revision(&created)), (0, 2));
    let at = put(&cluster, "a", "1").await;
    put(&cluster, "b", "1").await;
    let last = delete(&cluster, "a", "").await;
    let events = watching.events(2).await;
    assert_eq!(words(&events), ["PUT a=1", "DELETE a="]);
    let kv = events[0].kv.clone().unwrap();
    assert_eq!(
        (kv.create_revision, kv.mod_revision, kv.version),
        (at, at, 1)
    );
    // A deletion tells its key and revision, and nothing else.
    let kv = events[1].kv.clone().unwrap();
    assert_eq!(
        (kv.create_revision, kv.mod_revision, kv.version),
        (0, last, 0)
    );
    assert!(events.iter().all(|event| event.prev_kv.is_none()));
}

#[tokio::test]
async fn the_past_is_told_and_then_the_present() {
    let cluster = one().await;
    for number in 0..30 {
        put(&cluster, "a", number.to_string()).await;
    }
    let mut watching = Watching::open(&cluster, 0).await;
    watching
        .create(WatchCreateRequest {
            start_revision: 5,
            prev_kv: true,
            ..single("a")
        })
        .await;
    assert!(watching.next().await.created);
    put(&cluster, "a", "now").await;
    let events = watching.events(29).await;
    let of = |number: usize| events[number].kv.clone().unwrap();
    assert_eq!((of(0).mod_revision, of(28).mod_revision), (5, 33));
    for (event, revision) in events.iter().zip(5..) {
        let (kv, previous) = (event.kv.as_ref().unwrap(), event.prev_kv.as_ref().unwrap());
        assert_eq!(
            (kv.mod_revision, previous.mod_revision),
            (revision, revision - 1)
        );
        assert_eq!(kv.create_revision, 3);
    }
    // The future: nothing below it is told.
    let mut later = Watching::open(&cluster, 0).await;
    later
        .create(WatchCreateRequest {
            start_revision: 36,
            ..single("a")
        })
        .await;
    assert_eq!(revision(&later.next().await), 33);
    for _ in 34..=37 {
        put(&cluster, "a", "then").await;
    }
    let events = later.events(2).await;
    let revisions = events
        .iter()
        .map(|event| event.kv.as_ref().unwrap().mod_revision);
    assert_eq!(revisions.collect::<Vec<_>>(), [36, 37]);
}

#[tokio::test]
async fn ids_are_chosen_or_given_and_a_taken_one_is_refused() {
    let cluster = one().await;
    let mut watching = Watching::open(&cluster, 0).await;
    let with_id = |watch_id| WatchCreateRequest {
        watch_id,
        ..single("a")
    };
    let mut ids = Vec::new();
    for id in [0, 1, 0, 77, 0] {
        watching.create(with_id(id)).await;
        ids.push(watching.next().await.watch_id);
    }
    assert_eq!(ids, [0, 1, 2, 77, 3]);
    watching.create(with_id(77)).await;
    let refused = watching.next().await;
    assert!(refused.created && refused.canceled);
    assert_eq!(refused.watch_id, -1);
    assert_eq!(
        refused.cancel_reason,
        "mvcc: duplicate watch ID provided on the WatchStream"
    );
    for (key, end) in [("b", "b"), ("b", "a")] {
        let mut request = single(key);
        request.range_end = end.into();
        watching.create(request).await;
        let refused = watching.next().await;
        assert!(refused.created && refused.canceled);
        assert_eq!(refused.watch_id, -1);
        assert_eq!(refused.cancel_reason, "mvcc: watcher range is empty");
    }
    // The others live.
    put(&cluster, "a", "1").await;
    let mut told = Vec::new();
    for _ in 0..5 {
        told.push(watching.next().await.watch_id);
    }
    told.sort_unstable();
    assert_eq!(told, [0, 1, 2, 3, 77]);
}

#[tokio::test]
async fn a_cancelled_watcher_is_told_so_and_then_nothing() {
    let cluster = one().await;
    let mut watching = Watching::open(&cluster, 0).await;
    for key in ["a", "b"] {
        watching.create(single(key)).await;
        watching.next().await;
    }
    watching.cancel(5).await;
    watching.cancel(0).await;
    let answer = watching.next().await;
    assert!(answer.canceled && !answer.created);
    assert_eq!((answer.watch_id, answer.compact_revision), (0, 0));
    assert_eq!(answer.cancel_reason, "");
    put(&cluster, "a", "1").await;
    put(&cluster, "b", "1").await;
    assert_eq!(watching.next().await.watch_id, 1);
}

#[tokio::test]
async fn filters_leave_out_puts_or_deletions() {
    let cluster = one().await;
    let mut watching = Watching::open(&cluster, 0).await;
    for kinds in [
        vec![FilterType::Noput],
        vec![FilterType::Nodelete],
        vec![FilterType::Noput, FilterType::Nodelete],
    ] {
        watching
            .create(WatchCreateRequest {
                filters: kinds.into_iter().map(Into::into).collect(),
                ..single("a")
            })
            .await;
        watching.next().await;
    }
    put(&cluster, "a", "1").await;
    delete(&cluster, "a", "").await;
    put(&cluster, "a", "2").await;
    let mut told = Vec::new();
    for _ in 0..3 {
        let response = watching.next().await;
        assert_eq!(
            response.events.len(),
            1,
            "a response left empty is not sent"
        );
        told.push((response.watch_id, words(&response.events).remove(0)));
    }
    let text = |(id, word): &(i64, String)| format!("{id} {word}");
    assert_eq!(
        told.iter().map(text).collect::<Vec<_>>(),
        ["1 PUT a=1", "0 DELETE a=", "1 PUT a=2"]
    );
}

#[tokio::test]
async fn a_revision_comes_in_one_response_in_its_own_order() {
    let cluster = one().await;
    let mut watching = Watching::open(&cluster, 0).await;
    watching.create(all()).await;
    watching.next().await;
    put_all(&cluster, &["c", "a", "b"], 1).await;
    let response = watching.next().await;
    assert_eq!(words(&response.events), ["PUT c=v", "PUT a=v", "PUT b=v"]);
    delete(&cluster, "a", "c").await;
    let response = watching.next().await;
    assert_eq!(words(&response.events), ["DELETE a=", "DELETE b="]);
}

#[tokio::test]
async fn a_compacted_start_is_created_and_then_cancelled() {
    let cluster = one().await;
    for _ in 0..8 {
        put(&cluster, "a", "1").await;
    }
    let deleted = delete(&cluster, "a", "").await;
    compact(&cluster, deleted).await;
    let mut watching = Watching::open(&cluster, 0).await;
    let from = |start_revision| WatchCreateRequest {
        start_revision,
        ..single("a")
    };
    watching.create(from(deleted - 1)).await;
    let created = watching.next().await;
    assert!(created.created && !created.canceled);
    assert_eq!(revision(&created), deleted);
    let canceled = watching.next().await;
    assert!(canceled.canceled && !canceled.created);
    assert_eq!((canceled.watch_id, canceled.compact_revision), (0, deleted));
    assert_eq!(
        (revision(&canceled), canceled.cancel_reason.as_str()),
        (0, "")
    );
    // The compacted revision itself may be watched from, and its deletion is still told.
    watching.create(from(deleted)).await;
    assert!(watching.next().await.created);
    assert_eq!(words(&watching.next().await.events), ["DELETE a="]);
    // Before the beginning there is nothing.
    watching.create(from(-1)).await;
    let refused = watching.next().await;
    assert!(refused.created && refused.canceled);
    assert_eq!(
        refused.cancel_reason,
        "etcdserver: mvcc: required revision has been compacted"
    );
}

#[tokio::test]
async fn large_responses_come_in_fragments_for_those_who_ask() {
    let cluster = one().await;
    let start_revision = 3;
    for number in 0..6 {
        put(&cluster, &format!("big-{number}"), vec![b'v'; 700_000]).await;
    }
    // Six puts that one step of the past reads together would be one large response.
    let mut watching = Watching::open(&cluster, 0).await;
    let request = WatchCreateRequest {
        start_revision,
        fragment: true,
        ..all()
    };
    watching.create(request).await;
    watching.next().await;
    let mut told = 0;
    while told < 6 {
        let response = watching.next().await;
        let bytes: usize = response
            .events
            .iter()
            .map(prost::Message::encoded_len)
            .sum();
        assert!(response.events.len() == 1 || bytes < 2 << 20);
        assert!(!response.fragment || bytes > 1 << 20, "fragments are full");
        told += response.events.len();
    }
    assert_eq!(told, 6);
}

#[tokio::test]
async fn progress_comes_behind_every_event_and_only_when_all_are_synced() {
    let cluster = one().await;
    let mut watching = Watching::open(&cluster, 0).await;
    // Without watchers there is no progress, and an empty request is none.
    watching.progress().await;
    watching
        .say(WatchRequest {
            request_union: None,
        })
        .await;
    watching.create(single("a")).await;
    assert!(watching.next().await.created);
    watching.progress().await;
    let progress = watching.next().await;
    assert_eq!((progress.watch_id, revision(&progress)), (-1, 2));
    assert!(progress.events.is_empty() && !progress.created && !progress.canceled);
    for number in 0..200 {
        let at = put(&cluster, "a", number.to_string()).await;
        watching.progress().await;
        let response = watching.next().await;
        assert_eq!(response.events.len(), 1, "the event is first");
        let progress = watching.next().await;
        assert_eq!((progress.watch_id, revision(&progress)), (-1, at));
    }
    // One that waits for the future holds it back.
    watching
        .create(WatchCreateRequest {
            start_revision: 205,
            ..single("b")
        })
        .await;
    assert!(watching.next().await.created);
    watching.progress().await;
    put(&cluster, "a", "2").await;
    put(&cluster, "a", "2").await;
    for at in [203, 204] {
        let response = watching.next().await;
        assert_eq!(response.events[0].kv.as_ref().unwrap().mod_revision, at);
    }
    watching.progress().await;
    put(&cluster, "b", "1").await;
    assert_eq!(watching.next().await.watch_id, 1);
    watching.progress().await;
    assert_eq!(revision(&watching.next().await), 205);
}

#[tokio::test]
async fn an_idle_watcher_that_asks_hears_of_progress_by_itself() {
    let mut cluster = Cluster::new(1);
    let mut config = cluster.config(0);
    config.watch_progress_interval = Duration::from_millis(100);
    cluster.start_with(0, config);
    cluster.put(0, "first", "x").await;
    let mut watching = Watching::open(&cluster, 0).await;
    for progress_notify in [false, true] {
        watching
            .create(WatchCreateRequest {
                progress_notify,
                ..single("a")
            })
            .await;
        watching.next().await;
    }
    let at = put(&cluster, "elsewhere", "1").await;
    eventually("progress of the one that asked", async || {
        let progress = watching.next().await;
        assert_eq!((progress.watch_id, progress.events.len()), (1, 0));
        (revision(&progress) == at).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_that_says_no_more_goes_on_listening() {
    let cluster = one().await;
    let mut watching = Watching::open(&cluster, 0).await;
    watching.create(single("a")).await;
    watching.next().await;
    watching.close();
    put(&cluster, "a", "1").await;
    assert_eq!(words(&watching.next().await.events), ["PUT a=1"]);
}

#[tokio::test]
async fn a_slow_client_is_told_everything_and_holds_nobody_up() {
    let cluster = one().await;
    let mut slow = Watching::open(&cluster, 0).await;
    let mut quick = Watching::open(&cluster, 0).await;
    for watching in [&mut slow, &mut quick] {
        watching.create(all()).await;
        watching.next().await;
    }
    // More than the windows and queues of one stream hold.
    let value = vec![b'v'; 100_000];
    for number in 0..200 {
        put(&cluster, "a", value.clone()).await;
        let event = quick.events(1).await.remove(0);
        assert_eq!(event.kv.unwrap().mod_revision, 3 + number);
    }
    let events = slow.events(200).await;
    for (event, at) in events.iter().zip(3..) {
        assert_eq!(event.kv.as_ref().unwrap().mod_revision, at);
        assert_eq!(event.r#type(), EventType::Put);
    }
    slow.progress().await;
    assert_eq!(revision(&slow.next().await), 202);
}

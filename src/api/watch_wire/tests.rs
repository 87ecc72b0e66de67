use super::*;
use crate::mvcc::row;
use crate::types::KeyValue;
use proptest::prelude::*;

fn put(revision: i64, key: &str, value_bytes: usize) -> Arc<Event> {
    let change = Change::Put {
        create: 3,
        version: 2,
        lease: 7,
        value: Bytes::from(vec![b'v'; value_bytes]),
    };
    let event = row::Event {
        key: Bytes::copy_from_slice(key.as_bytes()),
        change,
        previous: 3,
    };
    Arc::new(Event::copy(revision, &event))
}

fn delete(revision: i64, key: &str) -> Arc<Event> {
    let event = row::Event {
        key: Bytes::copy_from_slice(key.as_bytes()),
        change: Change::Delete,
        previous: 3,
    };
    Arc::new(Event::copy(revision, &event))
}

fn head(id: i64) -> WatchResponse {
    WatchResponse {
        header: Some(crate::proto::etcdserverpb::ResponseHeader {
            cluster_id: u64::MAX,
            member_id: 2,
            revision: 9,
            raft_term: 4,
        }),
        watch_id: id,
        ..WatchResponse::default()
    }
}

/// Takes a framed message apart as any client would.
fn read(framed: &[Bytes]) -> WatchResponse {
    let bytes = framed.concat();
    let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
    assert_eq!((bytes[0], bytes.len()), (0, 5 + length as usize));
    WatchResponse::decode(&bytes[5..]).unwrap()
}

fn expected(events: &Events, with_previous: bool) -> Vec<mvccpb::Event> {
    let list = events.list().iter();
    list.map(|event| message(event, with_previous)).collect()
}

#[test]
fn a_deletion_tells_its_key_and_revision_and_nothing_else() {
    let events = Events::new(vec![delete(5, "a")]).unwrap();
    let read = read(&framed(&head(0), &super::events(&events, false)).unwrap());
    let kv = mvccpb::KeyValue {
        key: "a".into(),
        mod_revision: 5,
        ..mvccpb::KeyValue::default()
    };
    assert_eq!(read.events[0].kv, Some(kv));
    assert_eq!(read.events[0].r#type(), EventType::Delete);
}

#[test]
fn watchers_share_the_bytes_of_an_event() {
    let big = put(5, "a", 100_000);
    let alone = Events::new(vec![big.clone()]).unwrap();
    let together = Events::new(vec![put(4, "b", 1), big]).unwrap();
    let ones = events(&alone, false);
    let others = events(&together, false);
    assert_eq!(others[1].as_ptr(), ones[0].as_ptr());
    let again = events(&alone, false);
    assert_eq!(again[0].as_ptr(), ones[0].as_ptr());
    // What is in front is each watcher's own.
    for id in [1, 2] {
        let sent = framed(&head(id), &ones).unwrap();
        assert_eq!(sent[1].as_ptr(), ones[0].as_ptr());
        assert_eq!(read(&sent).watch_id, id);
    }
}

#[test]
fn the_previous_pair_goes_to_those_who_want_it() {
    let event = put(5, "a", 3);
    event.set_previous(Some(KeyValue {
        key: "a".into(),
        mod_revision: 3,
        ..KeyValue::default()
    }));
    let events = Events::new(vec![event]).unwrap();
    for with_previous in [false, true] {
        let sent = framed(&head(0), &super::events(&events, with_previous)).unwrap();
        assert_eq!(read(&sent).events[0].prev_kv.is_some(), with_previous);
    }
}

proptest! {
    #[test]
    fn what_is_sent_is_what_prost_would_send(sizes in proptest::collection::vec(0usize..9000, 1..12)) {
        let list = (4..).zip(&sizes).map(|(revision, size)| put(revision, "key", *size));
        let events = Events::new(list.collect()).unwrap();
        let sent = framed(&head(3), &super::events(&events, false)).unwrap();
        let whole = WatchResponse { events: expected(&events, false), ..head(3) };
        prop_assert_eq!(&sent.concat()[5..], &whole.encode_to_vec()[..]);
    }

    /// Every fragment holds an event and, unless it is one alone, stays below the limit; together they
    /// are the whole, and none could have held one more.
    #[test]
    fn fragments_are_small_and_whole_events(
        sizes in proptest::collection::vec(0usize..400, 1..20), limit in 100usize..900,
    ) {
        let list = (4..).zip(&sizes).map(|(revision, size)| put(revision, "key", *size));
        let events = Events::new(list.collect()).unwrap();
        let head = WatchResponse { fragment: true, ..head(3) };
        let parts = fragments(&head, &events, false, limit);
        let mut all = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let message = read(&framed(&head, part).unwrap());
            let bytes = message.encoded_len();
            prop_assert!(message.events.len() == 1 || bytes < limit);
            if let Some(next) = parts.get(at + 1) {
                prop_assert!(bytes + next[0].len() >= limit);
            }
            all.extend(message.events);
        }
        prop_assert_eq!(all, expected(&events, false));
    }
}

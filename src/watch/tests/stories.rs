//! Single cases: ids, slow clients, progress.

use super::{Client, TINY, World};
use crate::types::{KeyRange, RangeEnd};
use crate::watch::{Ask, Interest, Limits, Refused};
use bytes::Bytes;

fn all_of(start: u8, end: RangeEnd) -> Interest {
    Interest {
        range: KeyRange {
            start: Bytes::copy_from_slice(&[start]),
            end,
        },
        puts: true,
        deletes: true,
    }
}

#[test]
fn an_id_is_free_chosen_or_refused() {
    let world = World::new(TINY);
    let stream = world.hub.open();
    let ask = |id, end| Ask {
        id,
        interest: all_of(1, end),
        start: 0,
        with_previous: false,
    };
    let create = |id, end| stream.create(&ask(id, end), || 1).map(|created| created.id);
    assert_eq!(create(0, RangeEnd::Single), Ok(0));
    assert_eq!(create(1, RangeEnd::Single), Ok(1));
    // The next free one, past those that are taken.
    assert_eq!(create(0, RangeEnd::Single), Ok(2));
    assert_eq!(create(1, RangeEnd::Single), Err(Refused::DuplicateId));
    let empty = RangeEnd::Before(Bytes::from_static(&[1]));
    assert_eq!(create(9, empty), Err(Refused::EmptyRange));
    assert!(stream.cancel(1));
    assert!(!stream.cancel(1));
    assert_eq!(create(1, RangeEnd::Unbounded), Ok(1));
    assert_eq!(world.hub.counts().watchers, 3);
}

#[test]
fn who_does_not_read_costs_bounded_memory_and_nobody_else_anything() {
    let mut world = World::new(Limits::default());
    let (mut idle, mut busy) = (Client::new(&world.hub), Client::new(&world.hub));
    for client in [&mut idle, &mut busy] {
        client.watch(&world, all_of(0, RangeEnd::Unbounded), 0, false);
    }
    for _ in 0..300 {
        world.write(&[(1, Some(60_000))], true);
        busy.settle(&world);
    }
    let counts = world.hub.counts();
    assert_eq!(counts.slow_watchers, 1, "the idle one");
    assert!(counts.pending_events * 60_000 <= Limits::default().queue_bytes as u64);
    busy.check(&world);
    idle.settle(&world);
    idle.check(&world);
    assert_eq!(world.hub.counts().slow_watchers, 0);
}

#[test]
fn progress_is_of_all_or_of_none() {
    let mut world = World::new(TINY);
    let mut client = Client::new(&world.hub);
    assert!(!client.stream.progress(None), "nobody watches");
    client.watch(&world, all_of(0, RangeEnd::Unbounded), 0, false);
    assert!(client.stream.progress(None));
    // One that begins in the future holds all back, until the future is there.
    client.watch(&world, all_of(0, RangeEnd::Single), 3, false);
    assert!(!client.stream.progress(None));
    assert!(client.stream.progress(Some(0)));
    assert!(!client.stream.progress(Some(1)));
    world.write(&[(1, Some(1))], true);
    assert!(!client.stream.progress(None));
    world.write(&[(1, Some(1))], true);
    assert!(client.stream.progress(None));
    client.settle(&world);
    // The first was not told: it would have been taken for the second watcher's too.
    assert_eq!(client.progress, [1, 3]);
}

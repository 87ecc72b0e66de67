//! Single cases: ids, slow clients, progress.

use super::{Client, TINY, World};
use crate::types::{KeyRange, RangeEnd};
use crate::watch::{Ask, Interest, Limits, Next, Notice, Refused, Stream, catch_up};
use bytes::Bytes;
use std::task::{Context, Poll, Waker};

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
    let mut stream = world.hub.open();
    let ask = |id, end| Ask {
        id,
        interest: all_of(1, end),
        start: 0,
        with_previous: false,
    };
    let create = |stream: &Stream, id, end| {
        let created = stream.create(&ask(id, end), || 1);
        created.map(|created| created.id)
    };
    assert_eq!(create(&stream, 0, RangeEnd::Single), Ok(0));
    assert_eq!(create(&stream, 1, RangeEnd::Single), Ok(1));
    // The next free one, past those that are taken.
    assert_eq!(create(&stream, 0, RangeEnd::Single), Ok(2));
    let refused = create(&stream, 1, RangeEnd::Single);
    assert_eq!(refused, Err(Refused::DuplicateId));
    let empty = RangeEnd::Before(Bytes::from_static(&[1]));
    assert_eq!(create(&stream, 9, empty), Err(Refused::EmptyRange));
    assert!(stream.cancel(1));
    assert!(!stream.cancel(1));
    assert_eq!(create(&stream, 1, RangeEnd::Unbounded), Ok(1));
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

/// Bytes of the largest notice: what one step, or one batch, may hold, and then a revision.
fn notice_bytes_max(limits: &Limits, revision_bytes: usize) -> usize {
    limits.step_bytes + revision_bytes
}

#[test]
fn what_is_read_for_a_client_waits_until_it_took_what_was_read_before() {
    let limits = Limits {
        join_revisions: 1_000,
        ..TINY
    };
    let mut world = World::new(limits);
    for _ in 0..30 {
        world.write(&[(1, Some(10))], true);
    }
    let mut client = Client::new(&world.hub);
    // It joins at once, and has thirty revisions to read, three a step.
    client.watch(&world, all_of(0, RangeEnd::Unbounded), 2, false);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..10 {
        assert!(client.advance(&world), "a plan");
        assert!(client.advance(&world), "what it found");
        let told = client.watchers[&0].told.len();
        let Poll::Ready(Next::Notice(notice)) = client.stream.poll_next(&mut context) else {
            panic!("more was read before this was told");
        };
        client.hear(&world, &notice);
        assert_eq!(client.watchers[&0].told.len(), told + 3);
    }
    client.settle(&world);
    client.check(&world);
}

#[test]
fn a_batch_of_many_commands_is_many_notices() {
    let limits = Limits {
        step_bytes: 4_000,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let mut client = Client::new(&world.hub);
    client.watch(&world, all_of(0, RangeEnd::Unbounded), 0, false);
    let command = vec![(1, Some(500)), (2, Some(500))];
    world.write_all(&vec![command; 50], true);
    client.settle(&world);
    client.check(&world);
    let largest = client.notices.iter().max();
    assert!(largest <= Some(&notice_bytes_max(&limits, 2_000)));
    assert!(client.notices.len() > 10, "{:?}", client.notices);
}

#[test]
fn a_step_of_catching_up_counts_the_pairs_before_too() {
    let limits = Limits {
        step_revisions: 1_000,
        step_bytes: 20_000,
        ..TINY
    };
    let mut world = World::new(limits);
    let keys = 0..50;
    let puts: Vec<_> = keys.clone().map(|key| vec![(key, Some(10_000))]).collect();
    world.write_all(&puts, true);
    let from = world.writer.head().revision + 1;
    let deletions: Vec<_> = keys.map(|key| vec![(key, None)]).collect();
    world.write_all(&deletions, true);
    let mut client = Client::new(&world.hub);
    client.watch(&world, all_of(0, RangeEnd::Unbounded), from, true);
    client.settle(&world);
    client.check(&world);
    let largest = client.notices.iter().max();
    assert!(largest <= Some(&notice_bytes_max(&limits, 11_000)));
}

#[test]
fn an_id_whose_end_is_not_told_is_taken() {
    let mut world = World::new(TINY);
    for _ in 0..9 {
        world.write(&[(1, Some(1))], true);
    }
    world.compact(0);
    let mut stream = world.hub.open();
    let ask = Ask {
        id: 7,
        interest: all_of(0, RangeEnd::Unbounded),
        start: 2,
        with_previous: false,
    };
    let create = |stream: &Stream| stream.create(&ask, || 10).map(|created| created.id);
    assert_eq!(create(&stream), Ok(7));
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Next::Behind(plan)) = stream.poll_next(&mut context) else {
        panic!("it begins in the past");
    };
    let caught = catch_up::read(&world.writer.store().view().unwrap(), &plan).unwrap();
    stream.caught_up(plan, caught);
    // It has ended; its client would take the news for the new one's.
    assert_eq!(world.hub.counts().watchers, 0);
    assert_eq!(create(&stream), Err(Refused::DuplicateId));
    let end = stream.poll_next(&mut context);
    assert!(matches!(
        end,
        Poll::Ready(Next::Notice(Notice::Compacted { id: 7, .. }))
    ));
    assert_eq!(create(&stream), Ok(7));
}

//! Etcd's six promises to a watcher, one test each, with queues as small as can be: what overflows is
//! told from the store, and the promises hold all the same. `cluster-tests faults --only watch` holds
//! real members to them, through kills, cuts and snapshots.

use super::{Client, TINY, Told, World};
use crate::types::{KeyRange, RangeEnd, Revision};
use crate::watch::{Interest, Limits};
use bytes::Bytes;

fn everything() -> Interest {
    Interest {
        range: KeyRange {
            start: Bytes::from_static(&[0]),
            end: RangeEnd::Unbounded,
        },
        puts: true,
        deletes: true,
    }
}

fn told(client: &Client) -> &[Told] {
    &client.watchers[&0].told
}

/// A client that watches everything from `start` on.
fn watching(world: &World, start: Revision) -> Client {
    let mut client = Client::new(&world.hub);
    client.watch(world, everything(), start, true);
    client
}

/// Writes of all sorts; some overflow the inbox, some come by snapshot. The client reads a little in
/// between.
fn turmoil(world: &mut World, client: &mut Client) {
    for round in 0..40_u8 {
        let key = round % 3;
        match round % 5 {
            0 => world.write(&[(key, Some(300)), (key + 1, Some(1))], true),
            1 => world.write(&[(key, None)], true),
            2 => world.write_all(&vec![vec![(key, Some(500))]; 5], true),
            3 => world.write(&[(key, Some(2))], round % 2 == 0),
            _ => world.distribute(),
        }
        client.advance(world);
    }
    client.settle(world);
}

#[test]
fn ordered() {
    let mut world = World::new(TINY);
    let mut client = watching(&world, 1);
    turmoil(&mut world, &mut client);
    assert!(told(&client).len() > 50);
    assert!(told(&client).is_sorted_by_key(|told| told.revision));
}

#[test]
fn unique() {
    let mut world = World::new(TINY);
    let mut client = watching(&world, 1);
    turmoil(&mut world, &mut client);
    let mut names: Vec<_> = told(&client)
        .iter()
        .map(|told| (told.revision, told.key.clone()))
        .collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "no key twice at a revision");
}

/// The client's end checks with every notice that it begins behind the last revision of the one
/// before; here revisions are larger than a notice is wont to be.
#[test]
fn atomic() {
    let limits = Limits {
        step_bytes: 1,
        queue_bytes: 1,
        step_revisions: 1,
        ..TINY
    };
    let mut world = World::new(limits);
    let mut client = watching(&world, 1);
    let revision: Vec<_> = (0..20).map(|key| (key, Some(100))).collect();
    for round in 0..10 {
        world.write_all(&vec![revision.clone(); 3], true);
        for _ in 0..round {
            client.advance(&world);
        }
    }
    client.settle(&world);
    assert_eq!(told(&client).len(), 10 * 3 * 20);
    for revision in told(&client).chunk_by(|one, other| one.revision == other.revision) {
        assert_eq!(revision.len(), 20);
    }
    assert_eq!(client.notices.len(), 30, "one notice a revision");
}

#[test]
fn reliable() {
    let mut world = World::new(TINY);
    let mut client = watching(&world, 1);
    turmoil(&mut world, &mut client);
    assert_eq!(told(&client), world.history, "each, whole, and no other");
}

/// Wherever a stream breaks off: who goes on at the revision after the last one told misses nothing,
/// or hears that it would.
#[test]
fn resumable() {
    let mut world = World::new(TINY);
    let mut client = watching(&world, 1);
    turmoil(&mut world, &mut client);
    let (mut all, mut breaks) = (Vec::new(), 0);
    while all.len() < world.history.len() {
        let next = all.last().map_or(1, |told: &Told| told.revision + 1);
        let mut client = watching(&world, next);
        while told(&client).is_empty() {
            assert!(client.advance(&world));
        }
        all.extend_from_slice(told(&client));
        breaks += 1;
    }
    assert_eq!(all, world.history);
    assert!(breaks > 10);
    world.compact(0);
    let mut late = watching(&world, world.writer.head().compacted - 1);
    late.settle(&world);
    assert!(late.watchers[&0].ended, "told, not left waiting");
    assert!(told(&late).is_empty());
}

/// Progress to a revision: all up to it was told, and who goes on behind it misses nothing.
#[test]
fn bookmarkable() {
    let mut world = World::new(TINY);
    let mut client = watching(&world, 1);
    let mut bookmarks = 0;
    for round in 0..60_u8 {
        world.write(&[(round % 3, Some(200))], round % 7 > 0);
        client.stream.progress(None);
        for _ in 0..round % 5 {
            client.advance(&world);
        }
        let Some(at) = client.progress.pop() else {
            continue;
        };
        bookmarks += 1;
        let mut resumed = watching(&world, at + 1);
        resumed.settle(&world);
        let mut all: Vec<_> = told(&client).to_vec();
        all.retain(|told| told.revision <= at);
        all.extend_from_slice(told(&resumed));
        assert_eq!(all, world.history, "nothing is missing around {at}");
    }
    assert!(bookmarks > 3, "{bookmarks}");
}

//! Random puts, deletions and compactions under watchers of every kind, read at random paces: each is
//! told exactly what it asked for, in order, a revision never in two parts. [`promises`] are etcd's six,
//! [`stories`] are single cases.

mod promises;
mod stories;

use super::*;
use crate::mvcc::{StoreOptions, Writer, row};
use crate::storage::EngineOptions;
use crate::types::{KeyRange, Position, RangeEnd, Revision};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// As small as can be, so that everything overflows.
const TINY: Limits = Limits {
    inbox_events: 6,
    inbox_bytes: 1 << 20,
    queue_notices: 5,
    queue_bytes: 4 << 10,
    notices_per_step: 2,
    join_revisions: 4,
    step_revisions: 3,
    step_bytes: 2 << 10,
};

/// A change as the model remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    revision: Revision,
    key: Bytes,
    value: Option<Bytes>,
    /// Revision of the pair before it, if it is wanted.
    previous: Option<Revision>,
}

/// A key and the bytes of its value; without them it is deleted.
type Change = (u8, Option<u16>);

struct World {
    writer: Writer,
    hub: Arc<Hub>,
    index: u64,
    /// All changes ever, in order.
    history: Vec<Told>,
    _dir: tempfile::TempDir,
}

impl World {
    fn new(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            engine: EngineOptions::small(),
            ..StoreOptions::default()
        };
        Self {
            writer: Writer::open(dir.path(), &options).unwrap(),
            hub: Arc::new(Hub::new(limits)),
            index: 0,
            history: Vec::new(),
            _dir: dir,
        }
    }

    /// Carries out one command of several changes; a key without a value is deleted.
    fn write(&mut self, changes: &[Change], publish: bool) {
        self.write_all(&[changes.to_vec()], publish);
    }

    /// Carries out commands that are committed, and published, as one batch.
    fn write_all(&mut self, commands: &[Vec<Change>], publish: bool) {
        let mut txn = self.writer.begin();
        for changes in commands {
            self.index += 1;
            let position = Position {
                term: 1,
                index: self.index,
            };
            txn.begin_entry(position).unwrap();
            for (key, value) in changes {
                let key = Bytes::copy_from_slice(&[*key]);
                match value {
                    Some(bytes) => {
                        let value = Bytes::from(vec![b'v'; usize::from(*bytes)]);
                        txn.put(key, value, 0, false).unwrap();
                    }
                    None => {
                        let range = KeyRange::single(key);
                        txn.delete_range(&range, false).unwrap().unwrap();
                    }
                }
            }
            txn.finish_command();
        }
        let events = txn.commit().unwrap();
        for pending in &events {
            let key = pending.event.key.clone();
            let mut earlier = self.history.iter().rev();
            let last = earlier.find(|told| told.key == key && told.revision < pending.main);
            let previous = last.filter(|told| told.value.is_some());
            let (value, is_creation) = match &pending.event.change {
                row::Change::Put { value, create, .. } => {
                    (Some(value.clone()), *create == pending.main)
                }
                row::Change::Delete => (None, false),
            };
            let previous = previous.filter(|_| !is_creation).map(|told| told.revision);
            self.history.push(Told {
                revision: pending.main,
                key,
                value,
                previous,
            });
        }
        if publish {
            self.hub.publish(events);
        } else {
            // As a snapshot would: the state is there, its events were never published.
            self.hub.jump(self.writer.head().revision);
        }
    }

    fn compact(&mut self, back: Revision) {
        let head = self.writer.head();
        let revision = head.revision - back;
        if revision <= head.compacted || revision < 1 {
            return;
        }
        self.index += 1;
        let mut txn = self.writer.begin();
        let position = Position {
            term: 1,
            index: self.index,
        };
        txn.begin_entry(position).unwrap();
        txn.compact(revision).unwrap().unwrap();
        txn.finish_command();
        self.hub.publish(txn.commit().unwrap());
        self.writer.store().remove_compacted().unwrap();
    }

    fn distribute(&self) {
        let mut context = Context::from_waker(Waker::noop());
        while self.hub.poll_distribute(&mut context).is_ready() {}
    }
}

/// A watcher and what it was told.
struct Watcher {
    interest: Interest,
    with_previous: bool,
    start: Revision,
    told: Vec<Told>,
    ended: bool,
}

impl Watcher {
    fn next(&self) -> Revision {
        self.told
            .last()
            .map_or(self.start, |told| told.revision + 1)
    }

    fn expected(&self, history: &[Told]) -> Vec<Told> {
        let wanted = history.iter().filter(|told| {
            let kind = match told.value {
                Some(_) => self.interest.puts,
                None => self.interest.deletes,
            };
            kind && told.revision >= self.start && self.interest.range.contains(&told.key)
        });
        wanted.cloned().collect()
    }
}

/// A client: a stream that is read one move at a time.
struct Client {
    stream: Stream,
    watchers: BTreeMap<WatchId, Watcher>,
    plan: Option<catch_up::Plan>,
    /// Notices of events that it was told, in bytes.
    notices: Vec<usize>,
    progress: Vec<Revision>,
}

impl Client {
    fn new(hub: &Arc<Hub>) -> Self {
        Self {
            stream: hub.open(),
            watchers: BTreeMap::new(),
            plan: None,
            notices: Vec::new(),
            progress: Vec::new(),
        }
    }

    fn watch(&mut self, world: &World, interest: Interest, start: Revision, with_previous: bool) {
        let ask = Ask {
            id: 0,
            interest: interest.clone(),
            start,
            with_previous,
        };
        let store = world.writer.store();
        let created = self.stream.create(&ask, || store.revision()).unwrap();
        assert_eq!(created.revision, store.revision());
        let start = match start {
            0 => created.revision + 1,
            start => start,
        };
        let watcher = Watcher {
            interest,
            with_previous,
            start,
            told: Vec::new(),
            ended: false,
        };
        assert!(self.watchers.insert(created.id, watcher).is_none());
    }

    fn cancel(&mut self, id: WatchId) {
        if let Some(watcher) = self.watchers.get_mut(&id) {
            assert_eq!(self.stream.cancel(id), !watcher.ended);
            watcher.ended = true;
        }
    }

    /// One move; false if there was none to make.
    fn advance(&mut self, world: &World) -> bool {
        if let Some(plan) = self.plan.take() {
            let view = world.writer.store().view().unwrap();
            let caught = catch_up::read(&view, &plan).unwrap();
            self.stream.caught_up(plan, caught);
            return true;
        }
        let mut context = Context::from_waker(Waker::noop());
        match self.stream.poll_next(&mut context) {
            Poll::Ready(Next::Notice(notice)) => self.hear(world, &notice),
            Poll::Ready(Next::Behind(plan)) => self.plan = Some(plan),
            Poll::Ready(Next::Closed) => panic!("nobody closed it"),
            Poll::Pending => return false,
        }
        true
    }

    fn hear(&mut self, world: &World, notice: &Notice) {
        match notice {
            Notice::Events {
                id,
                events,
                with_previous,
            } => {
                let watcher = self.watchers.get_mut(id).unwrap();
                assert!(!watcher.ended, "nothing comes after the end");
                assert_eq!(*with_previous, watcher.with_previous);
                assert!(
                    events.first_revision() >= watcher.next(),
                    "a revision is whole"
                );
                self.notices.push(events.bytes());
                let view = world.writer.store().view().unwrap();
                for event in events.list() {
                    catch_up::read_previous(&view, event).unwrap();
                    watcher.told.push(told(event));
                }
            }
            Notice::Progress { id, revision } => {
                self.progress.push(*revision);
                let watchers = match id {
                    Some(id) => vec![&self.watchers[id]],
                    None => self.watchers.values().collect(),
                };
                for watcher in watchers.into_iter().filter(|watcher| !watcher.ended) {
                    let expected = watcher.expected(&world.history);
                    let due = expected.iter().filter(|told| told.revision <= *revision);
                    assert!(
                        due.count() <= watcher.told.len(),
                        "progress overtakes nothing"
                    );
                    assert!(
                        *revision + 1 >= watcher.start,
                        "nor does it come before the start"
                    );
                }
            }
            Notice::Compacted { id, revision } => {
                let watcher = self.watchers.get_mut(id).unwrap();
                assert!(!watcher.ended);
                assert!(watcher.next() < *revision, "only what is gone is given up");
                watcher.ended = true;
            }
        }
    }

    /// Everything that can be told is told.
    fn settle(&mut self, world: &World) {
        world.distribute();
        while self.advance(world) {}
    }

    fn check(&self, world: &World) {
        let compacted = world.writer.head().compacted;
        for watcher in self.watchers.values() {
            let expected = watcher.expected(&world.history);
            let seen = expected.get(..watcher.told.len()).unwrap_or(&expected);
            assert_eq!(watcher.told.len(), seen.len());
            for (told, expected) in watcher.told.iter().zip(seen) {
                let (mut told, mut expected) = (told.clone(), expected.clone());
                // The pair before an event may be compacted; it is never another one.
                if !watcher.with_previous || expected.revision - 1 < compacted {
                    if watcher.with_previous && told.previous.is_some() {
                        assert_eq!(told.previous, expected.previous);
                    }
                    (told.previous, expected.previous) = (None, None);
                }
                assert_eq!(told, expected);
            }
            if !watcher.ended {
                assert_eq!(watcher.told.len(), expected.len(), "all is told");
            }
        }
    }
}

fn told(event: &Event) -> Told {
    Told {
        revision: event.revision,
        key: event.key.clone(),
        value: match &event.change {
            row::Change::Put { value, .. } => Some(value.clone()),
            row::Change::Delete => None,
        },
        previous: event.previous().map(|pair| pair.mod_revision),
    }
}

#[derive(Clone, Debug)]
enum Move {
    /// Commands of one batch, and whether it is published.
    Write(Vec<Vec<Change>>, bool),
    Compact(Revision),
    Distribute,
    Watch(usize, Interest, Revision, bool),
    Cancel(usize, WatchId),
    Advance(usize, usize),
    Progress(usize),
    ProgressOf(usize, WatchId),
    Reopen(usize),
}

const CLIENTS: usize = 3;

fn interest() -> impl Strategy<Value = Interest> {
    let end = prop_oneof![
        3 => Just(RangeEnd::Single),
        2 => (1u8..4).prop_map(|n| RangeEnd::Before(Bytes::copy_from_slice(&[n]))),
        1 => Just(RangeEnd::Unbounded),
    ];
    (0u8..4, end, 0u8..4).prop_map(|(start, end, kinds)| {
        let start = match &end {
            RangeEnd::Before(end) => start.min(end[0] - 1),
            RangeEnd::Single | RangeEnd::Unbounded => start,
        };
        Interest {
            range: KeyRange {
                start: Bytes::copy_from_slice(&[start]),
                end,
            },
            puts: kinds != 1,
            deletes: kinds != 2,
        }
    })
}

fn a_move() -> impl Strategy<Value = Move> {
    let change = (0u8..4, proptest::option::weighted(0.7, 0u16..900));
    let changes = proptest::collection::vec(change, 1..4);
    let commands = proptest::collection::vec(changes, 1..4);
    let client = 0..CLIENTS;
    prop_oneof![
        12 => (commands, proptest::bool::weighted(0.95))
            .prop_map(|(commands, publish)| Move::Write(commands, publish)),
        1 => (0i64..8).prop_map(Move::Compact),
        8 => Just(Move::Distribute),
        4 => (client.clone(), interest(), prop_oneof![Just(0), -12i64..6], any::<bool>())
            .prop_map(|(client, interest, start, previous)| {
                Move::Watch(client, interest, start, previous)
            }),
        1 => (client.clone(), 0i64..4).prop_map(|(client, id)| Move::Cancel(client, id)),
        12 => (client.clone(), 1usize..6).prop_map(|(client, times)| Move::Advance(client, times)),
        2 => client.clone().prop_map(Move::Progress),
        1 => (client.clone(), 0i64..4).prop_map(|(client, id)| Move::ProgressOf(client, id)),
        1 => client.prop_map(Move::Reopen),
    ]
}

fn play(moves: Vec<Move>, limits: Limits) {
    let mut world = World::new(limits);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::new(&world.hub)).collect();
    for it in moves {
        match it {
            Move::Write(commands, publish) => world.write_all(&commands, publish),
            Move::Compact(back) => world.compact(back),
            Move::Distribute => world.distribute(),
            Move::Watch(client, interest, start, previous) => {
                // Around now: in the past, and in the future.
                let start = match start {
                    0 => 0,
                    by => (world.writer.head().revision + by).max(1),
                };
                clients[client].watch(&world, interest, start, previous);
            }
            Move::Cancel(client, id) => clients[client].cancel(id),
            Move::Advance(client, times) => {
                for _ in 0..times {
                    clients[client].advance(&world);
                }
            }
            Move::Progress(client) => {
                clients[client].stream.progress(None);
            }
            Move::ProgressOf(client, id) => {
                clients[client].stream.progress(Some(id));
            }
            Move::Reopen(client) => {
                clients[client].settle(&world);
                clients[client].check(&world);
                clients[client] = Client::new(&world.hub);
            }
        }
    }
    for client in &mut clients {
        client.settle(&world);
        client.check(&world);
    }
    let slow = |counts: Counts| (counts.slow_watchers, counts.pending_events);
    assert_eq!(slow(world.hub.counts()), (0, 0));
    drop(clients);
    let counts = world.hub.counts();
    assert_eq!((counts.watchers, counts.streams), (0, 0));
}

proptest! {
    // Each opens a store on the disk.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_watcher_is_told_everything_once_and_in_order(
        moves in proptest::collection::vec(a_move(), 20..160)
    ) {
        play(moves, TINY);
    }

    #[test]
    fn so_it_is_with_room_for_everything(
        moves in proptest::collection::vec(a_move(), 20..160)
    ) {
        play(moves, Limits::default());
    }
}

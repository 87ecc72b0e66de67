//! Random logs through the real state machine and through a naive one: every reply, every range at
//! every revision and every count must agree, across flushes, physical compactions, restarts and
//! crashes; and two stores that differ in all of those must end up the same.

use crate::support::model::Model;
use crate::support::world::{Upkeep, command, query, upkeep};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use quorate::mvcc::digest::MARK_EVERY;
use quorate::mvcc::hash::logical_rows;
use quorate::state_machine::{
    BatchBuilder, Command, Entry, EntryBody, Reply, StateMachine, StateOptions,
};
use quorate::storage::EngineOptions;
use quorate::types::{KeyRange, Position, RangeEnd, RangeQuery};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A store in a directory, with the log that it came from.
struct Member {
    root: TempDir,
    generation: usize,
    machine: Option<StateMachine>,
    log: Vec<Entry>,
    seed: u64,
}

impl Member {
    fn new(seed: u64) -> Self {
        let mut member = Self {
            root: tempfile::tempdir().unwrap(),
            generation: 0,
            machine: None,
            log: Vec::new(),
            seed,
        };
        member.open();
        member
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join(self.generation.to_string())
    }

    fn machine(&mut self) -> &mut StateMachine {
        self.machine.as_mut().unwrap()
    }

    fn open(&mut self) {
        self.machine = None;
        let options = StateOptions {
            engine: EngineOptions::small(),
            // So small that keys are forgotten.
            metadata_cache_bytes: 160,
            hash_seed: self.seed,
            ..StateOptions::default()
        };
        self.machine = Some(StateMachine::open(&self.dir(), &options).unwrap());
        // What the state lacks comes from the log again.
        let applied = self.machine().applied();
        let missing = |entry: &&Entry| applied.is_none_or(|at| entry.position.index > at.index);
        let missing: Vec<_> = self.log.iter().filter(missing).cloned().collect();
        self.machine().apply(&missing).unwrap();
    }

    /// Leaves behind what a killed process would: the files, not the memory.
    fn crash(&mut self) {
        let from = self.dir();
        self.generation += 1;
        copy(&from, &self.dir());
        self.open();
        std::fs::remove_dir_all(from).unwrap();
    }

    fn keep_up(&mut self, upkeep: Upkeep) {
        let store = self.machine().store();
        match upkeep {
            Upkeep::Nothing => {}
            Upkeep::Flush => store.flush().unwrap(),
            Upkeep::RemoveCompacted => {
                store.remove_compacted().unwrap();
            }
            Upkeep::Crash => {
                drop(store);
                self.crash();
            }
            Upkeep::Reopen => {
                drop(store);
                self.open();
            }
        }
    }

    fn apply(&mut self, entries: &[Entry]) -> Vec<Vec<Reply>> {
        self.log.extend_from_slice(entries);
        self.machine().apply(entries).unwrap()
    }

    fn dump(&mut self) -> Vec<Vec<u8>> {
        let store = self.machine().store();
        let mut rows = Vec::new();
        logical_rows(&store.view().unwrap(), |row| rows.push(row.to_vec())).unwrap();
        rows
    }
}

/// The names and sizes of a directory's files.
fn listing(dir: &Path) -> std::io::Result<BTreeMap<OsString, u64>> {
    let files = std::fs::read_dir(dir)?;
    files
        .map(|file| file.and_then(|file| Ok((file.file_name(), file.metadata()?.len()))))
        .collect()
}

/// Copies a directory as it is at one moment: again if the engine's threads changed it meanwhile.
fn copy(from: &Path, to: &Path) {
    let attempt = || -> std::io::Result<bool> {
        std::fs::remove_dir_all(to).ok();
        std::fs::create_dir(to)?;
        let before = listing(from)?;
        for name in before.keys() {
            std::fs::copy(from.join(name), to.join(name))?;
        }
        Ok(listing(from)? == before)
    };
    while !attempt().unwrap_or(false) {}
}

fn entry(index: u64, commands: &[Command]) -> Entry {
    let mut batch = BatchBuilder::new();
    commands.iter().for_each(|command| batch.push(command));
    let body = if commands.is_empty() {
        EntryBody::Blank
    } else {
        EntryBody::Commands(batch.finish())
    };
    Entry {
        position: Position { term: 1, index },
        body,
    }
}

/// Some entries that are applied at once, and what happens then.
#[derive(Clone, Debug)]
struct Step {
    entries: Vec<Vec<Command>>,
    upkeep: [Upkeep; 2],
    queries: Vec<RangeQuery>,
}

fn step() -> impl Strategy<Value = Step> {
    let entries = vec(vec(command(), 0..4), 0..4);
    (entries, [upkeep(), upkeep()], vec(query(), 1..4)).prop_map(|(entries, upkeep, queries)| {
        Step {
            entries,
            upkeep,
            queries,
        }
    })
}

fn all() -> KeyRange {
    KeyRange {
        start: Bytes::from_static(b"\0"),
        end: RangeEnd::Unbounded,
    }
}

fn check_ranges(member: &mut Member, model: &Model, queries: &[RangeQuery]) {
    let store = member.machine().store();
    let view = store.view().unwrap();
    assert_eq!(view.revision(), model.revision());
    assert_eq!(view.compacted(), model.compacted);
    let live = view.range(&RangeQuery::latest(all())).unwrap().unwrap();
    assert_eq!(view.head().digest.keys, u64::try_from(live.count).unwrap());
    let mut everything = RangeQuery::latest(all());
    for query in queries {
        assert_eq!(view.range(query).unwrap(), model.range(query), "{query:?}");
        let counting = RangeQuery {
            count_only: true,
            ..query.clone()
        };
        assert_eq!(
            view.range(&counting).unwrap(),
            model.range(&counting),
            "{counting:?}"
        );
    }
    let leases = view.leases().unwrap();
    assert!(leases.iter().eq(model.leases.values()), "{leases:?}");
    for lease in leases {
        let keys = view.keys_of_lease(lease.id).unwrap();
        assert_eq!(keys, model.keys_of_lease(lease.id), "of {}", lease.id);
    }
    for revision in model.compacted.max(1)..=model.revision() {
        everything.revision = revision;
        assert_eq!(
            view.range(&everything).unwrap(),
            model.range(&everything),
            "at {revision}"
        );
    }
}

/// However the entries were gathered into batches, members that hold the same have the same marks.
fn check_marks(members: &mut [Member; 2]) {
    let [ours, theirs] = members
        .each_mut()
        .map(|member| member.machine().store().marks());
    let mut shared = 0;
    for mark in &ours {
        let same_place = theirs.iter().find(|other| other.at == mark.at);
        shared += usize::from(same_place.is_some());
        assert!(same_place.is_none_or(|other| other == mark), "{mark:?}");
    }
    assert!(shared > 0 || ours.is_empty(), "the newest is always shared");
}

fn run(steps: &[Step]) {
    let mut model = Model::default();
    let mut members = [Member::new(1), Member::new(2)];
    let mut index = 0;
    for step in steps {
        let mut entries = Vec::new();
        let mut expected = Vec::new();
        for commands in &step.entries {
            // So that every other one is marked by all members.
            index += MARK_EVERY / 2;
            model.at = Position { term: 1, index };
            entries.push(entry(index, commands));
            expected.push(
                commands
                    .iter()
                    .map(|it| model.apply(it))
                    .collect::<Vec<_>>(),
            );
        }
        // One member takes the slice whole, the other entry by entry.
        assert_eq!(members[0].apply(&entries), expected);
        for (entry, expected) in entries.iter().zip(&expected) {
            assert_eq!(&members[1].apply(std::slice::from_ref(entry))[0], expected);
        }
        for (member, upkeep) in members.iter_mut().zip(step.upkeep) {
            check_ranges(member, &model, &step.queries);
            member.keep_up(upkeep);
            check_ranges(member, &model, &step.queries);
        }
        check_marks(&mut members);
    }
    let [a, b] = &mut members;
    let hash = |member: &mut Member| member.machine().store().state_hash().unwrap();
    assert_eq!(a.dump(), b.dump());
    assert_eq!(hash(a), hash(b));
    // And the same again after a crash and everything that can be removed.
    let before = hash(a);
    a.crash();
    assert_eq!(hash(a), before);
    a.keep_up(Upkeep::RemoveCompacted);
    assert_eq!(hash(a), before);
    check_ranges(a, &model, &[]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_state_machine_is_the_naive_one(steps in vec(step(), 1..14)) {
        run(&steps);
    }
}

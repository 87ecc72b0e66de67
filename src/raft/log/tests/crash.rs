//! The crash suite: random scripts, the power cut at every change of the disk, and again while the
//! log recovers.
//!
//! The judge knows every state the log went through, record by record. After a cut the log must
//! hold exactly one of them: none older than the last operation whose callback said `Ok`, none that
//! was never reached. That one comparison covers acknowledged entries and votes, entries that were
//! never written, holes, and truncated entries that come back.

use super::{at, entry, open, open_threaded};
use crate::env::disk_memory::MemoryDisk;
use crate::raft::log::{LogEntry, LogError, LogState, SegmentedLog, Vote};
use crate::types::Position;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// The log as it should be.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    state: LogState,
    entries: Vec<LogEntry>,
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<LogEntry>),
    Vote(Vote),
    Truncate(Option<Position>),
    Purge(Position),
}

impl Model {
    fn of(log: &SegmentedLog) -> Self {
        Self::try_of(log).unwrap()
    }

    fn try_of(log: &SegmentedLog) -> io::Result<Self> {
        let entries = log.read(0, u64::MAX, usize::MAX)?;
        Ok(Self {
            state: log.state(),
            entries,
        })
    }

    fn next_index(&self) -> u64 {
        self.state.last.map_or(0, |last| last.index + 1)
    }

    fn truncate(&mut self, keep: Option<Position>) {
        let kept = keep.map_or(0, |keep| keep.index + 1);
        self.entries.retain(|entry| entry.position.index < kept);
        self.state.last = keep.or(self.state.purged);
    }

    fn purge(&mut self, upto: Position) {
        self.entries
            .retain(|entry| entry.position.index > upto.index);
        self.state.purged = Some(upto);
        if self.entries.is_empty() {
            self.state.last = Some(upto);
        }
    }
}

/// Every state from the last that is known to be durable to the newest.
struct Judge {
    /// One per record queued, oldest first; the first is the state after recovery.
    states: Mutex<Vec<Model>>,
    /// Index of the newest state that a callback vouched for.
    durable: AtomicUsize,
    term: Mutex<u64>,
}

impl Judge {
    fn new(start: Model, term: u64) -> Arc<Self> {
        Arc::new(Self {
            states: Mutex::new(vec![start]),
            durable: AtomicUsize::new(0),
            term: Mutex::new(term),
        })
    }

    fn newest(&self) -> Model {
        self.states.lock().unwrap().last().unwrap().clone()
    }

    /// Draws a step that Raft could ask for in the newest state, and notes the states it leads to.
    fn draw(&self, rng: &mut StdRng) -> Step {
        let model = self.newest();
        let mut term = self.term.lock().unwrap();
        let step = match rng.random_range(0..100) {
            0..=64 => {
                let count = rng.random_range(1..6);
                let bytes = match rng.random_range(0..20) {
                    0 => 20_000,
                    1..=3 => 3_000,
                    _ => rng.random_range(0..700),
                };
                let next = model.next_index();
                Step::Append(
                    (next..next + count)
                        .map(|index| entry(*term, index, bytes))
                        .collect(),
                )
            }
            65..=79 => {
                *term += 1;
                let node = rng.random_range(1..4);
                Step::Vote(Vote {
                    term: *term,
                    node,
                    committed: rng.random_bool(0.5),
                })
            }
            80..=89 if !model.entries.is_empty() => {
                *term += 1;
                let keep = rng.random_range(0..model.entries.len());
                let before = keep.checked_sub(1).map(|at| model.entries[at].position);
                Step::Truncate(before.or(model.state.purged))
            }
            _ => {
                let next = model.next_index();
                let beyond = rng.random_bool(0.2);
                let first = model.state.purged.map_or(0, |purged| purged.index + 1);
                if beyond || model.entries.is_empty() || first >= next {
                    Step::Purge(at(*term, next + rng.random_range(0..5)))
                } else {
                    let upto = rng.random_range(0..model.entries.len());
                    Step::Purge(model.entries[upto].position)
                }
            }
        };
        let mut states = self.states.lock().unwrap();
        let mut model = model;
        match &step {
            Step::Append(entries) => {
                for entry in entries {
                    model.entries.push(entry.clone());
                    model.state.last = Some(entry.position);
                    states.push(model.clone());
                }
            }
            Step::Vote(vote) => {
                model.state.vote = Some(*vote);
                states.push(model);
            }
            Step::Truncate(keep) => {
                model.truncate(*keep);
                states.push(model);
            }
            Step::Purge(upto) => {
                model.purge(*upto);
                states.push(model);
            }
        }
        step
    }

    /// Queues a step. Its callback vouches for every state up to here.
    fn submit(self: &Arc<Self>, log: &SegmentedLog, step: Step) -> io::Result<()> {
        let reached = self.states.lock().unwrap().len() - 1;
        let judge = self.clone();
        let done = Box::new(move |result: io::Result<()>| {
            if result.is_ok() {
                let before = judge.durable.fetch_max(reached, Ordering::SeqCst);
                assert!(before < reached, "callbacks come in queue order");
            }
        });
        match step {
            Step::Append(entries) => log.append(entries, done),
            Step::Vote(vote) => log.save_vote(vote, done),
            Step::Truncate(keep) => log.truncate_after(keep),
            Step::Purge(upto) => log.purge(upto),
        }
    }

    fn judge(&self, found: &Model, story: &str) {
        let states = self.states.lock().unwrap();
        let durable = self.durable.load(Ordering::SeqCst);
        assert!(
            states[durable..].contains(found),
            "{story}: recovered {:?} with {} entries; durable was {:?}, newest {:?}",
            found.state,
            found.entries.len(),
            states[durable].state,
            states.last().unwrap().state,
        );
    }
}

/// Runs a script until its end or until the power goes.
fn run(log: &SegmentedLog, judge: &Arc<Judge>, rng: &mut StdRng, steps: usize) -> io::Result<()> {
    let mut left = steps;
    while left > 0 {
        let together = rng.random_range(1..6).min(left);
        left -= together;
        let first = judge.draw(rng);
        // What a callback queues while the writer is busy becomes one group.
        let reached = judge.states.lock().unwrap().len() - 1;
        if let (Step::Append(entries), true) = (&first, together > 1) {
            let (inner, noted, seed) = (log.clone(), judge.clone(), rng.random());
            let done = Box::new(move |result: io::Result<()>| {
                if result.is_err() {
                    return;
                }
                noted.durable.fetch_max(reached, Ordering::SeqCst);
                let mut rng = StdRng::seed_from_u64(seed);
                for _ in 1..together {
                    let step = noted.draw(&mut rng);
                    if noted.submit(&inner, step).is_err() {
                        return;
                    }
                }
            });
            log.append(entries.clone(), done)?;
        } else {
            judge.submit(log, first)?;
        }
        assert_eq!(
            log.state(),
            judge.newest().state,
            "readers see what is queued"
        );
    }
    Ok(())
}

/// One life of a member: open, judge, work. `Err` if the power went.
fn live(
    disk: &MemoryDisk,
    judge: &mut Arc<Judge>,
    rng: &mut StdRng,
    steps: usize,
    story: &str,
) -> io::Result<()> {
    let log = match open(disk) {
        Ok(log) => log,
        Err(error @ LogError::Io { .. }) => return Err(error.into()),
        Err(error) => panic!("{story}: {error}"),
    };
    let found = Model::of(&log);
    judge.judge(&found, story);
    let term = *judge.term.lock().unwrap();
    *judge = Judge::new(found, term + 1);
    run(&log, judge, rng, steps)
}

/// Lives of `steps` steps each, the power cut in each of them, the first at change `cut`.
fn lives(seed: u64, cut: u64, steps: usize) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut chance = StdRng::seed_from_u64(seed ^ (cut << 32));
    let mut disk = MemoryDisk::default();
    let mut judge = Judge::new(Model::default(), 1);
    let mut cut = cut;
    for life in 0..4 {
        let story = format!("seed {seed}, life {life}, power cut at change {cut}");
        disk.cut_at(cut);
        live(&disk, &mut judge, &mut rng, steps, &story).ok();
        disk = disk.after_cut(&mut chance);
        // Often during the recovery that follows, or just after it.
        let reach = if chance.random_bool(0.5) { 12 } else { 120 };
        cut = chance.random_range(1..reach);
    }
    let story = format!("seed {seed}, last life");
    live(&disk, &mut judge, &mut rng, steps, &story).unwrap();
}

/// How many changes a life without a power cut makes.
fn changes(seed: u64, steps: usize) -> u64 {
    let disk = MemoryDisk::default();
    let mut judge = Judge::new(Model::default(), 1);
    let mut rng = StdRng::seed_from_u64(seed);
    live(&disk, &mut judge, &mut rng, steps, "no cut").unwrap();
    let log = open(&disk).unwrap();
    assert_eq!(
        Model::of(&log),
        judge.newest(),
        "seed {seed}: a clean start finds everything"
    );
    disk.changes()
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_power_is_cut() {
    let mut cuts = 0;
    for seed in 0..24 {
        for cut in 1..=changes(seed, 40) {
            lives(seed, cut, 40);
            cuts += 1;
        }
    }
    assert!(
        cuts > 3000,
        "only {cuts} cuts: the scripts became too short to mean anything"
    );
}

#[test]
fn nothing_acknowledged_is_lost_when_threads_write() {
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut disk = MemoryDisk::default();
        let mut judge = Judge::new(Model::default(), 1);
        for life in 0..4 {
            disk.cut_at(rng.random_range(1..400));
            // A background thread may lose power before anything was asked of the log.
            if let Ok(log) = open_threaded(&disk)
                && let Ok(found) = Model::try_of(&log)
            {
                judge.judge(&found, &format!("seed {seed}, life {life}"));
                let term = *judge.term.lock().unwrap();
                judge = Judge::new(found, term + 1);
                for _ in 0..200 {
                    let step = judge.draw(&mut rng);
                    if judge.submit(&log, step).is_err() {
                        break;
                    }
                }
                log.close().ok();
            }
            disk = disk.after_cut(&mut rng);
        }
        let log = open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        judge.judge(&Model::of(&log), &format!("seed {seed}, last life"));
    }
}

//! Writers that go on in the background, and what they were promised.

use super::stage::{Stage, unknown};
use super::words::Words;
use crate::door::Door;
use anyhow::{Context as _, Result, bail, ensure};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Longer than an election, so that a member may answer after one.
const DEADLINE: Duration = Duration::from_millis(1500);
/// After an error a member is not asked again at once.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two writes of one client: a story is no benchmark.
const PACE: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of every write, by key: the revision at which it was acknowledged, or nobody knows.
#[derive(Default)]
struct Book {
    writes: BTreeMap<String, Option<i64>>,
    acknowledged: usize,
    last_error: String,
}

/// Clients, one at each of some members.
pub struct Load {
    book: Arc<Mutex<Book>>,
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
}

impl Load {
    /// `doors`: with the name of each client, which begins its keys.
    fn start(name: &str, doors: Vec<(String, Door)>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut load = Self {
            book: Arc::default(),
            stop,
            clients: JoinSet::new(),
        };
        for (client, door) in doors {
            let prefix = format!("{name}/{client}/");
            let book = Arc::clone(&load.book);
            load.clients
                .spawn(write(door, prefix, book, stopped.clone()));
        }
        load
    }

    pub fn acknowledged(&self) -> usize {
        lock(&self.book).acknowledged
    }

    pub fn last_error(&self) -> String {
        lock(&self.book).last_error.clone()
    }

    /// Lets every client finish what it is at.
    pub async fn stop(&mut self) {
        self.stop.send_replace(true);
        while self.clients.join_next().await.is_some() {}
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every write is of a key of its own, whose value is the key.
async fn write(
    mut door: Door,
    prefix: String,
    book: Arc<Mutex<Book>>,
    mut stop: watch::Receiver<bool>,
) {
    for number in 0_u32.. {
        let key = format!("{prefix}{number:06}");
        let outcome = timeout(DEADLINE, door.put(key.clone(), key.clone())).await;
        let pause = {
            let mut book = lock(&book);
            let (revision, pause) = match outcome {
                Ok(Ok(revision)) => {
                    book.acknowledged += 1;
                    (Some(revision), PACE)
                }
                Ok(Err(status)) => {
                    book.last_error = status.to_string();
                    (None, PAUSE)
                }
                Err(_) => {
                    "no answer".clone_into(&mut book.last_error);
                    (None, PAUSE)
                }
            };
            book.writes.insert(key, revision);
            pause
        };
        tokio::select! {
            () = sleep(pause) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        if *stop.borrow() {
            return;
        }
    }
}

impl Stage {
    /// `load NAME [MEMBERS] [clients=N]`: so many at each, or one.
    pub(super) fn start_load(&mut self, words: &mut Words) -> Result<String> {
        let name = words.next("the load's name")?;
        let clients: usize = words.number("clients")?.unwrap_or(1);
        let nodes = self.nodes(words)?;
        words.finish()?;
        let (cluster, names) = self.scene()?;
        let mut doors = Vec::new();
        for node in &nodes {
            for client in 1..=clients {
                let name = format!("{}.{client}", names.name(*node));
                doors.push((name, cluster.door(*node, DEADLINE)?));
            }
        }
        let said = format!("clients write at {}", names.list(&nodes));
        ensure!(!self.loads.contains_key(&name), "there is a {name} already");
        let load = Load::start(&name, doors);
        self.loads.insert(name, load);
        Ok(said)
    }

    pub(super) async fn stop_load(&mut self, words: &mut Words) -> Result<String> {
        let name = words.next("the load")?;
        words.finish()?;
        let Some(load) = self.loads.get_mut(&name) else {
            return unknown("load", &name);
        };
        load.stop().await;
        Ok(format!("{name} has stopped"))
    }

    /// `f1: verify NAME`: what was acknowledged is there, at the revision that the client was told, and
    /// what is there was written.
    pub(super) async fn verify(&mut self, words: &mut Words) -> Result<String> {
        let name = words.next("the load")?;
        let at = words.at()?;
        words.finish()?;
        let (_, all) = self.door(&at, PATIENCE)?.dump(0).await?;
        let Some(load) = self.loads.get(&name) else {
            return unknown("load", &name);
        };
        let prefix = format!("{name}/");
        let there = all.iter().map(|kv| {
            let key = String::from_utf8_lossy(&kv.key).into_owned();
            (key, (kv.mod_revision, kv.version))
        });
        let mut there: BTreeMap<String, (i64, i64)> =
            there.filter(|(key, _)| key.starts_with(&prefix)).collect();
        let book = lock(&load.book);
        ensure!(book.acknowledged > 0, "nothing was acknowledged");
        for (key, acknowledged) in &book.writes {
            match (acknowledged, there.remove(key)) {
                (Some(at), None) => bail!("{key}, acknowledged at revision {at}, is lost"),
                (Some(at), Some((is, _))) if *at != is => {
                    bail!("{key}, acknowledged at revision {at}, is at {is}")
                }
                (_, Some((_, version))) if version != 1 => {
                    bail!("{key} was written once, and its version is {version}")
                }
                _ => {}
            }
        }
        if let Some((key, _)) = there.first_key_value() {
            bail!("{key} is there and nobody wrote it");
        }
        Ok(format!(
            "all that {name} was acknowledged is there, once, at its revision"
        ))
    }

    /// `leader: fill PREFIX COUNT [bytes=N]`: so many keys, one after the other.
    pub(super) async fn fill(&mut self, words: &mut Words) -> Result<String> {
        let prefix = words.next("the prefix")?;
        let count: usize = words.next_number("how many")?;
        let bytes = words.number("bytes")?.unwrap_or(1);
        let at = words.at()?;
        words.finish()?;
        let mut door = self.door(&at, PATIENCE)?;
        let mut revision = 0;
        for number in 1..=count {
            let put = door.put(format!("{prefix}{number:04}"), "x".repeat(bytes));
            revision = put.await.with_context(|| format!("key {number}"))?;
        }
        Ok(format!("{count} keys, up to @{revision}"))
    }
}

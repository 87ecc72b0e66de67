//! The stage of one story: its cluster, who is who, and what goes on in the background.

use super::load::Load;
use super::names::Names;
use super::question::{self, Directory, Question, Said};
use super::watching::Watch;
use super::words::Words;
use crate::cluster::carrier::Wiring;
use crate::cluster::local::{Cluster, ELECTION_TIMEOUT, PATIENCE, Spec};
use crate::cluster::program::Program;
use crate::door::Door;
use crate::wait::{Look, until};
use anyhow::{Context as _, Result, bail, ensure};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::JoinHandle;

/// A server gives up after seven seconds, as etcd does; what it says then is waited for.
const ANSWER_PATIENCE: Duration = Duration::from_secs(12);
/// How long nobody answers before a story calls it unanswered.
const SILENCE: u32 = 4;
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Of what a power cut takes: the same in every run.
const SEED: u64 = 7;

/// What a story's lines are carried out on.
pub struct Stage {
    dir: PathBuf,
    cluster: Option<Cluster>,
    pub(super) directory: Directory,
    leases: BTreeMap<String, i64>,
    /// Questions under way.
    asked: BTreeMap<String, JoinHandle<Said>>,
    pub(super) watches: BTreeMap<String, Watch>,
    pub(super) loads: BTreeMap<String, Load>,
    /// Terms by member, when they were remembered.
    pub(super) mark: BTreeMap<usize, u64>,
    pub(super) random: StdRng,
    /// Of the members: the unit of time.
    pub(super) election_timeout: Duration,
}

impl Stage {
    /// Data and logs of its cluster go to `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            cluster: None,
            directory: Directory::default(),
            leases: BTreeMap::new(),
            asked: BTreeMap::new(),
            watches: BTreeMap::new(),
            loads: BTreeMap::new(),
            mark: BTreeMap::new(),
            random: StdRng::seed_from_u64(SEED),
            election_timeout: ELECTION_TIMEOUT,
        }
    }

    /// Does what the line says, and tells what came of it.
    ///
    /// # Errors
    /// The line says nothing that can be done, or what it waits for does not come.
    pub async fn perform(&mut self, words: &mut Words) -> Result<String> {
        let verb = words.verb.clone();
        match verb.as_str() {
            "start" => Box::pin(self.start(words)).await,
            "cut" => self.cut(words).await,
            "heal" => self.heal(words).await,
            "weather" => self.weather(words).await,
            "flap" => Box::pin(self.flap(words)).await,
            "kill" | "boot" | "restart" | "pause" | "resume" | "power-cut" | "lose-disk"
            | "retire" => self.befall(words),
            "enlist" => self.enlist(words).await,
            "wait" => Box::pin(self.wait(words)).await,
            "hold" => Box::pin(self.hold(words)).await,
            "mark" => self.set_mark(words).await,
            "elections" => self.elections(words).await,
            "watch" => self.watch(words).await,
            "told" => self.told(words).await,
            "complete" => self.complete(words).await,
            "load" => self.start_load(words),
            "stop" => self.stop_load(words).await,
            "verify" => self.verify(words).await,
            "fill" => self.fill(words).await,
            "ask" => self.ask_later(words),
            "answer" => self.answer(words).await,
            "unanswered" => self.unanswered(words).await,
            "persist" => self.persist(words).await,
            _ => {
                let either = words.take("either");
                let (mut door, question, limit) = self.question(words, ANSWER_PATIENCE)?;
                let said = question.ask(&mut door, limit, &self.directory).await;
                Ok(say(&said, either.as_deref()))
            }
        }
    }

    /// Ends what goes on, and the members as an operator would.
    ///
    /// # Errors
    /// A member does not end when it is told to.
    pub async fn close(&mut self) -> Result<()> {
        for asked in self.asked.values() {
            asked.abort();
        }
        self.watches.clear();
        for load in self.loads.values_mut() {
            load.stop().await;
        }
        let Some(mut cluster) = self.cluster.take() else {
            return Ok(());
        };
        match cluster.terminate_all(STOP_LIMIT).await.pop() {
            None => Ok(()),
            Some((node, error)) => {
                let name = self.directory.names.name(node);
                Err(error.context(format!("{name} did not stop as it should")))
            }
        }
    }

    /// Lets go of everything at once: members are killed.
    pub fn abandon(&mut self) {
        for asked in self.asked.values() {
            asked.abort();
        }
        self.watches.clear();
        self.loads.clear();
        self.cluster = None;
    }

    /// Where to look when something went wrong.
    pub fn dir(&self) -> &std::path::Path {
        &self.dir
    }

    pub(super) fn cluster(&mut self) -> Result<&mut Cluster> {
        self.cluster.as_mut().context("no cluster yet: start")
    }

    /// The cluster and who is who.
    pub(super) fn scene(&self) -> Result<(&Cluster, &Names)> {
        let cluster = self.cluster.as_ref().context("no cluster yet: start")?;
        Ok((cluster, &self.directory.names))
    }

    pub(super) fn door(&self, name: &str, deadline: Duration) -> Result<Door> {
        let (cluster, names) = self.scene()?;
        cluster.door(names.node(name)?, deadline)
    }

    /// The members that the rest of the line names; none named: all.
    pub(super) fn nodes(&mut self, words: &mut Words) -> Result<Vec<usize>> {
        let named = words.rest();
        let (cluster, names) = self.scene()?;
        if named.is_empty() || named == ["all"] {
            return Ok(cluster.nodes().collect());
        }
        names.nodes(&named)
    }

    async fn start(&mut self, words: &mut Words) -> Result<String> {
        ensure!(self.cluster.is_none(), "the cluster runs already");
        let nodes = words.number("nodes")?.unwrap_or(3);
        ensure!((1..=7).contains(&nodes), "clusters have 1 to 7 members");
        let mut spec = Spec::new(
            Program::Quorate,
            nodes,
            Wiring::Proxies.layout()?,
            self.dir.clone(),
        );
        spec.wiring = Wiring::Proxies;
        spec.seed = SEED;
        spec.journals = words.flag("journals");
        if let Some(count) = words.number::<u64>("snapshot-count")? {
            spec.flags
                .extend(["--snapshot-count".to_owned(), count.to_string()]);
        }
        if let Some(ms) = words.number::<u64>("election-timeout")? {
            self.election_timeout = Duration::from_millis(ms);
            spec.flags
                .extend(["--election-timeout".to_owned(), ms.to_string()]);
        }
        words.finish()?;
        if self.dir.exists() {
            std::fs::remove_dir_all(&self.dir).context("erase what an earlier run left")?;
        }
        let mut cluster = Cluster::start(spec).await?;
        let all: Vec<usize> = cluster.nodes().collect();
        cluster.wait_serving(&all, PATIENCE).await?;
        let leader = cluster.wait_leader(&all, PATIENCE).await?;
        self.directory.names = Names::of(leader, &all);
        self.directory.urls = all
            .iter()
            .map(|node| (*node, cluster.peer_url(*node)))
            .collect();
        self.cluster = Some(cluster);
        Ok(format!("{} serve", self.directory.names.list(&all)))
    }

    /// How `within=N` is meant: election timeouts.
    pub(super) fn within(&self, words: &mut Words) -> Result<Option<Duration>> {
        let timeouts = words.number::<u32>("within")?;
        Ok(timeouts.map(|timeouts| timeouts * self.election_timeout))
    }

    /// A line that asks: of whom, what, and how long to wait.
    fn question(
        &mut self,
        words: &mut Words,
        patience: Duration,
    ) -> Result<(Door, Question, Duration)> {
        let question = question::parse(words, &mut self.leases, &self.directory)?;
        let question = question::required(question, &words.verb)?;
        let at = words.at()?;
        let limit = self.within(words)?.unwrap_or(patience);
        words.finish()?;
        Ok((self.door(&at, limit)?, question, limit))
    }

    fn ask_later(&mut self, words: &mut Words) -> Result<String> {
        let id = words.next("a name for the answer")?;
        words.inner()?;
        let (mut door, question, limit) = self.question(words, ANSWER_PATIENCE)?;
        let directory = self.directory.clone();
        let task = tokio::spawn(async move { question.ask(&mut door, limit, &directory).await });
        let earlier = self.asked.insert(id.clone(), task);
        ensure!(earlier.is_none(), "{id} was asked already");
        Ok("asked".to_owned())
    }

    async fn answer(&mut self, words: &mut Words) -> Result<String> {
        let id = words.next("whose answer")?;
        let either = words.take("either");
        words.finish()?;
        let task = self.asked.remove(&id);
        let task = task.with_context(|| format!("{id} was not asked"))?;
        let said = task.await.context("the question")?;
        Ok(format!("{id}: {}", say(&said, either.as_deref())))
    }

    /// No answer while a bound passes, or an error that says that there is none.
    async fn unanswered(&mut self, words: &mut Words) -> Result<String> {
        words.inner()?;
        let (mut door, question, limit) = self.question(words, SILENCE * self.election_timeout)?;
        let said = question.ask(&mut door, limit, &self.directory).await;
        Ok(if said.among(&["no answer"]) {
            "no answer".to_owned()
        } else {
            said.text
        })
    }

    /// Asks again until there is an answer. For questions that may be asked twice.
    async fn persist(&mut self, words: &mut Words) -> Result<String> {
        words.inner()?;
        let either = words.take("either");
        let limit = self.within(words)?.unwrap_or(PATIENCE);
        let (door, question, patience) = self.question(words, Duration::from_secs(2))?;
        let directory = &self.directory;
        let said = until("an answer", limit, async || {
            let said = question.ask(&mut door.clone(), patience, directory).await;
            if said.is_worth_another() {
                Look::NotYet(said.text)
            } else {
                Look::Ready(said)
            }
        });
        let said = said.await?;
        Ok(say(&said, either.as_deref()))
    }
}

/// `either`: what chance may make of it, "a=1 @2 | no answer". Which of them it was is not told.
fn say(said: &Said, either: Option<&str>) -> String {
    let Some(either) = either else {
        return said.text.clone();
    };
    let texts: Vec<&str> = either.split('|').map(str::trim).collect();
    if said.among(&texts) {
        texts.join(", or ")
    } else {
        said.text.clone()
    }
}

/// # Errors
/// Always: nothing is known by this name.
pub(super) fn unknown<T>(what: &str, name: &str) -> Result<T> {
    bail!("there is no {what} {name:?}")
}

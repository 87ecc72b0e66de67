//! A cluster as a run sees it, whatever it is made of.
//!
//! The laboratory's conductor, its deeds, its sampler and its finale know a cluster by this trait alone:
//! where its members are asked, what can befall them, and how to wait for them. A
//! [`Cluster`](super::local::Cluster) of real processes is one; a simulation inside one process is
//! another. What is only asked or written to goes through the doors of the clients' URLs
//! ([`Door`], [`Observer`]), which a simulation serves too ([`crate::dial`]).

use super::local::ELECTION_TIMEOUT;
use super::weather::Weather;
use crate::door::Door;
use crate::history::timeline::Life;
use crate::observe::{self, Observation, Observer};
use crate::schedule::effect::{Skew, World};
use crate::schedule::fault::{Fault, Harm, Store, Trouble};
use crate::wait::{Look, until, until_ok};
use anyhow::{Context as _, Result, bail, ensure};
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// Of what is awaited where it was begun.
pub type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A member's life changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    pub node: usize,
    pub was: Life,
    pub is: Life,
}

impl Turn {
    /// Whether the member ran before it.
    pub fn ran(&self) -> bool {
        runs(self.was)
    }

    /// Whether it is to run after it.
    pub fn runs(&self) -> bool {
        runs(self.is)
    }

    /// Whether the member is started by it.
    pub fn starts(&self) -> bool {
        !self.ran() && self.runs()
    }
}

fn runs(life: Life) -> bool {
    match life {
        Life::Up | Life::Slowed(_) | Life::Paused => true,
        Life::Down | Life::PowerCut | Life::Gone => false,
    }
}

/// The cluster that a run is about. Members are numbered from 1, in the order of their coming; numbers
/// are not given twice. Methods that name a node err if there is none.
///
/// Who holds it may wait while holding it, in a task of any thread: it is `Send` and `Sync`.
pub trait Subject: fmt::Debug + Send + Sync {
    /// What the members are, for people: "quorate", "etcd".
    fn program(&self) -> String;

    /// The members of now, by number, without those that left.
    fn nodes(&self) -> Vec<usize>;

    /// Where clients ask it: `http://host:port`.
    fn client_url(&self, node: usize) -> String;

    /// By which URL the others know it as a peer.
    fn peer_url(&self, node: usize) -> String;

    /// For those who look at `node` often.
    ///
    /// # Errors
    /// Never for a node that exists.
    fn observer(&self, node: usize) -> Result<Observer>;

    /// A client of one member whose calls take at most `deadline`.
    ///
    /// # Errors
    /// Never for a node that exists.
    fn door(&self, node: usize, deadline: Duration) -> Result<Door> {
        Door::open(&self.client_url(node), deadline)
    }

    /// The longest that a member waits for a leader: the unit of every liveness bound.
    fn election_timeout(&self) -> Duration {
        ELECTION_TIMEOUT
    }

    /// What cannot be done to it, or only nearly, in sentences for the report.
    fn limits(&self) -> Vec<String>;

    /// Why this fault, which would make this of the world when it strikes, cannot be had here; none: it
    /// can. It is asked before anything is done: a snapshot that is to be damaged and is not there yet
    /// is a reason too.
    fn cannot(&self, fault: &Fault, world: &World) -> Option<String>;

    /// From here on every way from member to member does exactly this.
    ///
    /// # Errors
    /// It cannot be done.
    fn set_weather<'a>(&'a mut self, weather: &'a Weather) -> BoxFuture<'a, Result<()>>;

    /// From here on exactly these members have trouble with their disks, those that join as well.
    ///
    /// # Errors
    /// Nobody comes between these members and their disks.
    fn set_disks(&mut self, disks: &BTreeMap<usize, Trouble>) -> Result<()> {
        ensure!(disks.is_empty(), "the members' disks are the machine's");
        Ok(())
    }

    /// From here on exactly these members have wrong clocks, each counted from the moment when its
    /// entry came or changed. A clock that is no longer named is right again at once.
    ///
    /// # Errors
    /// Nobody comes between these members and their clocks.
    fn set_clocks(&mut self, clocks: &BTreeMap<usize, Skew>) -> Result<()> {
        ensure!(clocks.is_empty(), "the members' clocks are the machine's");
        Ok(())
    }

    /// Members' lives change. Those that are killed together do not see each other die: whoever is to
    /// go down is struck before anybody is waited for. `done` is told of each change as soon as it is
    /// made; what a power cut takes is drawn from `random`. A member that refuses to run has been
    /// started all the same, and [has ended](Subject::has_ended).
    ///
    /// # Errors
    /// A change cannot be made; those of which `done` was told have been.
    fn live<'a>(
        &'a mut self,
        turns: &'a [Turn],
        random: &'a mut StdRng,
        done: &'a mut (dyn FnMut(Turn) + Send),
    ) -> BoxFuture<'a, Result<()>>;

    /// If a member that was started and not killed since does not run: why, or where that can be read,
    /// in words.
    ///
    /// # Errors
    /// There is no such node.
    fn has_ended(&mut self, node: usize) -> Result<Option<String>>;

    /// The end of what it had to say, for a message; empty for nothing.
    fn last_words(&self, _node: usize) -> String {
        String::new()
    }

    /// Harms what the disk of a member that is down holds. In words what was harmed.
    ///
    /// # Errors
    /// There is no such thing, or it cannot be done.
    fn damage<'a>(
        &'a mut self,
        node: usize,
        _what: Store,
        _how: Harm,
        _random: &'a mut StdRng,
    ) -> BoxFuture<'a, Result<String>> {
        Box::pin(async move { bail!("n{node}: the members' disks are the machine's") })
    }

    /// Room for one more member, which is to be added to the cluster before it is started; it
    /// answers its number. What the world does now it does to that one too.
    ///
    /// # Errors
    /// There is no room.
    fn enlist(&mut self) -> BoxFuture<'_, Result<usize>>;

    /// Tells a member that is not started yet whom it will find: those behind `peer_urls`, itself among
    /// them.
    ///
    /// # Errors
    /// A URL is nobody's.
    fn introduce(&mut self, node: usize, peer_urls: &[String]) -> Result<()>;

    /// Starts a member that was enlisted.
    ///
    /// # Errors
    /// It cannot be started.
    fn start(&mut self, node: usize) -> BoxFuture<'_, Result<()>>;

    /// Kills a member, if it runs.
    ///
    /// # Errors
    /// There is no such node.
    fn kill(&mut self, node: usize) -> BoxFuture<'_, Result<()>>;

    /// Forgets a member that was removed from the cluster, and kills it if it runs.
    ///
    /// # Errors
    /// There is no such node.
    fn retire(&mut self, node: usize) -> BoxFuture<'_, Result<()>>;

    /// Ends all members as an operator would; who has not ended within `limit` is killed, and named.
    fn end(&mut self, limit: Duration) -> LocalBoxFuture<'_, Vec<(usize, anyhow::Error)>>;
}

/// What `node` says of itself.
///
/// # Errors
/// It does not answer.
pub async fn observe(subject: &dyn Subject, node: usize, with_hash: bool) -> Result<Observation> {
    let mut observer = subject.observer(node)?;
    let seen = observer.look(with_hash, observe::PATIENCE).await;
    seen.with_context(|| format!("node {node}"))
}

/// Waits until each of `nodes` answers a linearizable read.
///
/// # Errors
/// Not within `limit`, or a member has ended.
pub async fn serving(subject: &mut dyn Subject, nodes: &[usize], limit: Duration) -> Result<()> {
    for &node in nodes {
        let mut door = subject.door(node, Duration::from_secs(2))?;
        let ended = until(format!("node {node} to serve"), limit, async || {
            match subject.has_ended(node) {
                Ok(None) => {}
                ended => return Look::Ready(ended.map(|_| true)),
            }
            match door.get("health").await {
                Ok(_) => Look::Ready(Ok(false)),
                Err(status) => Look::NotYet(status.to_string()),
            }
        });
        let ended = ended.await;
        let ended = ended.map_err(|error| match subject.last_words(node) {
            words if words.is_empty() => error,
            words => error.context(words),
        });
        if ended?? {
            bail!(
                "node {node} has ended instead of serving: {}",
                subject.last_words(node)
            );
        }
    }
    Ok(())
}

/// Waits until `nodes` have applied the same log and hold the same state; returns its hash.
/// Writers must be at rest.
///
/// # Errors
/// They differ at the same position, or do not meet within `limit`.
pub async fn same_state(subject: &dyn Subject, nodes: &[usize], limit: Duration) -> Result<String> {
    let outcome = until_ok("all members to hold the same state", limit, async || {
        let mut first = None;
        for &node in nodes {
            let observation = observe(subject, node, true).await?;
            let fingerprint = observation.fingerprint.context("no hash in the answer")?;
            let first = first.get_or_insert_with(|| fingerprint.clone());
            ensure!(
                first.at == fingerprint.at,
                "{first} and, on node {node}, {fingerprint}"
            );
            if *first != fingerprint {
                return Ok(Err(format!("{first} and, on node {node}, {fingerprint}")));
            }
        }
        Ok(Ok(first.context("no members")?.to_string()))
    });
    match outcome.await? {
        Ok(hash) => Ok(hash),
        Err(difference) => bail!("the same log made different states: {difference}"),
    }
}

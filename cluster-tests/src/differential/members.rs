//! The members that are compared with etcd: which one gets the next request.
//!
//! Any of them may get a request that is answered behind a barrier. What a member answers from its
//! own state must not meet a follower that lags: if the member is not known to have applied
//! everything, a linearizable read there comes first. That holds for the follower that the last
//! write went through as well: it answers with the leader's word, before it has applied the write,
//! so that a serializable read there may miss it. An etcd member answers after it has applied.

use super::call::{Answer, Call};
use crate::cluster::layout::Layout;
use crate::cluster::local::{Cluster, PATIENCE, Spec};
use crate::cluster::program::Program;
use crate::door::Door;
use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// On a loaded machine the default timers elect now and then, and a write that meets an election has
/// an unknown outcome: nothing to compare. Elections are the fault suite's.
const CALM: &[&str] = &["--heartbeat-interval=100", "--election-timeout=3000"];

/// A running cluster and a door to each of its members.
#[derive(Debug)]
pub struct Members {
    cluster: Cluster,
    doors: Vec<Door>,
    leader: usize,
    random: StdRng,
    /// Those that certainly have applied every request so far.
    current: BTreeSet<usize>,
    asked: usize,
    asked_followers: usize,
}

impl Members {
    /// Starts `nodes` members of `program` in `dir` and waits until all serve.
    ///
    /// # Errors
    /// They do not come up.
    pub async fn start(program: Program, nodes: usize, dir: PathBuf, seed: u64) -> Result<Self> {
        let spec = Spec {
            program,
            nodes,
            layout: Layout::claim()?,
            dir,
            links: false,
            flags: CALM.iter().map(|flag| (*flag).to_owned()).collect(),
        };
        let mut cluster = Cluster::start(spec).await?;
        let all: Vec<usize> = cluster.nodes().collect();
        cluster.wait_serving(&all, PATIENCE).await?;
        let leader = cluster.wait_leader(&all, PATIENCE).await?;
        let doors = all.iter().map(|&node| cluster.door(node, PATIENCE));
        Ok(Self {
            doors: doors.collect::<Result<_>>()?,
            leader,
            random: StdRng::seed_from_u64(seed),
            current: all.into_iter().collect(),
            cluster,
            asked: 0,
            asked_followers: 0,
        })
    }

    /// The member that `call` goes to, which is fit to answer it.
    ///
    /// # Errors
    /// It does not answer a read.
    pub async fn choose(&mut self, call: &Call) -> Result<usize> {
        let node = self.random.random_range(1..=self.doors.len());
        if call.is_local() {
            self.make_current(node).await?;
        }
        Ok(node)
    }

    /// A member that has applied everything, and its door.
    ///
    /// # Errors
    /// It does not answer a read.
    pub async fn any_current(&mut self) -> Result<(usize, Door)> {
        let node = self.random.random_range(1..=self.doors.len());
        self.make_current(node).await?;
        Ok((node, self.door(node)?))
    }

    async fn make_current(&mut self, node: usize) -> Result<()> {
        if !self.current.contains(&node) {
            let mut door = self.door(node)?;
            door.get("s").await.context("the read before a local one")?;
            self.current.insert(node);
        }
        Ok(())
    }

    /// # Errors
    /// There is no such member.
    pub fn door(&self, node: usize) -> Result<Door> {
        let door = node.checked_sub(1).and_then(|at| self.doors.get(at));
        door.cloned().with_context(|| format!("no member {node}"))
    }

    /// Notes what `node` has answered, and so what it must have applied.
    pub fn note(&mut self, node: usize, call: &Call, answer: &Answer) {
        self.asked += 1;
        self.asked_followers += usize::from(node != self.leader);
        if call.is_logged() {
            self.current.clear();
        }
        let answered = !matches!(answer, Answer::Error(..));
        // A follower may yet have to apply what it forwarded.
        let applied = !call.is_local() && (!call.is_logged() || node == self.leader);
        if answered && applied {
            self.current.insert(node);
        }
    }

    /// The member's number and role, for messages.
    pub fn describe(&self, node: usize) -> String {
        let role = if node == self.leader {
            "the leader"
        } else {
            "a follower"
        };
        format!("member {node}, {role}")
    }

    /// # Errors
    /// A process has ended.
    pub fn all_run(&mut self) -> Result<()> {
        for node in self.cluster.nodes() {
            let runs = self.cluster.member(node)?.pid().is_some();
            ensure!(runs, "{} {node} has ended", self.cluster.program());
        }
        Ok(())
    }

    /// Waits until all hold the same state.
    ///
    /// # Errors
    /// They never do.
    pub async fn agree(&self) -> Result<()> {
        let all: Vec<usize> = self.cluster.nodes().collect();
        self.cluster.wait_same_state(&all, PATIENCE).await?;
        Ok(())
    }

    /// How many of how many requests went to followers.
    pub fn followers_share(&self) -> (usize, usize) {
        (self.asked_followers, self.asked)
    }
}

//! The members that are compared with etcd: which one gets the next request.
//!
//! Any of them may get a request that is answered behind a barrier. What a member answers from its
//! own state must not meet a follower that lags: if the member is not known to have applied
//! everything, a linearizable read there comes first. That holds for the follower that the last
//! write went through as well: it answers with the leader's word, before it has applied the write,
//! so that a serializable read there may miss it. An etcd member answers after it has applied.

use super::answer::Answer;
use super::call::{Call, Own};
use crate::cluster::layout::Layout;
use crate::cluster::local::{Cluster, PATIENCE, Spec};
use crate::cluster::program::Program;
use crate::door::Door;
use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// On a loaded machine the default timers elect now and then, and a write that meets an election has
/// an unknown outcome: nothing to compare. Elections are the fault suite's.
pub const CALM: &[&str] = &["--heartbeat-interval=100", "--election-timeout=3000"];
/// For the many short runs of [`super::shrink`].
pub const BRISK: &[&str] = &["--heartbeat-interval=50", "--election-timeout=500"];

/// A running cluster and a door to each of its members.
#[derive(Debug)]
pub struct Members {
    cluster: Cluster,
    doors: Vec<Door>,
    ids: Vec<u64>,
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
    pub async fn start(
        program: Program,
        nodes: usize,
        dir: PathBuf,
        seed: u64,
        timers: &[&str],
    ) -> Result<Self> {
        let spec = Spec {
            flags: timers.iter().map(|flag| (*flag).to_owned()).collect(),
            ..Spec::new(program, nodes, Layout::claim()?, dir)
        };
        let mut cluster = Cluster::start(spec).await?;
        let all: Vec<usize> = cluster.nodes().collect();
        cluster.wait_serving(&all, PATIENCE).await?;
        let leader = cluster.wait_leader(&all, PATIENCE).await?;
        let doors = all.iter().map(|&node| cluster.door(node, PATIENCE));
        let doors = doors.collect::<Result<_>>()?;
        let mut ids = Vec::new();
        for &node in &all {
            ids.push(cluster.observe(node, false).await?.member_id);
        }
        Ok(Self {
            doors,
            ids,
            leader,
            random: StdRng::seed_from_u64(seed),
            current: all.into_iter().collect(),
            cluster,
            asked: 0,
            asked_followers: 0,
        })
    }

    pub fn program(&self) -> Program {
        self.cluster.program()
    }

    pub fn leader(&self) -> usize {
        self.leader
    }

    /// Any of them.
    pub fn any(&mut self) -> usize {
        self.random.random_range(1..=self.doors.len())
    }

    /// Makes sure that `node` has applied everything so far.
    ///
    /// # Errors
    /// It does not answer a read.
    pub async fn bring_up_to_date(&mut self, node: usize) -> Result<()> {
        if !self.current.contains(&node) {
            let mut door = self.door(node)?;
            door.get("s").await.context("the read before a local one")?;
            self.current.insert(node);
        }
        Ok(())
    }

    /// A door with a connection of its own, for a stream.
    ///
    /// # Errors
    /// Never for a node that exists.
    pub fn listener(&self, node: usize) -> Result<Door> {
        self.cluster.door(node, PATIENCE)
    }

    /// What requests may name of `node`.
    ///
    /// # Errors
    /// There is no such member.
    pub fn own(&self, node: usize) -> Result<Own> {
        let id = node.checked_sub(1).and_then(|at| self.ids.get(at));
        let member_id = *id.with_context(|| format!("no member {node}"))?;
        Ok(Own { member_id })
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
        let answered = !answer.is_error();
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

    /// The processes that have ended, in words, with what they said last.
    ///
    /// # Errors
    /// Never.
    pub fn ended(&mut self) -> Result<Vec<String>> {
        let mut ended = Vec::new();
        for node in self.cluster.nodes() {
            let program = self.cluster.program();
            let member = self.cluster.member(node)?;
            if member.pid().is_none() {
                let log = std::fs::read_to_string(member.log()).unwrap_or_default();
                let last = log.lines().last().unwrap_or_default();
                ended.push(format!("{program} {node} has ended: {last}\n"));
            }
        }
        Ok(ended)
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

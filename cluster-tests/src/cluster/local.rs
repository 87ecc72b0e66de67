//! A cluster on this machine: its members, its links, and what tests ask of it.

use super::carrier::{Carrier, Wiring};
use super::layout::{Layout, NODES_MAX};
use super::power::{self, Lost};
use super::process::Process;
use super::program::{MemberPlan, Program};
use super::subject;
use super::throttle::Throttle;
use super::weather::Weather;
use crate::door::Door;
use crate::observe::{Observation, Observer};
use crate::wait::until_ok;
use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A machine under full load is slow; a cluster that needs longer than this is broken.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Quorate's largest election timeout by default: the unit of every liveness bound.
pub const ELECTION_TIMEOUT: Duration = Duration::from_millis(300);

/// What kind of cluster to start.
#[derive(Clone, Debug)]
pub struct Spec {
    pub program: Program,
    pub nodes: usize,
    pub layout: Layout,
    /// Data directories and logs of the members: `n1/`, `n1.log`, …
    pub dir: PathBuf,
    /// How members reach each other. If the weather can touch it, an etcd has Quorate's timers.
    pub wiring: Wiring,
    /// More flags for every member.
    pub flags: Vec<String>,
    /// Another binary than [`Program::binary`] finds.
    pub binary: Option<PathBuf>,
    /// Variables for every member, beside those of this process.
    pub environment: Vec<(String, String)>,
    /// Members note what a power cut could take: [`Cluster::cut_power`] needs it. An etcd cannot.
    pub journals: bool,
    /// Of what the wires draw at random.
    pub seed: u64,
}

impl Spec {
    /// Members that reach each other directly, with the flags that they must have.
    pub fn new(program: Program, nodes: usize, layout: Layout, dir: PathBuf) -> Self {
        Self {
            program,
            nodes,
            layout,
            dir,
            wiring: Wiring::Direct,
            flags: Vec::new(),
            binary: None,
            environment: Vec::new(),
            journals: false,
            seed: 0,
        }
    }
}

/// Members and links, running. Everything ends when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    spec: Spec,
    members: Vec<Process>,
    /// Numbers of members that left for ever.
    retired: BTreeSet<usize>,
    carrier: Carrier,
    /// Of members that a run holds back.
    throttles: BTreeMap<usize, Throttle>,
}

impl Cluster {
    /// Starts every member; [`Cluster::wait_serving`] tells when they serve.
    ///
    /// # Errors
    /// A member or a link cannot be started.
    pub async fn start(spec: Spec) -> Result<Self> {
        std::fs::create_dir_all(&spec.dir)
            .with_context(|| format!("create {}", spec.dir.display()))?;
        let mut carrier = Carrier::new(spec.wiring, spec.program, spec.layout, spec.seed).await?;
        let mut members = Vec::new();
        let founders: Vec<usize> = (1..=spec.nodes).collect();
        for node in 1..=spec.nodes {
            let mut member = process(&spec, node, &founders, "new")?;
            carrier.admit(node, &mut member).await?;
            members.push(member);
        }
        members.iter_mut().try_for_each(Process::start)?;
        Ok(Self {
            spec,
            members,
            retired: BTreeSet::new(),
            carrier,
            throttles: BTreeMap::new(),
        })
    }

    /// Room for one more member, which is to be added to the cluster before it is started; it
    /// answers its number. The weather of now is over its links too.
    ///
    /// # Errors
    /// There is no binary, an address is in use, or the numbers are used up.
    pub async fn enlist(&mut self) -> Result<usize> {
        let node = self.spec.nodes + 1;
        ensure!(
            node <= usize::from(NODES_MAX),
            "a cluster has had at most {NODES_MAX} members"
        );
        let all: Vec<usize> = self.nodes().chain([node]).collect();
        let mut member = process(&self.spec, node, &all, "existing")?;
        self.carrier.admit(node, &mut member).await?;
        self.members.push(member);
        self.spec.nodes = node;
        Ok(node)
    }

    /// Tells a member that is not started yet whom it will find: those behind `peer_urls`, which are
    /// the members of now, itself among them. What [`Cluster::enlist`] assumes are all that are here;
    /// a member that finds others than it was told gives up.
    ///
    /// # Errors
    /// There is no such node, or a URL is nobody's.
    pub fn introduce(&mut self, node: usize, peer_urls: &[String]) -> Result<()> {
        let mut members = Vec::new();
        for url in peer_urls {
            let mut all = 1..=self.spec.nodes;
            let known = all.find(|other| self.peer_url(*other) == *url);
            members.push(known.with_context(|| format!("{url} is nobody's here"))?);
        }
        let arguments = arguments(&self.spec, node, &members, "existing");
        self.member(node)?.set_arguments(arguments);
        Ok(())
    }

    /// Forgets a member that was removed from the cluster, and kills it if it runs.
    ///
    /// # Errors
    /// There is no such node.
    pub fn retire(&mut self, node: usize) -> Result<()> {
        self.member(node)?.kill();
        self.throttles.remove(&node);
        self.retired.insert(node);
        Ok(())
    }

    pub fn program(&self) -> Program {
        self.spec.program
    }

    /// 1, 2, …, without those that left.
    pub fn nodes(&self) -> impl Iterator<Item = usize> + use<> {
        let retired = self.retired.clone();
        (1..=self.spec.nodes).filter(move |node| !retired.contains(node))
    }

    pub fn node_count(&self) -> usize {
        self.spec.nodes
    }

    pub fn dir(&self) -> &Path {
        &self.spec.dir
    }

    pub fn client_url(&self, node: usize) -> String {
        self.spec.layout.client_url(node)
    }

    pub fn client_urls(&self) -> Vec<String> {
        self.nodes().map(|node| self.client_url(node)).collect()
    }

    pub fn client_address(&self, node: usize) -> String {
        self.spec.layout.client_address(node)
    }

    /// By which URL the others know it as a peer.
    pub fn peer_url(&self, node: usize) -> String {
        let Spec {
            program,
            layout,
            wiring,
            ..
        } = self.spec;
        program.peer_url(layout, node, wiring)
    }

    /// Where it listens for peers itself.
    pub fn peer_address(&self, node: usize) -> String {
        self.spec.layout.peer_address(node)
    }

    /// # Errors
    /// There is no such node.
    pub fn member(&mut self, node: usize) -> Result<&mut Process> {
        let nodes = self.spec.nodes;
        let member = node.checked_sub(1).and_then(|at| self.members.get_mut(at));
        member.with_context(|| format!("there is no node {node}: nodes are 1 to {nodes}"))
    }

    /// It has `percent` of a processor from here on, whenever it runs.
    ///
    /// # Errors
    /// There is no such node.
    pub fn throttle(&mut self, node: usize, percent: u32) -> Result<()> {
        let throttle = self.member(node)?.throttle(percent);
        self.throttles.insert(node, throttle);
        Ok(())
    }

    /// It has all of a processor again.
    pub fn unthrottle(&mut self, node: usize) {
        self.throttles.remove(&node);
    }

    /// The end of its log, for error messages.
    pub fn last_words(&self, node: usize) -> String {
        let member = node.checked_sub(1).and_then(|at| self.members.get(at));
        member.map_or_else(String::new, |member| last_lines(member.log()))
    }

    /// What lies between the members.
    pub fn carrier(&self) -> &Carrier {
        &self.carrier
    }

    /// From here on every way from member to member does exactly this.
    ///
    /// # Errors
    /// The members of this cluster reach each other directly, or by wires that cannot do it.
    pub async fn set_weather(&mut self, weather: &Weather) -> Result<()> {
        self.carrier.set(weather).await
    }

    /// A client of one member whose calls take at most `deadline`.
    ///
    /// # Errors
    /// Never for a node that exists.
    pub fn door(&self, node: usize, deadline: Duration) -> Result<Door> {
        Door::open(&self.client_url(node), deadline)
    }

    /// For those who look at `node` often.
    ///
    /// # Errors
    /// Never for a node that exists.
    pub fn observer(&self, node: usize) -> Result<Observer> {
        let peer_url = self.spec.layout.peer_url(node);
        let inspected_at = self.spec.program.inspected_at(&peer_url);
        Observer::new(&self.client_url(node), inspected_at)
    }

    /// What `node` says of itself.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn observe(&self, node: usize, with_hash: bool) -> Result<Observation> {
        subject::observe(self, node, with_hash).await
    }

    /// Waits until each of `nodes` answers a linearizable read.
    ///
    /// # Errors
    /// Not within `limit`, or a member has ended.
    pub async fn wait_serving(&mut self, nodes: &[usize], limit: Duration) -> Result<()> {
        subject::serving(self, nodes, limit).await
    }

    /// Waits until one of `among` leads and the others of them follow it.
    ///
    /// # Errors
    /// Not within `limit`.
    pub async fn wait_leader(&self, among: &[usize], limit: Duration) -> Result<usize> {
        until_ok(format!("a leader among {among:?}"), limit, async || {
            let mut seen = Vec::new();
            for &node in among {
                seen.push((node, self.observe(node, false).await?));
            }
            let leader = seen.iter().find(|(_, observation)| observation.is_leader());
            let (node, leader) = leader.context("nobody leads")?;
            let follow = seen
                .iter()
                .all(|(_, observation)| observation.leader == leader.member_id);
            ensure!(follow, "not all follow node {node}");
            Ok(*node)
        })
        .await
    }

    /// Waits until `nodes` have applied the same log and hold the same state; returns its hash.
    /// Writers must be at rest.
    ///
    /// # Errors
    /// They differ at the same position, or do not meet within `limit`.
    pub async fn wait_same_state(&self, nodes: &[usize], limit: Duration) -> Result<String> {
        subject::same_state(self, nodes, limit).await
    }

    /// SIGTERM to all at once; those that have not ended within `limit` are killed, and named.
    pub async fn terminate_all(&mut self, limit: Duration) -> Vec<(usize, anyhow::Error)> {
        let stopping = self
            .members
            .iter_mut()
            .map(|member| member.terminate(limit));
        let ends = futures_util::future::join_all(stopping).await;
        let failed = (1..).zip(ends);
        failed
            .filter_map(|(node, end)| Some((node, end.err()?)))
            .collect()
    }

    /// Kills every member that runs, all at once, and starts all again.
    ///
    /// # Errors
    /// One cannot be started.
    pub fn restart_all(&mut self) -> Result<()> {
        // Every signal first: waiting in between would give the others time to write.
        for member in &mut self.members {
            member.signal_kill();
        }
        for member in &mut self.members {
            member.kill();
        }
        self.members.iter_mut().try_for_each(Process::start)
    }

    /// Kills these members, all at once, and takes from their disks, as chance has it, what they had
    /// not synced. They stay down.
    ///
    /// # Errors
    /// The members of this cluster keep no journals, or a file cannot be changed.
    pub fn cut_power(&mut self, nodes: &[usize], random: &mut StdRng) -> Result<Lost> {
        ensure!(self.spec.journals, "the members keep no journals");
        for node in nodes {
            self.member(*node)?.signal_kill();
        }
        let mut lost = Lost::default();
        for node in nodes {
            self.member(*node)?.kill();
            let (data_dir, journal) = (data_dir(&self.spec, *node), journal(&self.spec, *node));
            let cut = power::cut_power(&data_dir, &journal, random);
            lost.add(cut.with_context(|| format!("cut the power of n{node}"))?);
        }
        Ok(lost)
    }
}

fn data_dir(spec: &Spec, node: usize) -> PathBuf {
    spec.dir.join(super::program::name(node))
}

fn journal(spec: &Spec, node: usize) -> PathBuf {
    spec.dir
        .join(format!("{}.journal", super::program::name(node)))
}

/// A member's process, not started: one of `others`, itself among them.
fn process(spec: &Spec, node: usize, others: &[usize], state: &str) -> Result<Process> {
    let log = spec.dir.join(format!("{}.log", super::program::name(node)));
    let binary = match &spec.binary {
        Some(binary) => binary.clone(),
        None => spec.program.binary()?,
    };
    let arguments = arguments(spec, node, others, state);
    Ok(Process::new(binary, arguments, log).with_environment(spec.environment.clone()))
}

fn arguments(spec: &Spec, node: usize, others: &[usize], state: &str) -> Vec<String> {
    let data_dir = data_dir(spec, node);
    let mut arguments = spec.program.arguments(&MemberPlan {
        layout: spec.layout,
        node,
        others,
        data_dir: &data_dir,
        state,
        token: "laboratory",
        wiring: spec.wiring,
    });
    if spec.wiring != Wiring::Direct {
        arguments.extend(spec.program.timers().iter().map(|flag| (*flag).to_owned()));
    }
    if spec.journals && spec.program == Program::Quorate {
        let journal = journal(spec, node).display().to_string();
        arguments.extend(["--sync-journal".to_owned(), journal]);
    }
    arguments.extend(spec.flags.iter().cloned());
    arguments
}

/// The end of a member's log, for error messages.
fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    let end: Vec<&str> = lines.into_iter().rev().collect();
    format!("{} ends with:\n{}", log.display(), end.join("\n"))
}

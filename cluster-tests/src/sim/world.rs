//! The driver: it is outside of all hosts, and makes their time.
//!
//! In each tick it delivers what the network owes, gives every host its turn, in an order of the seed's,
//! and does what the laboratory ordered. The laboratory is host 0; members have their numbers.

use super::config_of;
use super::disk::Now;
use super::disk::SimDisk;
use super::host::{Host, TICK};
use super::members::Members;
use super::net::{Fabric, HostNetwork};
use super::roster::{Order, Ordered, Roster};
use super::seat::Seat;
use super::trace::Trace;
use crate::cluster::subject::Turn;
use crate::history::timeline::Life;
use crate::schedule::effect::Skew;
use crate::schedule::fault::Trouble;
use anyhow::{Context as _, Result, bail};
use quorate::config::Config;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How a cluster is set up; each seed draws its own.
#[derive(Clone, Debug)]
pub struct Setup {
    pub seed: u64,
    pub nodes: usize,
    /// What a piece takes on its way, microseconds, in good weather.
    pub latency_us: (u64, u64),
    /// What a job of a disk takes, microseconds: at least, and more by up to.
    pub disk_us: (u64, u64),
    pub snapshot_count: u64,
    /// Milliseconds: between heartbeats, and without a leader before an election at most.
    pub heartbeat_ms: u64,
    pub election_ms: u64,
    /// What one write to a connection takes at most; none: as much as fits.
    pub piece_bytes_max: Option<usize>,
    /// More of the members' flags.
    pub flags: Vec<String>,
    /// Where members' real files lie: a file system in memory.
    pub root: PathBuf,
}

pub struct World {
    setup: Setup,
    fabric: Fabric,
    now: Now,
    trace: Trace,
    random: StdRng,
    roster: Roster,
    seats: BTreeMap<usize, Seat>,
    laboratory: Option<Host>,
    disks: BTreeMap<usize, Trouble>,
    /// With the moment since when.
    clocks: BTreeMap<usize, (Skew, u64)>,
    /// Tells this thread's clocks what time it is, in nanoseconds.
    tell_time: fn(u64),
}

const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;

fn url(node: usize, port: u16) -> String {
    format!("http://10.0.0.{node}:{port}")
}

pub fn client_url(node: usize) -> String {
    url(node, CLIENT_PORT)
}

pub fn peer_url(node: usize) -> String {
    url(node, PEER_PORT)
}

/// Whose peer URL that is.
///
/// # Errors
/// Nobody's.
pub fn node_of(peer_url: &str) -> Result<usize> {
    let host = peer_url.strip_prefix("http://10.0.0.");
    let host = host.and_then(|rest| rest.split(':').next());
    let node = host.and_then(|host| host.parse().ok());
    node.with_context(|| format!("{peer_url} is nobody's in the simulation"))
}

impl World {
    /// Members that are to found a cluster, started.
    ///
    /// # Errors
    /// Their directories cannot be made.
    pub fn new(setup: Setup, tell_time: fn(u64)) -> Result<Self> {
        let trace = Trace::default();
        let mut random = StdRng::seed_from_u64(setup.seed);
        let (least, most) = setup.latency_us;
        let fabric = Fabric::new(random.random(), least..=most, trace.clone());
        if let Some(bytes) = setup.piece_bytes_max {
            fabric.set_piece_bytes_max(bytes);
        }
        let mut world = Self {
            fabric,
            now: Now::default(),
            trace,
            random,
            roster: Roster::default(),
            seats: BTreeMap::new(),
            laboratory: None,
            disks: BTreeMap::new(),
            clocks: BTreeMap::new(),
            tell_time,
            setup,
        };
        let founders: Vec<usize> = (1..=world.setup.nodes).collect();
        world.roster.lock().enlisted = world.setup.nodes;
        for node in &founders {
            world.enlist(*node)?;
            world.seat(*node)?.introduce("new", founders.clone());
        }
        for node in founders {
            world.start(node)?;
        }
        Ok(world)
    }

    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Microseconds since the beginning.
    pub fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// The network as the laboratory sees it.
    pub fn network(&self) -> HostNetwork {
        HostNetwork::new(&self.fabric, 0)
    }

    pub fn members(&self) -> Members {
        let election_timeout = Duration::from_millis(self.setup.election_ms);
        Members::new(self.roster.clone(), self.fabric.clone(), election_timeout)
    }

    /// What the laboratory does. It is over when that is.
    pub fn set_laboratory(&mut self, software: impl Future<Output = ()> + 'static) {
        let seed = self.random.random();
        self.laboratory = Some(Host::with("laboratory", seed, software));
    }

    /// One tick. True: the laboratory is done.
    ///
    /// # Errors
    /// The laboratory itself failed.
    pub fn tick(&mut self) -> Result<bool> {
        let step = u64::try_from(TICK.as_micros()).unwrap_or(u64::MAX);
        let now = self.now.fetch_add(step, Ordering::Relaxed) + step;
        (self.tell_time)(now.saturating_mul(1000));
        self.fabric.tick(now);
        self.turn_clocks(now);
        let mut order: Vec<usize> = self.seats.keys().copied().chain([0]).collect();
        order.shuffle(&mut self.random);
        let mut done = false;
        for host in order {
            if host == 0 {
                let Some(laboratory) = &mut self.laboratory else {
                    continue;
                };
                let ticked = laboratory.tick();
                done = ticked.map_err(|why| anyhow::anyhow!("the laboratory failed: {why}"))?;
            } else {
                self.tick_member(host, now)?;
            }
        }
        for Ordered { order, done } in self.roster.take_orders() {
            // Whoever ordered may not wait.
            drop(done.send(self.obey(order)));
        }
        Ok(done)
    }

    fn tick_member(&mut self, node: usize, now: u64) -> Result<()> {
        let Some(seat) = self.seats.get_mut(&node) else {
            return Ok(());
        };
        let Some(end) = seat.tick(now) else {
            return Ok(());
        };
        seat.bury(&self.fabric)?;
        let mut state = self.roster.lock();
        state.running.remove(&node);
        if let Some(why) = end {
            state.ended.insert(node, why);
        }
        Ok(())
    }

    fn seat(&mut self, node: usize) -> Result<&mut Seat> {
        let seat = self.seats.get_mut(&node);
        seat.with_context(|| format!("there is no node {node}"))
    }

    fn obey(&mut self, order: Order) -> Result<String> {
        match order {
            Order::Turn(turn) => self.turn(turn)?,
            Order::Enlist(node) => self.enlist(node)?,
            Order::Introduce(node, others) => self.seat(node)?.introduce("existing", others),
            Order::Start(node) => self.start(node)?,
            Order::Kill(node) => self.kill(node, false)?,
            Order::Retire(node) => {
                self.kill(node, false)?;
                self.roster.lock().retired.insert(node);
            }
            Order::Stop(node) => self.seat(node)?.stop(),
            Order::Disks(disks) => self.set_disks(disks),
            Order::Clocks(clocks) => self.set_clocks(clocks),
            Order::Damage(node, part, damage) => {
                let mut random = StdRng::seed_from_u64(self.random.random());
                let seat = self.seat(node)?;
                if seat.runs() {
                    bail!("n{node} runs: its files are its own");
                }
                let done = seat.disk().damage(part, damage, &mut random);
                return Ok(done.unwrap_or_else(|| "there was nothing to damage".to_owned()));
            }
        }
        Ok(String::new())
    }

    fn enlist(&mut self, node: usize) -> Result<()> {
        let root = self.setup.root.join(format!("n{node}.0"));
        let seed = self.random.random();
        let number = u64::try_from(node).unwrap_or(0);
        let disk = SimDisk::new(&root, seed, number, self.now.clone(), self.trace.clone())?;
        let (base, jitter) = self.setup.disk_us;
        disk.trouble()
            .set_latency(Duration::from_micros(base), Duration::from_micros(jitter));
        let seat = Seat::new(node, seed, disk, self.now.clone());
        self.seats.insert(node, seat);
        Ok(())
    }

    fn config(&self, node: usize, seat: &Seat) -> Result<Config> {
        let cluster: Vec<String> = seat
            .others()
            .iter()
            .map(|other| format!("n{other}={}", peer_url(*other)))
            .collect();
        let mut words = vec![
            format!("--name=n{node}"),
            format!("--data-dir={}", seat.disk().root().display()),
            format!("--listen-client-urls={}", client_url(node)),
            format!("--advertise-client-urls={}", client_url(node)),
            format!("--listen-peer-urls={}", peer_url(node)),
            format!("--initial-advertise-peer-urls={}", peer_url(node)),
            format!("--initial-cluster={}", cluster.join(",")),
            format!("--initial-cluster-state={}", seat.state()),
            format!("--snapshot-count={}", self.setup.snapshot_count),
            format!("--heartbeat-interval={}", self.setup.heartbeat_ms),
            format!("--election-timeout={}", self.setup.election_ms),
        ];
        words.extend(self.setup.flags.iter().cloned());
        config_of(&words)
    }

    fn start(&mut self, node: usize) -> Result<()> {
        let seat = self.seats.get(&node).context("there is no such node")?;
        let config = self.config(node, seat)?;
        let fabric = self.fabric.clone();
        self.seat(node)?.boot(&fabric, config);
        let mut state = self.roster.lock();
        state.ended.remove(&node);
        state.running.insert(node);
        Ok(())
    }

    /// `power`: with its machine.
    fn kill(&mut self, node: usize, power: bool) -> Result<()> {
        let fabric = self.fabric.clone();
        self.seat(node)?.kill(&fabric, power)?;
        let mut state = self.roster.lock();
        state.running.remove(&node);
        state.ended.remove(&node);
        Ok(())
    }

    fn turn(&mut self, turn: Turn) -> Result<()> {
        let Turn { node, is, .. } = turn;
        if turn.starts() {
            self.start(node)?;
        }
        let seat = self.seat(node)?;
        match is {
            Life::Up => seat.set_share(None),
            Life::Slowed(percent) => seat.set_share(Some(percent)),
            Life::Paused => seat.set_share(Some(0)),
            Life::Down | Life::Gone => self.kill(node, false)?,
            Life::PowerCut => self.kill(node, true)?,
        }
        Ok(())
    }

    fn set_disks(&mut self, disks: BTreeMap<usize, Trouble>) {
        for (node, seat) in &mut self.seats {
            let (was, is) = (self.disks.get(node), disks.get(node));
            if was != is {
                seat.set_disk(is.copied(), self.setup.disk_us);
            }
        }
        self.disks = disks;
    }

    fn set_clocks(&mut self, clocks: BTreeMap<usize, Skew>) {
        let now = self.now();
        let begun = |node: &usize, skew: &Skew| match self.clocks.get(node) {
            Some((known, since)) if known == skew => *since,
            _ => now,
        };
        let clocks = clocks
            .into_iter()
            .map(|(node, skew)| (node, (skew, begun(&node, &skew))));
        self.clocks = clocks.collect();
        for (node, seat) in &mut self.seats {
            let rate = self
                .clocks
                .get(node)
                .map_or(0, |(skew, _)| skew.rate_per_mille);
            seat.set_clock_rate(rate);
        }
        self.turn_clocks(now);
    }

    /// Clocks on the wall that run wrong are further off with every tick.
    fn turn_clocks(&mut self, now: u64) {
        if self.clocks.is_empty() && self.seats.values().all(Seat::is_punctual) {
            return;
        }
        for (node, seat) in &mut self.seats {
            let offset = self.clocks.get(node).map_or(0, |(skew, since)| {
                let since_ms = i64::try_from((now - since) / 1000).unwrap_or(0);
                skew.offset_ms + since_ms * skew.rate_per_mille / 1000
            });
            seat.set_offset(offset);
        }
    }
}

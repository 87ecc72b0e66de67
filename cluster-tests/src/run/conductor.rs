//! Walks through the schedule and makes the world so.
//!
//! Every few milliseconds it asks what the faults of now make of the world ([`effect`]), and changes
//! what is otherwise: the weather on the links, the lives of the members. So faults that overlap add
//! up, and when the last one is over everything is well, whatever happened in between.

use super::deeds::{Deed, Deeds};
use super::sampler::{Leadership, Sampler};
use super::site::Site;
use crate::cluster::endpoints;
use crate::cluster::local::Cluster;
use crate::cluster::throttle::Throttle;
use crate::cluster::weather::Weather;
use crate::history::timeline::{Life, LifeChange, WeatherChange, Window};
use crate::schedule::cast::Cast;
use crate::schedule::effect::{World, effect};
use crate::schedule::fault::Fault;
use crate::schedule::{Schedule, Step};
use crate::workload::client::Ground;
use crate::workload::{observer, watcher};
use anyhow::{Context as _, Result};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

const TICK: Duration = Duration::from_millis(20);
/// A fault that is aimed at the leader waits so long for one.
const LEADER_PATIENCE: Duration = Duration::from_secs(3);

/// A step under way.
struct Active {
    step: Step,
    number: usize,
    cast: Cast,
    begun: Instant,
    /// Of the recorder's windows.
    window: usize,
    deed: Option<Deed>,
}

impl Active {
    fn is_over(&self) -> bool {
        let over = self.begun.elapsed() >= Duration::from_millis(self.step.for_ms);
        // What was begun with the members is finished first.
        over && self.deed.as_ref().is_none_or(Deed::may_end)
    }

    /// Its time is over, but not its deed.
    fn is_late(&self) -> bool {
        let over = self.begun.elapsed() >= Duration::from_millis(self.step.for_ms);
        over && self.deed.as_ref().is_some_and(Deed::is_awaited)
    }

    fn world(&self) -> Result<World> {
        let elapsed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        effect(&self.step.fault, &self.cast, elapsed, self.step.for_ms)
    }
}

/// The schedule's time, which can stand still.
struct Clock {
    last: Instant,
    elapsed: Duration,
}

impl Clock {
    fn start() -> Self {
        Self {
            last: Instant::now(),
            elapsed: Duration::ZERO,
        }
    }

    /// Time of the schedule so far, without what passes while it is held.
    fn elapsed(&mut self, held: bool) -> Duration {
        let now = Instant::now();
        if !held {
            self.elapsed += now - self.last;
        }
        self.last = now;
        self.elapsed
    }
}

pub struct Conductor {
    /// It goes on after the last fault.
    pub sampler: Sampler,
    site: Arc<Site>,
    ground: Ground,
    leader: watch::Receiver<Leadership>,
    boots: super::sampler::Boots,
    random: StdRng,
    active: Vec<Active>,
    /// As it was made last.
    lives: BTreeMap<usize, Life>,
    weather: Weather,
    throttles: BTreeMap<usize, Throttle>,
    deeds: Deeds,
    trouble: Vec<String>,
}

impl Conductor {
    /// `ground`: of the watchers of members that join.
    pub fn new(site: &Arc<Site>, ground: &Ground, sampler: Sampler, seed: u64) -> Self {
        Self {
            site: Arc::clone(site),
            ground: ground.clone(),
            leader: sampler.leader(),
            boots: sampler.boots(),
            sampler,
            random: StdRng::seed_from_u64(seed ^ 0x00c0_ffee),
            active: Vec::new(),
            lives: BTreeMap::new(),
            weather: Weather::clear(),
            throttles: BTreeMap::new(),
            deeds: Deeds::new(site, &ground.members),
            trouble: Vec::new(),
        }
    }

    /// What went wrong beside what was meant to.
    pub fn take_trouble(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trouble)
    }

    /// Goes through the schedule to its end, and leaves the world healed. True if it was interrupted
    /// (Ctrl-C). Watchers of members that join go to `watchers`.
    pub async fn conduct(&mut self, schedule: &Schedule, watchers: &mut JoinSet<()>) -> bool {
        let mut clock = Clock::start();
        let mut steps = schedule.steps.iter().enumerate().peekable();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut interrupted = false;
        let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = &mut interrupt, if !interrupted => {
                    interrupted = true;
                    println!("interrupted: healing, stopping, judging what there is");
                }
            }
            // A change of members wants its time, as an operator would leave it.
            let elapsed = clock.elapsed(self.active.iter().any(Active::is_late));
            while let Some((number, step)) = steps
                .next_if(|(_, step)| !interrupted && Duration::from_millis(step.at_ms) <= elapsed)
            {
                self.begin(number, step).await;
            }
            self.end_what_is_over(interrupted).await;
            self.welcome(watchers).await;
            if let Err(error) = self.make_it_so().await {
                let trouble = format!("{error:#}");
                // A member that ends whenever it is started does so many times a second.
                if !self.trouble.contains(&trouble) {
                    self.trouble.push(trouble);
                }
            }
            let done = self.active.is_empty();
            let over = Duration::from_millis(schedule.ends_ms) <= elapsed;
            if done && (interrupted || (over && steps.peek().is_none())) {
                return interrupted;
            }
        }
    }

    /// Members that joined are watched and asked like the others.
    async fn welcome(&mut self, watchers: &mut JoinSet<()>) {
        while let Some(node) = self.deeds.next_joined() {
            watchers.spawn(watcher::watch(self.ground.clone(), observer(node)));
            if let Err(error) = self.sampler.add(node).await {
                self.trouble.push(format!("n{node}: {error:#}"));
            }
        }
    }

    async fn begin(&mut self, number: usize, step: &Step) {
        let known = self.leader.wait_for(|now| now.leader.is_some());
        // Without a leader somebody stands for it.
        let leader = tokio::time::timeout(LEADER_PATIENCE, known).await;
        let leader = leader.ok().and_then(Result::ok).and_then(|now| now.leader);
        let nodes = self.site.nodes().await;
        let cast = Cast::new(leader, &nodes, &mut self.random);
        let now = self.ground.recorder.now();
        let mut window = Window {
            step: number,
            nemesis: step.nemesis.clone(),
            fault: step.fault.clone(),
            text: String::new(),
            began: now,
            ended: now,
            leader,
            struck: Vec::new(),
            skipped: None,
        };
        let world = effect(&step.fault, &cast, 0, step.for_ms);
        if let Err(why) = self.possible(&step.fault, world.as_ref().ok()).await {
            window.skipped = Some(why);
        }
        match &world {
            Ok(world) => {
                window.struck = struck(world, &cast);
                window.text = describe(&step.fault, world, &cast);
            }
            Err(error) => window.skipped = Some(format!("{error:#}")),
        }
        let skipped = window.skipped.is_some();
        let at = {
            let mut notes = self.ground.recorder.notes();
            notes.windows.push(window);
            notes.windows.len() - 1
        };
        if skipped {
            return;
        }
        let deed = self.deeds.begin(&step.fault, &cast);
        self.active.push(Active {
            step: step.clone(),
            number,
            cast,
            begun: Instant::now(),
            window: at,
            deed,
        });
    }

    /// Whether this cluster can have this fault.
    ///
    /// # Errors
    /// Why not.
    async fn possible(&self, fault: &Fault, world: Option<&World>) -> Result<(), String> {
        let theirs = matches!(*self.site, Site::Theirs(_));
        let by_calls = matches!(fault, Fault::Transfer { .. } | Fault::SlowConsumers { .. });
        if theirs && !by_calls {
            return Err(endpoints::FAULTS.to_owned());
        }
        if matches!(fault, Fault::PowerCut { .. }) && !self.site.keeps_journals().await {
            return Err("etcd keeps no journal of what it has synced".to_owned());
        }
        if let (Some(world), Some(cluster)) = (world, self.site.ours().await) {
            let mut ways = world.weather.ways();
            if let Some(why) = ways.find_map(|(.., way)| cluster.carrier().cannot(way)) {
                return Err(why.to_owned());
            }
        }
        Ok(())
    }

    async fn end_what_is_over(&mut self, at_once: bool) {
        let mut over: Vec<Active> = Vec::new();
        let mut at = 0;
        while let Some(active) = self.active.get(at) {
            if active.is_over() || (at_once && active.deed.as_ref().is_none_or(Deed::may_end)) {
                over.push(self.active.remove(at));
            } else {
                at += 1;
            }
        }
        if over.is_empty() {
            return;
        }
        // Healed first, noted then: a window ends when its fault does.
        if let Err(error) = self.make_it_so().await {
            self.trouble.push(format!("{error:#}"));
        }
        for mut active in over {
            if let Some(deed) = active.deed.take()
                && let Err(error) = deed.end().await
            {
                let (number, name) = (active.number, &active.step.nemesis);
                self.trouble
                    .push(format!("step {number}, {name}: {error:#}"));
            }
            let now = self.ground.recorder.now();
            let mut notes = self.ground.recorder.notes();
            if let Some(window) = notes.windows.get_mut(active.window) {
                window.ended = now;
            }
        }
    }

    /// Makes the world what the faults of now say.
    async fn make_it_so(&mut self) -> Result<()> {
        let mut world = World::default();
        for active in &self.active {
            world = world.and(active.world()?);
        }
        let site = Arc::clone(&self.site);
        let Some(mut cluster) = site.ours().await else {
            return Ok(());
        };
        if world.weather != self.weather {
            cluster.set_weather(&world.weather).await?;
            let ways = world.weather.ways();
            let ways = ways
                .map(|(from, to, way)| (from, to, way.clone()))
                .collect();
            let at = self.ground.recorder.now();
            self.ground
                .recorder
                .notes()
                .weather
                .push(WeatherChange { at, ways });
            self.weather = world.weather.clone();
        }
        self.change_lives(&world, &mut cluster)
    }

    fn change_lives(&mut self, world: &World, cluster: &mut Cluster) -> Result<()> {
        let nodes: Vec<usize> = cluster.nodes().collect();
        let mut changes = Vec::new();
        for node in nodes {
            let (was, is) = (self.life(node), world.life(node));
            if was != is {
                changes.push((node, was, is));
            } else if is == Life::Up
                && cluster.member(node)?.pid().is_none()
                && self.deeds.expects(node)
            {
                let log = cluster.member(node)?.log().to_owned();
                self.lives.insert(node, Life::Down);
                self.note(node, Life::Down);
                anyhow::bail!("n{node} has ended by itself; its log: {}", log.display());
            }
        }
        // Every signal first: those killed together must not see each other die.
        for (node, _, is) in &changes {
            if matches!(is, Life::Down | Life::PowerCut) {
                cluster.member(*node)?.signal_kill();
            }
        }
        for (node, was, is) in changes {
            self.throttles.remove(&node);
            let down = |life| matches!(life, Life::Down | Life::PowerCut | Life::Gone);
            let member = cluster.member(node)?;
            if was == Life::Paused && !down(is) {
                member.resume()?;
            }
            match is {
                Life::Up | Life::Slowed(_) | Life::Paused if down(was) => {
                    member
                        .start()
                        .with_context(|| format!("start n{node} again"))?;
                    self.boots.started(node);
                }
                Life::Down | Life::Gone => member.kill(),
                Life::PowerCut => {
                    cluster.cut_power(&[node], &mut self.random)?;
                }
                Life::Up | Life::Slowed(_) | Life::Paused => {}
            }
            let member = cluster.member(node)?;
            match is {
                Life::Paused => member.pause()?,
                Life::Slowed(percent) => {
                    self.throttles.insert(node, member.throttle(percent));
                }
                Life::Up | Life::Down | Life::PowerCut | Life::Gone => {}
            }
            self.lives.insert(node, is);
            self.note(node, is);
        }
        Ok(())
    }

    fn life(&self, node: usize) -> Life {
        self.lives.get(&node).copied().unwrap_or(Life::Up)
    }

    fn note(&self, node: usize, life: Life) {
        let at = self.ground.recorder.now();
        self.ground
            .recorder
            .notes()
            .lives
            .push(LifeChange { at, node, life });
    }
}

/// The members that are worse off than the others: by their lives, or on the smaller side of a cut.
fn struck(world: &World, cast: &Cast) -> Vec<usize> {
    let mut struck: Vec<usize> = world.lives.keys().copied().collect();
    let reach = |node: usize| {
        let both = |other: &&usize| {
            !world.weather.is_cut(node, **other) && !world.weather.is_cut(**other, node)
        };
        cast.members().iter().filter(both).count()
    };
    struck.extend(
        cast.members()
            .iter()
            .filter(|node| reach(**node) < cast.majority()),
    );
    struck.sort_unstable();
    struck.dedup();
    struck
}

/// "the leader is cut off from everybody: n2 (leader) --x-- n1, n3"
fn describe(fault: &Fault, world: &World, cast: &Cast) -> String {
    let name = |node: usize| {
        if cast.leader == Some(node) {
            format!("n{node} (leader)")
        } else {
            format!("n{node}")
        }
    };
    let mut parts: Vec<String> = world.lives.keys().map(|node| name(*node)).collect();
    let links = world.weather.ways();
    // A fault of all links has said so.
    for (from, to, quality) in links.filter(|(.., quality)| quality.cut.is_some()) {
        let back = world.weather.way(to, from) == *quality;
        if back && from > to {
            continue;
        }
        let arrow = if back { "--x--" } else { "--x->" };
        parts.push(format!("{} {arrow} {}", name(from), name(to)));
    }
    if parts.is_empty() {
        return fault.to_string();
    }
    format!("{fault}: {}", parts.join(", "))
}

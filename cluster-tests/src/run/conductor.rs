//! Walks through the schedule and makes the world so.
//!
//! Every few milliseconds it asks what the faults of now make of the world ([`effect`]), and lets a
//! [`Hand`] change what is otherwise. So faults that overlap add up, and when the last one is over
//! everything is well, whatever happened in between.

use super::deeds::{Deed, Deeds};
use super::hand::Hand;
use super::operator::Operator;
use super::progress::Audience;
use super::sampler::{Leadership, Sampler};
use super::site::Site;
use super::words::{describe, struck};
use crate::cluster::local::PATIENCE;
use crate::history::timeline::Window;
use crate::observe::PATIENCE as ANSWER_PATIENCE;
use crate::schedule::cast::Cast;
use crate::schedule::effect::{World, effect};
use crate::schedule::fault::{Change, Fault};
use crate::schedule::{LastAct, Schedule, Step};
use crate::workload::client::Ground;
use crate::workload::{observer, watcher};
use anyhow::{Context as _, Result};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
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
    /// Of a fault that damages: it has.
    damaged: bool,
}

impl Active {
    /// What was begun with the members is finished first.
    fn may_end(&self) -> bool {
        self.deed.as_ref().is_none_or(Deed::may_end)
    }

    fn is_over(&self) -> bool {
        self.begun.elapsed() >= Duration::from_millis(self.step.for_ms) && self.may_end()
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
    random: StdRng,
    active: Vec<Active>,
    hand: Hand,
    deeds: Deeds,
    operator: Operator,
    /// Members whose disk was damaged, by which step and nemesis: one that does not run on is replaced.
    damaged: BTreeMap<usize, (usize, String)>,
    /// Those of them that could read all that they hold.
    whole: BTreeSet<usize>,
    trouble: Vec<String>,
}

impl Conductor {
    /// `ground`: of the watchers of members that join.
    pub fn new(site: &Arc<Site>, ground: &Ground, sampler: Sampler, seed: u64) -> Self {
        Self {
            site: Arc::clone(site),
            ground: ground.clone(),
            leader: sampler.leader(),
            hand: Hand::new(site, &ground.recorder, sampler.boots()),
            sampler,
            random: StdRng::seed_from_u64(seed ^ 0x00c0_ffee),
            active: Vec::new(),
            deeds: Deeds::new(site, &ground.members),
            operator: Operator::new(&ground.members),
            damaged: BTreeMap::new(),
            whole: BTreeSet::new(),
            trouble: Vec::new(),
        }
    }

    /// What went wrong beside what was meant to.
    pub fn take_trouble(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trouble)
    }

    /// A member that ends whenever it is started does so many times a second.
    fn complain(&mut self, trouble: String) {
        if !self.trouble.contains(&trouble) {
            self.trouble.push(trouble);
        }
    }

    /// Goes through the schedule to its end, and leaves the world healed. True if the audience
    /// interrupted it. Watchers of members that join go to `watchers`.
    pub async fn conduct(
        &mut self,
        schedule: &Schedule,
        watchers: &mut JoinSet<()>,
        audience: &mut dyn Audience,
    ) -> bool {
        let mut clock = Clock::start();
        let mut steps = schedule.steps.iter().enumerate().peekable();
        let mut last_act = schedule.last_act.as_ref();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut interrupted = false;
        let mut interruption = audience.interruption();
        let mut done_since = None;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = &mut interruption, if !interrupted => {
                    interrupted = true;
                    last_act = None;
                    audience.say("interrupted: healing, stopping, judging what there is");
                }
            }
            // A change of members wants its time, as an operator would leave it: the clock stands still.
            let elapsed = clock.elapsed(self.active.iter().any(Active::is_late));
            while let Some((number, step)) = steps
                .next_if(|(_, step)| !interrupted && Duration::from_millis(step.at_ms) <= elapsed)
            {
                self.begin(number, step, LEADER_PATIENCE).await;
                // Nor does the wait for a leader count: two faults would run into one another, and of a
                // schedule of kills nobody would ever come back between two.
                clock.elapsed(true);
            }
            let due = |act: &mut &LastAct| Duration::from_millis(act.at_ms) <= elapsed;
            if steps.peek().is_none()
                && self.active.iter().all(Active::may_end)
                && let Some(act) = last_act.take_if(due)
            {
                self.begin_last_act(schedule.steps.len(), act).await;
            }
            self.end(|active| active.is_over() || (interrupted && active.may_end()))
                .await;
            self.welcome(watchers).await;
            if let Err(error) = self.make_it_so().await {
                self.complain(format!("{error:#}"));
            }
            if let Err(error) = self.operator.outcome().await {
                self.complain(format!("{error:#}"));
            }
            let done = self.active.is_empty() && !self.operator.is_busy();
            let over = Duration::from_millis(schedule.ends_ms) <= elapsed;
            let all = steps.peek().is_none() && last_act.is_none();
            if done && (interrupted || (over && all)) {
                let since: Instant = *done_since.get_or_insert_with(Instant::now);
                match self.examine().await {
                    Ok(()) => return interrupted,
                    // It is about to end, and is replaced then.
                    Err(_) if since.elapsed() < PATIENCE => {}
                    Err(error) => {
                        self.complain(format!("{error:#}"));
                        return interrupted;
                    }
                }
            }
        }
    }

    /// Has those that were damaged read all that they hold, as an operator would: what nobody has met yet is
    /// met while there is somebody to replace whoever falls by it.
    async fn examine(&mut self) -> Result<()> {
        let present = self.site.nodes().await;
        for &node in self.damaged.keys() {
            // It may have left since, by a change of members.
            if present.contains(&node) && !self.whole.contains(&node) {
                let mut observer = self.site.observer(node).await?;
                let look = observer.look(true, ANSWER_PATIENCE).await;
                look.with_context(|| format!("n{node} was damaged, and does not read all"))?;
                self.whole.insert(node);
            }
        }
        Ok(())
    }

    /// Members that joined are watched and asked like the others.
    async fn welcome(&mut self, watchers: &mut JoinSet<()>) {
        while let Some(node) = self.deeds.next_joined() {
            watchers.spawn(watcher::watch(self.ground.clone(), observer(node)));
            if let Err(error) = self.sampler.add(node).await {
                self.complain(format!("n{node}: {error:#}"));
            }
        }
    }

    async fn begin(&mut self, number: usize, step: &Step, leader_patience: Duration) {
        let known = self.leader.wait_for(|now| now.leader.is_some());
        // Without a leader somebody stands for it.
        let leader = tokio::time::timeout(leader_patience, known).await;
        let leader = leader.ok().and_then(Result::ok).and_then(|now| now.leader);
        let nodes = self.site.nodes().await;
        // Whoever was damaged may fall by it at any time: no majority is to depend on it.
        let cast = Cast::new(leader, &nodes, &mut self.random)
            .sparing(|node| self.damaged.contains_key(&node));
        let mut window = self.window(number, step, leader);
        match effect(&step.fault, &cast, 0, step.for_ms) {
            Ok(world) => {
                window.skipped = self.site.cannot(&step.fault, &world).await;
                window.struck = struck(&world, &cast);
                window.text = describe(&step.fault, &world, &cast);
            }
            Err(error) => window.skipped = Some(format!("{error:#}")),
        }
        if window.skipped.is_some() {
            self.ground.recorder.notes().windows.push(window);
        } else {
            self.strike(number, step, cast, window);
        }
    }

    /// Now, without anything that it does.
    fn window(&self, number: usize, step: &Step, leader: Option<usize>) -> Window {
        let now = self.ground.recorder.now();
        Window {
            step: number,
            nemesis: step.nemesis.clone(),
            fault: step.fault.clone(),
            text: String::new(),
            began: now,
            ended: now,
            leader,
            struck: Vec::new(),
            skipped: None,
        }
    }

    fn strike(&mut self, number: usize, step: &Step, cast: Cast, window: Window) {
        let window = {
            let mut notes = self.ground.recorder.notes();
            notes.windows.push(window);
            notes.windows.len() - 1
        };
        let deed = self.deeds.begin(&step.fault, &cast);
        self.active.push(Active {
            step: step.clone(),
            number,
            cast,
            begun: Instant::now(),
            window,
            deed,
            damaged: false,
        });
    }

    /// Everything that is under way ends, and in the same moment all but a majority are kept away.
    async fn begin_last_act(&mut self, number: usize, act: &LastAct) {
        self.begin(number, &act.as_step(), Duration::ZERO).await;
        self.end(|active| active.number != number).await;
        let last = self.active.last().map(|active| active.window);
        let began = self.ground.recorder.now();
        let mut notes = self.ground.recorder.notes();
        if let Some(window) = last.and_then(|at| notes.windows.get_mut(at)) {
            window.began = began;
        }
    }

    /// Ends those; healed first, noted then: a window ends when its fault does.
    async fn end(&mut self, whether: impl Fn(&Active) -> bool) {
        let over: Vec<Active> = self
            .active
            .extract_if(.., |active| whether(active))
            .collect();
        if over.is_empty() {
            return;
        }
        if let Err(error) = self.make_it_so().await {
            self.complain(format!("{error:#}"));
        }
        for mut active in over {
            if let Some(deed) = active.deed.take()
                && let Err(error) = deed.end().await
            {
                let (number, name) = (active.number, &active.step.nemesis);
                self.complain(format!("step {number}, {name}: {error:#}"));
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
        let made = self.hand.make(&world, &self.deeds, &mut self.random).await;
        for (node, why) in self.hand.take_ended() {
            match self.damaged.remove(&node) {
                Some((number, nemesis)) => self.replace(node, number, nemesis, &why),
                None => self.complain(format!("n{node} has ended by itself; {why}")),
            }
        }
        made?;
        self.operator.mind(&world.disks);
        self.damage().await
    }

    /// Of faults that damage: their members are down by now.
    async fn damage(&mut self) -> Result<()> {
        for active in self.active.iter_mut().filter(|active| !active.damaged) {
            let Fault::Damage { who, what, how } = active.step.fault else {
                continue;
            };
            active.damaged = true;
            for node in active.cast.who(who) {
                let by = (active.number, active.step.nemesis.clone());
                self.damaged.insert(node, by);
                let words = self.hand.damage(node, what, how, &mut self.random).await?;
                let mut notes = self.ground.recorder.notes();
                if let Some(window) = notes.windows.get_mut(active.window) {
                    write!(window.text, "; n{node}: {words}").unwrap_or_default();
                }
            }
        }
        Ok(())
    }

    /// A member does not run on with what its disk holds now: another one takes its place.
    fn replace(&mut self, node: usize, number: usize, nemesis: String, why: &str) {
        self.hand.give_up(node);
        self.deeds.give_up(node);
        let step = Step {
            at_ms: 0,
            for_ms: 0,
            nemesis,
            fault: Fault::Members {
                change: Change::Replace,
            },
        };
        let leader = self.leader.borrow().leader;
        let mut window = self.window(number, &step, leader);
        window.text = format!("n{node} does not run on with its damage and is replaced; {why}");
        window.struck = vec![node];
        // The one who is lost plays every part.
        self.strike(number, &step, Cast::in_order(vec![node]), window);
    }
}

#[cfg(test)]
#[path = "conductor_tests.rs"]
mod tests;

//! Makes the world what the faults of now say: the weather on the links, the lives of the members, their
//! disks and clocks. It changes what is otherwise and nothing else.

use super::deeds::Deeds;
use super::sampler::Boots;
use super::site::Site;
use crate::cluster::subject::{Subject, Turn};
use crate::cluster::weather::Weather;
use crate::history::recorder::Recorder;
use crate::history::timeline::{Life, LifeChange, WeatherChange};
use crate::schedule::effect::{Skew, World};
use crate::schedule::fault::{Harm, Store, Trouble};
use anyhow::{Context as _, Result};
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What a disk did to a member may end it a little later.
const DISK_AFTERMATH: Duration = Duration::from_secs(5);

/// What it made of the world last, and who did not bear it.
pub struct Hand {
    site: Arc<Site>,
    recorder: Recorder,
    boots: Boots,
    weather: Weather,
    lives: BTreeMap<usize, Life>,
    disks: BTreeMap<usize, Trouble>,
    clocks: BTreeMap<usize, Skew>,
    /// When a disk was last in a trouble that may end a member.
    troubled: BTreeMap<usize, Instant>,
    /// Members that ended by it: they stay down until their disk is well.
    felled: BTreeSet<usize>,
    /// Members that are being replaced: they stay down for ever.
    given_up: BTreeSet<usize>,
    /// Members that ended by themselves, with where that can be read, since somebody asked.
    ended: Vec<(usize, String)>,
}

impl Hand {
    /// All is well.
    pub fn new(site: &Arc<Site>, recorder: &Recorder, boots: Boots) -> Self {
        Self {
            site: Arc::clone(site),
            recorder: recorder.clone(),
            boots,
            weather: Weather::clear(),
            lives: BTreeMap::new(),
            disks: BTreeMap::new(),
            clocks: BTreeMap::new(),
            troubled: BTreeMap::new(),
            felled: BTreeSet::new(),
            given_up: BTreeSet::new(),
            ended: Vec::new(),
        }
    }

    /// Members that ended by themselves, and had no reason to, since this was asked last.
    pub fn take_ended(&mut self) -> Vec<(usize, String)> {
        std::mem::take(&mut self.ended)
    }

    /// It will be replaced, and is not to be started again.
    pub fn give_up(&mut self, node: usize) {
        self.given_up.insert(node);
    }

    /// Makes it so. What power cuts take is drawn from `random`.
    ///
    /// # Errors
    /// It cannot be made so; the rest is tried again when this is called again.
    pub async fn make(&mut self, world: &World, deeds: &Deeds, random: &mut StdRng) -> Result<()> {
        let site = Arc::clone(&self.site);
        let Some(mut subject) = site.ours().await else {
            return Ok(());
        };
        let subject = subject.as_mut();
        if world.weather != self.weather {
            subject.set_weather(&world.weather).await?;
            self.weather = world.weather.clone();
            self.note_weather();
        }
        if world.disks != self.disks {
            subject.set_disks(&world.disks)?;
            self.disks = world.disks.clone();
        }
        if world.clocks != self.clocks {
            subject.set_clocks(&world.clocks)?;
            self.clocks = world.clocks.clone();
        }
        self.mind_the_disks();
        let turns = self.turns(world, deeds, subject)?;
        let (lives, recorder, boots) = (&mut self.lives, &self.recorder, &self.boots);
        let mut done = |turn: Turn| {
            if turn.starts() {
                boots.started(turn.node);
            }
            lives.insert(turn.node, turn.is);
            note_life(recorder, turn.node, turn.is);
        };
        subject.live(&turns, random, &mut done).await
    }

    /// Harms what the disk of a member that is down holds; in words what.
    ///
    /// # Errors
    /// It cannot be done.
    pub async fn damage(
        &self,
        node: usize,
        what: Store,
        how: Harm,
        random: &mut StdRng,
    ) -> Result<String> {
        let mut subject = self.site.ours().await.context("not our cluster")?;
        subject.damage(node, what, how, random).await
    }

    /// Which lives are to change. Members that ended by themselves are down, and are started next time,
    /// unless there is a reason for them to stay down.
    fn turns(
        &mut self,
        world: &World,
        deeds: &Deeds,
        subject: &mut dyn Subject,
    ) -> Result<Vec<Turn>> {
        let mut turns = Vec::new();
        for node in subject.nodes() {
            let (was, mut is) = (self.life(node), world.life(node));
            if self.felled.contains(&node) || self.given_up.contains(&node) {
                is = is.max(Life::Down);
            }
            if was != is {
                turns.push(Turn { node, was, is });
            } else if is == Life::Up
                && deeds.expects(node)
                && let Some(why) = subject.has_ended(node)?
            {
                self.lives.insert(node, Life::Down);
                note_life(&self.recorder, node, Life::Down);
                self.judge_end(node, why);
            }
        }
        Ok(turns)
    }

    fn mind_the_disks(&mut self) {
        let disks = &self.disks;
        self.felled.retain(|node| disks.contains_key(node));
        let troubled = disks.iter().filter(|(_, it)| it.may_end_a_member());
        let now = Instant::now();
        self.troubled.extend(troubled.map(|(node, _)| (*node, now)));
    }

    /// A member ended by itself: by its disk, or for a reason that somebody should know.
    fn judge_end(&mut self, node: usize, why: String) {
        let troubled = self.troubled.get(&node);
        if troubled.is_none_or(|last| last.elapsed() > DISK_AFTERMATH) {
            self.ended.push((node, why));
        } else if self.disks.contains_key(&node) {
            self.felled.insert(node);
        }
    }

    fn life(&self, node: usize) -> Life {
        self.lives.get(&node).copied().unwrap_or(Life::Up)
    }

    fn note_weather(&self) {
        let ways = self.weather.ways();
        let ways = ways.map(|(from, to, way)| (from, to, way.clone()));
        let ways = ways.collect();
        let at = self.recorder.now();
        let mut notes = self.recorder.notes();
        notes.weather.push(WeatherChange { at, ways });
    }
}

fn note_life(recorder: &Recorder, node: usize, life: Life) {
    let at = recorder.now();
    recorder.notes().lives.push(LifeChange { at, node, life });
}

//! What a fault makes of the world at a moment: a pure function of its cast and the time since it
//! struck.

use super::cast::Cast;
use super::fault::{Fault, Midway, Scope, Shape, Trouble};
use crate::cluster::topology::Topology;
use crate::cluster::weather::{Cut, Quality, Weather};
use crate::history::timeline::Life;
use anyhow::Result;
use std::collections::BTreeMap;

/// How long a member of a rolling restart is down.
const RESTART_DOWN_MS: u64 = 300;

/// The world under faults. Members that are not named are up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    pub weather: Weather,
    pub lives: BTreeMap<usize, Life>,
    /// Disks that are not well, by node.
    pub disks: BTreeMap<usize, Trouble>,
    /// Clocks that are not right, by node.
    pub clocks: BTreeMap<usize, Skew>,
}

/// How wrong a clock is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skew {
    /// Ahead by so many milliseconds when the fault struck; negative: behind.
    pub offset_ms: i64,
    /// Thousandths that it runs too fast since; negative: too slow.
    pub rate_per_mille: i64,
}

impl Skew {
    /// The worse of each.
    #[must_use]
    fn and(self, other: Self) -> Self {
        let worse = |a: i64, b: i64| if b.abs() > a.abs() { b } else { a };
        Self {
            offset_ms: worse(self.offset_ms, other.offset_ms),
            rate_per_mille: worse(self.rate_per_mille, other.rate_per_mille),
        }
    }
}

impl World {
    /// Under both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.weather = self.weather.and(&other.weather);
        for (node, life) in other.lives {
            self.strike(node, life);
        }
        for (node, trouble) in other.disks {
            let worst = self.disks.entry(node).or_insert(trouble);
            *worst = (*worst).max(trouble);
        }
        for (node, skew) in other.clocks {
            let worst = self.clocks.entry(node).or_default();
            *worst = worst.and(skew);
        }
        self
    }

    /// `life` befalls a node that may be worse off already.
    fn strike(&mut self, node: usize, life: Life) {
        let worst = self.lives.entry(node).or_insert(life);
        *worst = (*worst).max(life);
    }

    pub fn life(&self, node: usize) -> Life {
        self.lives.get(&node).copied().unwrap_or(Life::Up)
    }
}

/// What `fault` does `elapsed_ms` after it struck, of `length_ms`.
///
/// # Errors
/// A topology that is written out is none.
pub fn effect(fault: &Fault, cast: &Cast, elapsed_ms: u64, length_ms: u64) -> Result<World> {
    let mut world = World::default();
    match fault {
        Fault::Partition { shape, how } => {
            world.weather = Weather::cut(&topology(shape, cast, elapsed_ms, length_ms)?, *how);
        }
        Fault::Flapping {
            shape,
            cut_ms,
            open_ms,
        } => {
            if elapsed_ms % (cut_ms + open_ms).max(1) < *cut_ms {
                world.weather =
                    Weather::cut(&topology(shape, cast, elapsed_ms, length_ms)?, Cut::Drop);
            }
        }
        Fault::Swizzle => world.weather = swizzle(cast, elapsed_ms, length_ms),
        Fault::Degrade { scope, quality } => world.weather = degrade(*scope, quality, cast),
        Fault::Kill { who } => {
            for node in cast.who(*who) {
                world.strike(node, Life::Down);
            }
        }
        Fault::CrashLoop { who, every_ms } => {
            // A third of the time it is down.
            if elapsed_ms % (*every_ms).max(1) < every_ms / 3 {
                for node in cast.who(*who) {
                    world.strike(node, Life::Down);
                }
            }
        }
        Fault::PowerCut { who } => {
            for node in cast.who(*who) {
                world.strike(node, Life::PowerCut);
            }
        }
        Fault::Pause { who } => {
            for node in cast.who(*who) {
                world.strike(node, Life::Paused);
            }
        }
        Fault::RollingRestart => {
            let turn = (length_ms / cast.members().len() as u64).max(1);
            let at = usize::try_from(elapsed_ms / turn).unwrap_or(usize::MAX);
            // The leader last, as an operator would.
            let mut order: Vec<usize> = cast.others().to_vec();
            order.push(cast.first());
            if let Some(node) = order.get(at)
                && elapsed_ms % turn < RESTART_DOWN_MS.min(turn / 2)
            {
                world.strike(*node, Life::Down);
            }
        }
        Fault::CatchUp { .. } => catch_up(fault, cast, elapsed_ms, &mut world),
        Fault::Throttle { who, percent } => {
            for node in cast.who(*who) {
                world.strike(node, Life::Slowed(*percent));
            }
        }
        Fault::Disk { who, trouble } => {
            let troubled = cast.who(*who).into_iter();
            world.disks = troubled.map(|node| (node, *trouble)).collect();
        }
        // What is damaged is damaged while the member is down.
        Fault::Damage { who, .. } => {
            for node in cast.who(*who) {
                world.strike(node, Life::Down);
            }
        }
        Fault::Clock {
            who,
            offset_ms,
            rate_per_mille,
        } => {
            let skew = Skew {
                offset_ms: *offset_ms,
                rate_per_mille: *rate_per_mille,
            };
            world.clocks = cast
                .who(*who)
                .into_iter()
                .map(|node| (node, skew))
                .collect();
        }
        // Done by calls, not by the world.
        Fault::Members { .. } | Fault::Transfer { .. } | Fault::SlowConsumers { .. } => {}
    }
    Ok(world)
}

/// The cut directions of a shape.
fn topology(shape: &Shape, cast: &Cast, elapsed_ms: u64, length_ms: u64) -> Result<Topology> {
    let members = cast.members();
    let nodes = members.iter().copied().max().unwrap_or(1);
    let leader = cast.first();
    let follower = cast.follower();
    let minority = members.len() - cast.majority();
    let others = cast.others();
    // Only links between members count; nodes that left are nobody's matter.
    let apart = |a: &[usize], b: &[usize]| {
        let mut cut = Topology::healed();
        for from in a {
            for to in b {
                cut = cut.and_one_way(*from, *to).and_one_way(*to, *from);
            }
        }
        cut
    };
    let one_way = |from: &[usize], to: &[usize]| {
        let mut cut = Topology::healed();
        for a in from {
            for b in to.iter().filter(|b| *b != a) {
                cut = cut.and_one_way(*a, *b);
            }
        }
        cut
    };
    let star = |hub: usize| {
        let mut cut = Topology::healed();
        for a in members.iter().filter(|a| **a != hub) {
            for b in members.iter().filter(|b| **b != hub && *b != a) {
                cut = cut.and_one_way(*a, *b);
            }
        }
        cut
    };
    Ok(match shape {
        Shape::Minority => {
            let (few, rest) = others.split_at(minority.min(others.len()));
            let rest: Vec<usize> = rest.iter().copied().chain([leader]).collect();
            apart(few, &rest)
        }
        Shape::Majority => {
            let (few, rest) = others.split_at(minority.saturating_sub(1).min(others.len()));
            let few: Vec<usize> = few.iter().copied().chain([leader]).collect();
            apart(&few, rest)
        }
        Shape::IsolateLeader => apart(&[leader], others),
        Shape::IsolateFollower => {
            let rest: Vec<usize> = members.iter().copied().filter(|n| *n != follower).collect();
            apart(&[follower], &rest)
        }
        Shape::Ring => ring(members, cast.majority()),
        Shape::Bridge => {
            // The bridge is a follower; the leader is on the first side with the first half.
            let rest: Vec<usize> = members.iter().copied().filter(|n| *n != follower).collect();
            let (one, two) = rest.split_at(rest.len() / 2);
            apart(one, two)
        }
        Shape::QuorumLoss => star(follower),
        Shape::Constrained => {
            if elapsed_ms < length_ms / 3 {
                // The hub falls behind.
                let rest: Vec<usize> = members.iter().copied().filter(|n| *n != follower).collect();
                apart(&[follower], &rest)
            } else {
                let mut cut = star(follower);
                for (from, to) in apart(&[leader], others).cuts() {
                    cut = cut.and_one_way(from, to);
                }
                cut
            }
        }
        Shape::Chained => Topology::link_down(leader, follower),
        Shape::Dangling => apart(&[leader], others.get(1..).unwrap_or_default()),
        Shape::LeaderDeaf => one_way(others, &[leader]),
        Shape::LeaderMute => one_way(&[leader], others),
        Shape::LeaderHalfDeaf => {
            // It hears so many that with itself they are one short of a majority.
            let heard = cast.majority().saturating_sub(2);
            one_way(others.get(heard..).unwrap_or_default(), &[leader])
        }
        Shape::Rest => {
            let rest = cast.rest();
            rest.iter().fold(Topology::healed(), |mut cut, alone| {
                for other in members.iter().filter(|other| *other != alone) {
                    cut = cut.and_one_way(*alone, *other).and_one_way(*other, *alone);
                }
                cut
            })
        }
        Shape::FollowerDeaf => one_way(members, &[follower]),
        Shape::FollowerMute => one_way(&[follower], members),
        Shape::Exactly(text) => Topology::parse(text, nodes)?,
    })
}

/// Each hears as many neighbours on either side as make a majority with itself, and no more.
fn ring(members: &[usize], majority: usize) -> Topology {
    let mut sorted = members.to_vec();
    sorted.sort_unstable();
    let count = sorted.len();
    let heard = majority / 2;
    let mut cut = Topology::healed();
    for (i, a) in sorted.iter().enumerate() {
        for (j, b) in sorted.iter().enumerate() {
            let distance = (i + count - j) % count;
            if distance.min(count - distance) > heard {
                cut = cut.and_one_way(*a, *b);
            }
        }
    }
    cut
}

/// In the first half one after another is cut off, in the second they come back the other way round.
fn swizzle(cast: &Cast, elapsed_ms: u64, length_ms: u64) -> Weather {
    let members = cast.members();
    // Two at least, and never all.
    let chosen: Vec<usize> = members
        .iter()
        .copied()
        .rev()
        .take(
            (members.len() / 2)
                .max(2)
                .min(members.len().saturating_sub(1))
                .max(1),
        )
        .collect();
    let turn = (length_ms / (2 * chosen.len() as u64)).max(1);
    let phase = usize::try_from(elapsed_ms / turn).unwrap_or(usize::MAX);
    let off: &[usize] = if phase < chosen.len() {
        chosen.get(..=phase).unwrap_or_default()
    } else {
        // The first to go is the first to come back: another order than that of going last in first out.
        chosen.get(phase - chosen.len() + 1..).unwrap_or_default()
    };
    let mut weather = Weather::clear();
    for node in off {
        for other in members.iter().filter(|other| *other != node) {
            weather.worsen(*node, *other, &Quality::cut(Cut::Drop));
            weather.worsen(*other, *node, &Quality::cut(Cut::Drop));
        }
    }
    weather
}

/// One round after another: away, back, struck. What comes after the round in which the time ends is cut
/// short by that.
fn catch_up(fault: &Fault, cast: &Cast, elapsed_ms: u64, world: &mut World) {
    let Fault::CatchUp {
        away_ms,
        rate,
        after_ms,
        down_ms,
        strikes,
    } = *fault
    else {
        return;
    };
    let (mut at, mut back_ms) = (elapsed_ms, after_ms.max(1));
    let round = |back_ms: u64| away_ms.saturating_add(back_ms).saturating_add(down_ms);
    while at >= round(back_ms) {
        at -= round(back_ms);
        back_ms = back_ms.saturating_add(after_ms);
    }
    let (follower, leader) = (cast.follower(), cast.first());
    let cut = Quality::cut(Cut::Drop);
    let thin = Quality {
        rate: Some(rate),
        ..Quality::default()
    };
    let struck = at >= away_ms.saturating_add(back_ms);
    let links = match (at < away_ms, struck, strikes) {
        (true, ..) | (_, true, Midway::Link) => cut,
        (false, ..) => thin,
    };
    for other in cast.members().iter().filter(|other| **other != follower) {
        world.weather.worsen(follower, *other, &links);
        world.weather.worsen(*other, follower, &links);
    }
    match strikes {
        Midway::Receiver if struck => world.strike(follower, Life::Down),
        Midway::PowerOfReceiver if struck => world.strike(follower, Life::PowerCut),
        Midway::Sender if struck => world.strike(leader, Life::Down),
        _ => {}
    }
}

fn degrade(scope: Scope, quality: &Quality, cast: &Cast) -> Weather {
    let hit = |node: usize| match scope {
        Scope::All => true,
        Scope::Leader => node == cast.first(),
        Scope::Follower => node == cast.follower(),
    };
    let mut weather = Weather::clear();
    for from in cast.members() {
        for to in cast.members().iter().filter(|to| *to != from) {
            if hit(*from) || hit(*to) {
                weather.worsen(*from, *to, quality);
            }
        }
    }
    weather
}

#[cfg(test)]
#[path = "effect_tests.rs"]
mod tests;

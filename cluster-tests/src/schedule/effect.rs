//! What a fault makes of the world at a moment: a pure function of its cast and the time since it
//! struck.

use super::cast::Cast;
use super::fault::{Fault, Scope, Shape};
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
}

impl World {
    /// Under both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.weather = self.weather.and(&other.weather);
        for (node, life) in other.lives {
            self.strike(node, life);
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
        Fault::Throttle { who, percent } => {
            for node in cast.who(*who) {
                world.strike(node, Life::Slowed(*percent));
            }
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
        Shape::Ring => ring(members),
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
        Shape::FollowerDeaf => one_way(members, &[follower]),
        Shape::FollowerMute => one_way(&[follower], members),
        Shape::Exactly(text) => Topology::parse(text, nodes)?,
    })
}

fn ring(members: &[usize]) -> Topology {
    let mut sorted = members.to_vec();
    sorted.sort_unstable();
    let count = sorted.len();
    let mut cut = Topology::healed();
    for (i, a) in sorted.iter().enumerate() {
        for (j, b) in sorted.iter().enumerate() {
            let distance = (i + count - j) % count;
            if distance > 1 && distance != count - 1 {
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
mod tests {
    use super::super::fault::Who;
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn cast(leader: usize, nodes: usize) -> Cast {
        let members: Vec<usize> = (1..=nodes).collect();
        Cast::new(Some(leader), &members, &mut StdRng::seed_from_u64(1))
    }

    fn cut(shape: Shape, nodes: usize) -> (Cast, Weather) {
        let cast = cast(2, nodes);
        let fault = Fault::Partition {
            shape,
            how: Cut::Drop,
        };
        let world = effect(&fault, &cast, 0, 9000).unwrap();
        (cast, world.weather)
    }

    /// Members that `node` hears and that hear it, itself among them.
    fn reach(weather: &Weather, cast: &Cast, node: usize) -> usize {
        let both = |other: usize| !weather.is_cut(node, other) && !weather.is_cut(other, node);
        cast.members().iter().filter(|other| both(**other)).count()
    }

    #[test]
    fn a_majority_without_its_leader_and_the_other_way_round() {
        for nodes in [3, 5] {
            let (cast, weather) = cut(Shape::Minority, nodes);
            assert_eq!(reach(&weather, &cast, 2), cast.majority());
            let (cast, weather) = cut(Shape::Majority, nodes);
            assert_eq!(reach(&weather, &cast, 2), nodes - cast.majority());
            let (cast, weather) = cut(Shape::IsolateLeader, nodes);
            assert_eq!(reach(&weather, &cast, 2), 1);
        }
    }

    #[test]
    fn in_a_quorum_loss_the_hub_alone_has_a_quorum() {
        let (cast, weather) = cut(Shape::QuorumLoss, 5);
        let able: Vec<usize> = cast
            .members()
            .iter()
            .copied()
            .filter(|node| reach(&weather, &cast, *node) >= cast.majority())
            .collect();
        assert_eq!(able, [cast.follower()]);
        assert_ne!(cast.follower(), 2);
    }

    #[test]
    fn everybody_in_a_ring_of_five_has_a_quorum() {
        let (cast, weather) = cut(Shape::Ring, 5);
        for node in 1..=5 {
            assert_eq!(reach(&weather, &cast, node), 3);
        }
    }

    #[test]
    fn a_half_deaf_leader_is_one_answer_short() {
        for nodes in [3, 5] {
            let (cast, weather) = cut(Shape::LeaderHalfDeaf, nodes);
            let heard = (1..=nodes)
                .filter(|n| *n != 2 && !weather.is_cut(*n, 2))
                .count();
            assert_eq!(heard + 2, cast.majority());
            assert!((1..=nodes).all(|n| n == 2 || !weather.is_cut(2, n)));
        }
    }

    #[test]
    fn a_constrained_election_begins_with_a_hub_that_lags() {
        let cast = cast(1, 5);
        let fault = Fault::Partition {
            shape: Shape::Constrained,
            how: Cut::Drop,
        };
        let early = effect(&fault, &cast, 0, 9000).unwrap().weather;
        let late = effect(&fault, &cast, 4000, 9000).unwrap().weather;
        assert_eq!(reach(&early, &cast, cast.follower()), 1);
        assert_eq!(reach(&early, &cast, 1), 4);
        assert_eq!(reach(&late, &cast, 1), 1);
        assert_eq!(reach(&late, &cast, cast.follower()), 4);
    }

    #[test]
    fn a_swizzle_cuts_one_by_one_and_ends_open() {
        let cast = cast(1, 5);
        let open = |at: u64| {
            let weather = effect(&Fault::Swizzle, &cast, at, 8000).unwrap().weather;
            (1..=5).filter(|n| reach(&weather, &cast, *n) > 1).count()
        };
        assert_eq!([open(0), open(2500), open(4500), open(6500)], [4, 3, 4, 5]);
    }

    #[test]
    fn two_faults_are_the_worse_of_each() {
        let cast = cast(1, 3);
        let pause = Fault::Pause { who: Who::Leader };
        let kill = Fault::Kill { who: Who::Leader };
        let pause = effect(&pause, &cast, 0, 100).unwrap();
        let both = pause.and(effect(&kill, &cast, 0, 100).unwrap());
        assert_eq!(both.life(1), Life::Down);
        assert_eq!(both.life(2), Life::Up);
    }

    #[test]
    fn a_rolling_restart_ends_with_the_leader() {
        let cast = cast(3, 3);
        let down: Vec<Vec<usize>> = [0, 1500, 3000, 6000]
            .into_iter()
            .map(|at| {
                let world = effect(&Fault::RollingRestart, &cast, at, 9000).unwrap();
                world.lives.into_keys().collect()
            })
            .collect();
        assert_eq!(down.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 1, 1]);
        assert_eq!(down.last().unwrap(), &[3]);
    }
}

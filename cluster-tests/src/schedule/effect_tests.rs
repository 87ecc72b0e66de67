use super::super::fault::{Harm, Store, Who};
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
fn everybody_in_a_ring_has_a_quorum_and_nobody_hears_all() {
    for (nodes, heard) in [(5, 3), (7, 5)] {
        let (cast, weather) = cut(Shape::Ring, nodes);
        for node in 1..=nodes {
            assert_eq!(reach(&weather, &cast, node), heard);
        }
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
fn of_two_troubles_with_a_disk_the_worse_and_of_two_clocks_each_worse() {
    let cast = cast(1, 3);
    let disk = |trouble| {
        let who = Who::Leader;
        effect(&Fault::Disk { who, trouble }, &cast, 0, 100).unwrap()
    };
    let both = disk(Trouble::Slow { ms: 5 }).and(disk(Trouble::Hang));
    assert_eq!(both.disks, BTreeMap::from([(1, Trouble::Hang)]));
    let clock = |offset_ms, rate_per_mille| {
        let fault = Fault::Clock {
            who: Who::Leader,
            offset_ms,
            rate_per_mille,
        };
        effect(&fault, &cast, 0, 100).unwrap()
    };
    let both = clock(500, -20).and(clock(-3000, 10));
    let worst = Skew {
        offset_ms: -3000,
        rate_per_mille: -20,
    };
    assert_eq!(both.clocks, BTreeMap::from([(1, worst)]));
    assert!(both.lives.is_empty() && both.weather.is_clear());
}

#[test]
fn what_is_damaged_is_down() {
    let fault = Fault::Damage {
        who: Who::Follower,
        what: Store::Log,
        how: Harm::Flip,
    };
    let cast = cast(1, 3);
    let world = effect(&fault, &cast, 50, 100).unwrap();
    assert_eq!(world.lives, BTreeMap::from([(cast.follower(), Life::Down)]));
}

#[test]
fn without_the_rest_a_random_majority_hears_itself() {
    let (cast, weather) = cut(Shape::Rest, 5);
    for node in cast.quorum() {
        assert_eq!(reach(&weather, &cast, *node), 3);
    }
    for node in cast.rest() {
        assert_eq!(reach(&weather, &cast, *node), 1);
    }
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

#[test]
fn a_follower_that_catches_up_is_struck_later_in_every_round() {
    let cast = cast(2, 3);
    let fault = Fault::CatchUp {
        away_ms: 1000,
        rate: 50_000,
        after_ms: 100,
        down_ms: 400,
        strikes: Midway::Receiver,
    };
    let at = |ms: u64| effect(&fault, &cast, ms, 9000).unwrap();
    let follower = cast.follower();
    assert!(at(0).weather.is_cut(2, follower));
    assert!(!at(1050).weather.is_cut(2, follower));
    assert_eq!(at(1050).weather.way(2, follower).rate, Some(50_000));
    assert_eq!(at(1099).life(follower), Life::Up);
    assert_eq!(at(1100).life(follower), Life::Down);
    // The second round begins after 1500 ms, and leaves it 200 ms.
    assert_eq!(at(1500 + 1199).life(follower), Life::Up);
    assert_eq!(at(1500 + 1200).life(follower), Life::Down);
    assert_eq!(at(1500 + 1200).life(2), Life::Up);
}

//! The catalogue of nemeses: every fault by name, what it is, and what it must leave standing.
//!
//! The names are Jepsen's and the literature's; rows are those of the laboratory's README.

use super::fault::{Change, Fault, Harm, Midway, Scope, Shape, Store, Trouble, Who};
use crate::cluster::weather::{Cut, Quality};
use rand::Rng;
use rand::rngs::StdRng;
use std::ops::Range;

/// What must hold while a fault lasts, beyond the safety that must hold always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Some member must acknowledge a write within so many election timeouts of the beginning; none:
    /// the cluster may stand still until the heal.
    pub serves_within: Option<u32>,
    /// So many changes of leadership it may cost at most.
    pub elections_max: Option<u32>,
}

const SERVES: Expectation = Expectation {
    serves_within: Some(8),
    elections_max: None,
};
const MAY_STAND_STILL: Expectation = Expectation {
    serves_within: None,
    elections_max: None,
};

/// A named kind of fault.
#[derive(Clone, Debug)]
pub struct Nemesis {
    pub name: &'static str,
    /// A cluster must have so many members for it to mean something.
    pub nodes_min: usize,
    pub expects: Expectation,
    /// Who it is aimed at is the leader, and so the run has cut or lost one.
    pub leader: bool,
    /// Whether real processes can have it, or only a simulation.
    pub real: bool,
    /// It needs this long to be itself, whatever the pace of a schedule; none: any length will do.
    pub lasts_ms: Option<Range<u64>>,
    pub make: fn(&mut StdRng) -> Fault,
}

impl PartialEq for Nemesis {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

fn partition(shape: Shape) -> Fault {
    Fault::Partition {
        shape,
        how: Cut::Drop,
    }
}

/// Half of them vanish, half are reset: what a product sees of a switch and of a firewall.
fn either(shape: Shape, random: &mut StdRng) -> Fault {
    let how = if random.random() {
        Cut::Drop
    } else {
        Cut::Reset
    };
    Fault::Partition { shape, how }
}

const fn nemesis(
    name: &'static str,
    expects: Expectation,
    make: fn(&mut StdRng) -> Fault,
) -> Nemesis {
    Nemesis {
        name,
        nodes_min: 3,
        expects,
        leader: false,
        real: true,
        lasts_ms: None,
        make,
    }
}

const fn of_five(mut nemesis: Nemesis) -> Nemesis {
    nemesis.nodes_min = 5;
    nemesis
}

const fn at_leader(mut nemesis: Nemesis) -> Nemesis {
    nemesis.leader = true;
    nemesis
}

const fn simulated(mut nemesis: Nemesis) -> Nemesis {
    nemesis.real = false;
    nemesis
}

const fn lasting(mut nemesis: Nemesis, ms: Range<u64>) -> Nemesis {
    nemesis.lasts_ms = Some(ms);
    nemesis
}

const fn few_elections(mut nemesis: Nemesis, most: u32) -> Nemesis {
    nemesis.expects.elections_max = Some(most);
    nemesis
}

/// All of them.
pub const CATALOGUE: &[Nemesis] = &[
    nemesis("minority", SERVES, |random| either(Shape::Minority, random)),
    at_leader(nemesis("majority", SERVES, |random| {
        either(Shape::Majority, random)
    })),
    at_leader(nemesis("isolate-leader", SERVES, |random| {
        either(Shape::IsolateLeader, random)
    })),
    few_elections(
        nemesis("isolate-follower", SERVES, |random| {
            either(Shape::IsolateFollower, random)
        }),
        2,
    ),
    of_five(nemesis("ring", SERVES, |_| partition(Shape::Ring))),
    at_leader(nemesis("bridge", SERVES, |_| partition(Shape::Bridge))),
    at_leader(nemesis("quorum-loss", SERVES, |_| {
        partition(Shape::QuorumLoss)
    })),
    at_leader(nemesis("constrained", MAY_STAND_STILL, |_| {
        partition(Shape::Constrained)
    })),
    few_elections(nemesis("chained", SERVES, |_| partition(Shape::Chained)), 2),
    at_leader(nemesis("dangling", SERVES, |_| partition(Shape::Dangling))),
    at_leader(nemesis("leader-deaf", SERVES, |_| {
        partition(Shape::LeaderDeaf)
    })),
    at_leader(nemesis("leader-mute", SERVES, |_| {
        partition(Shape::LeaderMute)
    })),
    at_leader(nemesis("leader-half-deaf", SERVES, |_| {
        partition(Shape::LeaderHalfDeaf)
    })),
    few_elections(
        nemesis("follower-deaf", SERVES, |_| partition(Shape::FollowerDeaf)),
        2,
    ),
    few_elections(
        nemesis("follower-mute", SERVES, |_| partition(Shape::FollowerMute)),
        2,
    ),
    few_elections(
        nemesis("flapping", SERVES, |random| Fault::Flapping {
            shape: Shape::IsolateFollower,
            cut_ms: random.random_range(100..1500),
            open_ms: random.random_range(100..1000),
        }),
        3,
    ),
    at_leader(nemesis("flapping-leader", SERVES, |random| {
        Fault::Flapping {
            shape: Shape::IsolateLeader,
            cut_ms: random.random_range(100..1500),
            open_ms: random.random_range(300..1000),
        }
    })),
    nemesis("swizzle", MAY_STAND_STILL, |_| Fault::Swizzle),
    nemesis("kill-one", SERVES, |_| Fault::Kill { who: Who::One }),
    at_leader(nemesis("kill-leader", SERVES, |_| Fault::Kill {
        who: Who::Leader,
    })),
    at_leader(nemesis("kill-majority", MAY_STAND_STILL, |_| Fault::Kill {
        who: Who::Majority,
    })),
    at_leader(nemesis("kill-all", MAY_STAND_STILL, |_| Fault::Kill {
        who: Who::All,
    })),
    nemesis("crash-loop", SERVES, |random| Fault::CrashLoop {
        who: Who::One,
        every_ms: random.random_range(900..2500),
    }),
    at_leader(nemesis("power-cut", MAY_STAND_STILL, |_| Fault::PowerCut {
        who: Who::All,
    })),
    at_leader(nemesis("pause-leader", SERVES, |_| Fault::Pause {
        who: Who::Leader,
    })),
    few_elections(
        nemesis("pause-follower", SERVES, |_| Fault::Pause {
            who: Who::Follower,
        }),
        2,
    ),
    at_leader(nemesis("rolling-restart", SERVES, |_| {
        Fault::RollingRestart
    })),
    nemesis("slow", SERVES, |random| Fault::Degrade {
        scope: Scope::All,
        quality: Quality {
            delay_ms: random.random_range(5..40),
            ..Quality::default()
        },
    }),
    nemesis("jitter", SERVES, |random| Fault::Degrade {
        scope: Scope::All,
        quality: Quality {
            delay_ms: 1,
            jitter_ms: random.random_range(10..60),
            ..Quality::default()
        },
    }),
    nemesis("lossy", SERVES, |random| Fault::Degrade {
        scope: Scope::All,
        quality: Quality {
            loss_per_mille: random.random_range(2..20),
            ..Quality::default()
        },
    }),
    nemesis("thin", SERVES, |random| Fault::Degrade {
        scope: Scope::Follower,
        quality: Quality {
            rate: Some(random.random_range(20_000..200_000)),
            ..Quality::default()
        },
    }),
    at_leader(nemesis("mtu", MAY_STAND_STILL, |_| Fault::Degrade {
        scope: Scope::Leader,
        quality: Quality {
            largest: Some(500),
            ..Quality::default()
        },
    })),
    nemesis("half-open", SERVES, |_| Fault::Partition {
        shape: Shape::IsolateLeader,
        how: Cut::NewOnly,
    }),
    nemesis("grow-and-shrink", SERVES, |_| Fault::Members {
        change: Change::GrowAndShrink,
    }),
    nemesis("replace", SERVES, |_| Fault::Members {
        change: Change::Replace,
    }),
    at_leader(nemesis("remove-leader", SERVES, |_| Fault::Members {
        change: Change::RemoveLeader,
    })),
    at_leader(nemesis("transfer", SERVES, |random| Fault::Transfer {
        every_ms: random.random_range(300..900),
    })),
    nemesis("cpu", SERVES, |random| Fault::Throttle {
        who: Who::Follower,
        percent: random.random_range(10..40),
    }),
    at_leader(nemesis("cpu-leader", MAY_STAND_STILL, |random| {
        Fault::Throttle {
            who: Who::Leader,
            percent: random.random_range(10..40),
        }
    })),
    nemesis("slow-consumers", SERVES, |_| Fault::SlowConsumers {
        watchers: 16,
    }),
    // Rounds of three seconds and more: a member comes back so late that it needs a snapshot.
    lasting(
        nemesis("snapshot-kill", SERVES, |random| {
            catch_up(Midway::Receiver, random)
        }),
        8000..14_000,
    ),
    lasting(
        nemesis("snapshot-power-cut", SERVES, |random| {
            catch_up(Midway::PowerOfReceiver, random)
        }),
        8000..14_000,
    ),
    lasting(
        nemesis("snapshot-cut", SERVES, |random| {
            catch_up(Midway::Link, random)
        }),
        8000..14_000,
    ),
    // Of three, one is down and one has half a snapshot: nobody can serve.
    at_leader(lasting(
        nemesis("snapshot-kill-sender", MAY_STAND_STILL, |random| {
            catch_up(Midway::Sender, random)
        }),
        8000..14_000,
    )),
    // From here on: what lies between a process and its disk, its clock or its messages is the
    // simulation's alone.
    simulated(nemesis("disk-slow", SERVES, |random| Fault::Disk {
        who: Who::One,
        trouble: Trouble::Slow {
            ms: random.random_range(10..200),
        },
    })),
    // It hands over once, and who wakes up after ten seconds takes nothing back.
    simulated(few_elections(
        at_leader(lasting(
            nemesis("disk-hang", SERVES, |_| Fault::Disk {
                who: Who::Leader,
                trouble: Trouble::Hang,
            }),
            10_000..12_000,
        )),
        2,
    )),
    simulated(nemesis("disk-read-error", SERVES, |_| Fault::Disk {
        who: Who::One,
        trouble: Trouble::ReadError,
    })),
    simulated(nemesis("disk-write-error", SERVES, |_| Fault::Disk {
        who: Who::One,
        trouble: Trouble::WriteError,
    })),
    simulated(nemesis("disk-sync-error", SERVES, |_| Fault::Disk {
        who: Who::One,
        trouble: Trouble::SyncError,
    })),
    simulated(nemesis("disk-full", MAY_STAND_STILL, |_| Fault::Disk {
        who: Who::One,
        trouble: Trouble::Full,
    })),
    simulated(nemesis("damage-log", SERVES, |random| {
        damage(Store::Log, random)
    })),
    simulated(nemesis("damage-state", SERVES, |random| {
        damage(Store::State, random)
    })),
    simulated(nemesis("damage-snapshot", SERVES, |random| {
        damage(Store::Snapshot, random)
    })),
    simulated(nemesis("clock-jump", SERVES, |random| Fault::Clock {
        who: Who::One,
        offset_ms: random.random_range(-3_600_000..3_600_000),
        rate_per_mille: 0,
    })),
    simulated(nemesis("clock-rate", SERVES, |random| Fault::Clock {
        who: Who::One,
        offset_ms: 0,
        rate_per_mille: random.random_range(-50..50),
    })),
    simulated(nemesis("duplicate", SERVES, |random| Fault::Degrade {
        scope: Scope::All,
        quality: Quality {
            duplicate_per_mille: random.random_range(5..100),
            ..Quality::default()
        },
    })),
    simulated(nemesis("reorder", SERVES, |random| Fault::Degrade {
        scope: Scope::All,
        quality: Quality {
            reorder_per_mille: random.random_range(5..100),
            ..Quality::default()
        },
    })),
];

fn catch_up(strikes: Midway, random: &mut StdRng) -> Fault {
    Fault::CatchUp {
        away_ms: random.random_range(2000..3500),
        rate: random.random_range(30_000..1_000_000),
        after_ms: random.random_range(40..400),
        down_ms: random.random_range(300..1200),
        strikes,
    }
}

fn damage(what: Store, random: &mut StdRng) -> Fault {
    let how = if random.random() {
        Harm::Flip
    } else {
        Harm::Truncate
    };
    let who = Who::One;
    Fault::Damage { who, what, how }
}

/// Those that mean something for so many members; `simulated`: also those that only a simulation can
/// have.
pub fn fitting(nodes: usize, simulated: bool) -> impl Iterator<Item = &'static Nemesis> {
    CATALOGUE
        .iter()
        .filter(move |nemesis| nodes >= nemesis.nodes_min && (simulated || nemesis.real))
}

pub fn find(name: &str) -> Option<&'static Nemesis> {
    CATALOGUE.iter().find(|nemesis| nemesis.name == name)
}

/// The last act of a schedule, which is not in the catalogue: see [`super::LastAct`].
pub const LAST_ACT: &str = "last-act";

/// Combinations of two to four faults at once.
pub const COMBINED: &str = "combined";

/// Everything that can be asked for, by name.
pub fn names() -> Vec<&'static str> {
    CATALOGUE
        .iter()
        .map(|nemesis| nemesis.name)
        .chain([COMBINED])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_one_each() {
        let names: BTreeSet<&str> = names().into_iter().collect();
        assert_eq!(names.len(), CATALOGUE.len() + 1);
        assert!(!names.contains(LAST_ACT));
    }

    #[test]
    fn real_processes_have_most_faults_and_a_simulation_has_them_all() {
        assert_eq!(fitting(5, false).count(), 44);
        assert_eq!(fitting(3, false).count(), 43);
        assert_eq!(fitting(5, true).count(), CATALOGUE.len());
        assert!(CATALOGUE.len() >= 57);
    }
}

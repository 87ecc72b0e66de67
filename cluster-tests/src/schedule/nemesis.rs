//! The catalogue of nemeses: every fault by name, what it is, and what it must leave standing.
//!
//! The names are Jepsen's and the literature's; rows are those of the laboratory's README.

use super::fault::{Change, Fault, Scope, Shape, Who};
use crate::cluster::weather::{Cut, Quality};
use rand::Rng;
use rand::rngs::StdRng;

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
#[derive(Clone, Copy, Debug)]
pub struct Nemesis {
    pub name: &'static str,
    /// A cluster must have so many members for it to mean something.
    pub nodes_min: usize,
    pub expects: Expectation,
    /// Who it is aimed at is the leader, and so the run has cut or lost one.
    pub leader: bool,
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
];

pub fn find(name: &str) -> Option<&'static Nemesis> {
    CATALOGUE.iter().find(|nemesis| nemesis.name == name)
}

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
    }
}

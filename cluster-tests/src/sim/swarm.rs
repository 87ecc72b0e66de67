//! What a seed means: cluster, load and faults, drawn anew for each ("swarm testing", Groce et al. 2012):
//! a run that does everything a little finds less than many that each leave most of it out.
//!
//! | drawn | from |
//! |---|---|
//! | members | 3 (70%), 5 (25%), 7 |
//! | faults | one to four of the catalogue; in every fourth run combinations as well; how long, how dense |
//! | workloads | two to four, with 30 to 120 operations a second |
//! | links | one room (up to 6 ms), or, in every eighth run, several cities (up to 45 ms) |
//! | disks | 50 us to 5 ms a job, or, in every tenth run, up to 25 ms |
//! | timers | elections after 300 ms, less often 500 or 1000; between cities 1000 |
//! | sizes | a snapshot every 50 to 500 entries, in every fifth run, and where members are struck amidst snapshots, every 10 to 50, but no more than six a second in all; in every fifth run a connection takes but a hundred to 1460 bytes at a time |
//! | checks | in every fourth run members compare their states every few seconds |

use super::world::Setup;
use crate::run::plan::{Kind, Plan};
use crate::schedule::generate::{Brief, Pace};
use crate::schedule::nemesis::{self, COMBINED};
use crate::workload::Workload;
use anyhow::Result;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Which no run can have, and says so: see [`super::members`].
const IMPOSSIBLE: &str = "duplicate";
/// Between them nobody is to be drawn twice in a run: a majority is not to be lost for ever.
const DAMAGE: &str = "damage";

/// They mean nothing where a member that returns finds all that it missed in the log.
const AMIDST_SNAPSHOTS: &str = "snapshot-";

/// Of all members. Each takes some 20 ms of a processor: one every ten entries would be most of a run.
const SNAPSHOTS_A_SECOND: usize = 6;

/// What is not drawn but given.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    pub nodes: Option<usize>,
    pub workloads: Vec<Workload>,
    pub nemeses: Vec<String>,
    pub rate: Option<u32>,
}

/// A run of `seconds` for `seed`. Real files of members lie below `root`.
///
/// # Errors
/// The wishes cannot be had together.
pub fn draw(seed: u64, seconds: u64, wishes: &Wishes, root: &Path) -> Result<(Plan, Setup)> {
    // Another sequence than the schedule's, which is drawn from the same seed.
    let mut random = StdRng::seed_from_u64(seed ^ 0x5377_6172_6d21);
    let drawn = match random.random_range(0..100) {
        0..70 => 3,
        70..95 => 5,
        _ => 7,
    };
    let nodes = wishes.nodes.unwrap_or(drawn);
    let drawn = few(&Workload::ALL, 2..=4, &mut random);
    let workloads = or(&wishes.workloads, drawn);
    let drawn = nemeses(nodes, &mut random);
    let nemeses = or(&wishes.nemeses, drawn);
    let rate = wishes.rate.unwrap_or(random.random_range(30..=120));
    let mut setup = setup(seed, nodes, root, &mut random);
    if nemeses
        .iter()
        .any(|name| name.starts_with(AMIDST_SNAPSHOTS))
    {
        // Who was away for two seconds is to need one, at the lowest rate as well.
        setup.snapshot_count = random.random_range(10..=50);
    }
    let entries = usize::try_from(rate)? * nodes;
    let least = u64::try_from(entries / SNAPSHOTS_A_SECOND)?;
    setup.snapshot_count = setup.snapshot_count.max(least);
    let brief = Brief {
        simulated: true,
        pace: pace(&mut random),
        election_timeout: Duration::from_millis(setup.election_ms),
        last_act: true,
        ..Brief::new(seed, nodes, seconds * 1000, &nemeses)
    };
    let schedule = brief.schedule()?;
    let plan = Plan {
        cluster: Kind::Simulation,
        nodes,
        workloads,
        nemeses,
        schedule,
        schedule_file: None,
        seconds,
        rate,
        seed,
        packets: false,
        canary: None,
        data: PathBuf::new(),
        started: String::new(),
        again: Some(format!("cluster-tests sim --seed {seed} --time {seconds}s")),
    };
    Ok((plan, setup))
}

fn nemeses(nodes: usize, random: &mut StdRng) -> Vec<String> {
    let all = nemesis::fitting(nodes, true).map(|one| one.name.to_owned());
    let all: Vec<String> = all.filter(|name| name != IMPOSSIBLE).collect();
    let mut drawn = few(&all, 1..=4, random);
    let mut damages = 0;
    drawn.retain(|name| {
        damages += usize::from(name.starts_with(DAMAGE));
        !name.starts_with(DAMAGE) || damages == 1
    });
    if one_in(4, random) {
        drawn.push(COMBINED.to_owned());
    }
    drawn
}

fn pace(random: &mut StdRng) -> Pace {
    match random.random_range(0..10) {
        0..6 => Pace::default(),
        6..9 => Pace {
            fault_ms: 1500..4000,
            pause_ms: 300..1500,
        },
        _ => Pace {
            fault_ms: 6000..15_000,
            pause_ms: 1000..3000,
        },
    }
}

fn setup(seed: u64, nodes: usize, root: &Path, random: &mut StdRng) -> Setup {
    let between_cities = one_in(8, random);
    let least = if between_cities {
        random.random_range(3000..25_000)
    } else {
        random.random_range(50..500)
    };
    let more = random.random_range(50..5000) * if between_cities { 4 } else { 1 };
    let (heartbeat_ms, election_ms) = match random.random_range(0..10) {
        _ if between_cities => (100, 1000),
        0..7 => (50, 300),
        7..9 => (50, 500),
        _ => (100, 1000),
    };
    let slowness = if one_in(10, random) { 5 } else { 1 };
    let snapshot_count = if one_in(5, random) {
        random.random_range(10..50)
    } else {
        random.random_range(50..=500)
    };
    let piece_bytes_max = one_in(5, random).then(|| random.random_range(100..=1460));
    let mut flags = Vec::new();
    if one_in(4, random) {
        let seconds = random.random_range(2..10);
        flags.push(format!("--corrupt-check-time={seconds}s"));
    }
    Setup {
        seed,
        nodes,
        latency_us: (least, least + more),
        disk_us: (
            random.random_range(50..2000) * slowness,
            random.random_range(50..3000) * slowness,
        ),
        snapshot_count,
        heartbeat_ms,
        election_ms,
        piece_bytes_max,
        flags,
        root: root.to_owned(),
    }
}

fn one_in(count: u32, random: &mut StdRng) -> bool {
    random.random_ratio(1, count)
}

fn few<T: Clone>(all: &[T], count: std::ops::RangeInclusive<usize>, random: &mut StdRng) -> Vec<T> {
    let count = random.random_range(count);
    all.choose_multiple(random, count).cloned().collect()
}

fn or<T: Clone>(wished: &[T], drawn: Vec<T>) -> Vec<T> {
    if wished.is_empty() {
        drawn
    } else {
        wished.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn seeds_differ_and_all_of_them_are_runs() {
        let mut names = BTreeSet::new();
        let mut sizes = BTreeSet::new();
        for seed in 0..1000 {
            let draw = || draw(seed, 30, &Wishes::default(), Path::new("/"));
            let (plan, setup) = draw().unwrap();
            assert_eq!(plan.schedule, draw().unwrap().0.schedule);
            assert!(!plan.schedule.steps.is_empty());
            assert!(plan.schedule.last_act.is_some());
            assert!(setup.election_ms >= 5 * setup.heartbeat_ms);
            let damages = plan.nemeses.iter().filter(|name| name.starts_with(DAMAGE));
            assert!(damages.count() <= 1);
            sizes.insert(plan.nodes);
            names.extend(plan.nemeses);
        }
        assert_eq!(sizes, BTreeSet::from([3, 5, 7]));
        let all = nemesis::names().into_iter();
        let missing: Vec<&str> = all.filter(|name| !names.contains(*name)).collect();
        assert_eq!(missing, [IMPOSSIBLE]);
    }
}

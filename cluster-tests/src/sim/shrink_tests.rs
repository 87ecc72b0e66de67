use super::*;
use crate::schedule::fault::{Fault, Who};
use crate::schedule::generate::generate;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;

const REDUCER: Reducer = Reducer { recovery_ms: 1000 };

/// Of as many faults, ten seconds each; `at_ms` says which is which.
fn case(faults: u64, nodes: usize) -> Case {
    let step = |number: u64| Step {
        at_ms: 5000 + number * 10_000,
        for_ms: 8000,
        nemesis: format!("kill-{number}"),
        fault: Fault::Kill { who: Who::One },
    };
    let last_act = LastAct {
        at_ms: 5000 + faults * 10_000,
        for_ms: 4000,
        fault: Fault::Kill { who: Who::Rest },
    };
    Case {
        schedule: Schedule {
            seed: 1,
            nodes,
            steps: (0..faults).map(step).collect(),
            last_act: Some(last_act),
            ends_ms: faults * 10_000 + 30_000,
        },
        workloads: Workload::ALL.to_vec(),
    }
}

fn names(case: &Case) -> BTreeSet<String> {
    case.schedule.names().into_iter().collect()
}

/// All that can be left out of a case, one at a time.
fn without_one(case: &Case) -> Vec<Case> {
    let parts = case.parts();
    let fewer = (0..parts.len()).map(|at| {
        let mut rest = parts.clone();
        rest.remove(at);
        case.with_parts(&rest)
    });
    fewer.collect()
}

#[tokio::test]
async fn what_matters_stays() {
    let mut tries = 0;
    let mut fails = async |case: &Case| {
        tries += 1;
        let names = names(case);
        Ok(names.contains("kill-3")
            && names.contains("kill-17")
            && case.workloads.contains(&Workload::Bank))
    };
    let smallest = REDUCER.reduce(case(20, 7), &mut fails).await.unwrap();
    assert!(tries < 80, "{tries}");
    assert_eq!(smallest.schedule.names(), ["kill-3", "kill-17"]);
    assert_eq!(smallest.schedule.last_act, None);
    assert_eq!(smallest.workloads, [Workload::Bank]);
    assert_eq!(smallest.schedule.nodes, 3);
    // The faults are as short and as early as they may be, one after the other.
    let times = smallest.schedule.steps.iter().map(|s| (s.at_ms, s.for_ms));
    let times: Vec<(u64, u64)> = times.collect();
    assert_eq!(times, [(CALM_MS, 500), (CALM_MS + 500, 500)]);
    assert_eq!(
        smallest.schedule.ends_ms,
        smallest.schedule.healed_ms() + 1000
    );
}

#[tokio::test]
async fn a_fault_may_matter_by_its_length_and_a_run_by_its_end() {
    let mut fails = async |case: &Case| {
        let long = case.schedule.steps.iter().any(|step| step.for_ms >= 3000);
        Ok(long && case.schedule.ends_ms >= 33_333)
    };
    let smallest = REDUCER.reduce(case(6, 5), &mut fails).await.unwrap();
    assert_eq!(smallest.schedule.steps.len(), 1);
    assert_eq!(smallest.schedule.steps[0].for_ms, 4000);
    let ends = smallest.schedule.ends_ms;
    assert!((33_333..34_500).contains(&ends), "{ends}");
}

#[tokio::test]
async fn nothing_at_all_may_be_enough() {
    let smallest = REDUCER
        .reduce(case(9, 3), &mut async |_: &Case| Ok(true))
        .await
        .unwrap();
    assert_eq!(smallest.schedule.faults().count(), 0);
    assert_eq!(smallest.workloads.len(), 1);
    assert_eq!(smallest.schedule.ends_ms, CALM_MS + 1000);
}

#[tokio::test]
async fn when_time_is_over_it_is_what_it_is() {
    let mut left = 3;
    let mut fails = async |_: &Case| {
        left -= 1;
        Ok(left >= 0)
    };
    let smallest = REDUCER.reduce(case(9, 3), &mut fails).await.unwrap();
    assert!(smallest.schedule.faults().count() <= 9);
    let never = &mut async |_: &Case| Ok(false);
    assert_eq!(REDUCER.reduce(case(9, 3), never).await.unwrap(), case(9, 3));
}

/// What fails: any of these sets of faults together, unless one of those that hide it is there.
#[derive(Debug)]
struct Oracle {
    any_of: Vec<BTreeSet<String>>,
    hidden_by: BTreeSet<String>,
}

impl Oracle {
    fn draw(all: &[String], random: &mut StdRng) -> Self {
        let sets = random.random_range(1..4);
        let mut some = |count| {
            let count = random.random_range(count);
            all.choose_multiple(random, count).cloned().collect()
        };
        Self {
            any_of: (0..sets).map(|_| some(1..5)).collect(),
            hidden_by: some(0..3),
        }
    }

    fn fails(&self, case: &Case) -> bool {
        let there = names(case);
        let shown = there.len() % 2 == 1 || self.hidden_by.is_disjoint(&there);
        shown && self.any_of.iter().any(|set| set.is_subset(&there))
    }
}

/// Whatever it is that fails, and be it that more faults hide it: what is left fails, is a part of what
/// there was, and needs each of its faults.
#[tokio::test]
async fn no_single_fault_can_be_left_out() {
    let (mut checked, mut faults) = (0, 0);
    for seed in 0..400 {
        let mut random = StdRng::seed_from_u64(seed);
        let whole = case(random.random_range(1..16), 5);
        let oracle = Oracle::draw(&whole.schedule.names(), &mut random);
        if !oracle.fails(&whole) {
            continue;
        }
        let mut fails = async |case: &Case| Ok(oracle.fails(case));
        let smallest = REDUCER.reduce(whole.clone(), &mut fails).await.unwrap();
        assert!(oracle.fails(&smallest), "seed {seed}: {oracle:?}");
        assert!(names(&smallest).is_subset(&names(&whole)));
        for less in without_one(&smallest) {
            assert!(!oracle.fails(&less), "seed {seed}: {oracle:?}, {smallest}");
        }
        checked += 1;
        faults += smallest.schedule.steps.len();
    }
    assert!(checked > 150 && faults > checked, "{checked}, {faults}");
}

/// A schedule that comes out can be run: by time, and with an end behind all.
#[tokio::test]
async fn what_comes_out_is_a_schedule() {
    for seed in 0..50 {
        let names = ["bridge", "kill-leader", "disk-hang", "minority"].map(str::to_owned);
        let schedule = generate(seed, 5, 60_000, &names).unwrap();
        let whole = Case {
            schedule,
            workloads: vec![Workload::Set],
        };
        let mut random = StdRng::seed_from_u64(seed);
        let mut fails = async |_: &Case| Ok(random.random());
        let smallest = REDUCER.reduce(whole, &mut fails).await.unwrap();
        let schedule = &smallest.schedule;
        assert!(schedule.steps.is_sorted_by_key(|step| step.at_ms));
        assert!(schedule.steps.iter().all(|step| step.at_ms >= CALM_MS));
        assert!(schedule.ends_ms >= schedule.healed_ms());
    }
}

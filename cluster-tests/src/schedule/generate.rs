//! Schedules from a seed.

use super::nemesis::{CATALOGUE, COMBINED, Nemesis, find};
use super::{Schedule, Step};
use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

/// Before the first fault: a run whose clients never worked proves nothing.
const CALM_MS: u64 = 2000;
/// After the last one: liveness is proved here.
const RECOVERY_MS: u64 = 6000;
/// Of one fault, where there is room for it.
const FAULT_MS: std::ops::Range<u64> = 3000..8000;
/// Between two.
const PAUSE_MS: std::ops::Range<u64> = 1500..4000;

/// A schedule for `nodes` members, of about `total_ms`, that goes through `nemeses` in an order of
/// the seed's, again and again while there is time, each at least once.
///
/// # Errors
/// A name is not in the catalogue, or needs more members.
pub fn generate(seed: u64, nodes: usize, total_ms: u64, nemeses: &[String]) -> Result<Schedule> {
    let mut random = StdRng::seed_from_u64(seed);
    for name in nemeses.iter().filter(|name| *name != COMBINED) {
        let nemesis = known(name)?;
        ensure!(
            nodes >= nemesis.nodes_min,
            "{name} needs {} members, here are {nodes}",
            nemesis.nodes_min
        );
    }
    let mut steps = Vec::new();
    let mut at = CALM_MS;
    let end = total_ms.saturating_sub(RECOVERY_MS);
    let mut round: Vec<&String> = Vec::new();
    let mut told = 0;
    while !nemeses.is_empty() {
        if round.is_empty() {
            round = nemeses.iter().collect();
            round.shuffle(&mut random);
        }
        let Some(name) = round.pop() else { break };
        // A short run has short faults, so that each has its turn.
        let turn = end.saturating_sub(CALM_MS) / nemeses.len() as u64;
        let length = random.random_range(FAULT_MS).min(turn * 2 / 3).max(1500);
        if told >= nemeses.len() && at + length > end {
            break;
        }
        told += 1;
        strike(name, at, length, nodes, &mut steps, &mut random)?;
        at += length + random.random_range(PAUSE_MS).min((turn / 3).max(500));
    }
    let healed = steps.iter().map(Step::ends_ms).max().unwrap_or(0);
    Ok(Schedule {
        seed,
        nodes,
        steps,
        ends_ms: total_ms.max(healed + RECOVERY_MS),
    })
}

fn known(name: &str) -> Result<&'static Nemesis> {
    find(name).with_context(|| {
        format!(
            "there is no nemesis {name:?}: {}",
            super::nemesis::names().join(", ")
        )
    })
}

fn strike(
    name: &str,
    at_ms: u64,
    for_ms: u64,
    nodes: usize,
    steps: &mut Vec<Step>,
    random: &mut StdRng,
) -> Result<()> {
    if name != COMBINED {
        steps.push(Step {
            at_ms,
            for_ms,
            nemesis: name.to_owned(),
            fault: (known(name)?.make)(random),
        });
        return Ok(());
    }
    // Two to four that overlap, and end one by one. Changes of members are left to themselves: a
    // majority that is lost for ever is no fault to recover from.
    let fit: Vec<&Nemesis> = CATALOGUE
        .iter()
        .filter(|nemesis| nodes >= nemesis.nodes_min && !changes_members(nemesis, random))
        .collect();
    let count = random.random_range(2..=4);
    for nemesis in fit.choose_multiple(random, count) {
        let late = random.random_range(0..=for_ms / 3);
        steps.push(Step {
            at_ms: at_ms + late,
            for_ms: random.random_range(for_ms / 3..=for_ms - late),
            nemesis: COMBINED.to_owned(),
            fault: (nemesis.make)(random),
        });
    }
    Ok(())
}

fn changes_members(nemesis: &Nemesis, random: &mut StdRng) -> bool {
    matches!((nemesis.make)(random), super::fault::Fault::Members { .. })
}

#[cfg(test)]
mod tests {
    use super::super::nemesis::names;
    use super::*;

    fn all() -> Vec<String> {
        names().into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn a_seed_says_it_all() {
        let one = generate(7, 5, 300_000, &all()).unwrap();
        assert_eq!(one, generate(7, 5, 300_000, &all()).unwrap());
        assert_ne!(one, generate(8, 5, 300_000, &all()).unwrap());
    }

    #[test]
    fn every_nemesis_has_its_turn_and_every_schedule_ends_healed() {
        for (nodes, seconds) in [(5, 60), (5, 600)] {
            let schedule = generate(3, nodes, seconds * 1000, &all()).unwrap();
            for name in names() {
                assert!(
                    schedule.steps.iter().any(|step| step.nemesis == name),
                    "{name}"
                );
            }
            assert!(schedule.healed_ms() + RECOVERY_MS <= schedule.ends_ms);
        }
    }

    #[test]
    fn a_schedule_survives_its_file() {
        let schedule = generate(1, 5, 60_000, &all()).unwrap();
        let text = serde_json::to_string(&schedule).unwrap();
        assert_eq!(schedule, serde_json::from_str(&text).unwrap());
    }

    #[test]
    fn what_cannot_be_is_said() {
        let error = generate(1, 3, 60_000, &["ring".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("needs 5"), "{error}");
        assert!(generate(1, 3, 60_000, &["x".to_owned()]).is_err());
    }
}

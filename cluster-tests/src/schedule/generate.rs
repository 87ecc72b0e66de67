//! Schedules from a seed.

use super::fault::{Fault, Shape, Trouble, Who};
use super::nemesis::{COMBINED, Nemesis, find, fitting};
use super::{LastAct, Schedule, Step};
use crate::cluster::local::ELECTION_TIMEOUT;
use crate::cluster::weather::Cut;
use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use std::ops::Range;
use std::time::Duration;

/// Before the first fault: a run whose clients never worked proves nothing.
const CALM_MS: u64 = 2000;
/// After the last one at least: liveness is proved here.
const RECOVERY_MS: u64 = 6000;
/// The shortest fault.
const FAULT_MS_MIN: u64 = 1500;
/// Election timeouts that a majority which is left alone has for its first write, and so many more that it
/// is seen to go on: the liveness judge's eight, and some.
const ALONE_TIMEOUTS: u64 = 11;
/// And milliseconds, for processes that have to start.
const ALONE_START_MS: u64 = 3500;

/// How dense a schedule is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Of one fault, where there is room for it.
    pub fault_ms: Range<u64>,
    /// Between two.
    pub pause_ms: Range<u64>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            fault_ms: 3000..8000,
            pause_ms: 1500..4000,
        }
    }
}

/// What a schedule is to be like.
#[derive(Clone, Debug)]
pub struct Brief<'a> {
    pub seed: u64,
    pub nodes: usize,
    /// About so long.
    pub total_ms: u64,
    /// Each at least once.
    pub nemeses: &'a [String],
    /// For a simulation, where combinations hold what only that can have.
    pub simulated: bool,
    pub pace: Pace,
    /// The longest that a member waits for a leader: how long recovery may take.
    pub election_timeout: Duration,
    /// Whether it ends with a [`LastAct`].
    pub last_act: bool,
}

/// A schedule for `nodes` real members, of about `total_ms`, that goes through `nemeses` in an order of
/// the seed's, again and again while there is time, each at least once.
///
/// # Errors
/// A name is not in the catalogue, or needs more members.
pub fn generate(seed: u64, nodes: usize, total_ms: u64, nemeses: &[String]) -> Result<Schedule> {
    Brief::new(seed, nodes, total_ms, nemeses).schedule()
}

impl<'a> Brief<'a> {
    /// For real members, without a last act.
    pub fn new(seed: u64, nodes: usize, total_ms: u64, nemeses: &'a [String]) -> Self {
        Self {
            seed,
            nodes,
            total_ms,
            nemeses,
            simulated: false,
            pace: Pace::default(),
            election_timeout: ELECTION_TIMEOUT,
            last_act: false,
        }
    }

    fn timeouts_ms(&self, count: u64) -> u64 {
        let one = u64::try_from(self.election_timeout.as_millis()).unwrap_or(u64::MAX);
        one.saturating_mul(count)
    }

    /// After the last fault.
    fn recovery_ms(&self) -> u64 {
        RECOVERY_MS.max(self.timeouts_ms(ALONE_TIMEOUTS) + ALONE_START_MS)
    }

    /// Whether there can be a majority without everybody.
    fn has_last_act(&self) -> bool {
        self.last_act && self.nodes >= 3 && !self.nemeses.is_empty()
    }

    /// # Errors
    /// A name is not in the catalogue, or needs more members.
    pub fn schedule(&self) -> Result<Schedule> {
        let mut random = StdRng::seed_from_u64(self.seed);
        for name in self.nemeses.iter().filter(|name| *name != COMBINED) {
            let (nemesis, nodes) = (known(name)?, self.nodes);
            ensure!(
                nodes >= nemesis.nodes_min,
                "{name} needs {} members, here are {nodes}",
                nemesis.nodes_min
            );
        }
        let alone_ms = self.timeouts_ms(ALONE_TIMEOUTS) + ALONE_START_MS;
        let act_ms = if self.has_last_act() { alone_ms } else { 0 };
        let recovery_ms = self.recovery_ms();
        let end = self.total_ms.saturating_sub(recovery_ms + act_ms);
        let steps = self.steps(end, &mut random)?;
        let healed = steps.iter().map(Step::ends_ms).max().unwrap_or(0);
        let last_act = self
            .has_last_act()
            .then(|| self.draw_last_act(healed, alone_ms, &mut random));
        let mut schedule = Schedule {
            seed: self.seed,
            nodes: self.nodes,
            steps,
            last_act,
            ends_ms: 0,
        };
        schedule.ends_ms = self.total_ms.max(schedule.healed_ms() + recovery_ms);
        Ok(schedule)
    }

    /// Up to `end`, or as long as it takes that each has had its turn.
    fn steps(&self, end: u64, random: &mut StdRng) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        let mut at = CALM_MS;
        let mut round: Vec<&String> = Vec::new();
        let mut told = 0;
        while !self.nemeses.is_empty() {
            if round.is_empty() {
                round = self.nemeses.iter().collect();
                round.shuffle(random);
            }
            let Some(name) = round.pop() else { break };
            // A short run has short faults, so that each has its turn.
            let turn = end.saturating_sub(CALM_MS) / self.nemeses.len() as u64;
            let usual = random.random_range(self.pace.fault_ms.clone());
            let lasts = find(name).and_then(|nemesis| nemesis.lasts_ms.clone());
            let length = match lasts {
                Some(lasts) => random
                    .random_range(lasts.clone())
                    .min(turn)
                    .max(lasts.start),
                None => usual.min(turn * 2 / 3).max(FAULT_MS_MIN),
            };
            let again = told >= self.nemeses.len();
            if again && at + length > end {
                break;
            }
            told += 1;
            // Damage may show long after: no second member is damaged while a first one may fall yet.
            if again && name.starts_with("damage") && steps.iter().any(damages) {
                if self.nemeses.iter().all(|name| name.starts_with("damage")) {
                    break;
                }
                continue;
            }
            self.strike(name, at, length, &mut steps, random)?;
            at += length
                + random
                    .random_range(self.pace.pause_ms.clone())
                    .min((turn / 3).max(500));
        }
        Ok(steps)
    }

    /// It comes when all is well for a while, or in the middle of what is left.
    fn draw_last_act(&self, healed_ms: u64, for_ms: u64, random: &mut StdRng) -> LastAct {
        let at_ms = if random.random() {
            healed_ms + random.random_range(500..2000)
        } else {
            healed_ms.saturating_sub(random.random_range(0..1000))
        };
        let partition = |how| Fault::Partition {
            shape: Shape::Rest,
            how,
        };
        let who = Who::Rest;
        let fault = match random.random_range(0..if self.simulated { 6 } else { 4 }) {
            0 => partition(Cut::Drop),
            1 => partition(Cut::Reset),
            2 => Fault::Kill { who },
            3 => Fault::Pause { who },
            4 => Fault::PowerCut { who },
            _ => Fault::Disk {
                who,
                trouble: Trouble::Hang,
            },
        };
        LastAct {
            at_ms,
            for_ms,
            fault,
        }
    }

    fn strike(
        &self,
        name: &str,
        at_ms: u64,
        for_ms: u64,
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
        // Two to four that overlap, and end one by one. Changes of members are left to themselves, and
        // damage, which brings one about: a majority that is lost for ever is no fault to recover from.
        let fit: Vec<&Nemesis> = fitting(self.nodes, self.simulated)
            .filter(|nemesis| !changes_members(nemesis, random))
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
        steps.sort_by_key(|step| step.at_ms);
        Ok(())
    }
}

fn damages(step: &Step) -> bool {
    matches!(step.fault, Fault::Damage { .. })
}

fn known(name: &str) -> Result<&'static Nemesis> {
    find(name).with_context(|| {
        format!(
            "there is no nemesis {name:?}: {}",
            super::nemesis::names().join(", ")
        )
    })
}

fn changes_members(nemesis: &Nemesis, random: &mut StdRng) -> bool {
    let fault = (nemesis.make)(random);
    matches!(fault, Fault::Members { .. } | Fault::Damage { .. })
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
    fn a_simulations_schedule_ends_with_a_majority_alone_and_then_heals() {
        for seed in 0..50 {
            let nemeses = ["combined".to_owned(), "disk-hang".to_owned()];
            let brief = Brief {
                simulated: true,
                last_act: true,
                election_timeout: Duration::from_millis(1000),
                ..Brief::new(seed, 3, 60_000, &nemeses)
            };
            let schedule = brief.schedule().unwrap();
            let act = schedule.last_act.clone().unwrap();
            let steps = &schedule.steps;
            assert!(steps.is_sorted_by_key(|step| step.at_ms), "{schedule}");
            assert!(steps.iter().all(|step| step.at_ms < act.at_ms));
            // Eight timeouts and the start of a process, which is what the judge grants.
            assert!(act.for_ms > 11_000, "{act:?}");
            assert!(schedule.healed_ms() + 11_000 <= schedule.ends_ms);
            let hangs = steps
                .iter()
                .find(|step| step.nemesis == "disk-hang")
                .unwrap();
            assert!(hangs.for_ms >= 10_000);
        }
    }

    #[test]
    fn nobody_is_damaged_while_another_one_may_fall_by_it() {
        let nemeses = ["damage-log".to_owned(), "kill-one".to_owned()];
        let schedule = generate(5, 3, 300_000, &nemeses).unwrap();
        assert_eq!(
            schedule.steps.iter().filter(|step| damages(step)).count(),
            1
        );
        let alone = generate(5, 3, 300_000, &nemeses[..1]).unwrap();
        assert_eq!(alone.steps.len(), 1);
        let kinds = ["damage-log".to_owned(), "damage-state".to_owned()];
        assert_eq!(generate(5, 3, 300_000, &kinds).unwrap().steps.len(), 2);
    }

    #[test]
    fn a_schedule_survives_its_file() {
        let schedule = generate(1, 5, 60_000, &all()).unwrap();
        let text = serde_json::to_string(&schedule).unwrap();
        assert_eq!(schedule, serde_json::from_str(&text).unwrap());
        assert!(
            !text.contains("last-act"),
            "what is not there is not written"
        );
        let last_act = Some(LastAct {
            at_ms: 200_000,
            for_ms: 3000,
            fault: Fault::Pause { who: Who::Rest },
        });
        let schedule = Schedule {
            last_act,
            ..schedule
        };
        assert_eq!(schedule.healed_ms(), 203_000);
        let text = serde_json::to_string(&schedule).unwrap();
        assert_eq!(schedule, serde_json::from_str(&text).unwrap());
    }

    #[test]
    fn a_schedule_of_before_the_last_act_is_read() {
        let text = r#"{"seed":1,"nodes":3,"ends-ms":9000,"steps":[{"at-ms":1,"for-ms":2,
            "nemesis":"kill-one","fault":{"kind":"kill","who":"one"}}]}"#;
        let schedule: Schedule = serde_json::from_str(text).unwrap();
        assert_eq!((schedule.last_act, schedule.steps.len()), (None, 1));
    }

    #[test]
    fn what_cannot_be_is_said() {
        let error = generate(1, 3, 60_000, &["ring".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("needs 5"), "{error}");
        assert!(generate(1, 3, 60_000, &["x".to_owned()]).is_err());
    }
}

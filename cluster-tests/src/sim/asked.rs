//! What a run is asked for beside its seed, in the same words for whoever sweeps and for the simulator.

use super::swarm::{Wishes, draw};
use super::world::Setup;
use crate::run::plan::Plan;
use crate::schedule::Schedule;
use crate::workload::Workload;
use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};

/// What is not drawn from the seed but given.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Asked {
    /// Members (default: drawn; 3, 5 or 7).
    #[arg(long)]
    pub nodes: Option<usize>,
    /// Only these (default: drawn).
    #[arg(long, value_enum, value_delimiter = ',')]
    pub workload: Vec<Workload>,
    /// Only these (default: drawn).
    #[arg(long, value_delimiter = ',')]
    pub nemesis: Vec<String>,
    /// Operations a second, all clients together (default: drawn).
    #[arg(long)]
    pub rate: Option<u32>,
    /// A schedule that was recorded, here or on real processes, instead of one from the seed.
    #[arg(long, conflicts_with = "nemesis")]
    pub schedule: Option<PathBuf>,
}

impl Asked {
    /// As they are typed: `--nodes 5 --workload bank,lock`.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut add = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
        if let Some(nodes) = self.nodes {
            add("--nodes", nodes.to_string());
        }
        if !self.workload.is_empty() {
            let names: Vec<&str> = self.workload.iter().map(|one| one.name()).collect();
            add("--workload", names.join(","));
        }
        if !self.nemesis.is_empty() {
            add("--nemesis", self.nemesis.join(","));
        }
        if let Some(rate) = self.rate {
            add("--rate", rate.to_string());
        }
        if let Some(file) = &self.schedule {
            add("--schedule", file.display().to_string());
        }
        words
    }

    /// The recorded schedule, if one was asked for.
    ///
    /// # Errors
    /// It cannot be read, or is for another number of members than was asked for.
    pub fn recorded(&self) -> Result<Option<Schedule>> {
        let Some(file) = &self.schedule else {
            return Ok(None);
        };
        let text =
            std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let schedule: Schedule = serde_json::from_str(&text)
            .with_context(|| format!("{} is no schedule", file.display()))?;
        ensure!(
            self.nodes.is_none_or(|nodes| nodes == schedule.nodes),
            "{} is for {} members",
            file.display(),
            schedule.nodes
        );
        Ok(Some(schedule))
    }

    /// What the seed and the words mean together. All but what was asked for is as the seed has it, so
    /// that a schedule that was drawn and then comes from a file makes the same run. Real files of
    /// members lie below `root`.
    ///
    /// # Errors
    /// It cannot be had together, or there is no such schedule.
    pub fn plan(&self, seed: u64, seconds: u64, root: &Path) -> Result<(Plan, Setup)> {
        let recorded = self.recorded()?;
        let wishes = Wishes {
            nodes: self.nodes.or(recorded.as_ref().map(|it| it.nodes)),
            workloads: self.workload.clone(),
            nemeses: self.nemesis.clone(),
            rate: self.rate,
        };
        let (mut plan, setup) = draw(seed, seconds, &wishes, root)?;
        if let Some(schedule) = recorded {
            plan.nemeses = schedule.names();
            plan.schedule = schedule;
            plan.schedule_file.clone_from(&self.schedule);
        }
        Ok((plan, setup))
    }
}

/// One run: a seed, how long, and what is not drawn from the seed, as it is typed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    pub seed: u64,
    pub seconds: u64,
    pub wishes: Vec<String>,
}

impl Run {
    /// What to type to see it again.
    pub fn again(&self, canary: Option<&str>) -> String {
        let mut words = vec![format!(
            "scripts/simulate --seed {} --time {}s",
            self.seed, self.seconds
        )];
        words.extend(self.wishes.iter().cloned());
        words.extend(canary.map(|canary| format!("--canary {canary}")));
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        asked: Asked,
    }

    #[test]
    fn words_say_what_was_asked_for() {
        let words = "--nodes 5 --workload bank,lock --nemesis bridge,kill-all --rate 70";
        let line = |text: &str| Line::parse_from(format!("x {text}").split(' '));
        assert_eq!(line(words).asked.words().join(" "), words);
        let words = "--schedule target/a.json";
        assert_eq!(line(words).asked.words().join(" "), words);
        let run = Run {
            seed: 7,
            seconds: 30,
            wishes: line(words).asked.words(),
        };
        assert_eq!(
            run.again(Some("stale-read")),
            "scripts/simulate --seed 7 --time 30s --schedule target/a.json --canary stale-read"
        );
    }

    #[test]
    fn a_recorded_schedule_changes_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (drawn, setup) = Asked::default().plan(3, 30, dir.path()).unwrap();
        let file = dir.path().join("schedule.json");
        std::fs::write(&file, serde_json::to_string(&drawn.schedule).unwrap()).unwrap();
        let asked = Asked {
            schedule: Some(file),
            ..Asked::default()
        };
        let (again, same) = asked.plan(3, 30, dir.path()).unwrap();
        assert_eq!(again.schedule, drawn.schedule);
        assert_eq!(again.workloads, drawn.workloads);
        assert_eq!((again.rate, again.nodes), (drawn.rate, drawn.nodes));
        assert_eq!(format!("{setup:?}"), format!("{same:?}"));
        let asked = Asked {
            nodes: Some(drawn.nodes + 1),
            ..asked
        };
        assert!(asked.plan(3, 30, dir.path()).is_err());
    }
}

//! The command line of a run.

use super::plan::{Kind, Plan};
use super::verdict;
use crate::cluster::namespace;
use crate::history::recording::Recording;
use crate::schedule::Schedule;
use crate::schedule::generate::Brief;
use crate::schedule::nemesis::{self, COMBINED};
use crate::workload::Workload;
use anyhow::{Context as _, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What can be asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// quorate, etcd (the control group), or endpoints:host:port,... of a cluster that runs.
    #[arg(long, default_value = "quorate")]
    pub cluster: Kind,
    /// Members: 3 or 5.
    #[arg(long, default_value_t = 3)]
    pub nodes: usize,
    /// Only these (default: all).
    #[arg(long, value_enum, value_delimiter = ',')]
    pub workload: Vec<Workload>,
    /// Only these; all: every one that this cluster can have; none.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "isolate-leader,kill-leader,bridge,pause-leader,combined"
    )]
    pub nemesis: Vec<String>,
    /// How long, recovery included: 60s, 5m.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub time: Duration,
    /// Operations a second, all clients together.
    #[arg(long, default_value_t = 400)]
    pub rate: u32,
    /// Repeats a run (default: a random one).
    #[arg(long)]
    pub seed: Option<u64>,
    /// A schedule that was recorded, instead of one from the seed.
    #[arg(long)]
    pub schedule: Option<PathBuf>,
    /// Where recording and report go (default: target/partition/CLUSTER-SEED).
    #[arg(long)]
    pub report: Option<PathBuf>,
    /// The other run of a comparison (default: the other program's run of the same seed).
    #[arg(long)]
    pub control: Option<PathBuf>,
    /// A planted bug: runs quorate-canaries.
    #[arg(long)]
    pub canary: Option<String>,
    /// Cut packets in a network namespace, instead of connections in proxies.
    #[arg(long)]
    pub packets: bool,
}

/// "60s", "5m", "90".
///
/// # Errors
/// It is no duration.
pub fn duration(text: &str) -> Result<Duration> {
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let number: u64 = number
        .parse()
        .with_context(|| format!("{text:?} is no duration: 60s, 5m"))?;
    match unit {
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        _ => bail!("{text:?} is no duration: 60s, 5m"),
    }
}

/// Runs what was asked for; true if it passed.
///
/// # Errors
/// The arguments make no run, or the cluster does not come up.
pub async fn run(arguments: &Arguments) -> Result<bool> {
    enter(arguments)?;
    let plan = plan(arguments)?;
    let dir = arguments
        .report
        .clone()
        .unwrap_or_else(|| verdict::default_dir(&plan));
    println!(
        "{} of {}, seed {}, {} workloads, {} operations a second",
        plan.cluster,
        plan.nodes,
        plan.seed,
        plan.workloads.len(),
        plan.rate
    );
    println!("{}", plan.schedule);
    let recording = Box::pin(super::run(&plan)).await?;
    recording.save(&dir)?;
    let control = arguments.control.clone().or_else(|| control_of(&plan));
    let judged =
        tokio::task::block_in_place(|| verdict::conclude(&recording, &dir, control.as_deref()))?;
    verdict::print(&recording, &judged);
    let passed = judged.passed(&recording);
    if passed {
        verdict::erase_data(&plan)?;
    } else {
        println!("data and logs of the members: {}", plan.data.display());
    }
    Ok(passed)
}

/// Judges a recording again; true if it passed.
///
/// # Errors
/// There is none in the directory.
pub fn check(dir: &Path, control: Option<&Path>) -> Result<bool> {
    let recording = Recording::load(dir)?;
    let judged = verdict::conclude(&recording, dir, control)?;
    verdict::print(&recording, &judged);
    Ok(judged.passed(&recording))
}

/// The same seed's run of the other program, if there is one.
fn control_of(plan: &Plan) -> Option<PathBuf> {
    let other = match plan.cluster {
        Kind::Quorate => Kind::Etcd,
        Kind::Etcd => Kind::Quorate,
        Kind::Endpoints(_) | Kind::Simulation => return None,
    };
    let dir = verdict::default_dir(&Plan {
        cluster: other,
        ..plan.clone()
    });
    dir.join("about.json").is_file().then_some(dir)
}

/// Where the run is to be: packets are filtered in a network namespace of our own.
///
/// # Errors
/// There may be none.
pub fn enter(arguments: &Arguments) -> Result<()> {
    if arguments.packets {
        namespace::enter()?;
    }
    Ok(())
}

/// What the arguments mean.
///
/// # Errors
/// They make no run.
pub fn plan(arguments: &Arguments) -> Result<Plan> {
    let seed = arguments
        .seed
        .unwrap_or_else(|| rand::random_range(0..1_000_000));
    let nodes = match &arguments.cluster {
        Kind::Endpoints(endpoints) => endpoints.nodes().count(),
        _ => arguments.nodes,
    };
    ensure!(
        (1..=9).contains(&nodes),
        "clusters have 1 to 9 members, not {nodes}"
    );
    let workloads = if arguments.workload.is_empty() {
        Workload::ALL.to_vec()
    } else {
        arguments.workload.clone()
    };
    let nemeses = nemeses(&arguments.nemesis, nodes)?;
    let seconds = arguments.time.as_secs();
    let schedule = match &arguments.schedule {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("read {}", file.display()))?;
            let schedule: Schedule = serde_json::from_str(&text)
                .with_context(|| format!("{} is no schedule", file.display()))?;
            ensure!(
                schedule.nodes == nodes,
                "{} is for {} members, here are {nodes}",
                file.display(),
                schedule.nodes
            );
            schedule
        }
        None => {
            // Of somebody else's members none can be kept away.
            let last_act = !matches!(arguments.cluster, Kind::Endpoints(_));
            let brief = Brief::new(seed, nodes, seconds * 1000, &nemeses);
            Brief { last_act, ..brief }.schedule()?
        }
    };
    let data =
        PathBuf::from("target/partition/data").join(format!("{}-{seed}", std::process::id()));
    Ok(Plan {
        cluster: arguments.cluster.clone(),
        nodes,
        workloads,
        nemeses: arguments.nemesis.clone(),
        schedule,
        schedule_file: arguments.schedule.clone(),
        seconds,
        rate: arguments.rate,
        seed,
        packets: arguments.packets,
        canary: arguments.canary.clone(),
        data,
        started: now(),
        again: None,
    })
}

/// Names, with `all` and `none` in full.
fn nemeses(names: &[String], nodes: usize) -> Result<Vec<String>> {
    match names {
        [one] if one == "none" => Ok(Vec::new()),
        [one] if one == "all" => {
            let names = nemesis::fitting(nodes, false).map(|nemesis| nemesis.name.to_owned());
            Ok(names.chain([COMBINED.to_owned()]).collect())
        }
        names => {
            for name in names {
                ensure!(
                    nemesis::names().contains(&name.as_str()),
                    "there is no nemesis {name:?}: {}",
                    nemesis::names().join(", ")
                );
            }
            Ok(names.to_vec())
        }
    }
}

/// The time of day, UTC, as RFC 3339 has it.
fn now() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's civil_from_days, for days after 1970.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("60s").unwrap().as_secs(), 60);
        assert_eq!(duration("5m").unwrap().as_secs(), 300);
        assert_eq!(duration("7").unwrap().as_secs(), 7);
        assert!(duration("x").is_err() && duration("3h").is_err() && duration("").is_err());
    }
}

//! The same load on Quorate and on etcd, in turn, on this machine: what docs/performance.md is made of.
//!
//! A [`scenario`] brings up a system, puts it under a load and answers *figures*. A round runs every scenario
//! on every system, one right after the other, and the systems take turns in going first; of each figure the
//! median over the rounds counts, and what is compared is ratios. CPU time for each operation is the figure to
//! trust on a small or busy machine: latencies there are queueing for a core.
//!
//! | module | what it is |
//! |---|---|
//! | [`scenario`] | what is measured, one kind of load a file |
//! | [`stand`] | starting the servers, and what they cost: CPU times, memory, fsyncs |
//! | [`connection`] | the client's one HTTP/2 connection, with nothing in between |
//! | [`load`], [`open`] | callers in a closed loop, and at a fixed rate |
//! | [`empty`] | the third system: a server that answers at once, the ceiling |
//! | [`figures`], [`goals`] | what was found, and what is to be reached |
//! | [`report`], [`plot`] | the table and the curves |

pub mod connection;
pub mod empty;
pub mod figures;
pub mod goals;
pub mod load;
pub mod open;
pub mod plot;
pub mod report;
pub mod scenario;
pub mod stand;

use anyhow::{Context as _, Result, ensure};
use figures::Collection;
use scenario::{EtcdMost, Scenario};
use stand::Stand;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum System {
    Quorate,
    Etcd,
    /// No store at all: [`empty`].
    Empty,
}

impl fmt::Display for System {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Quorate => "quorate",
            Self::Etcd => "etcd",
            Self::Empty => "empty handler",
        })
    }
}

/// What a run is told.
#[derive(Clone, Debug)]
pub struct Plan {
    pub rounds: usize,
    /// Of each load, after its warm-up.
    pub duration: Duration,
    pub quick: bool,
    pub scenarios: Vec<Scenario>,
    pub systems: Vec<System>,
    /// The etcd to compare with, if not the one on the path.
    pub peer_binary: Option<PathBuf>,
    /// Of the closed loops only those, by `call:clients`; none: all.
    pub loads: Vec<String>,
    /// The report goes here, data meanwhile too.
    pub dir: PathBuf,
}

impl Plan {
    fn stand(&self, system: System, etcd_most: EtcdMost) -> Stand {
        Stand {
            system,
            binary: match system {
                System::Etcd => self.peer_binary.clone(),
                System::Quorate | System::Empty => None,
            },
            duration: self.duration,
            quick: self.quick,
            loads: self.loads.clone(),
            etcd_most,
            dir: self.dir.clone(),
        }
    }
}

/// Runs all rounds, says each figure when it is found, and writes table and curves.
///
/// # Errors
/// A system did not come up, or failed under a load; what else there is was measured.
pub async fn run(plan: &Plan) -> Result<()> {
    let begun = Instant::now();
    std::fs::create_dir_all(&plan.dir).context("make the directory")?;
    let mut all = Collection::default();
    let mut etcd_most = EtcdMost::default();
    if plan.scenarios.contains(&Scenario::Latency) && plan.systems.contains(&System::Etcd) {
        println!("[   0 s] how much etcd carries");
        etcd_most = EtcdMost::measure(&plan.stand(System::Etcd, etcd_most)).await?;
        println!("    {etcd_most}");
    }
    for round in 0..plan.rounds {
        for &scenario in &plan.scenarios {
            if round > 0 && scenario.is_told_once() {
                continue;
            }
            let mut systems = plan.systems.clone();
            systems.retain(|system| scenario.applies_to(*system));
            if round % 2 == 1 {
                systems.reverse();
            }
            for system in systems {
                println!(
                    "[{:>4} s] round {} of {}: {scenario}: {system}",
                    begun.elapsed().as_secs(),
                    round + 1,
                    plan.rounds
                );
                // An hour's run does not end with nothing because one part of it failed.
                match Box::pin(scenario.measure(&plan.stand(system, etcd_most))).await {
                    Ok(found) => {
                        for figure in found {
                            println!("    {figure}");
                            all.add(system, figure);
                        }
                    }
                    Err(error) => {
                        println!("    FAILED: {error:#}");
                        all.fail(format!("{scenario} of {system}: {error:#}"));
                    }
                }
            }
        }
        // A run that is broken off leaves what its whole rounds found.
        report::write(plan, &all)?;
    }
    println!("\n{}", report::markdown(plan, &all));
    println!("Written to {}.", plan.dir.join("bench.md").display());
    ensure!(all.failures().is_empty(), "not everything was measured");
    Ok(())
}

//! The same load on Quorate and on etcd, in turn, on this machine.
//!
//! A *cell* is an operation at a number of clients. A round runs every cell on a fresh cluster of
//! each system; the systems take turns in going first, and medians over the rounds are reported.
//! CPU time per operation is the figure to trust on a small or busy machine: latencies there are
//! queueing for a core.
//!
//! [`load`] is the closed loop, [`sample`] reads CPU times and fsync counts around it, [`report`]
//! makes the table. [`fanout`] measures watchers instead.

pub mod fanout;
pub mod load;
pub mod report;
pub mod sample;

use crate::cluster::layout::Layout;
use crate::cluster::local::{Cluster, PATIENCE, Spec};
use crate::cluster::program::Program;
use anyhow::{Context, Result};
use load::{Operation, Target};
use report::Report;
use sample::Sample;
use std::path::PathBuf;
use std::time::Duration;

/// What a run is told.
#[derive(Clone, Debug)]
pub struct Plan {
    pub rounds: usize,
    /// Of each cell, after the warm-up.
    pub duration: Duration,
    pub clients: Vec<usize>,
    pub systems: Vec<Program>,
    pub target: Target,
    /// The report goes here, data meanwhile too.
    pub dir: PathBuf,
}

/// An operation at a number of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    pub operation: Operation,
    pub clients: usize,
}

impl Cell {
    /// Clients share connections as in etcd's own benchmarks.
    pub fn connections(self) -> usize {
        match self.clients {
            0..8 => 1,
            8..128 => 8,
            _ => 16,
        }
    }
}

/// Runs all rounds, prints the table and writes it as Markdown.
///
/// # Errors
/// A cluster does not come up, or fails under the load.
pub async fn run(plan: &Plan) -> Result<()> {
    let cells: Vec<Cell> = [Operation::Put, Operation::Get]
        .into_iter()
        .flat_map(|operation| {
            plan.clients
                .iter()
                .map(move |&clients| Cell { operation, clients })
        })
        .collect();
    let mut report = Report::default();
    for round in 0..plan.rounds {
        let mut systems = plan.systems.clone();
        if round % 2 == 1 {
            systems.reverse();
        }
        for system in systems {
            println!("round {} of {}: {system}", round + 1, plan.rounds);
            let samples = Box::pin(one_system(plan, system, &cells)).await;
            for (cell, sample) in samples.with_context(|| format!("bench {system}"))? {
                println!("  {cell}: {sample}");
                report.add(system, cell, sample);
            }
        }
    }
    let text = report.markdown(plan);
    println!("\n{text}");
    let path = plan.dir.join("bench.md");
    std::fs::write(&path, text).context("write the report")?;
    println!("Written to {}.", path.display());
    Ok(())
}

async fn one_system(plan: &Plan, system: Program, cells: &[Cell]) -> Result<Vec<(Cell, Sample)>> {
    let dir = plan.dir.join("data");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).context("erase old data")?;
    }
    let spec = Spec::new(system, 3, Layout::claim()?, dir.clone());
    let mut cluster = Cluster::start(spec).await?;
    let all: Vec<usize> = cluster.nodes().collect();
    cluster.wait_serving(&all, PATIENCE).await?;
    let leader = cluster.wait_leader(&all, PATIENCE).await?;
    // The leader first, so that a single connection means the same on both systems.
    let mut urls = vec![cluster.client_url(leader)];
    if plan.target == Target::Spread {
        let others = all.iter().filter(|node| **node != leader);
        urls.extend(others.map(|node| cluster.client_url(*node)));
    }
    load::fill(&urls).await?;
    let mut samples = Vec::new();
    for &cell in cells {
        samples.push((
            cell,
            sample::measure(&mut cluster, &urls, cell, plan.duration).await?,
        ));
    }
    drop(cluster);
    std::fs::remove_dir_all(&dir).context("erase the data")?;
    Ok(samples)
}

//! One seed in words: what was simulated, and what came of it.

use super::summary::Summary;
use super::world::Setup;
use crate::history::recording::Recording;
use crate::judge::finding::Finding;
use crate::report;
use crate::run::plan::Plan;
use std::path::Path;

/// What is going to be simulated.
pub fn plan(plan: &Plan, setup: &Setup) -> Vec<String> {
    let workloads: Vec<&str> = plan.workloads.iter().map(|one| one.name()).collect();
    let mut lines = vec![
        format!(
            "seed {}: {} members, {} operations a second of {}",
            plan.seed,
            plan.nodes,
            plan.rate,
            workloads.join(", ")
        ),
        format!(
            "a way takes {}, a disk {} and up to {} more; snapshots every {} entries",
            range(setup.latency_us),
            milliseconds(setup.disk_us.0),
            milliseconds(setup.disk_us.1),
            setup.snapshot_count
        ),
    ];
    lines.extend(plan.schedule.to_string().lines().map(str::to_owned));
    lines
}

/// What became of it: the verdict, what happened and what never did, the trace, what it cost.
pub fn outcome(
    recording: &Recording,
    findings: &[Finding],
    summary: &Summary,
    report: Option<&Path>,
) -> Vec<String> {
    let mut lines = report::verdict_lines(recording, findings);
    lines.extend(report::coverage_lines(recording));
    lines.push(format!(
        "  trace {} of {} events; {} s in {} s of a processor: {:.1} cluster-seconds a CPU-second",
        summary.trace,
        summary.events,
        tenths(summary.simulated_ms),
        tenths(summary.cpu_ms),
        summary.speed()
    ));
    lines.push(format!("again:   {}", recording.about.command));
    if let Some(report) = report {
        lines.push(format!("report:  {}", report.display()));
    }
    lines
}

fn range((least, most): (u64, u64)) -> String {
    format!("{} to {}", milliseconds(least), milliseconds(most))
}

/// Of microseconds: 0.25 ms
fn milliseconds(us: u64) -> String {
    format!("{}.{:02} ms", us / 1000, us % 1000 / 10)
}

/// Of milliseconds: 30.2
fn tenths(ms: u64) -> String {
    format!("{}.{}", ms / 1000, ms % 1000 / 100)
}

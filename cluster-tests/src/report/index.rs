//! Many runs on one page: the matrix of faults by workloads and by judges.
//!
//! A cell that no run reached says "not run"; it does not pass.

use super::page::{HTML_NAME, escaped, fill};
use super::summary::Summary;
use super::verdict::{Overall, overall};
use super::words::{in_seconds, roughly};
use crate::judge::finding::{Finding, Verdict};
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

pub const INDEX_NAME: &str = "index.html";

const TEMPLATE: &str = include_str!("assets/index.html");
const STYLE: &str = concat!(
    include_str!("assets/base.css"),
    include_str!("assets/index.css")
);

/// A run of the matrix. `report` is its directory, relative to the index's; links point there.
#[derive(Clone, Debug, Default)]
pub struct IndexRun {
    pub name: String,
    pub report: PathBuf,
    pub summary: Summary,
    pub findings: Vec<Finding>,
}

/// What was to be done; what is missing from the runs is "not run".
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// (cluster, nodes, its nemeses): one matrix each.
    pub matrices: Vec<(String, usize, Vec<String>)>,
    pub workloads: Vec<String>,
    pub judges: Vec<String>,
    /// Repeats all of it.
    pub command: String,
}

/// A cell, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    NotApplicable,
    Passed,
    /// Failed, as this server is known to.
    Known,
    NotRun,
    Undecided,
    Failed,
}

impl Cell {
    pub fn word(self) -> &'static str {
        match self {
            Self::NotApplicable => "–",
            Self::Passed => "passed",
            Self::Known => "known fault",
            Self::NotRun => "not run",
            Self::Undecided => "undecided",
            Self::Failed => "failed",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::NotApplicable => "na",
            Self::Passed => "passed",
            Self::Known => "undecided",
            Self::NotRun => "not-run",
            Self::Undecided => "undecided",
            Self::Failed => "failed",
        }
    }
}

/// Whether `nemesis` was done in `run`.
fn struck(run: &IndexRun, nemesis: &str) -> bool {
    run.summary.struck().any(|fault| fault.nemesis == nemesis)
}

/// The worst of the runs that reached it, with the first of those.
fn worst<'a>(runs: impl Iterator<Item = (Cell, &'a IndexRun)>) -> (Cell, Option<&'a IndexRun>) {
    let mut worst: (Cell, Option<&IndexRun>) = (Cell::NotRun, None);
    for (cell, run) in runs {
        if worst.1.is_none() || cell > worst.0 {
            worst = (cell, Some(run));
        }
    }
    worst
}

/// Of a fault and a workload: the verdict of the runs in which both were at work.
pub fn of_workload<'a>(
    runs: &[&'a IndexRun],
    nemesis: &str,
    workload: &str,
) -> (Cell, Option<&'a IndexRun>) {
    let reached = runs.iter().filter(|run| {
        struck(run, nemesis) && run.summary.workloads.iter().any(|name| name == workload)
    });
    worst(reached.map(|run| {
        let cell = match overall(&run.summary, &run.findings) {
            Overall::Passed => Cell::Passed,
            Overall::Failed => Cell::Failed,
            Overall::Undecided | Overall::Vacuous | Overall::Troubled => Cell::Undecided,
        };
        (cell, *run)
    }))
}

/// Of a fault and a judge: what the judge said of the runs in which the fault was done.
pub fn of_judge<'a>(
    runs: &[&'a IndexRun],
    nemesis: &str,
    judge: &str,
) -> (Cell, Option<&'a IndexRun>) {
    let reached = runs.iter().filter(|run| struck(run, nemesis));
    worst(reached.filter_map(|run| {
        let finding = run.findings.iter().find(|finding| finding.judge == judge)?;
        let cell = match finding.verdict {
            Verdict::Passed => Cell::Passed,
            Verdict::NotApplicable => Cell::NotApplicable,
            Verdict::Known => Cell::Known,
            Verdict::Unknown => Cell::Undecided,
            Verdict::Failed => Cell::Failed,
        };
        Some((cell, *run))
    }))
}

/// Writes `index.html` to `dir` and answers with its path.
///
/// # Errors
/// The disk's.
pub fn index(dir: &Path, plan: &Plan, runs: &[IndexRun]) -> Result<PathBuf> {
    let page = render(plan, runs)?;
    let path = dir.join(INDEX_NAME);
    std::fs::write(&path, page).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

fn render(plan: &Plan, runs: &[IndexRun]) -> Result<String> {
    let mut body = String::new();
    for (cluster, nodes, nemeses) in &plan.matrices {
        let of_it: Vec<&IndexRun> = runs
            .iter()
            .filter(|run| run.summary.cluster == *cluster && run.summary.nodes == *nodes)
            .collect();
        write!(
            body,
            "<section><h2>{}, {nodes} members</h2>",
            escaped(cluster)
        )?;
        let by_workload = |nemesis: &str, name: &str| of_workload(&of_it, nemesis, name);
        table(
            &mut body,
            "Fault by workload",
            nemeses,
            &plan.workloads,
            by_workload,
        )?;
        let by_judge = |nemesis: &str, name: &str| of_judge(&of_it, nemesis, name);
        table(&mut body, "Fault by judge", nemeses, &plan.judges, by_judge)?;
        body.push_str("</section>");
    }
    all_runs(&mut body, runs)?;
    let (passed, total) = tally(plan, runs);
    let sentence = sentence(runs, passed, total);
    let command = format!(
        "<pre class=\"command\"><code>{}</code></pre>",
        escaped(&plan.command)
    );
    Ok(fill(
        TEMPLATE,
        &[
            ("title", "The matrix"),
            ("style", STYLE),
            ("sentence", &escaped(&sentence)),
            ("class", if passed == total { "passed" } else { "failed" }),
            ("command", &command),
            ("body", &body),
        ],
    ))
}

/// (cells of faults by workloads that passed, all of them).
pub fn tally(plan: &Plan, runs: &[IndexRun]) -> (usize, usize) {
    let (mut passed, mut total) = (0, 0);
    for (cluster, nodes, nemeses) in &plan.matrices {
        let of_it: Vec<&IndexRun> = runs
            .iter()
            .filter(|run| run.summary.cluster == *cluster && run.summary.nodes == *nodes)
            .collect();
        for nemesis in nemeses {
            for workload in &plan.workloads {
                total += 1;
                let (cell, _) = of_workload(&of_it, nemesis, workload);
                passed += usize::from(cell == Cell::Passed);
            }
        }
    }
    (passed, total)
}

fn sentence(runs: &[IndexRun], passed: usize, total: usize) -> String {
    let failed = runs
        .iter()
        .filter(|run| overall(&run.summary, &run.findings) == Overall::Failed);
    let failed = failed.count();
    let asked: u64 = runs.iter().map(|run| run.summary.asked_for).sum();
    let answers: u64 = runs.iter().map(|run| run.summary.counts.ok).sum();
    let answers = super::words::counted(answers, "answer", "answers");
    let faults: usize = runs.iter().map(|run| run.summary.struck().count()).sum();
    let scene = format!("{} faults in {}, {answers}", faults, roughly(asked));
    if failed > 0 {
        format!("{failed} of {} runs broke a promise: {scene}.", runs.len())
    } else if passed == total {
        format!("Every promise held under every fault: {scene}.")
    } else {
        format!(
            "Nothing wrong was seen, but {} of {total} cells were not run or not decided: {scene}.",
            total - passed
        )
    }
}

fn table<'a>(
    body: &mut String,
    caption: &str,
    rows: &[String],
    columns: &[String],
    cell: impl Fn(&str, &str) -> (Cell, Option<&'a IndexRun>),
) -> Result<()> {
    write!(
        body,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\"><table \
         class=\"matrix\"><caption>{caption}</caption><thead><tr><th></th>"
    )?;
    for column in columns {
        write!(
            body,
            "<th scope=\"col\"><span>{}</span></th>",
            escaped(column)
        )?;
    }
    body.push_str("</tr></thead><tbody>");
    for row in rows {
        write!(body, "<tr><th scope=\"row\">{}</th>", escaped(row))?;
        for column in columns {
            let (cell, run) = cell(row, column);
            let word = cell.word();
            write!(body, "<td class=\"{}\">", cell.class())?;
            match run {
                Some(run) => write!(body, "<a href=\"{}\">{word}</a>", link(run))?,
                None => body.push_str(word),
            }
            body.push_str("</td>");
        }
        body.push_str("</tr>");
    }
    body.push_str("</tbody></table></div>");
    Ok(())
}

fn link(run: &IndexRun) -> String {
    escaped(&run.report.join(HTML_NAME).to_string_lossy())
}

fn all_runs(body: &mut String, runs: &[IndexRun]) -> Result<()> {
    body.push_str(
        "<section><h2>Runs</h2><div class=\"scroll\" tabindex=\"0\" role=\"region\" \
         aria-label=\"Runs\"><table class=\"runs\"><thead><tr><th>Run</th><th>Verdict</th>\
         <th>Seed</th><th>Length</th><th>Faults</th><th>Answers</th><th>p99</th>\
         <th>Seconds that served</th><th>Slowest recovery</th></tr></thead><tbody>",
    );
    for run in runs {
        let (class, word) = match overall(&run.summary, &run.findings) {
            Overall::Passed => ("passed", "passed"),
            Overall::Failed => ("failed", "failed"),
            Overall::Undecided => ("undecided", "undecided"),
            Overall::Vacuous => ("undecided", "proves too little"),
            Overall::Troubled => ("undecided", "trouble"),
        };
        let summary = &run.summary;
        let slowest = match summary.slowest_recovery() {
            Some((fault, Some(us))) => format!("{} ({})", in_seconds(us), escaped(&fault.nemesis)),
            Some((fault, None)) => format!("none seen ({})", escaped(&fault.nemesis)),
            None => "–".to_owned(),
        };
        write!(
            body,
            "<tr><th scope=\"row\"><a href=\"{}\">{}</a></th><td class=\"{class}\">{word}</td>\
             <td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{} of {}</td><td>{slowest}</td></tr>",
            link(run),
            escaped(&run.name),
            summary.seed,
            roughly(summary.asked_for),
            summary.struck().count(),
            super::words::grouped(summary.counts.ok),
            in_seconds(summary.latency.p99),
            summary.availability.served,
            summary.availability.of,
        )?;
    }
    body.push_str("</tbody></table></div></section>");
    Ok(())
}

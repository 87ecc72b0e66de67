//! Every fault that applies, one run each, all workloads together; a matrix of faults and properties.
//!
//! A cell that was not reached within the budget says so, and does not pass.

use super::command::{Arguments, enter, plan};
use super::plan::Plan;
use super::verdict::{Judged, conclude, erase_data};
use crate::judge::finding::{Finding, Verdict};
use crate::report;
use crate::schedule::generate::generate;
use crate::schedule::nemesis::{COMBINED, fitting};
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Of one run, schedule and recovery: shorter proves little, longer little more.
const SECONDS: std::ops::RangeInclusive<u64> = 14..=40;
/// What a run takes beside its schedule: the start, the end, the judges.
const OVERHEAD: Duration = Duration::from_secs(5);

/// The note of what Ctrl-C left out.
const INTERRUPTED: &str = "interrupted";

/// A property and the judges that hold it, by the beginning of their names.
const COLUMNS: &[(&str, &[&str])] = &[
    ("register", &["linearizable"]),
    ("order", &["revisions", "real-time", "exactly-once"]),
    ("append", &["append"]),
    ("bank", &["bank"]),
    ("set", &["set"]),
    ("watch", &["watch"]),
    ("lease", &["lease"]),
    ("lock", &["lock"]),
    ("compact", &["compaction"]),
    ("stale", &["serializable"]),
    ("durable", &["durability", "same-state", "end-state"]),
    ("raft", &["raft"]),
    ("alive", &["liveness"]),
    ("proved", &["coverage"]),
];

/// What became of one property under one fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cell {
    Passed,
    Failed,
    /// Over the judge's budget.
    Unknown,
    /// Nothing to judge.
    NotJudged,
    /// It failed as this server is known to.
    Known,
    /// Over the matrix's budget.
    NotRun,
    /// This cluster cannot have this fault.
    Impossible,
}

impl Cell {
    fn word(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Failed => "FAILED",
            Self::Known => "known",
            Self::Unknown => "UNKNOWN",
            Self::NotJudged => "-",
            Self::NotRun => "not run",
            Self::Impossible => "n/a",
        }
    }

    fn of(findings: &[Finding], judges: &[&str]) -> Self {
        let worst = findings
            .iter()
            .filter(|finding| judges.iter().any(|judge| finding.judge.starts_with(judge)))
            .map(|finding| finding.verdict)
            .filter(|verdict| *verdict != Verdict::NotApplicable)
            .max();
        match worst {
            None | Some(Verdict::NotApplicable) => Self::NotJudged,
            Some(Verdict::Passed) => Self::Passed,
            Some(Verdict::Known) => Self::Known,
            Some(Verdict::Unknown) => Self::Unknown,
            Some(Verdict::Failed) => Self::Failed,
        }
    }
}

/// A fault's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Row {
    pub nemesis: String,
    /// In the order of the columns.
    pub cells: Vec<Cell>,
    /// What else is wrong, or why it cannot be.
    pub note: String,
    /// Of the run's report, where there was one.
    pub report: Option<PathBuf>,
    pub passed: bool,
}

/// The whole of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Matrix {
    pub cluster: String,
    pub nodes: usize,
    pub seed: u64,
    pub seconds: u64,
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
}

/// Runs them all; true if every row passed.
///
/// # Errors
/// The arguments make no run, or the disk's.
pub async fn run(arguments: &Arguments, budget: Duration) -> Result<bool> {
    let begun = Instant::now();
    enter(arguments)?;
    let base = plan(arguments)?;
    let dir = arguments.report.clone().unwrap_or_else(|| {
        let name = format!("all-{}-{}-{}", base.cluster, base.nodes, base.seed);
        PathBuf::from("target/partition").join(name.replace([':', ','], "-"))
    });
    let fit = fitting(base.nodes, false);
    let names: Vec<&str> = fit.map(|nemesis| nemesis.name).chain([COMBINED]).collect();
    println!(
        "{} faults on {} of {} members, seed {}, {} minutes at most",
        names.len(),
        base.cluster,
        base.nodes,
        base.seed,
        budget.as_secs() / 60
    );
    let mut rows: Vec<Row> = Vec::new();
    let mut interrupted = false;
    for (at, name) in names.iter().enumerate() {
        let left = budget.saturating_sub(begun.elapsed());
        let turn = left / u32::try_from(names.len() - at).unwrap_or(u32::MAX);
        let seconds = turn.saturating_sub(OVERHEAD).as_secs();
        let row = if interrupted {
            alike(name, Cell::NotRun, INTERRUPTED)
        } else if seconds < *SECONDS.start()
            && left < OVERHEAD + Duration::from_secs(*SECONDS.start())
        {
            alike(name, Cell::NotRun, "over the budget")
        } else {
            println!("\n{} of {}: {name}", at + 1, names.len());
            let seconds = seconds.clamp(*SECONDS.start(), *SECONDS.end());
            one(&base, name, at, seconds, &dir).await?
        };
        interrupted |= row.note == INTERRUPTED;
        rows.push(row);
    }
    let matrix = Matrix {
        cluster: base.cluster.to_string(),
        nodes: base.nodes,
        seed: base.seed,
        seconds: begun.elapsed().as_secs(),
        columns: COLUMNS.iter().map(|(name, _)| (*name).to_owned()).collect(),
        rows,
    };
    matrix.save(&dir)?;
    println!("\n{}", matrix.text());
    let page = report::index(&dir, &matrix, &matrix.command())?;
    println!("matrix: {}", page.display());
    Ok(matrix.rows.iter().all(|row| row.passed))
}

/// One fault's run.
async fn one(base: &Plan, name: &str, at: usize, seconds: u64, dir: &Path) -> Result<Row> {
    let seed = base.seed + at as u64;
    let nemeses = vec![name.to_owned()];
    let plan = Plan {
        schedule: generate(seed, base.nodes, seconds * 1000, &nemeses)?,
        nemeses,
        seconds,
        seed,
        ..base.clone()
    };
    let recording = match Box::pin(super::run(&plan)).await {
        Ok(recording) => recording,
        Err(error) => return Ok(alike(name, Cell::NotRun, &format!("{error:#}"))),
    };
    let dir = dir.join(name);
    recording.save(&dir)?;
    if recording.about.interrupted {
        return Ok(alike(name, Cell::NotRun, INTERRUPTED));
    }
    let judged = tokio::task::block_in_place(|| conclude(&recording, &dir, None))?;
    if !recording.windows.is_empty()
        && let Some(why) = recording
            .windows
            .iter()
            .find_map(|window| window.skipped.as_ref())
        && recording
            .windows
            .iter()
            .all(|window| window.skipped.is_some())
    {
        return Ok(Row {
            passed: true,
            ..alike(name, Cell::Impossible, why)
        });
    }
    let row = row(name, &judged, &recording.about.trouble);
    println!("{}", if row.passed { "passed" } else { "FAILED" });
    if !row.passed {
        super::verdict::print(&recording, &judged);
    } else {
        erase_data(&plan)?;
    }
    Ok(row)
}

fn row(name: &str, judged: &Judged, trouble: &[String]) -> Row {
    let cells: Vec<Cell> = COLUMNS
        .iter()
        .map(|(_, judges)| Cell::of(&judged.findings, judges))
        .collect();
    let failed = judged.findings.iter().any(|f| f.verdict.fails_run());
    Row {
        nemesis: name.to_owned(),
        cells,
        note: trouble.join("; "),
        report: Some(judged.report.clone()),
        passed: !failed && trouble.is_empty(),
    }
}

/// A row of which all cells are alike, and which did not pass.
fn alike(name: &str, cell: Cell, note: &str) -> Row {
    Row {
        nemesis: name.to_owned(),
        cells: vec![cell; COLUMNS.len()],
        note: note.to_owned(),
        report: None,
        passed: false,
    }
}

impl Matrix {
    fn save(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).context("the report's directory")?;
        let json = serde_json::to_string_pretty(self).context("the matrix")?;
        std::fs::write(dir.join("matrix.json"), json).context("write matrix.json")?;
        std::fs::write(dir.join("matrix.txt"), self.text()).context("write matrix.txt")
    }

    /// Repeats it.
    fn command(&self) -> String {
        let Self {
            cluster,
            nodes,
            seed,
            ..
        } = self;
        format!("scripts/partition --all --cluster {cluster} --nodes {nodes} --seed {seed}")
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = format!("{:<17}", "");
        for column in &self.columns {
            write!(text, "{column:<9}").unwrap_or_default();
        }
        text.push('\n');
        for row in &self.rows {
            write!(text, "{:<17}", row.nemesis).unwrap_or_default();
            for cell in &row.cells {
                write!(text, "{:<9}", cell.word()).unwrap_or_default();
            }
            if !row.note.is_empty() {
                write!(text, "{}", row.note.lines().next().unwrap_or_default()).unwrap_or_default();
            }
            text = text.trim_end().to_owned();
            text.push('\n');
        }
        let passed = self.rows.iter().filter(|row| row.passed).count();
        write!(
            text,
            "{passed} of {} passed in {} s ({} of {}, seed {})",
            self.rows.len(),
            self.seconds,
            self.cluster,
            self.nodes,
            self.seed
        )
        .unwrap_or_default();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::recording::Recording;
    use crate::judge::judge;

    #[test]
    fn a_cell_is_as_bad_as_its_worst_judge() {
        let findings = [
            Finding::passed("watch-ordered", "", 1, ""),
            Finding::unknown("watch-reliable", "", 1, ""),
            Finding::not_applicable("bank", "", ""),
        ];
        assert_eq!(Cell::of(&findings, &["watch"]), Cell::Unknown);
        assert_eq!(Cell::of(&findings, &["bank"]), Cell::NotJudged);
        assert_eq!(Cell::of(&findings[..1], &["watch"]), Cell::Passed);
    }

    #[test]
    fn every_judge_has_one_column() {
        for finding in judge(&Recording::default()) {
            let holds = |(_, judges): &&(&str, &[&str])| {
                judges.iter().any(|judge| finding.judge.starts_with(judge))
            };
            assert_eq!(COLUMNS.iter().filter(holds).count(), 1, "{}", finding.judge);
        }
        for (column, judges) in COLUMNS {
            let findings = judge(&Recording::default());
            for judge in *judges {
                let used = findings
                    .iter()
                    .any(|finding| finding.judge.starts_with(judge));
                assert!(used, "{column}: nobody is called {judge}");
            }
        }
    }

    #[test]
    fn what_was_not_reached_does_not_pass() {
        assert!(!alike("ring", Cell::NotRun, "").passed);
    }
}

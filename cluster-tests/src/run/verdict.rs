//! Judges, report, and what the terminal says at the end.

use super::plan::Plan;
use crate::history::recording::Recording;
use crate::judge::finding::Finding;
use crate::judge::judge;
use crate::report::{self, Summary};
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};

/// A judged run.
#[derive(Debug)]
pub struct Judged {
    pub findings: Vec<Finding>,
    pub report: PathBuf,
}

impl Judged {
    /// Every judge passed, and nothing went wrong with the run itself.
    pub fn passed(&self, recording: &Recording) -> bool {
        let failed = self.findings.iter().any(|f| f.verdict.fails_run());
        !failed && recording.about.trouble.is_empty() && !recording.about.interrupted
    }
}

/// Judges a recording and writes the report beside it.
///
/// # Errors
/// The disk's.
pub fn conclude(recording: &Recording, dir: &Path, control: Option<&Path>) -> Result<Judged> {
    let findings = judge(recording);
    let text = serde_json::to_string_pretty(&findings).context("findings")?;
    std::fs::write(dir.join("findings.json"), text).context("write findings.json")?;
    let control = control.map(Summary::load).transpose()?;
    let report = report::write(dir, recording, &findings, control.as_ref())?;
    Ok(Judged { findings, report })
}

/// A few lines for the terminal; every judge's is in the report.
pub fn print(recording: &Recording, judged: &Judged) {
    for line in report::verdict_lines(recording, &judged.findings) {
        println!("{line}");
    }
    println!("again:   {}", recording.about.command);
    println!("report:  {}", judged.report.display());
}

/// Erases the members' data and logs: a run that passed has nothing to look into.
///
/// # Errors
/// The disk's.
pub fn erase_data(plan: &Plan) -> Result<()> {
    if plan.data.exists() {
        std::fs::remove_dir_all(&plan.data).context("erase the members' data")?;
    }
    Ok(())
}

/// Where a run's recording goes if nobody says.
pub fn default_dir(plan: &Plan) -> PathBuf {
    let cluster = match &plan.cluster {
        super::plan::Kind::Endpoints(_) => "endpoints".to_owned(),
        kind => kind.to_string(),
    };
    PathBuf::from("target/partition").join(format!("{cluster}-{}", plan.seed))
}

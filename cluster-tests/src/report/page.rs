//! The files of a report.

use super::coverage::{Coverage, coverage};
use super::figures::{Acknowledged, clients_stopped, end_of};
use super::lanes::{Scene, scenes};
use super::load::{Load, load};
use super::strip::{Strip, strip};
use super::summary::{Summary, summary};
use super::verdict::{Headline, Overall, headline};
use super::watch_lanes::{WatchLanes, lanes};
use crate::history::recording::{About, Recording};
use crate::judge::finding::{Finding, Verdict};
use anyhow::{Context, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};

pub const HTML_NAME: &str = "report.html";
pub const JSON_NAME: &str = "report.json";

const TEMPLATE: &str = include_str!("assets/report.html");
const STYLE: &str = concat!(
    include_str!("assets/base.css"),
    include_str!("assets/report.css")
);
const SCRIPT: &str = concat!(
    include_str!("assets/base.js"),
    include_str!("assets/timeline.js"),
    include_str!("assets/graph.js"),
    include_str!("assets/lanes.js"),
    include_str!("assets/watch.js"),
    include_str!("assets/tables.js"),
    include_str!("assets/report.js")
);

/// Files of logs and the like that are named one by one.
const FILES_MAX: usize = 60;

/// Everything that the script draws.
#[derive(Serialize)]
struct Drawn<'a> {
    headline: &'a Headline,
    about: &'a About,
    summary: &'a Summary,
    control: Option<&'a Summary>,
    same_schedule: bool,
    judges: Vec<JudgeRow<'a>>,
    scenes: Vec<Scene>,
    /// Violations without a picture.
    scenes_more: usize,
    strip: Strip,
    load: Load,
    watch: WatchLanes,
    coverage: Coverage,
    schedule: Vec<String>,
    files: Vec<Evidence>,
    /// Of the time axis, in microseconds.
    end: u64,
    stopped: u64,
}

#[derive(Serialize)]
struct JudgeRow<'a> {
    judge: &'a str,
    promise: &'a str,
    verdict: Verdict,
    evaluated: u64,
    summary: &'a str,
    margin: Option<&'a str>,
    violations: usize,
}

/// A file that lies beside the report.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Evidence {
    name: String,
    bytes: u64,
    /// What is in it; empty if its name says it.
    about: &'static str,
}

/// What `report.json` holds.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Reported<'a> {
    verdict: Overall,
    sentence: &'a str,
    about: &'a About,
    summary: &'a Summary,
    findings: &'a [Finding],
    coverage: &'a Coverage,
}

/// Writes `report.html` and `report.json` to `dir`, which exists and may hold the recording; answers
/// with the path of the former. With `control`, the numbers of another run stand beside this one's.
///
/// # Errors
/// The disk's.
pub fn write(
    dir: &Path,
    recording: &Recording,
    findings: &[Finding],
    control: Option<&Summary>,
) -> Result<PathBuf> {
    let summary = summary(recording);
    let headline = headline(&summary, findings);
    let coverage = coverage(recording, &summary);
    let reported = Reported {
        verdict: headline.overall,
        sentence: &headline.sentence,
        about: &recording.about,
        summary: &summary,
        findings,
        coverage: &coverage,
    };
    let json = serde_json::to_vec_pretty(&reported).context("encode the report")?;
    put(&dir.join(JSON_NAME), &json)?;
    let path = dir.join(HTML_NAME);
    let files = evidence(dir);
    let html = html(
        recording, findings, control, &summary, &headline, coverage, files,
    )?;
    put(&path, html.as_bytes())?;
    Ok(path)
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}

fn html(
    recording: &Recording,
    findings: &[Finding],
    control: Option<&Summary>,
    summary: &Summary,
    headline: &Headline,
    coverage: Coverage,
    files: Vec<Evidence>,
) -> Result<String> {
    let served = Acknowledged::of(recording).seconds(0, clients_stopped(recording));
    let (scenes, scenes_more) = scenes(recording, findings);
    let schedule = recording.schedule.to_string();
    let drawn = Drawn {
        headline,
        about: &recording.about,
        summary,
        control,
        same_schedule: control.is_some_and(|control| control.same_schedule(summary)),
        judges: findings.iter().map(judge_row).collect(),
        scenes,
        scenes_more,
        strip: strip(recording),
        load: load(recording, served),
        watch: lanes(recording, findings),
        coverage,
        schedule: schedule.lines().map(str::to_owned).collect(),
        files,
        end: end_of(recording),
        stopped: clients_stopped(recording),
    };
    let data = serde_json::to_string(&drawn).context("encode the page's data")?;
    let title = format!(
        "{}: {} under faults, seed {}",
        headline.word, recording.about.cluster, recording.about.seed
    );
    Ok(fill(
        TEMPLATE,
        &[
            ("title", &escaped(&title)),
            ("sentence", &escaped(&headline.sentence)),
            ("style", STYLE),
            ("script", SCRIPT),
            ("data", &in_script(&data)),
        ],
    ))
}

fn judge_row(finding: &Finding) -> JudgeRow<'_> {
    JudgeRow {
        judge: &finding.judge,
        promise: &finding.promise,
        verdict: finding.verdict,
        evaluated: finding.evaluated,
        summary: &finding.summary,
        margin: finding.margin.as_deref(),
        violations: finding.violations.len(),
    }
}

/// A template with its `{{marks}}` replaced, in one pass: what is put in is not looked at again.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let Some((mark, after)) = after.split_once("}}") else {
            rest = after;
            break;
        };
        let value = values.iter().find(|(name, _)| *name == mark);
        filled.push_str(value.map_or("", |(_, value)| value));
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// JSON that a script element may hold: with no `<` in it, nothing in it ends or opens an element.
pub(super) fn in_script(json: &str) -> String {
    json.replace('<', "\\u003c")
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// What lies in `dir` and in its folders, the recording's own files first.
fn evidence(dir: &Path) -> Vec<Evidence> {
    let mut files = Vec::new();
    let folders: Vec<PathBuf> = files_of(dir, "", &mut files);
    for folder in folders {
        let name = folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        if let Some(name) = name {
            files_of(&folder, &format!("{name}/"), &mut files);
        }
    }
    files.sort_by_key(|file| (file.about.is_empty(), file.name.clone()));
    files.truncate(FILES_MAX);
    files
}

/// Adds the files of a folder; answers its folders. One that cannot be read has nothing to show.
fn files_of(dir: &Path, prefix: &str, files: &mut Vec<Evidence>) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let Ok(entries) = std::fs::read_dir(dir) else {
        return folders;
    };
    for entry in entries.flatten() {
        let Ok(kind) = entry.metadata() else { continue };
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if kind.is_dir() {
            folders.push(entry.path());
        } else if name != HTML_NAME {
            files.push(Evidence {
                about: described(&name),
                bytes: kind.len(),
                name,
            });
        }
    }
    folders
}

fn described(name: &str) -> &'static str {
    match name {
        "about.json" => "what was run: cluster, versions, seed, command",
        "schedule.json" => "the faults that were planned; give it back to repeat them",
        "operations.jsonl" => "every call with its answer and its time",
        "watches.jsonl" => "every response that a watcher was sent",
        "windows.jsonl" => "the faults as they happened",
        "weather.jsonl" => "every change of a link between members",
        "lives.jsonl" => "members started, killed, paused",
        "samples.jsonl" => "what members said of themselves",
        "finale.json" => "every member's whole state at the end",
        "findings.json" => "what every judge said, with its violations",
        JSON_NAME => "this report's findings and numbers",
        _ => "",
    }
}

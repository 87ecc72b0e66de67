//! Many runs on one page: the matrix of faults by properties.
//!
//! A cell that no run reached says "not run"; it does not pass.

use super::page::{HTML_NAME, escaped, fill};
use super::summary::Summary;
use super::words::{counted, grouped, in_seconds, roughly};
use crate::run::matrix::{Cell, Matrix, Row};
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

pub const INDEX_NAME: &str = "index.html";

const TEMPLATE: &str = include_str!("assets/index.html");
const STYLE: &str = concat!(
    include_str!("assets/base.css"),
    include_str!("assets/index.css")
);

/// A row with what its run's `report.json` says; none where there was no run.
struct Told<'a> {
    row: &'a Row,
    summary: Option<Summary>,
}

/// Writes `index.html` to `dir` and answers with its path. Reports of runs lie in `dir`, each in a
/// directory of its own by the name of its fault.
///
/// # Errors
/// The disk's.
pub fn index(dir: &Path, matrix: &Matrix, command: &str) -> Result<PathBuf> {
    let told: Vec<Told<'_>> = matrix
        .rows
        .iter()
        .map(|row| Told {
            row,
            summary: Summary::load(&dir.join(&row.nemesis)).ok(),
        })
        .collect();
    let page = render(matrix, &told, command)?;
    let path = dir.join(INDEX_NAME);
    std::fs::write(&path, page).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

fn render(matrix: &Matrix, told: &[Told<'_>], command: &str) -> Result<String> {
    let mut body = String::new();
    table(&mut body, matrix, told)?;
    numbers(&mut body, told)?;
    let word = if all_passed(matrix) {
        "Passed"
    } else if any_failed(matrix) {
        "Failed"
    } else {
        "Not complete"
    };
    let class = match word {
        "Passed" => "passed",
        "Failed" => "failed",
        _ => "undecided",
    };
    let title = format!("{word}: every fault on {}", matrix.cluster);
    let facts = format!(
        "{}, {} members, seed {}, {}",
        matrix.cluster,
        matrix.nodes,
        matrix.seed,
        roughly(matrix.seconds * 1_000_000)
    );
    Ok(fill(
        TEMPLATE,
        &[
            ("title", &escaped(&title)),
            ("style", STYLE),
            ("word", word),
            ("class", class),
            ("sentence", &escaped(&sentence(matrix, told))),
            ("facts", &escaped(&facts)),
            ("command", &escaped(command)),
            ("body", &body),
        ],
    ))
}

fn all_passed(matrix: &Matrix) -> bool {
    matrix.rows.iter().all(|row| row.passed)
}

fn is_broken(row: &Row) -> bool {
    row.cells.contains(&Cell::Failed)
}

fn any_failed(matrix: &Matrix) -> bool {
    matrix.rows.iter().any(is_broken)
}

/// "Every promise held under all of 40 faults: 412,003 answers in 18 min."
fn sentence(matrix: &Matrix, told: &[Told<'_>]) -> String {
    let summaries = told.iter().filter_map(|told| told.summary.as_ref());
    let answers: u64 = summaries.map(|summary| summary.counts.ok).sum();
    let scene = format!(
        "{} in {}",
        counted(answers, "answer", "answers"),
        roughly(matrix.seconds * 1_000_000)
    );
    let kinds = counted(matrix.rows.len() as u64, "kind of fault", "kinds of faults");
    let count = |cell: Cell| {
        let rows = matrix.rows.iter();
        rows.filter(|row| row.cells.iter().all(|one| *one == cell))
            .count()
    };
    let (not_run, impossible) = (count(Cell::NotRun), count(Cell::Impossible));
    let broken = matrix.rows.iter().filter(|row| is_broken(row)).count();
    let open = matrix.rows.iter().filter(|row| !row.passed).count() - broken - not_run;
    let mut sentence = if broken > 0 {
        format!("A promise was broken under {broken} of {kinds}: {scene}")
    } else if all_passed(matrix) {
        format!("Every promise held under {kinds}: {scene}")
    } else {
        format!("Nothing wrong was seen under {kinds}: {scene}")
    };
    if not_run > 0 {
        write!(sentence, "; {not_run} not run").unwrap_or_default();
    }
    if open > 0 {
        write!(sentence, "; {open} not decided").unwrap_or_default();
    }
    if impossible > 0 {
        write!(sentence, "; {impossible} that this cluster cannot have").unwrap_or_default();
    }
    sentence.push('.');
    sentence
}

/// (class, word) of a cell.
fn cell_words(cell: Cell) -> (&'static str, &'static str) {
    match cell {
        Cell::Passed => ("passed", "held"),
        Cell::Failed => ("failed", "broken"),
        Cell::Known => ("undecided", "known"),
        Cell::Unknown => ("undecided", "undecided"),
        Cell::NotJudged => ("na", "–"),
        Cell::NotRun => ("not-run", "not run"),
        Cell::Impossible => ("na", "n/a"),
    }
}

fn table(body: &mut String, matrix: &Matrix, told: &[Told<'_>]) -> Result<()> {
    body.push_str(
        "<section><h2>Fault by promise</h2><p class=\"lead\">One run a fault, all workloads on one \
         cluster. A dash: the run had nothing for this judge; n/a: this cluster cannot have this \
         fault. What was not run did not pass.</p><div class=\"scroll\" tabindex=\"0\" role=\"region\" \
         aria-label=\"Fault by promise\"><table class=\"matrix\"><thead><tr><th>fault</th>",
    );
    for column in &matrix.columns {
        write!(body, "<th scope=\"col\">{}</th>", escaped(column))?;
    }
    body.push_str("</tr></thead><tbody>");
    for Told { row, summary } in told {
        write!(
            body,
            "<tr><th scope=\"row\">{}</th>",
            name(row, summary.is_some())
        )?;
        // One reason for all cells is said once.
        let alike = row
            .cells
            .first()
            .filter(|first| row.cells.iter().all(|cell| cell == *first));
        if let Some(cell @ (Cell::NotRun | Cell::Impossible)) = alike {
            let (class, word) = cell_words(*cell);
            write!(
                body,
                "<td class=\"{class} whole\" colspan=\"{}\">{word}{}</td>",
                matrix.columns.len(),
                note(row)
            )?;
        } else {
            for cell in &row.cells {
                let (class, word) = cell_words(*cell);
                write!(body, "<td class=\"{class}\">{word}</td>")?;
            }
            if !row.note.is_empty() {
                write!(body, "<td class=\"note\">{}</td>", escaped(&row.note))?;
            }
        }
        body.push_str("</tr>");
    }
    body.push_str("</tbody></table></div></section>");
    Ok(())
}

fn note(row: &Row) -> String {
    if row.note.is_empty() {
        String::new()
    } else {
        format!(": {}", escaped(&row.note))
    }
}

/// Its name, a link to its report where there is one.
fn name(row: &Row, reported: bool) -> String {
    let name = escaped(&row.nemesis);
    if reported {
        format!("<a href=\"{name}/{HTML_NAME}\">{name}</a>")
    } else {
        name
    }
}

/// What each run measured.
fn numbers(body: &mut String, told: &[Told<'_>]) -> Result<()> {
    body.push_str(
        "<section><h2>What each fault cost</h2><p class=\"lead\">Of the run of each fault: seconds \
         of faults in which a write was acknowledged, the longest silence in one, the slowest way \
         back after one.</p><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"What \
         each fault cost\"><table class=\"runs\"><thead><tr><th>fault</th>\
         <th class=\"number\">seed</th><th class=\"number\">length</th>\
         <th class=\"number\">times</th><th class=\"number\">answers</th>\
         <th class=\"number\">p99</th><th class=\"number\">seconds that served</th>\
         <th class=\"number\">longest silence</th><th class=\"number\">back within</th>\
         <th class=\"number\">changes of leader</th></tr></thead><tbody>",
    );
    for Told { row, summary } in told {
        let Some(summary) = summary else { continue };
        let (mut served, mut of, mut silence) = (0, 0, 0);
        for fault in summary.struck() {
            served += fault.availability.served;
            of += fault.availability.of;
            silence = silence.max(fault.silence);
        }
        let back = match summary.slowest_recovery() {
            Some((_, Some(us))) => in_seconds(us),
            Some((_, None)) => "not seen".to_owned(),
            None => "–".to_owned(),
        };
        write!(body, "<tr><th scope=\"row\">{}</th>", name(row, true))?;
        for number in [
            summary.seed.to_string(),
            roughly(summary.asked_for),
            summary.struck().count().to_string(),
            grouped(summary.counts.ok),
            in_seconds(summary.latency.p99),
            format!("{served} of {of}"),
            in_seconds(silence),
            back,
            summary.elections.to_string(),
        ] {
            write!(body, "<td class=\"number\">{number}</td>")?;
        }
        body.push_str("</tr>");
    }
    body.push_str("</tbody></table></div></section>");
    Ok(())
}

//! The sentence, and the lines for a terminal.

use super::coverage::coverage;
use super::figures::Counts;
use super::summary::{Summary, summary};
use super::words::{counted, grouped, in_seconds, roughly};
use crate::history::recording::Recording;
use crate::judge::finding::{Finding, Verdict};
use serde::{Deserialize, Serialize};

/// What the judges say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overall {
    Passed,
    /// A promise was broken.
    Failed,
    /// Nothing wrong was seen, but a judge could not decide.
    Undecided,
    /// Nothing wrong was seen, and too little happened for that to mean anything.
    Vacuous,
    /// Nothing wrong was seen, but the run itself went wrong, or was ended before its time.
    Troubled,
}

/// Judges that reject runs in which too little happened: `coverage-load` and its kind.
fn is_coverage(finding: &Finding) -> bool {
    finding.judge.starts_with("coverage")
}

pub fn overall(summary: &Summary, findings: &[Finding]) -> Overall {
    let failed = || findings.iter().filter(|f| f.verdict == Verdict::Failed);
    if failed().any(|finding| !is_coverage(finding)) {
        Overall::Failed
    } else if findings.iter().any(|f| f.verdict == Verdict::Unknown) {
        Overall::Undecided
    } else if !summary.trouble.is_empty() || summary.interrupted {
        Overall::Troubled
    } else if failed().next().is_some() || !findings.iter().any(|f| f.verdict == Verdict::Passed) {
        Overall::Vacuous
    } else {
        Overall::Passed
    }
}

/// The verdict in a word or two, and in a sentence that a non-expert understands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Headline {
    pub overall: Overall,
    /// "Passed"
    pub word: &'static str,
    pub sentence: String,
    /// The sentence in two: what a headline holds, and what follows it; the latter may be empty.
    pub first: String,
    pub rest: String,
}

pub fn headline(summary: &Summary, findings: &[Finding]) -> Headline {
    let overall = overall(summary, findings);
    let word = match overall {
        Overall::Passed => "Passed",
        Overall::Failed => "Failed",
        Overall::Undecided => "Undecided",
        Overall::Vacuous => "Proves too little",
        Overall::Troubled if summary.trouble.is_empty() => "Interrupted",
        Overall::Troubled => "Trouble",
    };
    let Counts { ok, .. } = summary.counts;
    let struck = summary.struck().count() as u64;
    let length = roughly(summary.asked_for);
    let scene = if struck == 0 {
        format!("In {length} without faults")
    } else {
        format!("During {} in {length}", counted(struck, "fault", "faults"))
    };
    let were_given = if ok == 1 { "was given" } else { "were given" };
    let answers = format!("{} {were_given}", counted(ok, "answer", "answers"));
    let failed: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Failed)
        .collect();
    let mut first = String::new();
    let mut rest = match overall {
        Overall::Passed => {
            let known = findings.iter().any(|f| f.verdict == Verdict::Known);
            let wrong = if known {
                "nothing was wrong but what this server is known for"
            } else {
                "none was wrong"
            };
            format!("{scene}, {answers} and {wrong}{}.", recovery(summary))
        }
        Overall::Failed => {
            let broken: Vec<&&Finding> = failed.iter().filter(|f| !is_coverage(f)).collect();
            let judged = findings
                .iter()
                .filter(|f| f.verdict != Verdict::NotApplicable);
            let worst = broken.first().map_or("", |finding| title(finding));
            first = format!("{}.", worst.trim_end_matches('.'));
            format!(
                "{scene}, {answers}, and {} of {} promises did not hold.",
                broken.len(),
                judged.count()
            )
        }
        Overall::Undecided => {
            let open = findings
                .iter()
                .filter(|f| f.verdict == Verdict::Unknown)
                .count();
            format!(
                "{scene}, {answers} and nothing wrong was seen, but {} could not decide.",
                counted(open as u64, "judge", "judges")
            )
        }
        Overall::Troubled => {
            let trouble = summary
                .trouble
                .first()
                .map(|trouble| trouble.trim_end_matches('.'));
            let but = trouble.map_or(String::new(), |trouble| {
                format!(", but the run itself went wrong: {trouble}")
            });
            format!("{scene}, {answers} and nothing wrong was seen{but}.")
        }
        Overall::Vacuous => {
            let why = failed
                .first()
                .map_or("no promise was tested", |finding| title(finding));
            format!(
                "{scene}, {answers} and none was wrong, but the run proves too little: {}.",
                why.trim_end_matches('.')
            )
        }
    };
    if summary.interrupted {
        rest.push_str(" The run was interrupted, and judged as far as it went.");
    }
    let sentence = format!("{first} {rest}").trim_start().to_owned();
    if first.is_empty() {
        first = std::mem::take(&mut rest);
    }
    Headline {
        overall,
        word,
        sentence,
        first,
        rest,
    }
}

/// What a finding found, in a phrase.
fn title(finding: &Finding) -> &str {
    match finding.violations.first() {
        Some(first) if !first.title.is_empty() => &first.title,
        _ if !finding.summary.is_empty() => &finding.summary,
        _ => &finding.promise,
    }
}

/// "; after every fault the cluster served again within 0.6 s"
fn recovery(summary: &Summary) -> String {
    match summary.slowest_recovery() {
        Some((_, Some(slowest))) => format!(
            "; after every fault the cluster served again within {}",
            in_seconds(slowest.max(10_000))
        ),
        _ => String::new(),
    }
}

/// A few lines for the terminal, plain: the verdict; each failed judge with its explanation;
/// coverage; the slowest recovery.
pub fn verdict_lines(recording: &Recording, findings: &[Finding]) -> Vec<String> {
    let summary = summary(recording);
    let headline = headline(&summary, findings);
    let mut lines = vec![format!("{}: {}", headline.word, headline.sentence)];
    for finding in findings.iter().filter(|f| f.verdict.fails_run()) {
        let explanation = finding
            .violations
            .first()
            .map(|violation| violation.explanation.as_str())
            .filter(|explanation| !explanation.is_empty());
        let verdict = match finding.verdict {
            Verdict::Unknown => "undecided",
            _ => "failed",
        };
        lines.push(format!(
            "  {verdict}  {}: {}",
            finding.judge,
            explanation.unwrap_or_else(|| title(finding))
        ));
    }
    for finding in findings.iter().filter(|f| f.verdict == Verdict::Known) {
        lines.push(format!("  known    {}: {}", finding.judge, finding.summary));
    }
    for trouble in &recording.about.trouble {
        lines.push(format!("  trouble  {trouble}"));
    }
    let mut missing: Vec<String> = Vec::new();
    for fault in &summary.faults {
        let Some(why) = &fault.skipped else { continue };
        let line = format!("  not done {}: {why}", fault.nemesis);
        if !missing.contains(&line) {
            missing.push(line);
        }
    }
    lines.append(&mut missing);
    let applied = findings
        .iter()
        .filter(|f| f.verdict != Verdict::NotApplicable);
    lines.push(format!(
        "  {} judged; {} of {} faults done, {}; a write was acknowledged in {} of {} s, {} at most between two",
        counted(applied.count() as u64, "promise", "promises"),
        summary.struck().count(),
        summary.faults.len(),
        counted(summary.elections, "change of leader", "changes of leader"),
        grouped(summary.availability.served),
        grouped(summary.availability.of),
        in_seconds(summary.silence),
    ));
    if let Some((fault, recovered)) = summary.slowest_recovery() {
        let took = match recovered {
            Some(us) => format!("{} after {} healed", in_seconds(us), fault.label),
            None => format!("none was seen after {} healed", fault.label),
        };
        lines.push(format!("  slowest recovery: {took}"));
    }
    lines
}

/// Two lines for the terminal: what a good run has seen and this one saw, how often; and what it did not.
pub fn coverage_lines(recording: &Recording) -> Vec<String> {
    let coverage = coverage(recording, &summary(recording));
    let knowable = coverage.sometimes.iter().filter(|one| one.knowable);
    let (seen, never): (Vec<_>, Vec<_>) = knowable.partition(|one| one.times > 0);
    let seen = seen
        .iter()
        .map(|one| format!("{} ({})", one.what, grouped(one.times)));
    let never = never.iter().map(|one| one.what.to_owned());
    let line = |word: &str, what: Vec<String>| {
        (!what.is_empty()).then(|| format!("  {word} {}", what.join("; ")))
    };
    let lines = [
        line("seen: ", seen.collect()),
        line("never:", never.collect()),
    ];
    lines.into_iter().flatten().collect()
}

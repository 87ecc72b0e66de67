//! The whole report, of a run made by hand.

use super::index::index;
use super::page::{HTML_NAME, JSON_NAME, fill, in_script};
use super::sample_run::recording;
use super::sample_violations::findings;
use super::verdict::{Overall, headline, overall};
use super::{Summary, summary, verdict_lines, write};
use crate::judge::finding::{Finding, Violation};
use crate::run::matrix::{Cell, Matrix, Row};
use std::path::{Path, PathBuf};

/// Where reports of the sample go that somebody wants to look at: set this to a directory.
const KEEP: &str = "QUORATE_SAMPLE_REPORTS";

/// Writes a report into a directory of its own; the guard removes it.
fn written(
    name: &str,
    broken: bool,
    control: Option<&Summary>,
) -> (Option<tempfile::TempDir>, PathBuf) {
    let recording = recording(broken);
    let findings = findings(&recording, broken);
    let (guard, dir) = match std::env::var_os(KEEP) {
        Some(kept) => (None, Path::new(&kept).join(name)),
        None => {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().to_owned();
            (Some(dir), path)
        }
    };
    std::fs::create_dir_all(&dir).unwrap();
    recording.save(&dir).unwrap();
    let path = write(&dir, &recording, &findings, control).unwrap();
    assert_eq!(path, dir.join(HTML_NAME));
    (guard, dir)
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let (_guard, dir) = written("failed", true, None);
    let html = std::fs::read_to_string(dir.join(HTML_NAME)).unwrap();
    assert!(html.len() < 2_000_000, "{} bytes", html.len());
    // The script and the style name no place; the data is JSON, which loads nothing.
    let code: String = html.split("id=\"data\">").next().unwrap().to_owned()
        + html.rsplit("</script>\n<script>").next().unwrap();
    for resource in [
        "http://", "https://", "src=", "url(http", "@import", "<link",
    ] {
        assert!(!code.contains(resource), "the page has {resource}");
    }
    assert!(!html.contains("{{"), "a mark was not replaced");
    assert!(html.contains("A read shows a value that was overwritten"));
    assert!(html.contains("operations.jsonl"));
}

#[test]
fn a_control_stands_beside_the_run() {
    let mut control = summary(&recording(false));
    control.cluster = "etcd".into();
    control.server = "etcd 3.4.23".into();
    let (_guard, dir) = written("passed", false, Some(&control));
    let loaded = Summary::load(&dir).unwrap();
    assert_eq!(loaded, summary(&recording(false)));
    assert!(loaded.same_schedule(&control));
    let html = std::fs::read_to_string(dir.join(HTML_NAME)).unwrap();
    assert!(html.contains("etcd 3.4.23") && html.contains("\"same_schedule\":true"));
}

#[test]
fn odd_strings_survive() {
    let odd = "</script><script>alert('ü\"\\')</script> <!-- {{data}} \u{2028} 🦀";
    let mut recording = recording(false);
    recording.about.command = odd.into();
    let violation = Violation {
        title: odd.into(),
        key: Some(odd.into()),
        ..Violation::default()
    };
    let findings = [Finding::failed(odd, odd, 1, vec![violation])];
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &recording, &findings, None).unwrap();
    let html = std::fs::read_to_string(dir.path().join(HTML_NAME)).unwrap();
    assert!(!html.contains("<script>alert"));
    // Two script elements are opened, and two are closed.
    assert_eq!(html.matches("</script").count(), 2);
    let data = html.split_once("id=\"data\">").unwrap().1;
    let data = data.split_once("</script>").unwrap().0;
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["about"]["command"], odd);
    assert_eq!(data["scenes"][0]["key"], odd);
    let json = std::fs::read(dir.path().join(JSON_NAME)).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["findings"][0]["judge"], odd);
}

#[test]
fn what_is_put_in_is_not_looked_at_again() {
    let filled = fill("<{{a}}|{{b}}|{{c}}>", &[("a", "{{b}}"), ("b", "2")]);
    assert_eq!(filled, "<{{b}}|2|>");
    assert_eq!(
        in_script(r#"{"a":"</script>"}"#),
        r#"{"a":"\u003c/script>"}"#
    );
}

#[test]
fn an_empty_run_has_a_report() {
    let nothing = crate::history::recording::Recording::default();
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &nothing, &[], None).unwrap();
    assert_eq!(overall(&Summary::default(), &[]), Overall::Vacuous);
    let lines = verdict_lines(&nothing, &[]);
    assert!(
        lines[0].starts_with("Proves too little: In 0 s without faults, 0 answers"),
        "{lines:?}"
    );
}

#[test]
fn numbers_of_the_sample() {
    let summary = summary(&recording(false));
    assert_eq!(summary.availability.of, 60);
    // Seconds 18 and 26 had no leader, nor had 45; the first of each outage is cut short.
    assert_eq!(summary.elections, 4);
    assert_eq!(summary.struck().count(), 5);
    let deaf = &summary.faults[2];
    assert_eq!(deaf.nemesis, "leader-deaf");
    // From 26 s on nobody served until 27.9 s; then clients waited for answers that did not come.
    assert!(
        (1_900_000..2_900_000).contains(&deaf.silence),
        "{}",
        deaf.silence
    );
    assert_eq!((deaf.availability.served, deaf.availability.of), (4, 5));
    assert!(deaf.recovered.unwrap() < 50_000);
    assert!(deaf.counts.unknown > 0 && deaf.counts.refused > 0);
    assert_eq!(
        summary.faults[5].skipped.as_deref(),
        Some("this cluster's members cannot be changed")
    );
}

#[test]
fn the_verdict_is_a_sentence() {
    let good = recording(false);
    let said = headline(&summary(&good), &findings(&good, false));
    assert_eq!(said.overall, Overall::Passed);
    assert!(
        said.sentence.starts_with("During 5 faults in 60 s, "),
        "{}",
        said.sentence
    );
    assert!(said.sentence.contains(" answers were given and none was wrong; after every fault the cluster served again within 0.0"), "{}", said.sentence);
    let mut interrupted = recording(false);
    interrupted.about.interrupted = true;
    let said = headline(&summary(&interrupted), &findings(&good, false));
    assert_eq!(
        (said.overall, said.word),
        (Overall::Troubled, "Interrupted")
    );
    let bad = recording(true);
    let lines = verdict_lines(&bad, &findings(&bad, true));
    assert!(
        lines[0].starts_with(
            "Failed: A read shows a value that was overwritten before it began. During 5 faults"
        ),
        "{lines:?}"
    );
    assert!(
        lines[0].ends_with("and 2 of 6 promises did not hold."),
        "{lines:?}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("  failed  linearizable: register.3 read")),
        "{lines:?}"
    );
    let vacuous = [
        Finding::passed("linearizable", "", 1, ""),
        Finding::failed(
            "coverage",
            "",
            1,
            vec![Violation {
                title: "the leader was never struck".into(),
                ..Violation::default()
            }],
        ),
    ];
    let said = headline(&summary(&good), &vacuous);
    assert_eq!(said.overall, Overall::Vacuous);
    assert!(
        said.sentence
            .ends_with("but the run proves too little: the leader was never struck."),
        "{}",
        said.sentence
    );
}

#[test]
fn a_row_that_was_not_run_says_so() {
    let kept = std::env::var_os(KEEP).map(PathBuf::from);
    let guard = tempfile::tempdir().unwrap();
    let dir = kept.map_or_else(|| guard.path().to_owned(), |kept| kept.join("all"));
    for (name, broken) in [("slow", false), ("isolate-leader", true)] {
        let (recording, of_it) = (recording(broken), dir.join(name));
        std::fs::create_dir_all(&of_it).unwrap();
        write(&of_it, &recording, &findings(&recording, broken), None).unwrap();
    }
    let row = |nemesis: &str, cells: [Cell; 3], note: &str| Row {
        nemesis: nemesis.into(),
        cells: cells.into(),
        note: note.into(),
        report: None,
        passed: cells == [Cell::Passed; 3] || cells[0] == Cell::Impossible,
    };
    let mut matrix = Matrix {
        cluster: "quorate".into(),
        nodes: 3,
        seed: 7,
        seconds: 700,
        columns: ["register", "watch", "alive"].map(String::from).into(),
        rows: vec![
            row("slow", [Cell::Passed; 3], ""),
            row(
                "isolate-leader",
                [Cell::Failed, Cell::Passed, Cell::NotJudged],
                "",
            ),
            row("replace", [Cell::NotRun; 3], "over the budget"),
            row("mtu", [Cell::Impossible; 3], "<no packets>"),
        ],
    };
    let page = |matrix: &Matrix| {
        let path = index(&dir, matrix, "scripts/partition --all --seed 7").unwrap();
        std::fs::read_to_string(path).unwrap()
    };
    let html = page(&matrix);
    assert!(html.contains("A promise was broken under 1 of 4 kinds of faults: "));
    assert!(html.contains("; 1 not run; 1 that this cluster cannot have."));
    assert!(html.contains("not run: over the budget") && html.contains("n/a: &lt;no packets&gt;"));
    assert!(html.contains("href=\"isolate-leader/report.html\""));
    assert!(!html.contains("href=\"replace"));
    for resource in ["{{", "src=", "http:", "https:"] {
        assert!(!html.contains(resource), "the page has {resource}");
    }
    matrix.rows.truncate(1);
    assert!(page(&matrix).contains("Every promise held under 1 kind of fault: "));
}

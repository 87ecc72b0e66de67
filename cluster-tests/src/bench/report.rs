//! The table: every goal with what was reached, then every figure.

use super::figures::{Collection, Series};
use super::goals::{Bound, GOALS, Goal};
use super::{Plan, System, plot};
use anyhow::{Context as _, Result};
use std::fmt::Write as _;

/// Writes table and curves into the plan's directory.
///
/// # Errors
/// The directory cannot be written to.
pub fn write(plan: &Plan, all: &Collection) -> Result<()> {
    let write = |name: &str, text: String| {
        let path = plan.dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    };
    write("bench.md", markdown(plan, all))?;
    for curve in plot::CURVES {
        if let Some(svg) = plot::svg(&curve, all) {
            write(curve.file, svg)?;
        }
    }
    Ok(())
}

/// Goals, what misses its floor, and all figures.
pub fn markdown(plan: &Plan, all: &Collection) -> String {
    let mut text = format!(
        "# Quorate and {} on one machine\n\nThree members each and the client, fsync on, values of 256 bytes, \
         {} s a load, medians of {} round(s). CPU of servers is summed over the members.\n\n",
        plan.peer_binary
            .as_ref()
            .map_or_else(|| "etcd".to_owned(), |path| path.display().to_string()),
        plan.duration.as_secs(),
        plan.rounds,
    );
    let mut missed = Vec::new();
    text.push_str("| row | figure | etcd | quorate | ratio | floor | aim | |\n");
    text.push_str("|--:|---|--:|--:|--:|--:|--:|---|\n");
    for goal in GOALS {
        let Some(series) = all.get(goal.figure) else {
            continue;
        };
        let verdict = verdict(goal, series);
        if verdict == "MISSED" {
            missed.push(format!("{}: {}", goal.row, goal.figure));
        }
        append(
            &mut text,
            format_args!(
                "| {} | {} | {} | {} | {} | {} | {} | {verdict} |",
                goal.row,
                goal.figure,
                shown(series, System::Etcd),
                shown(series, System::Quorate),
                ratio(series),
                bound(goal.floor, series),
                bound(goal.aim, series),
            ),
        );
    }
    if !missed.is_empty() {
        append(
            &mut text,
            format_args!("\nBelow the floor: {}.", missed.join("; ")),
        );
    }
    if !all.failures().is_empty() {
        append(
            &mut text,
            format_args!("\nNot measured: {}.", all.failures().join("; ")),
        );
    }
    text.push_str("\n## All figures\n\n| figure | etcd | quorate | ratio | empty handler |\n");
    text.push_str("|---|--:|--:|--:|--:|\n");
    for series in all.all() {
        append(
            &mut text,
            format_args!(
                "| {} | {} | {} | {} | {} |",
                series.name,
                shown(series, System::Etcd),
                shown(series, System::Quorate),
                ratio(series),
                shown(series, System::Empty),
            ),
        );
    }
    text
}

fn append(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    writeln!(text, "{line}").unwrap_or_default();
}

fn shown(series: &Series, system: System) -> String {
    let value = series.of(system);
    value.map_or_else(|| "-".to_owned(), |value| series.unit.show(value))
}

/// Quorate's figure over etcd's.
fn ratio(series: &Series) -> String {
    match (series.of(System::Quorate), series.of(System::Etcd)) {
        (Some(ours), Some(theirs)) if theirs > 0.0 => format!("{:.2}x", ours / theirs),
        _ => "-".to_owned(),
    }
}

fn bound(bound: Bound, series: &Series) -> String {
    match bound {
        Bound::TimesAtLeast(times) => format!("≥ {times}x"),
        Bound::TimesAtMost(times) => format!("≤ {times:.2}x"),
        Bound::AtMost(most) if most.is_infinite() => "-".to_owned(),
        Bound::AtMost(most) => format!("≤ {}", series.unit.show(most)),
        Bound::AtLeast(least) => format!("≥ {}", series.unit.show(least)),
        Bound::OfCeiling(share) => format!("≥ {:.0}% of empty", share * 100.0),
        Bound::Either(one, other) => {
            format!(
                "{} or {}",
                self::bound(*one, series),
                self::bound(*other, series)
            )
        }
    }
}

fn verdict(goal: &Goal, series: &Series) -> &'static str {
    match (reaches(goal.floor, series), reaches(goal.aim, series)) {
        (_, Some(true)) => "aim",
        (Some(true), _) => "floor",
        (Some(false), _) => "MISSED",
        (None, _) => "?",
    }
}

/// None if there is nothing to compare with.
fn reaches(bound: Bound, series: &Series) -> Option<bool> {
    let ours = series.of(System::Quorate)?;
    let times = || Some(ours / series.of(System::Etcd)?);
    match bound {
        Bound::TimesAtLeast(least) => Some(times()? >= least),
        Bound::TimesAtMost(most) => Some(times()? <= most),
        Bound::AtMost(most) => Some(ours <= most),
        Bound::AtLeast(least) => Some(ours >= least),
        Bound::OfCeiling(share) => Some(ours >= share * series.of(System::Empty)?),
        Bound::Either(one, other) => match (reaches(*one, series), reaches(*other, series)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), _) | (_, Some(false)) => Some(false),
            (None, None) => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::{Figure, Unit};
    use std::path::PathBuf;
    use std::time::Duration;

    fn collection(ours: f64, theirs: f64, empty: f64) -> Collection {
        let mut all = Collection::default();
        for (system, value) in [
            (System::Quorate, ours),
            (System::Etcd, theirs),
            (System::Empty, empty),
        ] {
            all.add(
                system,
                Figure {
                    name: "get c=64, rate".into(),
                    unit: Unit::PerSecond,
                    value,
                },
            );
        }
        all
    }

    fn verdict_of(ours: f64, theirs: f64, empty: f64) -> &'static str {
        let all = collection(ours, theirs, empty);
        let goal = GOALS.iter().find(|goal| goal.figure == "get c=64, rate");
        verdict(goal.unwrap(), all.get("get c=64, rate").unwrap())
    }

    #[test]
    fn what_misses_its_floor_is_named() {
        assert_eq!(verdict_of(2.4, 1.0, 9.0), "MISSED");
        assert_eq!(verdict_of(2.6, 1.0, 9.0), "floor");
        assert_eq!(verdict_of(4.1, 1.0, 9.0), "aim");
        assert_eq!(verdict_of(2.6, 1.0, 3.0), "aim", "near the ceiling");
    }

    #[test]
    fn what_failed_is_named_beside_what_was_measured() {
        let plan = Plan {
            rounds: 1,
            duration: Duration::from_secs(1),
            quick: true,
            scenarios: Vec::new(),
            systems: Vec::new(),
            peer_binary: None,
            loads: Vec::new(),
            dir: PathBuf::new(),
        };
        let mut all = collection(2.0, 1.0, 9.0);
        assert!(!markdown(&plan, &all).contains("Not measured"));
        all.fail("join of quorate: it fell".to_owned());
        let text = markdown(&plan, &all);
        assert!(text.contains("\nNot measured: join of quorate: it fell.\n"));
        assert!(text.contains("2.00x"), "{text}");
    }

    #[test]
    fn every_goal_is_a_figure_of_its_own() {
        let mut names: Vec<&str> = GOALS.iter().map(|goal| goal.figure).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), GOALS.len());
    }
}

//! The judge's own judge: 102 histories of an etcd register that Jepsen recorded, with known verdicts.
//! They lie beside the checkout and are not copied into it.

use super::register::{ABSENT, Step, Values, plain};
use super::search::{Calls, Outcome, Span, search};
use std::collections::HashMap;
use std::path::PathBuf;

fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("QUORATE_JEPSEN_HISTORIES").map(PathBuf::from);
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let beside = ["../shared", "../../shared"].map(|at| root.join(at).join("data/jepsen-etcd"));
    let mut folders = named.into_iter().chain(beside);
    folders.find(|folder| folder.join("verdicts.txt").is_file())
}

/// One line a call or its answer: `INFO  jepsen.util - 4 :ok :cas [1 2]`, with tabs.
fn read<'a>(text: &'a str, values: &mut Values<'a>) -> (Vec<Step>, Vec<Span>) {
    let mut steps: Vec<Step> = Vec::new();
    let mut spans: Vec<Span> = Vec::new();
    let mut open: HashMap<&str, (usize, Vec<&str>)> = HashMap::new();
    for (at, line) in text.lines().enumerate() {
        let Some(line) = line.split_once(" - ").map(|(_, line)| line) else {
            continue;
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        let [process, kind, what, of @ ..] = words.as_slice() else {
            continue;
        };
        let at = at as u64;
        if *kind == ":invoke" {
            open.insert(process, (steps.len(), of.to_vec()));
            spans.push((at, u64::MAX));
            steps.push(Step::default());
            continue;
        }
        let Some((call, asked)) = open.remove(process) else {
            continue;
        };
        finish(
            &mut steps[call],
            &mut spans[call],
            (kind, what, of),
            &asked,
            at,
            values,
        );
    }
    // What was never answered at all: it may have been done.
    for (call, asked) in open.into_values() {
        if let [from, to] = asked.as_slice() {
            let (from, to) = pair(from, to, values);
            steps[call] = plain::compare_and_set(from, to, None);
        } else if let [value] = asked.as_slice()
            && *value != "nil"
        {
            steps[call] = plain::write(plain::value(values, value));
        }
    }
    (steps, spans)
}

fn pair<'a>(from: &'a str, to: &'a str, values: &mut Values<'a>) -> (u32, u32) {
    let (from, to) = (from.trim_matches('['), to.trim_matches(']'));
    (plain::value(values, from), plain::value(values, to))
}

fn finish<'a>(
    step: &mut Step,
    span: &mut Span,
    (kind, what, told): (&str, &str, &[&'a str]),
    asked: &[&'a str],
    at: u64,
    values: &mut Values<'a>,
) {
    let known = kind != ":info";
    match (what, asked) {
        // A read that failed says nothing.
        (":read", _) if kind != ":ok" => {}
        (":read", _) => {
            let told = told.first().copied().unwrap_or("nil");
            let state = if told == "nil" {
                ABSENT
            } else {
                plain::value(values, told)
            };
            *step = plain::read(state);
        }
        (":write", [value]) => *step = plain::write(plain::value(values, value)),
        (":cas", [from, to]) => {
            let (from, to) = pair(from, to, values);
            *step = plain::compare_and_set(from, to, known.then_some(kind == ":ok"));
        }
        other => panic!("{other:?} is not in these histories"),
    }
    if known {
        span.1 = at;
    }
}

#[test]
fn it_agrees_with_all_published_histories() {
    let Some(folder) = folder() else {
        println!("SKIPPED: the published histories are not beside the checkout");
        println!("  (data/jepsen-etcd of the shared folder, or QUORATE_JEPSEN_HISTORIES)");
        return;
    };
    let verdicts = std::fs::read_to_string(folder.join("verdicts.txt")).unwrap();
    let mut judged = 0;
    for line in verdicts.lines() {
        let mut words = line.split_whitespace();
        let Some(name) = words.next() else { continue };
        if name.starts_with('#') {
            continue;
        }
        let wanted = words.next().unwrap();
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        let mut values = Values::default();
        let (steps, spans) = read(&text, &mut values);
        let apply = |call: usize, state| steps[call].apply(state, &values);
        let mut budget = super::KEY_BUDGET;
        let hides: Vec<bool> = steps.iter().map(Step::hides).collect();
        let calls = Calls {
            spans: &spans,
            twins: &[],
            hides: &hides,
            initial: ABSENT,
            apply: &apply,
        };
        let outcome = search(calls, &mut budget);
        assert_ne!(outcome, Outcome::OverBudget, "{name}");
        let legal = outcome == Outcome::Legal;
        assert_eq!(legal, is_yes(wanted), "{name}");
        judged += 1;
    }
    assert_eq!(judged, 102);
}

fn is_yes(word: &str) -> bool {
    matches!(word, "true" | "yes" | "linearizable" | "ok")
}

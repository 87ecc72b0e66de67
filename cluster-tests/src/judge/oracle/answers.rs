//! Every answer against the state at its revision.

use super::{SHOWN, writer};
use crate::history::call::{Act, Answer, Call, Done, Found, Pair, Range, Txn};
use crate::history::operation::{Header, Operation};
use crate::judge::case::Case;
use crate::judge::finding::Violation;
use crate::judge::log::state::{Gap, View};

/// What came of it.
#[derive(Debug, Default)]
pub struct Replay {
    pub checked: u64,
    /// Over a gap.
    pub unchecked: u64,
    pub violations: Vec<Violation>,
}

/// Why an answer is wrong.
struct Wrong {
    title: String,
    told: String,
    expected: String,
    key: Option<String>,
    /// Revisions whose writes are part of the story.
    revisions: Vec<i64>,
}

/// Right, wrong, or over a gap.
type Judgement = Result<Result<(), Box<Wrong>>, Gap>;

pub fn replay(case: &Case<'_>) -> Replay {
    let mut replay = Replay::default();
    for (number, operation) in case.recording.operations.iter().enumerate() {
        let Some((header, answer)) = operation.answer() else {
            continue;
        };
        match check(case, operation, header, answer) {
            Err(Gap) => replay.unchecked += 1,
            Ok(judged) => {
                replay.checked += 1;
                if let Err(wrong) = judged
                    && replay.violations.len() < SHOWN
                {
                    let violation = violation(case, number, operation, header, *wrong);
                    replay.violations.push(violation);
                }
            }
        }
    }
    replay
}

fn check(case: &Case<'_>, operation: &Operation, header: &Header, answer: &Answer) -> Judgement {
    match (&operation.call, answer) {
        (Call::Range(range), Answer::Range(found)) => {
            check_range(case, range, found, header.revision, &[])
        }
        (Call::Txn(txn), Answer::Txn { succeeded, done }) => {
            check_txn(case, txn, *succeeded, done, header.revision)
        }
        (Call::Grant { .. } | Call::KeepAlive { .. }, Answer::Lease { .. })
        | (Call::Revoke { .. }, Answer::Revoked)
        | (Call::Compact { .. }, Answer::Compacted) => Ok(Ok(())),
        _ => wrong(
            "An answer to another question",
            format!("{answer:?}"),
            "an answer of the call's kind".to_owned(),
            None,
            Vec::new(),
        ),
    }
}

fn wrong(
    title: &str,
    told: String,
    expected: String,
    key: Option<&str>,
    revisions: Vec<i64>,
) -> Judgement {
    Ok(Err(Box::new(Wrong {
        title: title.to_owned(),
        told,
        expected,
        key: key.map(str::to_owned),
        revisions,
    })))
}

/// A change that the transaction itself made before, as later acts of it see it.
type Own<'a> = (&'a str, Option<View<'a>>);

fn check_range(
    case: &Case<'_>,
    range: &Range,
    found: &Found,
    current: i64,
    own: &[Own<'_>],
) -> Judgement {
    let at = match range.revision {
        0 => current,
        asked if asked > current => {
            return wrong(
                "A read of the future",
                format!("an answer at revision {asked} while the store is at {current}"),
                "an error".to_owned(),
                Some(&range.key),
                Vec::new(),
            );
        }
        asked => asked,
    };
    // Most reads are of one key: nothing is allocated for them.
    if range.end.is_none()
        && own.is_empty()
        && let [told] = found.kvs.as_slice()
        && (found.count, found.more) == (1, false)
        && let Some(expected) = case.log.at_name(&range.key, at)?
        && expected.is(told)
    {
        return Ok(Ok(()));
    }
    let mut views = case.log.within(range, at)?;
    if range.revision == 0 && !own.is_empty() {
        views.retain(|view| own.iter().all(|(key, _)| *key != view.key));
        let own = own.iter().filter(|(key, _)| range.contains(key));
        views.extend(own.filter_map(|(_, view)| *view));
        views.sort_unstable_by_key(|view| view.key);
    }
    let count = views.len();
    let limit = usize::try_from(range.limit).unwrap_or(0);
    let shown = if limit == 0 { count } else { count.min(limit) };
    for at in 0..shown.max(found.kvs.len()) {
        let (expected, told) = (views.get(at).filter(|_| at < shown), found.kvs.get(at));
        if let (Some(expected), Some(told)) = (expected, told)
            && expected.is(told)
        {
            continue;
        }
        // Of a list, the first pair that differs: the one with the smaller key is the odd one out.
        let key = match (expected, told) {
            (Some(expected), Some(told)) => expected.key.min(&told.key),
            (Some(expected), None) => expected.key,
            (None, Some(told)) => told.key.as_str(),
            (None, None) => "",
        };
        let expected = expected.filter(|view| view.key == key).copied();
        return differs(key, expected, told.filter(|pair| pair.key == key));
    }
    let more = count > shown;
    if found.more != more || usize::try_from(found.count).ok() != Some(count) {
        return wrong(
            "A list is counted wrongly",
            format!("{} keys, more: {}", found.count, found.more),
            format!("{count} keys, more: {more}"),
            Some(&range.key),
            Vec::new(),
        );
    }
    Ok(Ok(()))
}

/// One key: what the log has, and what the answer says.
fn differs(key: &str, expected: Option<View<'_>>, told: Option<&Pair>) -> Judgement {
    let revisions: Vec<i64> = expected
        .iter()
        .map(|view| view.mod_revision)
        .chain(told.map(|pair| pair.mod_revision))
        .collect();
    let title = match (&expected, told) {
        (Some(_), None) => format!("{key} is missing from an answer"),
        (None, Some(_)) => format!("An answer shows {key}, which was not there"),
        (Some(expected), Some(told)) if told.mod_revision < expected.mod_revision => {
            format!("An answer shows an old value of {key}")
        }
        _ => format!("An answer shows {key} as it was not at that revision"),
    };
    wrong(
        &title,
        in_words(key, told),
        view_in_words(key, expected),
        Some(key),
        revisions,
    )
}

fn in_words(key: &str, pair: Option<&Pair>) -> String {
    match pair {
        None => format!("{key} not there"),
        Some(pair) => View {
            key: &pair.key,
            value: &pair.value,
            create_revision: pair.create_revision,
            mod_revision: pair.mod_revision,
            version: pair.version,
            lease: pair.lease,
        }
        .to_string(),
    }
}

fn view_in_words(key: &str, view: Option<View<'_>>) -> String {
    view.map_or_else(|| format!("{key} not there"), |view| view.to_string())
}

fn check_txn(
    case: &Case<'_>,
    txn: &Txn,
    succeeded: bool,
    done: &[Done],
    revision: i64,
) -> Judgement {
    let acts = if succeeded { &txn.then } else { &txn.otherwise };
    let wrote = done.iter().any(|done| match done {
        Done::Put { .. } => true,
        Done::Deleted { previous } => !previous.is_empty(),
        Done::Get(_) => false,
    });
    // One that wrote stands on the state just before the revision that it made.
    let before = if wrote { revision - 1 } else { revision };
    if case.log.holds(txn, before)? != succeeded {
        let keys: Vec<&str> = txn.compares.iter().map(|one| one.key.as_str()).collect();
        let views = keys.iter().map(|key| case.log.at_name(key, before));
        let views = views.collect::<Result<Vec<_>, Gap>>()?;
        let words = keys.iter().zip(&views);
        let words: Vec<String> = words.map(|(key, view)| view_in_words(key, *view)).collect();
        let branch = if succeeded { "hold" } else { "do not hold" };
        return wrong(
            "A transaction took the wrong branch",
            format!("the comparisons {branch}"),
            words.join(", "),
            keys.first().copied(),
            views
                .iter()
                .flatten()
                .map(|view| view.mod_revision)
                .collect(),
        );
    }
    if acts.len() != done.len() {
        return wrong(
            "A transaction answers for acts that it has not",
            format!("{} answers", done.len()),
            format!("{} acts", acts.len()),
            None,
            Vec::new(),
        );
    }
    let mut own: Vec<Own<'_>> = Vec::new();
    for (act, done) in acts.iter().zip(done) {
        let judged = check_act(case, act, done, before, revision, &mut own)?;
        if judged.is_err() {
            return Ok(judged);
        }
    }
    Ok(Ok(()))
}

fn check_act<'t>(
    case: &Case<'t>,
    act: &'t Act,
    done: &Done,
    before: i64,
    revision: i64,
    own: &mut Vec<Own<'t>>,
) -> Judgement {
    match (act, done) {
        (Act::Get(range), Done::Get(found)) => check_range(case, range, found, before, own),
        (Act::Put { key, value, lease }, Done::Put { previous }) => {
            let known = own.iter().rfind(|(own, _)| own == key);
            let expected = match known {
                Some((_, view)) => *view,
                None => case.log.at_name(key, before)?,
            };
            let same = match (&expected, previous) {
                (None, None) => true,
                (Some(expected), Some(told)) => expected.is(told),
                _ => false,
            };
            if !same {
                return differs(key, expected, previous.as_ref());
            }
            let view = View {
                key,
                value,
                create_revision: expected.map_or(revision, |view| view.create_revision),
                mod_revision: revision,
                version: expected.map_or(0, |view| view.version) + 1,
                lease: *lease,
            };
            own.push((key, Some(view)));
            Ok(Ok(()))
        }
        (Act::Delete(range), Done::Deleted { previous }) => {
            let mut views = case.log.within(range, before)?;
            views.retain(|view| own.iter().all(|(key, _)| *key != view.key));
            for at in 0..views.len().max(previous.len()) {
                let (expected, told) = (views.get(at), previous.get(at));
                match (expected, told) {
                    (Some(expected), Some(told)) if expected.is(told) => {}
                    (expected, told) => {
                        let key = expected.map(|view| view.key);
                        let key = key.or(told.map(|pair| pair.key.as_str()));
                        return differs(key.unwrap_or(""), expected.copied(), told);
                    }
                }
            }
            own.extend(views.iter().map(|view| (view.key, None)));
            Ok(Ok(()))
        }
        _ => wrong(
            "An act of a transaction is answered as another",
            format!("{done:?}"),
            act.to_string(),
            None,
            Vec::new(),
        ),
    }
}

fn violation(
    case: &Case<'_>,
    number: usize,
    operation: &Operation,
    header: &Header,
    wrong: Wrong,
) -> Violation {
    let mut operations: Vec<usize> = wrong
        .revisions
        .iter()
        .filter_map(|revision| writer(case, *revision))
        .collect();
    operations.push(number);
    let at = match &operation.call {
        Call::Range(range) if range.revision != 0 => range.revision,
        _ => header.revision,
    };
    Violation {
        title: wrong.title,
        explanation: format!(
            "n{} answered {} ({}) at revision {at}: {}. The log has: {}",
            operation.node, operation.client, operation.call, wrong.told, wrong.expected
        ),
        contradicts: format!("{} at revision {at}", wrong.expected),
        operations: case.in_order(operations),
        offender: Some(number),
        watch: None,
        key: wrong.key,
        at: Some(operation.completed),
    }
}

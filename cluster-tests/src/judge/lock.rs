//! The lock, judged on its fencing token.
//!
//! A lock that is a lease can have two holders: one whose lease ended while it slept, and does not know,
//! and the next one. No lock service can prevent that (Kleppmann, "How to do distributed locking", 2016;
//! Jepsen on etcd 3.4.3, 2020). What it can do is to give each holder a larger number, and to refuse
//! work that comes with an old one: in etcd, a transaction that compares the create revision of the lock's
//! key. So what is judged is the guarded work: it is done in the order of its tokens, and none of an
//! older token after a newer token's. What the holders did unguarded is counted beside it, and fails
//! nobody.

use super::case::Case;
use super::finding::{Finding, Violation};
use crate::history::call::{Answer, Call, Relation, Target};
use crate::history::operation::Operation;
use crate::workload::Workload;

pub const FENCED: &str = "lock-fenced";
pub const UNFENCED: &str = "lock-unfenced";
const FENCED_PROMISE: &str = "Guarded by its token, nobody works under a lock that has passed on.";
const UNFENCED_PROMISE: &str =
    "Shown, and no fault of the store: without the token, old holders work on beside new ones.";
const KEY: &str = "lock/key";
const GUARDED: &str = "lock/guarded";
const UNGUARDED: &str = "lock/unguarded";
const SHOWN: usize = 3;

/// A piece of guarded work that was done.
#[derive(Clone, Copy)]
struct Work {
    token: i64,
    revision: i64,
    asked: u64,
    answered: u64,
    number: usize,
}

pub fn judge(case: &Case<'_>) -> Vec<Finding> {
    let mut done = Vec::new();
    let mut refused = 0;
    for (number, operation) in case.of(Workload::Lock) {
        let Some(token) = token(operation) else {
            continue;
        };
        match operation.answer() {
            Some((
                header,
                Answer::Txn {
                    succeeded: true, ..
                },
            )) => done.push(Work {
                token,
                revision: header.revision,
                asked: operation.invoked,
                answered: operation.completed,
                number,
            }),
            Some(_) => refused += 1,
            None => {}
        }
    }
    if done.is_empty() && refused == 0 {
        return vec![
            Finding::not_applicable(FENCED, FENCED_PROMISE, "nobody worked under a lock"),
            Finding::not_applicable(UNFENCED, UNFENCED_PROMISE, "nobody worked under a lock"),
        ];
    }
    let mut violations = Vec::new();
    by_revision(case, &mut done, &mut violations);
    by_time(case, &mut done, &mut violations);
    unanswered(case, &mut violations);
    violations.truncate(SHOWN);
    let holders = {
        let mut tokens: Vec<i64> = done.iter().map(|work| work.token).collect();
        tokens.sort_unstable();
        tokens.dedup();
        tokens.len()
    };
    let evaluated = (done.len() + refused) as u64;
    let summary = format!(
        "{} pieces of work by {holders} holders in turn; {refused} of holders that no longer were refused",
        done.len()
    );
    vec![
        Finding::of(FENCED, FENCED_PROMISE, evaluated, summary, violations),
        unfenced(case),
    ]
}

/// What it compares the create revision of the lock's key with.
fn token(operation: &Operation) -> Option<i64> {
    let Call::Txn(txn) = &operation.call else {
        return None;
    };
    let mut compares = txn.compares.iter();
    compares.find_map(|compare| match compare.target {
        Target::CreateRevision(token)
            if token != 0 && compare.relation == Relation::Equal && compare.key == KEY =>
        {
            Some(token)
        }
        _ => None,
    })
}

fn by_revision(case: &Case<'_>, done: &mut [Work], violations: &mut Vec<Violation>) {
    done.sort_unstable_by_key(|work| work.revision);
    let mut newest: Option<Work> = None;
    for work in done.iter() {
        if let Some(newest) = newest
            && work.token < newest.token
        {
            violations.push(violation(case, newest, *work, "at a later revision"));
        }
        newest = newest
            .filter(|newest| newest.token > work.token)
            .or(Some(*work));
    }
}

/// The same by the clients' clocks, for a store whose revisions lie.
fn by_time(case: &Case<'_>, done: &mut [Work], violations: &mut Vec<Violation>) {
    done.sort_unstable_by_key(|work| work.asked);
    let mut over = done.to_vec();
    over.sort_unstable_by_key(|work| work.answered);
    let mut over = over.into_iter().peekable();
    let mut newest: Option<Work> = None;
    for work in done.iter() {
        while let Some(before) = over.next_if(|before| before.answered < work.asked) {
            newest = newest
                .filter(|newest| newest.token > before.token)
                .or(Some(before));
        }
        if let Some(newest) = newest
            && work.token < newest.token
        {
            violations.push(violation(case, newest, *work, "later"));
        }
    }
}

/// Work without an answer that was done all the same: by what it left in the log.
fn unanswered(case: &Case<'_>, violations: &mut Vec<Violation>) {
    let mut newest = 0;
    for (at, token) in tokens(case, GUARDED) {
        if token < newest {
            violations.push(Violation {
                title: "Work under a lock that had passed on".to_owned(),
                explanation: format!(
                    "revision {at} of {GUARDED} was made with token {token}, after work with token {newest}"
                ),
                contradicts: format!("the lock's token was {newest} already"),
                operations: super::oracle::writer(case, at).into_iter().collect(),
                key: Some(GUARDED.to_owned()),
                ..Violation::default()
            });
        }
        newest = newest.max(token);
    }
}

/// (revision, token) of each value of a key; values begin with the token and a colon.
fn tokens(case: &Case<'_>, key: &str) -> Vec<(i64, i64)> {
    let Some(key) = case.log.keys.find(key) else {
        return Vec::new();
    };
    let versions = case.log.history(key).iter();
    let tokens = versions.filter_map(|version| {
        let token = version.value?.split(':').next()?.parse().ok()?;
        Some((version.revision, token))
    });
    tokens.collect()
}

fn unfenced(case: &Case<'_>) -> Finding {
    let tokens = tokens(case, UNGUARDED);
    let (mut newest, mut late) = (0, 0);
    for (_, token) in &tokens {
        late += usize::from(*token < newest);
        newest = newest.max(*token);
    }
    let summary = format!(
        "{late} of {} unguarded pieces of work came from a holder whose lock had passed on",
        tokens.len()
    );
    Finding::passed(UNFENCED, UNFENCED_PROMISE, tokens.len() as u64, summary)
}

fn violation(case: &Case<'_>, newest: Work, work: Work, when: &str) -> Violation {
    let who = case.operation(work.number);
    Violation {
        title: "Work under a lock that had passed on".to_owned(),
        explanation: format!(
            "{} worked with token {} {when} than somebody with token {}",
            who.map_or("somebody", |who| who.client.as_str()),
            work.token,
            newest.token
        ),
        contradicts: format!("the lock's token was {} already", newest.token),
        operations: case.in_order(vec![newest.number, work.number]),
        offender: Some(work.number),
        key: Some(KEY.to_owned()),
        at: who.map(|who| who.completed),
        ..Violation::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::call::{Act, Compare, Txn};
    use crate::judge::finding::Verdict;
    use crate::judge::imagined::{Imagined, answer_of, finding};

    fn acquire(store: &mut Imagined, client: &str, lease: i64) -> i64 {
        let act = Act::Put {
            key: KEY.into(),
            value: client.into(),
            lease,
        };
        store.call(
            client,
            Call::Txn(Txn {
                then: vec![act],
                ..Txn::default()
            }),
        );
        store.revision
    }

    fn work(store: &mut Imagined, client: &str, token: i64) -> usize {
        let value = format!("{token}:0");
        store.put(client, UNGUARDED, &value);
        let compare = Compare {
            key: KEY.into(),
            relation: Relation::Equal,
            target: Target::CreateRevision(token),
        };
        let guarded = Txn {
            compares: vec![compare],
            ..Txn::put(GUARDED, value)
        };
        store.call(client, Call::Txn(guarded))
    }

    #[test]
    fn an_old_holder_is_refused_and_the_rest_is_shown() {
        let mut store = Imagined::new();
        let old = acquire(&mut store, "lock.0", 1);
        work(&mut store, "lock.0", old);
        store.expire(1);
        let new = acquire(&mut store, "lock.1", 2);
        work(&mut store, "lock.1", new);
        let late = work(&mut store, "lock.0", old);
        let mut recording = store.end();
        let fenced = finding(judge, FENCED, &recording);
        assert_eq!(fenced.verdict, Verdict::Passed, "{fenced:?}");
        let unfenced = finding(judge, UNFENCED, &recording);
        assert_eq!(unfenced.verdict, Verdict::Passed);
        assert!(
            unfenced.summary.starts_with("1 of 3"),
            "{}",
            unfenced.summary
        );
        // Had it not been refused:
        if let Answer::Txn { succeeded, .. } = answer_of(&mut recording, late) {
            *succeeded = true;
        }
        let found = finding(judge, FENCED, &recording);
        assert_eq!(found.verdict, Verdict::Failed);
        assert_eq!(found.violations[0].offender, Some(late));
    }
}

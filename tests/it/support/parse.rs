//! The words of the scripts, made into commands.

use bytes::Bytes;
use quorate::state_machine::command::{
    Command, Compare, CompareTarget, DeleteRange, Fence, LeaseMark, Operation, Put, Relation, Txn,
};
use quorate::types::{KeyRange, RangeEnd, RangeQuery, SortOrder, SortTarget};

pub(crate) type Words = [(Option<String>, String)];
type Parsed<T> = Result<T, String>;

fn number(text: &str) -> Parsed<i64> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}

fn bytes(text: &str) -> Bytes {
    Bytes::from(text.to_owned())
}

/// Words without a key, and those with one.
fn split(words: &Words) -> (Vec<&str>, Vec<(&str, &str)>) {
    let plain = words
        .iter()
        .filter(|(key, _)| key.is_none())
        .map(|(_, word)| word.as_str());
    let keyed = words
        .iter()
        .filter_map(|(key, value)| Some((key.as_deref()?, value.as_str())));
    (plain.collect(), keyed.collect())
}

fn key_range(plain: &[&str], flags: &[&str]) -> Parsed<KeyRange> {
    let start = bytes(plain.first().ok_or("a key is missing")?);
    let end = match plain.get(1) {
        Some(&"inf") => RangeEnd::Unbounded,
        Some(end) if !flags.contains(end) => RangeEnd::Before(bytes(end)),
        Some(_) | None => RangeEnd::Single,
    };
    Ok(KeyRange { start, end })
}

pub(crate) fn put(words: &Words) -> Parsed<Put> {
    let (plain, keyed) = split(words);
    let [key, value, flags @ ..] = plain.as_slice() else {
        return Err("put KEY VALUE".into());
    };
    let lease = match keyed.iter().find(|(key, _)| *key == "lease") {
        Some((_, lease)) => number(lease)?,
        None => 0,
    };
    Ok(Put {
        key: bytes(key),
        value: bytes(value),
        lease,
        prev_kv: flags.contains(&"prev"),
        ignore_value: flags.contains(&"ignore_value"),
        ignore_lease: flags.contains(&"ignore_lease"),
    })
}

pub(crate) fn delete(words: &Words) -> Parsed<DeleteRange> {
    let (plain, _) = split(words);
    Ok(DeleteRange {
        range: key_range(&plain, &["prev"])?,
        prev_kv: plain.contains(&"prev"),
    })
}

pub(crate) fn query(words: &Words) -> Parsed<RangeQuery> {
    let (plain, keyed) = split(words);
    let mut query = RangeQuery::latest(key_range(&plain, &["keys", "count"])?);
    query.keys_only = plain.contains(&"keys");
    query.count_only = plain.contains(&"count");
    for (key, value) in keyed {
        match key {
            "limit" => query.limit = number(value)?,
            "rev" => query.revision = number(value)?,
            "min_mod" => query.min_mod_revision = number(value)?,
            "max_mod" => query.max_mod_revision = number(value)?,
            "min_create" => query.min_create_revision = number(value)?,
            "max_create" => query.max_create_revision = number(value)?,
            "order" => {
                query.sort_order = match value {
                    "ascend" => SortOrder::Ascend,
                    "descend" => SortOrder::Descend,
                    _ => SortOrder::None,
                };
            }
            "sort" => {
                query.sort_target = match value {
                    "version" => SortTarget::Version,
                    "create" => SortTarget::Create,
                    "mod" => SortTarget::Mod,
                    "value" => SortTarget::Value,
                    _ => SortTarget::Key,
                };
            }
            other => return Err(format!("unknown option {other}")),
        }
    }
    Ok(query)
}

/// `put a 1 prev`, as one text.
fn words(text: &str) -> Vec<(Option<String>, String)> {
    let word = |word: &str| match word.split_once('=') {
        Some((key, value)) => (Some(key.to_owned()), value.to_owned()),
        None => (None, word.to_owned()),
    };
    text.split_whitespace().map(word).collect()
}

pub(crate) fn command(text: &str) -> Parsed<Command> {
    let (name, rest) = text.split_once(' ').ok_or("a command has words")?;
    let words = words(rest);
    Ok(match name {
        "put" => Command::Put(put(&words)?),
        "del" => Command::DeleteRange(delete(&words)?),
        "compact" => Command::Compact {
            revision: number(rest)?,
        },
        "grant" | "revoke" | "mark" => lease(name, &words)?,
        _ => return Err(format!("unknown command {name}")),
    })
}

/// `grant ID TTL`, `revoke ID [term= granted=]`, `mark ID REMAINING term= granted=`.
pub(crate) fn lease(name: &str, words: &Words) -> Parsed<Command> {
    let (plain, keyed) = split(words);
    let plain = plain.into_iter().map(number).collect::<Parsed<Vec<_>>>()?;
    let of = |name| {
        let found = keyed.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| number(value).map(i64::cast_unsigned))
    };
    let (term, granted_at) = (of("term").transpose()?, of("granted").transpose()?);
    Ok(match (name, plain.as_slice()) {
        ("grant", &[id, ttl]) => Command::LeaseGrant { id, ttl },
        ("revoke", &[id]) => Command::LeaseRevoke {
            id,
            fence: term
                .zip(granted_at)
                .map(|(term, granted_at)| Fence { term, granted_at }),
        },
        ("mark", &[id, remaining]) => Command::LeaseCheckpoint {
            term: term.ok_or("mark ... term=")?,
            marks: vec![LeaseMark {
                id,
                granted_at: granted_at.ok_or("mark ... granted=")?,
                remaining,
            }],
        },
        _ => return Err(format!("{name}: other words were expected")),
    })
}

pub(crate) fn txn(words: &Words) -> Parsed<Txn> {
    let (plain, keyed) = split(words);
    let of = |name| {
        keyed
            .iter()
            .find(|(key, _)| *key == name)
            .map_or("", |(_, value)| *value)
    };
    Ok(Txn {
        compare: compares(plain.first().copied().unwrap_or(""))?,
        success: operations(of("then"))?,
        failure: operations(of("else"))?,
    })
}

/// Splits at `at`, but not inside braces.
fn pieces(text: &str, at: char) -> Vec<&str> {
    let (mut depth, mut from, mut pieces) = (0, 0, Vec::new());
    for (place, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ if letter == at && depth == 0 => {
                pieces.push(text[from..place].trim());
                from = place + letter.len_utf8();
            }
            _ => {}
        }
    }
    pieces.push(text[from..].trim());
    pieces
}

fn operations(text: &str) -> Parsed<Vec<Operation>> {
    pieces(text, ';')
        .into_iter()
        .filter(|text| !text.is_empty())
        .map(operation)
        .collect()
}

fn operation(text: &str) -> Parsed<Operation> {
    if let Some(inner) = text
        .strip_prefix("txn{")
        .and_then(|text| text.strip_suffix('}'))
    {
        let parts = pieces(inner, '|');
        let part = |n: usize| parts.get(n).copied().unwrap_or("");
        return Ok(Operation::Txn(Txn {
            compare: compares(part(0))?,
            success: operations(part(1))?,
            failure: operations(part(2))?,
        }));
    }
    let (name, rest) = text.split_once(' ').ok_or("an operation has words")?;
    let words = words(rest);
    Ok(match name {
        "put" => Operation::Put(put(&words)?),
        "del" => Operation::DeleteRange(delete(&words)?),
        "get" => Operation::Range(query(&words)?),
        _ => return Err(format!("unknown operation {name}")),
    })
}

/// `version KEY [END] = 3`, separated by `;`.
fn compares(text: &str) -> Parsed<Vec<Compare>> {
    pieces(text, ';')
        .into_iter()
        .filter(|text| !text.is_empty())
        .map(compare)
        .collect()
}

fn compare(text: &str) -> Parsed<Compare> {
    let words: Vec<_> = text.split_whitespace().collect();
    let [target, keys @ .., relation, value] = words.as_slice() else {
        return Err(format!("TARGET KEY [END] RELATION VALUE, not {text}"));
    };
    let relation = match *relation {
        "=" => Relation::Equal,
        "!=" => Relation::NotEqual,
        ">" => Relation::Greater,
        "<" => Relation::Less,
        other => return Err(format!("unknown relation {other}")),
    };
    let target = match *target {
        "version" => CompareTarget::Version(number(value)?),
        "create" => CompareTarget::Create(number(value)?),
        "mod" => CompareTarget::Mod(number(value)?),
        "lease" => CompareTarget::Lease(number(value)?),
        "value" => CompareTarget::Value(bytes(value)),
        other => return Err(format!("unknown target {other}")),
    };
    Ok(Compare {
        range: key_range(keys, &[])?,
        relation,
        target,
    })
}

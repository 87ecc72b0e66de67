//! Comparisons and acts of a transaction, as a script writes them.
//!
//! ```text
//! a=1 and version(a)!=0 and create(jobs/1)=5 and mod(a)<9
//! put a 2; get a; delete a
//! ```

use crate::history::call::{Act, Compare, Range, Relation, Target};
use anyhow::{Context as _, Result, bail};

/// # Errors
/// One is no comparison.
pub fn compares(text: &str) -> Result<Vec<Compare>> {
    let parts = text.split(" and ").map(str::trim);
    parts.filter(|part| !part.is_empty()).map(compare).collect()
}

/// # Errors
/// One is no act.
pub fn acts(text: &str) -> Result<Vec<Act>> {
    let parts = text.split(';').map(str::trim);
    parts.filter(|part| !part.is_empty()).map(act).collect()
}

fn compare(text: &str) -> Result<Compare> {
    let (at, _) = text
        .char_indices()
        .find(|(_, c)| matches!(c, '=' | '!' | '<' | '>'))
        .with_context(|| format!("{text:?} compares nothing: a=1, mod(a)<9"))?;
    let (left, rest) = text.split_at(at);
    let (relation, right) = if let Some(right) = rest.strip_prefix("!=") {
        (Relation::NotEqual, right)
    } else if let Some(right) = rest.strip_prefix('=') {
        (Relation::Equal, right)
    } else if let Some(right) = rest.strip_prefix('<') {
        (Relation::Less, right)
    } else if let Some(right) = rest.strip_prefix('>') {
        (Relation::Greater, right)
    } else {
        bail!("{text:?} compares by none of = != < >");
    };
    let of = |name: &str| {
        left.strip_prefix(name)
            .and_then(|left| left.strip_prefix('(')?.strip_suffix(')'))
    };
    let number = || {
        let number = right.parse::<i64>();
        number.with_context(|| format!("{text:?}: {right:?} is no number"))
    };
    let (key, target) = if let Some(key) = of("mod") {
        (key, Target::ModRevision(number()?))
    } else if let Some(key) = of("create") {
        (key, Target::CreateRevision(number()?))
    } else if let Some(key) = of("version") {
        (key, Target::Version(number()?))
    } else {
        (left, Target::Value(right.to_owned()))
    };
    Ok(Compare {
        key: key.to_owned(),
        relation,
        target,
    })
}

fn act(text: &str) -> Result<Act> {
    let words: Vec<&str> = text.split_whitespace().collect();
    Ok(match words.as_slice() {
        ["put", key, value] => Act::Put {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            lease: 0,
        },
        ["get", key] => Act::Get(Range::one(*key)),
        ["delete", key] => Act::Delete(Range::one(*key)),
        _ => bail!("{text:?} is none of: put KEY VALUE, get KEY, delete KEY"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_reads_aloud_the_same() {
        let text = "a=1 and mod(a)<9 and create(jobs/1)!=0 and version(b)>2";
        let read = compares(text).unwrap();
        let aloud: Vec<String> = read.iter().map(Compare::to_string).collect();
        assert_eq!(aloud.join(" and "), text);
        let read = acts("put a 2; get b ;delete c;").unwrap();
        let aloud: Vec<String> = read.iter().map(Act::to_string).collect();
        assert_eq!(aloud, ["put a=2", "get b", "delete c"]);
        assert!(compares("").unwrap().is_empty() && acts(" ").unwrap().is_empty());
    }

    #[test]
    fn what_is_neither_is_an_error() {
        for text in ["a", "mod(a)=x", "a!1", "version(a)="] {
            assert!(compares(text).is_err(), "{text}");
        }
        for text in ["put a", "get", "move a b", "get a b"] {
            assert!(acts(text).is_err(), "{text}");
        }
    }
}

//! Requests and answers, in etcd's words, as the history keeps them.
//!
//! A put and a deletion are transactions of one act without a comparison; on the wire they are the
//! calls of their own.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    Range(Range),
    Txn(Txn),
    Compact { revision: i64 },
    Grant { id: i64, ttl: i64 },
    Revoke { id: i64 },
    KeepAlive { id: i64 },
}

/// Keys from `key` up to `end`, or `key` alone; an `end` of one zero byte is the end of all keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Range {
    pub key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// 0: no limit.
    pub limit: i64,
    /// 0: the latest.
    pub revision: i64,
    pub serializable: bool,
}

/// The end of all keys, in etcd's words; as a key, the first of all.
const ALL: &str = "\0";

impl Range {
    /// Every key of the store.
    pub fn all() -> Self {
        Self {
            key: ALL.to_owned(),
            end: Some(ALL.to_owned()),
            ..Self::default()
        }
    }

    pub fn is_all(&self) -> bool {
        self.key == ALL && self.end.as_deref() == Some(ALL)
    }

    pub fn one(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            ..Self::default()
        }
    }

    /// All keys that begin with `prefix`, which ends in an ASCII character.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        let key: String = prefix.into();
        let mut end = key.clone();
        let last = end.pop().map_or('\u{1}', |last| {
            char::from_u32(u32::from(last) + 1).unwrap_or(last)
        });
        end.push(last);
        Self {
            key,
            end: Some(end),
            ..Self::default()
        }
    }

    pub fn contains(&self, key: &str) -> bool {
        match self.end.as_deref() {
            Some(ALL) => *self.key <= *key,
            Some(end) => *self.key <= *key && *key < *end,
            None => self.key == key,
        }
    }
}

/// All comparisons hold: `then`, else `otherwise`; in order, at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Txn {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub compares: Vec<Compare>,
    pub then: Vec<Act>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub otherwise: Vec<Act>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Compare {
    pub key: String,
    pub relation: Relation,
    pub target: Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    Equal,
    NotEqual,
    Greater,
    Less,
}

/// What a comparison looks at. A key that is not there has revisions and version 0; its value equals
/// nothing and differs from nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    Value(String),
    ModRevision(i64),
    CreateRevision(i64),
    Version(i64),
}

/// One act of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    Put {
        key: String,
        value: String,
        /// 0: none.
        #[serde(default)]
        lease: i64,
    },
    Get(Range),
    Delete(Range),
}

impl Txn {
    pub fn put(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            then: vec![Act::Put {
                key: key.into(),
                value: value.into(),
                lease: 0,
            }],
            ..Self::default()
        }
    }

    pub fn delete(range: Range) -> Self {
        Self {
            then: vec![Act::Delete(range)],
            ..Self::default()
        }
    }

    /// Whether it may write, on either branch.
    pub fn writes(&self) -> bool {
        let mut acts = self.then.iter().chain(&self.otherwise);
        acts.any(|act| !matches!(act, Act::Get(_)))
    }
}

impl Call {
    /// Whether it may change the store's keys, leases or history.
    pub fn writes(&self) -> bool {
        match self {
            Self::Range(_) => false,
            Self::Txn(txn) => txn.writes(),
            Self::Compact { .. }
            | Self::Grant { .. }
            | Self::Revoke { .. }
            | Self::KeepAlive { .. } => true,
        }
    }
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    Range(Found),
    Txn {
        succeeded: bool,
        done: Vec<Done>,
    },
    /// Of a grant or a renewal: a renewal of a lease that is not there has `ttl` 0.
    Lease {
        id: i64,
        ttl: i64,
    },
    Revoked,
    Compacted,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Found {
    pub kvs: Vec<Pair>,
    pub more: bool,
    pub count: i64,
}

/// A key with its value, as a store holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Pair {
    pub key: String,
    pub value: String,
    pub create_revision: i64,
    pub mod_revision: i64,
    pub version: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub lease: i64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// What an act brought. Previous pairs are asked for always.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Done {
    Put { previous: Option<Pair> },
    Get(Found),
    Deleted { previous: Vec<Pair> },
}

impl fmt::Display for Range {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.key)?;
        if let Some(end) = &self.end {
            write!(formatter, "..{end}")?;
        }
        if self.revision != 0 {
            write!(formatter, " @{}", self.revision)?;
        }
        if self.serializable {
            write!(formatter, " (serializable)")?;
        }
        Ok(())
    }
}

impl fmt::Display for Compare {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relation = match self.relation {
            Relation::Equal => "=",
            Relation::NotEqual => "!=",
            Relation::Greater => ">",
            Relation::Less => "<",
        };
        match &self.target {
            Target::Value(value) => write!(formatter, "{}{relation}{value}", self.key),
            Target::ModRevision(at) => write!(formatter, "mod({}){relation}{at}", self.key),
            Target::CreateRevision(at) => write!(formatter, "create({}){relation}{at}", self.key),
            Target::Version(at) => write!(formatter, "version({}){relation}{at}", self.key),
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { key, value, .. } => write!(formatter, "put {key}={value}"),
            Self::Get(range) => write!(formatter, "get {range}"),
            Self::Delete(range) => write!(formatter, "delete {range}"),
        }
    }
}

/// Items with a separator between them.
fn list<T: fmt::Display>(
    formatter: &mut fmt::Formatter<'_>,
    items: &[T],
    separator: &str,
) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        let before = if at == 0 { "" } else { separator };
        write!(formatter, "{before}{item}")?;
    }
    Ok(())
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(range) => write!(formatter, "get {range}"),
            Self::Txn(txn) => {
                if !txn.compares.is_empty() {
                    formatter.write_str("if ")?;
                    list(formatter, &txn.compares, " and ")?;
                    formatter.write_str(": ")?;
                }
                list(formatter, &txn.then, ", ")?;
                if !txn.otherwise.is_empty() {
                    formatter.write_str("; else ")?;
                    list(formatter, &txn.otherwise, ", ")?;
                }
                Ok(())
            }
            Self::Compact { revision } => write!(formatter, "compact {revision}"),
            Self::Grant { id, ttl } => write!(formatter, "grant {id:x} for {ttl} s"),
            Self::Revoke { id } => write!(formatter, "revoke {id:x}"),
            Self::KeepAlive { id } => write!(formatter, "renew {id:x}"),
        }
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}={} @{}",
            self.key, self.value, self.mod_revision
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_its_neighbour() {
        let range = Range::prefix("bank/");
        assert!(range.contains("bank/1") && !range.contains("bank0") && !range.contains("bank"));
        assert_eq!(range.end.as_deref(), Some("bank0"));
        assert!(Range::all().contains("bank/1") && Range::all().is_all());
    }

    #[test]
    fn a_call_reads_aloud() {
        let txn = Txn {
            compares: vec![Compare {
                key: "r/1".into(),
                relation: Relation::Equal,
                target: Target::Value("3".into()),
            }],
            then: Txn::put("r/1", "4").then,
            otherwise: vec![Act::Get(Range::one("r/1"))],
        };
        assert_eq!(
            Call::Txn(txn).to_string(),
            "if r/1=3: put r/1=4; else get r/1"
        );
    }
}

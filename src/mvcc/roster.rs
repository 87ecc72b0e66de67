//! What is replicated of members beside Raft's own membership: what each published of itself, which
//! data directory it lives in, and which members have left for ever.
//!
//! A few rows of `meta`, held in memory as a whole:
//!
//! ```text
//! member/<id>    name, client URLs          "published"
//! claim/<id>     incarnation                the first data directory that claimed the id
//! removed/<id>   nothing                    the id was removed and never comes back
//! ```
//!
//! Invariant: a removed member has neither of the other rows.

use super::Error;
use crate::storage::varint::{Input, put_bytes, put_u64};
use crate::storage::{Batch, Bounds, Family, Scan, View, keys};
use crate::types::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// What a member published of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberAttributes {
    pub node: NodeId,
    pub name: String,
    pub client_urls: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    published: BTreeMap<NodeId, MemberAttributes>,
    claims: BTreeMap<NodeId, u64>,
    removed: BTreeSet<NodeId>,
}

impl Roster {
    /// What members published, by id.
    pub fn published(&self) -> impl Iterator<Item = &MemberAttributes> {
        self.published.values()
    }

    pub fn attributes(&self, node: NodeId) -> Option<&MemberAttributes> {
        self.published.get(&node)
    }

    /// The incarnation of the data directory that a member lives in, once it claimed its id.
    pub fn claim(&self, node: NodeId) -> Option<u64> {
        self.claims.get(&node).copied()
    }

    pub fn is_removed(&self, node: NodeId) -> bool {
        self.removed.contains(&node)
    }

    pub(super) fn publish(&mut self, member: MemberAttributes) {
        assert!(!self.is_removed(member.node), "a removed member stays away");
        self.published.insert(member.node, member);
    }

    /// Binds an id to a data directory, once and for all.
    pub(super) fn bind(&mut self, node: NodeId, incarnation: u64) {
        assert!(!self.is_removed(node), "a removed member stays away");
        let before = self.claims.insert(node, incarnation);
        assert!(before.is_none(), "an id belongs to one data directory");
    }

    pub(super) fn remove(&mut self, node: NodeId) {
        self.published.remove(&node);
        self.claims.remove(&node);
        self.removed.insert(node);
    }

    pub(super) fn read(view: &View<'_>) -> Result<Self, Error> {
        let mut roster = Self::default();
        each_row(view, keys::MEMBER_PREFIX, |node, row| {
            let member = read_attributes(node, row)?;
            roster.published.insert(node, member);
            Ok(())
        })?;
        each_row(view, keys::CLAIM_PREFIX, |node, row| {
            let incarnation = Input::new(row).u64().map_err(|_| corrupt())?;
            roster.claims.insert(node, incarnation);
            Ok(())
        })?;
        each_row(view, keys::REMOVED_PREFIX, |node, _| {
            roster.removed.insert(node);
            Ok(())
        })?;
        Ok(roster)
    }

    /// All of it anew: it is small, and changes when somebody starts, comes or goes.
    pub(super) fn write(&self, batch: &mut Batch<'_>) {
        for node in &self.removed {
            batch.delete(Family::Meta, &keys::member(*node));
            batch.delete(Family::Meta, &keys::claim(*node));
        }
        self.each(|key, row| batch.put(Family::Meta, key, row));
    }

    /// Visits every row.
    pub(super) fn each(&self, mut visit: impl FnMut(&[u8], &[u8])) {
        for (node, member) in &self.published {
            visit(&keys::member(*node), &attributes_row(member));
        }
        for (node, incarnation) in &self.claims {
            let mut row = Vec::new();
            put_u64(&mut row, *incarnation);
            visit(&keys::claim(*node), &row);
        }
        for node in &self.removed {
            visit(&keys::removed(*node), &[]);
        }
    }
}

fn corrupt() -> Error {
    Error::Corrupt {
        what: "meta: the roster",
    }
}

fn attributes_row(member: &MemberAttributes) -> Vec<u8> {
    let mut row = Vec::new();
    put_bytes(&mut row, member.name.as_bytes());
    for url in &member.client_urls {
        put_bytes(&mut row, url.as_bytes());
    }
    row
}

fn read_attributes(node: NodeId, row: &[u8]) -> Result<MemberAttributes, Error> {
    let mut input = Input::new(row);
    let mut text = || -> Result<String, Error> {
        let bytes = input.bytes().map_err(|_| corrupt())?;
        String::from_utf8(bytes.to_vec()).map_err(|_| corrupt())
    };
    let name = text()?;
    let mut client_urls = Vec::new();
    while !input.is_empty() {
        let bytes = input.bytes().map_err(|_| corrupt())?;
        client_urls.push(String::from_utf8(bytes.to_vec()).map_err(|_| corrupt())?);
    }
    Ok(MemberAttributes {
        node,
        name,
        client_urls,
    })
}

/// Visits the rows of `meta` under a prefix that is followed by a member's id.
fn each_row(
    view: &View<'_>,
    prefix: &[u8],
    mut visit: impl FnMut(NodeId, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let bounds = Bounds {
        lower: prefix.to_vec(),
        upper: None,
    };
    let mut rows = view.cursor(Family::Meta, bounds, Scan::Short)?;
    while let Some((key, row)) = rows.row() {
        let Some(node) = key.strip_prefix(prefix) else {
            break;
        };
        let node = node.try_into().map_err(|_| corrupt())?;
        visit(u64::from_be_bytes(node), row)?;
        rows.advance()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_member_leaves_one_row() {
        let mut roster = Roster::default();
        roster.bind(7, 70);
        roster.publish(MemberAttributes {
            node: 7,
            name: "seven".into(),
            client_urls: vec!["http://seven:2379".into()],
        });
        roster.remove(7);
        assert!(roster.is_removed(7));
        assert_eq!((roster.claim(7), roster.attributes(7)), (None, None));
        let mut keys = Vec::new();
        roster.each(|key, _| keys.push(key.to_vec()));
        assert_eq!(keys, [keys::removed(7)]);
    }
}

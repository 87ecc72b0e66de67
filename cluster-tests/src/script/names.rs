//! Who is who: a story speaks of roles, never of numbers, ports or pids.

use crate::cluster::topology::Topology;
use anyhow::{Context as _, Result};
use std::collections::BTreeSet;

/// Names of members, in the order in which they were given. A member is called by the last that it was
/// given; the earlier ones are understood too.
#[derive(Clone, Debug, Default)]
pub struct Names {
    given: Vec<(String, usize)>,
}

impl Names {
    /// Whoever leads is `leader`, the others are `f1`, `f2`, ... by number.
    pub fn of(leader: usize, members: &[usize]) -> Self {
        let mut names = Self::default();
        names.give("leader", leader);
        let others = members.iter().filter(|node| **node != leader);
        for (number, node) in (1..).zip(others) {
            names.give(&format!("f{number}"), *node);
        }
        names
    }

    /// From now on `node` is called `name`, and whoever was is not.
    pub fn give(&mut self, name: &str, node: usize) {
        self.given.retain(|(given, _)| given != name);
        self.given.push((name.to_owned(), node));
    }

    /// # Errors
    /// Nobody is called so.
    pub fn node(&self, name: &str) -> Result<usize> {
        let given = self.given.iter().find(|(given, _)| given == name);
        let known = || {
            let names = self.given.iter().map(|(name, _)| name.as_str());
            names.collect::<Vec<_>>().join(", ")
        };
        Ok(given
            .with_context(|| format!("nobody is called {name:?}: there are {}", known()))?
            .1)
    }

    /// # Errors
    /// Nobody is called by one of the names.
    pub fn nodes(&self, names: &[String]) -> Result<Vec<usize>> {
        names.iter().map(|name| self.node(name)).collect()
    }

    pub fn name(&self, node: usize) -> String {
        let given = self.given.iter().rfind(|(_, known)| *known == node);
        given.map_or_else(|| format!("member {node}"), |(name, _)| name.clone())
    }

    /// By what everybody is called now, in the order in which it was given: that of roles, while numbers
    /// are chance.
    fn called(&self) -> impl Iterator<Item = (&str, usize)> {
        let given = self.given.iter().enumerate();
        let latest = given.filter(|(at, (_, node))| {
            let mut later = self.given.iter().skip(at + 1);
            !later.any(|(_, other)| other == node)
        });
        latest.map(|(_, (name, node))| (name.as_str(), *node))
    }

    /// "leader, f1"
    pub fn list(&self, nodes: &[usize]) -> String {
        let called = self.called().filter(|(_, node)| nodes.contains(node));
        called.map(|(name, _)| name).collect::<Vec<_>>().join(", ")
    }

    /// Reads a topology by names: "leader | f1 f2", "f1 f2 > leader"; between names there may be spaces
    /// or commas ([`crate::cluster::topology`] has the rest of the language).
    ///
    /// # Errors
    /// The text is none, or names nobody.
    pub fn topology(&self, text: &str) -> Result<Topology> {
        let mut numbers = String::new();
        let spaced = text
            .replace('|', " | ")
            .replace('>', " > ")
            .replace(';', " ; ");
        for word in spaced.split([' ', ',']).filter(|word| !word.is_empty()) {
            if let "|" | ">" | ";" = word {
                numbers.push_str(word);
                continue;
            }
            if numbers.ends_with(|last: char| last.is_ascii_digit()) {
                numbers.push(',');
            }
            numbers.push_str(&self.node(word)?.to_string());
        }
        let most = self.given.iter().map(|(_, node)| *node).max().unwrap_or(0);
        Topology::parse(&numbers, most)
    }

    /// "leader --x-- f1, f1 --x-> f2"
    pub fn cuts(&self, topology: &Topology) -> String {
        let mut said = BTreeSet::new();
        let mut links = Vec::new();
        for (a, from) in self.called() {
            for (b, to) in self.called() {
                if !topology.is_cut(from, to) || !said.insert((from, to)) {
                    continue;
                }
                let arrow = if topology.is_cut(to, from) {
                    said.insert((to, from));
                    "--x--"
                } else {
                    "--x->"
                };
                links.push(format!("{a} {arrow} {b}"));
            }
        }
        links.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_bound_by_number() {
        let mut names = Names::of(2, &[1, 2, 3]);
        assert_eq!(names.node("leader").unwrap(), 2);
        assert_eq!(names.node("f2").unwrap(), 3);
        names.give("next", 3);
        assert_eq!(names.node("next").unwrap(), 3);
        assert_eq!(names.node("f2").unwrap(), 3);
        assert_eq!(names.name(3), "next");
        assert_eq!(names.list(&[3, 1, 2]), "leader, f1, next");
        let nobody = names.node("f3").unwrap_err().to_string();
        assert!(
            nobody.ends_with("there are leader, f1, f2, next"),
            "{nobody}"
        );
    }

    #[test]
    fn a_topology_is_read_and_told_by_roles() {
        let names = Names::of(2, &[1, 2, 3]);
        let told = |text: &str| names.cuts(&names.topology(text).unwrap());
        assert_eq!(told("leader"), "leader --x-- f1, leader --x-- f2");
        assert_eq!(told("leader f1 | f1, f2"), "leader --x-- f2");
        assert_eq!(told("f1 f2>leader"), "f1 --x-> leader, f2 --x-> leader");
        assert_eq!(
            told("f1 > leader; leader > f2"),
            "leader --x-> f2, f1 --x-> leader"
        );
        assert!(names.topology("leader | f9").is_err());
        assert!(names.topology("").is_err());
    }
}

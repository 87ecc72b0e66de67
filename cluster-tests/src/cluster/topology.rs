//! Who hears whom, as data.
//!
//! A topology is the set of *cut directions*: `(a, b)` means that bytes a sends to b vanish,
//! whoever dialled the connection. Nodes are numbered from 1.
//!
//! ```text
//! "1|2,3"      two sides; nodes that are named nowhere form one more side: "1" isolates 1
//! "1,2,3|3,4,5"  a node on two sides is a bridge: it talks with both
//! "1>2,3"      one way: what 1 sends to 2 and to 3 vanishes; several with ';': "1>2;2>3"
//! ```

use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::fmt;

/// The directions that are cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    cut: BTreeSet<(usize, usize)>,
}

impl Topology {
    /// Everybody hears everybody.
    pub fn healed() -> Self {
        Self::default()
    }

    /// Reads the text form for a cluster of `nodes`.
    ///
    /// # Errors
    /// The text is not one, or names a node that does not exist.
    pub fn parse(text: &str, nodes: usize) -> Result<Self> {
        ensure!(
            !text.trim().is_empty(),
            "an empty partition; to undo one: heal"
        );
        if !text.contains('>') {
            let sides = text
                .split('|')
                .map(|side| list(side, nodes))
                .collect::<Result<Vec<_>>>()?;
            return Ok(Self::sides(&sides, nodes));
        }
        let mut topology = Self::healed();
        for clause in text.split(';') {
            let (from, to) = clause.split_once('>').context("a clause without '>'")?;
            for from in list(from, nodes)? {
                for to in list(to, nodes)? {
                    topology = topology.and_one_way(from, to);
                }
            }
        }
        Ok(topology)
    }

    /// Two nodes hear each other if they share a side. Nodes on no side form one of their own.
    pub fn sides(sides: &[Vec<usize>], nodes: usize) -> Self {
        let rest: Vec<usize> = (1..=nodes)
            .filter(|node| !sides.iter().any(|side| side.contains(node)))
            .collect();
        let mut topology = Self::healed();
        for a in 1..=nodes {
            for b in 1..=nodes {
                let together = sides
                    .iter()
                    .chain(std::iter::once(&rest))
                    .any(|side| side.contains(&a) && side.contains(&b));
                if a != b && !together {
                    topology.cut.insert((a, b));
                }
            }
        }
        topology
    }

    /// `node` neither hears nor is heard.
    pub fn isolated(node: usize, nodes: usize) -> Self {
        Self::sides(&[vec![node]], nodes)
    }

    /// `node` hears nobody; everybody hears it.
    pub fn deaf(node: usize, nodes: usize) -> Self {
        (1..=nodes)
            .filter(|other| *other != node)
            .fold(Self::healed(), |topology, other| {
                topology.and_one_way(other, node)
            })
    }

    /// `node` hears everybody; nobody hears it.
    pub fn mute(node: usize, nodes: usize) -> Self {
        (1..=nodes)
            .filter(|other| *other != node)
            .fold(Self::healed(), |topology, other| {
                topology.and_one_way(node, other)
            })
    }

    /// The link between `a` and `b` is down both ways (Cloudflare's outage of 2020, in a cluster of
    /// three: both still hear the third).
    pub fn link_down(a: usize, b: usize) -> Self {
        Self::healed().and_one_way(a, b).and_one_way(b, a)
    }

    /// The directions (from, to) that are cut.
    pub fn cuts(&self) -> impl Iterator<Item = (usize, usize)> {
        self.cut.iter().copied()
    }

    /// Also: what `from` sends to `to` vanishes.
    #[must_use]
    pub fn and_one_way(mut self, from: usize, to: usize) -> Self {
        assert_ne!(from, to, "a node always hears itself");
        self.cut.insert((from, to));
        self
    }

    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains(&(from, to))
    }

    pub fn is_healed(&self) -> bool {
        self.cut.is_empty()
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_healed() {
            return formatter.write_str("no link is cut");
        }
        let mut separator = "";
        for (a, b) in &self.cut {
            let both = self.is_cut(*b, *a);
            if both && b < a {
                continue;
            }
            write!(
                formatter,
                "{separator}{a}{}{b}",
                if both { "--x--" } else { "--x->" }
            )?;
            separator = "  ";
        }
        Ok(())
    }
}

fn list(text: &str, nodes: usize) -> Result<Vec<usize>> {
    text.split(',')
        .map(|word| {
            let node: usize = word
                .trim()
                .parse()
                .with_context(|| format!("{word:?} is not a node number"))?;
            if !(1..=nodes).contains(&node) {
                bail!("there is no node {node}: nodes are 1 to {nodes}");
            }
            Ok(node)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts(text: &str, nodes: usize) -> Vec<(usize, usize)> {
        Topology::parse(text, nodes)
            .unwrap()
            .cut
            .into_iter()
            .collect()
    }

    #[test]
    fn sides_cut_both_ways_between_them() {
        assert_eq!(cuts("1|2,3", 3), [(1, 2), (1, 3), (2, 1), (3, 1)]);
        assert_eq!(Topology::parse("1", 3).unwrap(), Topology::isolated(1, 3));
    }

    #[test]
    fn a_node_on_two_sides_is_a_bridge() {
        let bridge = Topology::parse("1,2,3|3,4,5", 5).unwrap();
        assert!(bridge.is_cut(1, 4));
        assert!(bridge.is_cut(5, 2));
        for other in [1, 2, 4, 5] {
            assert!(!bridge.is_cut(3, other));
            assert!(!bridge.is_cut(other, 3));
        }
    }

    #[test]
    fn one_way_cuts_cut_one_way() {
        assert_eq!(cuts("1>2,3", 3), [(1, 2), (1, 3)]);
        assert_eq!(Topology::parse("1>2,3", 3).unwrap(), Topology::mute(1, 3));
        assert_eq!(Topology::parse("2>1;3>1", 3).unwrap(), Topology::deaf(1, 3));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "4|1", "x", "1|", "0", "1>"] {
            assert!(Topology::parse(text, 3).is_err(), "{text:?}");
        }
    }

    #[test]
    fn it_can_be_read_aloud() {
        assert_eq!(Topology::link_down(1, 3).to_string(), "1--x--3");
        assert_eq!(Topology::mute(2, 3).to_string(), "2--x->1  2--x->3");
    }
}

//! What every link does at a moment: the state of the network as a value.
//!
//! A fault does not touch a proxy or a packet filter; it says what the weather is, and whoever carries
//! the packets makes it so. What is not in the map is a clear link. The same value drives the proxies
//! ([`super::links`]), the packet filter and the simulation.

use super::topology::Topology;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// How a link is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cut {
    /// Bytes vanish: the sender sees a silent peer.
    Drop,
    /// Connections are reset, new ones refused: the sender knows at once.
    Reset,
    /// What is open goes on, nothing new is opened.
    NewOnly,
}

/// What the way from one member to another does to the bytes on it, whoever dialled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Quality {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// Milliseconds that everything takes.
    #[serde(skip_serializing_if = "is_zero")]
    pub delay_ms: u64,
    /// Up to so many milliseconds more, drawn for each piece; order is kept, as TCP keeps it.
    #[serde(skip_serializing_if = "is_zero")]
    pub jitter_ms: u64,
    /// Of a thousand packets so many are lost. TCP sends them again, so what an application sees of it
    /// is a stall.
    #[serde(skip_serializing_if = "is_zero")]
    pub loss_per_mille: u64,
    /// Bytes a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// What is sent in one piece larger than this many bytes never arrives, nor does anything after
    /// it: a path whose MTU is smaller than both ends believe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub largest: Option<usize>,
    /// Of a thousand messages (a request, or its answer) so many arrive twice. Only who carries whole
    /// messages can do it: TCP shows nobody what it received twice, or out of order.
    #[serde(skip_serializing_if = "is_zero")]
    pub duplicate_per_mille: u64,
    /// Of a thousand messages so many are overtaken by those that were sent later.
    #[serde(skip_serializing_if = "is_zero")]
    pub reorder_per_mille: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Quality {
    pub fn cut(how: Cut) -> Self {
        Self {
            cut: Some(how),
            ..Self::default()
        }
    }

    pub fn is_clear(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it is about messages: who carries bytes or packets cannot do it.
    pub fn is_of_messages(&self) -> bool {
        self.duplicate_per_mille > 0 || self.reorder_per_mille > 0
    }

    /// Two faults on one link: the worse of each.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        /// The smaller of two bounds, where there are any.
        fn tighter<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            }
        }
        Self {
            // The first of the variants swallows what the others would let through.
            cut: tighter(self.cut, other.cut),
            delay_ms: self.delay_ms.max(other.delay_ms),
            jitter_ms: self.jitter_ms.max(other.jitter_ms),
            loss_per_mille: self.loss_per_mille.max(other.loss_per_mille),
            rate: tighter(self.rate, other.rate),
            largest: tighter(self.largest, other.largest),
            duplicate_per_mille: self.duplicate_per_mille.max(other.duplicate_per_mille),
            reorder_per_mille: self.reorder_per_mille.max(other.reorder_per_mille),
        }
    }
}

/// The quality of every directed way (from, to) that is not clear. Nodes count from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    ways: BTreeMap<(usize, usize), Quality>,
}

impl Weather {
    pub fn clear() -> Self {
        Self::default()
    }

    /// The ways of a topology cut, the others clear.
    pub fn cut(topology: &Topology, how: Cut) -> Self {
        let mut weather = Self::clear();
        for (from, to) in topology.cuts() {
            weather.worsen(from, to, &Quality::cut(how));
        }
        weather
    }

    /// The way from `from` to `to` becomes worse by `quality`.
    pub fn worsen(&mut self, from: usize, to: usize, quality: &Quality) {
        let way = self.ways.entry((from, to)).or_default();
        *way = way.and(quality);
    }

    /// Both at once.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for ((from, to), quality) in &other.ways {
            self.worsen(*from, *to, quality);
        }
        self
    }

    pub fn way(&self, from: usize, to: usize) -> Quality {
        self.ways.get(&(from, to)).cloned().unwrap_or_default()
    }

    pub fn is_clear(&self) -> bool {
        self.ways().next().is_none()
    }

    /// What is not clear.
    pub fn ways(&self) -> impl Iterator<Item = (usize, usize, &Quality)> {
        let ways = self.ways.iter().filter(|(_, quality)| !quality.is_clear());
        ways.map(|((from, to), quality)| (*from, *to, quality))
    }

    /// Whether nothing passes from `from` to `to`.
    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        matches!(self.way(from, to).cut, Some(Cut::Drop | Cut::Reset))
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        match self.cut {
            None => {}
            Some(Cut::Drop) => words.push("dropped".to_owned()),
            Some(Cut::Reset) => words.push("reset".to_owned()),
            Some(Cut::NewOnly) => words.push("nothing new".to_owned()),
        }
        match (self.delay_ms, self.jitter_ms) {
            (0, 0) => {}
            (delay, 0) => words.push(format!("{delay} ms")),
            (delay, jitter) => words.push(format!("{delay} to {} ms", delay + jitter)),
        }
        if self.loss_per_mille > 0 {
            let (percent, tenths) = (self.loss_per_mille / 10, self.loss_per_mille % 10);
            words.push(format!("{percent}.{tenths}% lost"));
        }
        if let Some(rate) = self.rate {
            words.push(format!("{rate} bytes/s"));
        }
        if let Some(largest) = self.largest {
            words.push(format!("nothing over {largest} bytes"));
        }
        for (per_mille, what) in [
            (self.duplicate_per_mille, "twice"),
            (self.reorder_per_mille, "overtaken"),
        ] {
            if per_mille > 0 {
                words.push(format!("{}.{}% {what}", per_mille / 10, per_mille % 10));
            }
        }
        formatter.write_str(&words.join(", "))
    }
}

impl fmt::Display for Weather {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clear() {
            return formatter.write_str("every link is clear");
        }
        let mut separator = "";
        for (from, to, quality) in self.ways() {
            let both = self.way(to, from) == *quality;
            if both && to < from {
                continue;
            }
            formatter.write_str(separator)?;
            separator = "  ";
            let cut = *quality == Quality::cut(Cut::Drop);
            match (cut, both) {
                (true, true) => write!(formatter, "{from}--x--{to}")?,
                (true, false) => write!(formatter, "{from}--x->{to}")?,
                (false, true) => write!(formatter, "{from}<->{to} ({quality})")?,
                (false, false) => write!(formatter, "{from}-->{to} ({quality})")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_can_be_read_aloud() {
        assert_eq!(Weather::clear().to_string(), "every link is clear");
        let mut weather = Weather::cut(&Topology::link_down(1, 2), Cut::Drop);
        let lossy = Quality {
            delay_ms: 20,
            jitter_ms: 30,
            loss_per_mille: 25,
            ..Quality::default()
        };
        weather.worsen(2, 3, &lossy);
        weather.worsen(3, 2, &lossy);
        weather.worsen(3, 1, &Quality::cut(Cut::Reset));
        assert_eq!(
            weather.to_string(),
            "1--x--2  2<->3 (20 to 50 ms, 2.5% lost)  3-->1 (reset)"
        );
    }

    #[test]
    fn two_faults_on_one_way_are_the_worse_of_each() {
        let slow = Quality {
            delay_ms: 20,
            rate: Some(1000),
            ..Quality::default()
        };
        let slower = Quality {
            delay_ms: 5,
            rate: Some(10),
            cut: Some(Cut::NewOnly),
            ..Quality::default()
        };
        let both = slow.and(&slower);
        assert_eq!((both.delay_ms, both.rate), (20, Some(10)));
        assert_eq!(both.and(&Quality::cut(Cut::Drop)).cut, Some(Cut::Drop));
    }

    #[test]
    fn what_a_topology_cuts_is_cut() {
        let weather = Weather::cut(&Topology::mute(1, 3), Cut::Drop);
        assert!(weather.is_cut(1, 2) && weather.is_cut(1, 3));
        assert!(!weather.is_cut(2, 1));
        assert!(weather.way(2, 1).is_clear());
    }
}

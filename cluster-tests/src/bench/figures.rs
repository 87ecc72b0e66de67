//! What is measured: figures, of each system, over the rounds.

use super::System;
use std::collections::BTreeMap;
use std::fmt;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    PerSecond,
    Micros,
    Millis,
    Seconds,
    Megabytes,
    MegabytesPerSecond,
    /// Of something that happened.
    Times,
    /// Of two figures of one system.
    Ratio,
}

impl Unit {
    /// As people read it: more digits where they tell something.
    pub fn show(self, value: f64) -> String {
        let (value, word) = match self {
            Self::PerSecond if value >= 10_000.0 => (value / 1e3, "k/s"),
            Self::PerSecond => (value, "/s"),
            Self::Micros => (value, " us"),
            Self::Millis => (value, " ms"),
            Self::Seconds => (value, " s"),
            Self::Megabytes => (value, " MB"),
            Self::MegabytesPerSecond => (value, " MB/s"),
            Self::Times => return format!("{value:.0}"),
            Self::Ratio => (value, ""),
        };
        match value.abs() {
            large if large >= 100.0 => format!("{value:.0}{word}"),
            medium if medium >= 10.0 => format!("{value:.1}{word}"),
            _ => format!("{value:.2}{word}"),
        }
    }
}

/// One number of one system in one round.
#[derive(Clone, Debug)]
pub struct Figure {
    /// `put c=256, server`: the same on every system.
    pub name: String,
    pub unit: Unit,
    pub value: f64,
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.name, self.unit.show(self.value))
    }
}

/// What a scenario found on one system.
#[derive(Clone, Debug, Default)]
pub struct Figures(Vec<Figure>);

impl Figures {
    pub fn add(&mut self, name: impl Into<String>, unit: Unit, value: f64) {
        let name = name.into();
        self.0.push(Figure { name, unit, value });
    }
}

impl IntoIterator for Figures {
    type Item = Figure;
    type IntoIter = std::vec::IntoIter<Figure>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A figure of every system, over the rounds.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub unit: Unit,
    values: BTreeMap<System, Vec<f64>>,
}

impl Series {
    /// The median over the rounds.
    pub fn of(&self, system: System) -> Option<f64> {
        median(self.values.get(&system)?)
    }
}

/// Everything of a run, in the order in which it was first found.
#[derive(Clone, Debug, Default)]
pub struct Collection {
    series: Vec<Series>,
    /// What could not be measured, and why.
    failures: Vec<String>,
}

impl Collection {
    pub fn fail(&mut self, why: String) {
        self.failures.push(why);
    }

    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    pub fn add(&mut self, system: System, figure: Figure) {
        let mut series = self.series.iter();
        let at = series.position(|series| series.name == figure.name);
        let at = at.unwrap_or_else(|| {
            self.series.push(Series {
                name: figure.name,
                unit: figure.unit,
                values: BTreeMap::new(),
            });
            self.series.len() - 1
        });
        if let Some(series) = self.series.get_mut(at) {
            let values = series.values.entry(system).or_default();
            values.push(figure.value);
        }
    }

    pub fn get(&self, name: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.name == name)
    }

    pub fn all(&self) -> &[Series] {
        &self.series
    }
}

/// Between the two in the middle, if there are two.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get((values.len() / 2).checked_sub(1)?)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
    }

    #[test]
    fn digits_tell_something() {
        assert_eq!(Unit::PerSecond.show(47_226.4), "47.2k/s");
        assert_eq!(Unit::PerSecond.show(812.4), "812/s");
        assert_eq!(Unit::Micros.show(3.414), "3.41 us");
        assert_eq!(Unit::Times.show(12_896.0), "12896");
    }

    #[test]
    fn each_system_has_its_own_median() {
        let mut all = Collection::default();
        for (system, value) in [
            (System::Etcd, 4.0),
            (System::Quorate, 1.0),
            (System::Quorate, 3.0),
        ] {
            all.add(
                system,
                Figure {
                    name: "x".into(),
                    unit: Unit::Ratio,
                    value,
                },
            );
        }
        let series = all.get("x").unwrap();
        assert_eq!(series.of(System::Etcd), Some(4.0));
        assert_eq!(series.of(System::Quorate), Some(2.0));
    }
}

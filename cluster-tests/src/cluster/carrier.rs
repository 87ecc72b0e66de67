//! Who carries what members send each other, and makes the weather so.

use super::layout::Layout;
use super::links::Links;
use super::process::Process;
use super::program::Program;
use super::weather::Weather;
use anyhow::{Result, ensure};

/// How members reach each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wiring {
    /// Directly: there is no weather.
    #[default]
    Direct,
    /// Through proxies of ours.
    Proxies,
}

/// The wires of one cluster, and the weather on them.
#[derive(Debug)]
pub struct Carrier {
    means: Means,
    weather: Weather,
}

#[derive(Debug)]
enum Means {
    Direct,
    Proxies(Links),
}

impl Carrier {
    /// For a cluster without members yet. What is left to chance is drawn from `seed`.
    pub fn new(wiring: Wiring, program: Program, layout: Layout, seed: u64) -> Self {
        let means = match wiring {
            Wiring::Direct => Means::Direct,
            Wiring::Proxies => Means::Proxies(Links::new(program, layout, seed)),
        };
        Self {
            means,
            weather: Weather::clear(),
        }
    }

    /// One more member, which has not been started.
    ///
    /// # Errors
    /// An address is in use.
    pub async fn admit(&mut self, node: usize, process: &Process) -> Result<()> {
        match &mut self.means {
            Means::Direct => Ok(()),
            Means::Proxies(links) => links.admit(node, process).await,
        }
    }

    /// What every way does now.
    pub fn weather(&self) -> &Weather {
        &self.weather
    }

    /// From here on every way does exactly this, to open connections too.
    ///
    /// # Errors
    /// These wires cannot do it.
    #[allow(clippy::unused_async, reason = "to load a packet filter takes a while")]
    pub async fn set(&mut self, weather: &Weather) -> Result<()> {
        match &self.means {
            Means::Direct => ensure!(
                weather.is_clear(),
                "the members of this cluster reach each other directly: there is nothing to cut"
            ),
            Means::Proxies(links) => links.set(weather),
        }
        self.weather.clone_from(weather);
        Ok(())
    }

    /// What of the weather the wires only approach, in words for a report.
    pub fn limits(&self) -> &'static str {
        match &self.means {
            Means::Direct => "Members reach each other directly.",
            Means::Proxies(links) => links.limits(),
        }
    }
}

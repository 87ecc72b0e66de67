//! Who carries what members send each other, and makes the weather so.

use super::layout::Layout;
use super::links::Links;
use super::packets::{self, Packets};
use super::process::Process;
use super::program::Program;
use super::weather::{Quality, Weather};
use anyhow::{Result, ensure};

/// How members reach each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Wiring {
    /// Directly: there is no weather.
    #[default]
    Direct,
    /// Through proxies of ours.
    Proxies,
    /// By packets, which a filter judges, in a network namespace of the laboratory's own
    /// ([`super::namespace::enter`]).
    Packets,
}

impl Wiring {
    /// Addresses for a cluster with such wires.
    ///
    /// # Errors
    /// No address is free.
    pub fn layout(self) -> Result<Layout> {
        match self {
            Self::Direct | Self::Proxies => Layout::claim(),
            Self::Packets => Ok(Layout::apart()),
        }
    }
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
    Packets(Packets),
}

impl Carrier {
    /// For a cluster without members yet. What proxies leave to chance is drawn from `seed`.
    ///
    /// # Errors
    /// Packets cannot be filtered here.
    pub async fn new(wiring: Wiring, program: Program, layout: Layout, seed: u64) -> Result<Self> {
        let means = match wiring {
            Wiring::Direct => Means::Direct,
            Wiring::Proxies => Means::Proxies(Links::new(program, layout, seed)),
            Wiring::Packets => Means::Packets(Packets::open(layout).await?),
        };
        Ok(Self {
            means,
            weather: Weather::clear(),
        })
    }

    /// One more member, which has not been started.
    ///
    /// # Errors
    /// An address is in use, or the kernel refuses a namespace.
    pub async fn admit(&mut self, node: usize, process: &mut Process) -> Result<()> {
        match &mut self.means {
            Means::Direct => Ok(()),
            Means::Proxies(links) => links.admit(node, process).await,
            Means::Packets(packets) => packets.admit(node, process).await,
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
    pub async fn set(&mut self, weather: &Weather) -> Result<()> {
        match &self.means {
            Means::Direct => ensure!(
                weather.is_clear(),
                "the members of this cluster reach each other directly: there is nothing to cut"
            ),
            Means::Proxies(links) => links.set(weather),
            Means::Packets(packets) => packets.set(weather).await?,
        }
        self.weather.clone_from(weather);
        Ok(())
    }

    /// What of the weather the wires only approach, in words for a report.
    pub fn limits(&self) -> &'static str {
        match &self.means {
            Means::Direct => "Members reach each other directly.",
            Means::Proxies(links) => links.limits(),
            Means::Packets(_) => packets::LIMITS,
        }
    }

    /// Why these wires cannot have this quality, if they cannot.
    pub fn cannot(&self, quality: &Quality) -> Option<&'static str> {
        const OF_MESSAGES: &str = "TCP shows nobody what came twice or out of order: that is for the simulation, which carries messages";
        match &self.means {
            _ if quality.is_of_messages() => Some(OF_MESSAGES),
            Means::Direct => (!quality.is_clear()).then_some("members reach each other directly"),
            Means::Proxies(_) => None,
            Means::Packets(_) => Packets::cannot(quality),
        }
    }
}

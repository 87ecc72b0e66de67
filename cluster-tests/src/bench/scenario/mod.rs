//! What is measured, one kind of load a file. The numbers are the rows of docs/performance.md.

mod failover;
mod growth;
mod join;
mod latency;
mod lease;
mod load;
mod million;
mod overload;
mod upkeep;
mod watch;

pub use growth::SIZES;
pub use latency::EtcdMost;

use super::System;
use super::figures::Figures;
use super::stand::Stand;
use anyhow::Result;
use clap::ValueEnum as _;
use std::fmt;

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Puts, gets and transactions of 1 to 1000 clients in a closed loop (1 to 7; 12: idle memory).
    Load,
    /// Puts and gets at a fixed rate, so that latency is not what clients leave of it.
    Latency,
    /// A million keys: bulk load, lists, memory, restarts (8, 9, 12, 13).
    Million,
    /// Watchers of one prefix (10).
    Watch,
    /// Leases that are kept alive (11).
    Lease,
    /// The leader is killed, and stopped (14, 15).
    Failover,
    /// Compaction and Defragment under load (16, 17).
    Upkeep,
    /// A new member of a cluster that holds 2 GB (18).
    Join,
    /// Three times as much as fits (19).
    Overload,
    /// What puts, gets, lists and memory cost with 10k, 100k and 1M keys, and 10M for Quorate.
    Growth,
}

impl fmt::Display for Scenario {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        formatter.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

impl Scenario {
    pub const ALL: [Self; 10] = [
        Self::Load,
        Self::Latency,
        Self::Million,
        Self::Watch,
        Self::Lease,
        Self::Failover,
        Self::Upkeep,
        Self::Join,
        Self::Overload,
        Self::Growth,
    ];
    /// What three minutes allow.
    pub const QUICK: [Self; 4] = [Self::Load, Self::Watch, Self::Lease, Self::Failover];

    /// Only in the first round: it takes long, and its figures are of sizes, not of moments.
    pub fn is_told_once(self) -> bool {
        matches!(self, Self::Join | Self::Growth)
    }

    pub fn applies_to(self, system: System) -> bool {
        match system {
            System::Quorate => true,
            System::Etcd => self != Self::Join,
            // It answers calls, and stores nothing.
            System::Empty => self == Self::Load,
        }
    }

    /// Starts a system and measures it.
    ///
    /// # Errors
    /// It does not come up, or fails under the load.
    pub async fn measure(self, stand: &Stand) -> Result<Figures> {
        match self {
            Self::Load => load::measure(stand).await,
            Self::Latency => latency::measure(stand).await,
            Self::Million => million::measure(stand).await,
            Self::Watch => watch::measure(stand).await,
            Self::Lease => lease::measure(stand).await,
            Self::Failover => failover::measure(stand).await,
            Self::Upkeep => upkeep::measure(stand).await,
            Self::Join => join::measure(stand).await,
            Self::Overload => overload::measure(stand).await,
            Self::Growth => growth::measure(stand).await,
        }
    }
}

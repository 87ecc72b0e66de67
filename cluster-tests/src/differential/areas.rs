//! Which services a run goes to.

use std::collections::BTreeSet;

/// A part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Area {
    Kv,
    Lease,
    Watch,
    /// Locks and elections.
    Lock,
    Cluster,
    Maintenance,
}

/// Those of a run.
#[derive(Clone, Debug)]
pub struct Areas(BTreeSet<Area>);

impl Areas {
    pub fn all() -> Self {
        Self(BTreeSet::from([
            Area::Kv,
            Area::Lease,
            Area::Watch,
            Area::Lock,
            Area::Cluster,
            Area::Maintenance,
        ]))
    }

    /// These; all if there are none. The KV service is always there, to have something to watch.
    pub fn of(areas: &[Area]) -> Self {
        if areas.is_empty() {
            return Self::all();
        }
        let mut areas: BTreeSet<Area> = areas.iter().copied().collect();
        areas.insert(Area::Kv);
        Self(areas)
    }

    pub fn has(&self, area: Area) -> bool {
        self.0.contains(&area)
    }
}

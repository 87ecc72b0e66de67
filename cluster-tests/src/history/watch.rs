//! What the watchers were told, stream by stream.

use super::call::{Pair, Range};
use serde::{Deserialize, Serialize};

/// One watch on one stream. A watcher whose stream ended opens the next one; both are here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WatchStream {
    /// Who watches: `watch.2`. Its streams follow each other in time.
    pub watcher: String,
    pub workload: String,
    pub node: usize,
    pub opened: u64,
    pub request: WatchRequest,
    /// In the order of arrival.
    pub told: Vec<Told>,
    /// When it ended and why; none: it was open at the end of the run.
    pub ended: Option<(u64, String)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct WatchRequest {
    pub range: Range,
    /// 0: from now on.
    pub start_revision: i64,
    pub prev_kv: bool,
    pub fragment: bool,
    pub progress_notify: bool,
    /// Filters out puts, deletions.
    pub no_put: bool,
    pub no_delete: bool,
}

/// One response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Told {
    pub at: u64,
    /// Of its header.
    pub revision: i64,
    pub what: Tidings,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tidings {
    Created,
    /// `fragment`: the rest of this response's events is in the next one.
    Events {
        events: Vec<Event>,
        fragment: bool,
    },
    /// No event up to the header's revision is still to come.
    Progress,
    /// `compact_revision` is not 0 where the start was compacted.
    Canceled {
        compact_revision: i64,
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Event {
    pub kind: Kind,
    /// Of a deletion: key and `mod_revision` alone.
    pub kv: Pair,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub previous: Option<Pair>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Put,
    Delete,
}

impl WatchStream {
    /// Every event with the moment of its arrival.
    pub fn events(&self) -> impl Iterator<Item = (u64, &Event)> {
        self.told.iter().flat_map(|told| {
            let events = match &told.what {
                Tidings::Events { events, .. } => events.as_slice(),
                Tidings::Created | Tidings::Progress | Tidings::Canceled { .. } => &[],
            };
            events.iter().map(|event| (told.at, event))
        })
    }
}

//! The command that makes the past unreadable. What it removes from the disk is `compaction`'s.

use super::row::read_event;
use super::write_txn::{WriteTxn, change_bytes, event_bytes};
use super::{Error, Refusal};
use crate::storage::{Bounds, Family, Scan, keys};
use crate::types::Revision;

impl WriteTxn<'_> {
    /// Compacts to `revision`: from here on nothing older can be read.
    pub fn compact(&mut self, revision: Revision) -> Result<Result<(), Refusal>, Error> {
        if revision <= self.changes.head.compacted {
            return Ok(Err(Refusal::Compacted));
        }
        if revision > self.changes.head.revision {
            return Ok(Err(Refusal::FutureRevision));
        }
        self.changes.head.compacted_event_bytes = self.event_bytes_before(revision)?;
        self.changes.head.compact(revision);
        Ok(Ok(()))
    }

    /// Bytes of all events below `revision`: the first event from there on knows.
    fn event_bytes_before(&self, revision: Revision) -> Result<u64, Error> {
        let bounds = Bounds {
            lower: keys::event(revision, 0).to_vec(),
            upper: None,
        };
        let view = self.view();
        let cursor = view.cursor(Family::Events, bounds, Scan::Short)?;
        if let Some((_, row)) = cursor.row() {
            let (event, total) = read_event(row)?;
            let own = event_bytes(event.key, change_bytes(&event.change));
            return total.checked_sub(own).ok_or(Error::Corrupt {
                what: "events: their total",
            });
        }
        let mut pending = self.changes.overlay.events().iter();
        Ok(match pending.find(|pending| pending.main >= revision) {
            Some(pending) => {
                let own = event_bytes(&pending.event.key, change_bytes(&pending.event.change));
                pending.total - own
            }
            None => self.changes.head.event_bytes,
        })
    }
}

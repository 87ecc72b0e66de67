//! The stored events in the order they were made, and what a key was before one of them: what
//! watchers read who cannot be told from memory.

use super::read_view::ReadView;
use super::row::{Event, read_event, read_history};
use super::state_cursor::{Found, Value};
use super::{Error, row};
use crate::storage::{Bounds, Cursor, Family, Scan, keys};
use crate::types::{KeyRange, KeyValue, RangeQuery, Revision};
use bytes::Bytes;

/// An event and its revision.
type Numbered<'a> = (Revision, Event<&'a [u8]>);

/// Walks events by (revision, number within it).
pub struct EventCursor<'a> {
    rows: Cursor<'a>,
}

impl EventCursor<'_> {
    /// The event it stands on with its revision; `None` behind the last.
    pub fn event(&self) -> Result<Option<Numbered<'_>>, Error> {
        let Some((key, row)) = self.rows.row() else {
            return Ok(None);
        };
        let corrupt = Error::Corrupt {
            what: "events: a key",
        };
        let (main, _) = keys::split_event(key).ok_or(corrupt)?;
        Ok(Some((main, read_event(row)?.0)))
    }

    /// Goes to the next event. The cursor stands on one.
    pub fn advance(&mut self) -> Result<(), Error> {
        Ok(self.rows.advance()?)
    }
}

impl ReadView<'_> {
    /// Stands on the first event of `from` or later. All events since the compacted revision are
    /// there, those of that very revision too; of older ones some may be.
    pub fn events(&self, from: Revision) -> Result<EventCursor<'_>, Error> {
        let bounds = Bounds {
            lower: keys::event(from, 0).to_vec(),
            upper: None,
        };
        let rows = self.rows().cursor(Family::Events, bounds, Scan::List)?;
        Ok(EventCursor { rows })
    }

    /// The pair that `key` held right before `revision`, if it was live and may still be read.
    /// `previous` is the revision of the version that the change at `revision` replaced, which
    /// finds it without walking.
    pub fn before(
        &self,
        key: &Bytes,
        revision: Revision,
        previous: Revision,
    ) -> Result<Option<KeyValue>, Error> {
        let at = revision - 1;
        if previous == 0 || at <= 0 || at < self.compacted() {
            return Ok(None);
        }
        if previous < revision
            && let Some(row) = self
                .rows()
                .get(Family::History, &keys::history(key, previous))?
        {
            let (_, meta, stored) = read_history(previous, &row)?;
            let value = match stored {
                row::Stored::InEvent => Value::InEvent,
                row::Stored::Inline(value) => Value::Here(value),
            };
            let found = Found { key, meta, value };
            let value = self.source().with_value(&found, Bytes::copy_from_slice)?;
            return Ok(Some(meta.key_value(key.clone(), value)));
        }
        // A later change within one revision: what counts is the state before all of it.
        let query = RangeQuery {
            revision: at,
            ..RangeQuery::latest(KeyRange::single(key.clone()))
        };
        match self.range(&query)? {
            Ok(mut found) => Ok(found.kvs.pop()),
            Err(_) => Ok(None),
        }
    }
}

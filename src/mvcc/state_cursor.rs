//! Walks the live keys of a range at one revision, in key order.
//!
//! Three sources are merged by key: the batch being built ([`Overlay`]; it knows best), `current`,
//! and, for an old revision, `history`. At the latest revision there is no history to look at, and
//! outside of apply no overlay, so that a list is one sequential scan.
//!
//! ```text
//! at revision 7    current       a (modified 5)   b (modified 9)
//!                  history       b (6, ended 9)   c (3, ended 8)   c (2, ended 3)
//!                  live keys     a from current   b, c from history
//! ```

use super::Error;
use super::key_filter::KeyFilter;
use super::overlay::{Overlay, Touched};
use super::row::{Meta, Stored, read_current, read_event, read_history};
use crate::storage::{Bounds, Cursor, Family, Pinned, Scan, View, keys};
use crate::types::{KeyRange, RangeEnd, Revision};
use bytes::Bytes;
use std::collections::btree_map;
use std::iter::Peekable;

/// Which revision to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Latest,
    Revision(Revision),
}

/// Where state is read: the engine, with the unwritten changes on top, if any.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub view: &'a View<'a>,
    pub overlay: Option<&'a Overlay>,
    /// What it denies is not looked for in the engine. For the latest revision: the one who writes.
    pub filter: Option<&'a KeyFilter>,
}

/// A value that may have to be fetched.
pub enum Value<'s> {
    Here(&'s [u8]),
    Shared(&'s Bytes),
    /// In the event that wrote the version.
    InEvent,
}

/// A live key.
pub struct Found<'s> {
    pub key: &'s [u8],
    pub meta: Meta,
    pub value: Value<'s>,
}

impl Source<'_> {
    /// A key at the latest revision.
    pub fn get(&self, key: &[u8]) -> Result<Option<(Meta, Bytes)>, Error> {
        if let Some(touched) = self.overlay.and_then(|overlay| overlay.get(key)) {
            return Ok(touched
                .now
                .as_ref()
                .map(|live| (live.meta, live.value.clone())));
        }
        let Some(row) = self.row(key)? else {
            return Ok(None);
        };
        let (meta, value) = read_current(&row)?;
        Ok(Some((meta, Bytes::copy_from_slice(value))))
    }

    /// The engine's row of a key that the overlay did not touch.
    pub fn row(&self, key: &[u8]) -> Result<Option<Pinned<'_>>, Error> {
        if self.filter.is_some_and(|filter| !filter.may_have(key)) {
            return Ok(None);
        }
        Ok(self.view.get(Family::Current, key)?)
    }

    /// Hands the value of `found` to `use_value`, reading it from its event if it must.
    pub fn with_value<T>(
        &self,
        found: &Found<'_>,
        use_value: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Error> {
        match found.value {
            Value::Here(value) => Ok(use_value(value)),
            Value::Shared(value) => Ok(use_value(value)),
            Value::InEvent => {
                let key = keys::event(found.meta.modified, found.meta.sub);
                let lost = || Error::Corrupt {
                    what: "events: a value that history points at",
                };
                let row = self.view.get(Family::Events, &key)?.ok_or_else(lost)?;
                let (event, _) = read_event(&row)?;
                let super::row::Change::Put { value, .. } = event.change else {
                    return Err(lost());
                };
                if event.key != found.key {
                    return Err(lost());
                }
                Ok(use_value(value))
            }
        }
    }
}

/// The state of a touched key at a revision, if the batch knows it. The inner `None` is "no such
/// key"; the outer one is "the engine's history has to say".
fn touched_at(touched: &Touched, at: At) -> Option<Option<(Meta, Value<'_>)>> {
    let now = touched.now.as_ref();
    let revision = match at {
        At::Latest => return Some(now.map(|live| (live.meta, Value::Shared(&live.value)))),
        At::Revision(revision) => revision,
    };
    if let Some(live) = now.filter(|live| live.meta.modified <= revision) {
        return Some(Some((live.meta, Value::Shared(&live.value))));
    }
    let mut ended = touched.ended.iter();
    let ended = ended.find(|it| it.meta.modified <= revision && revision < it.ended)?;
    let value = match (&ended.value, &ended.stored) {
        (Some(value), _) | (None, Stored::Inline(value)) => Value::Shared(value),
        (None, Stored::InEvent) => Value::InEvent,
    };
    Some(Some((ended.meta, value)))
}

/// Visits, per user key, the version in `history` that was live at a revision.
struct HistoryCursor<'a> {
    rows: Cursor<'a>,
    revision: Revision,
    /// The user key it stands on; meaningless when `live` is false.
    key: Vec<u8>,
    modified: Revision,
    live: bool,
}

/// Rows stepped over before a seek is cheaper.
const STEPS_BEFORE_SEEK: u32 = 3;

impl<'a> HistoryCursor<'a> {
    fn new(view: &'a View<'_>, range: &KeyRange, revision: Revision) -> Result<Self, Error> {
        let lower = keys::history_prefix(&range.start);
        let upper = match &range.end {
            RangeEnd::Single => Some(after_prefix(&lower)),
            RangeEnd::Before(end) => Some(keys::history_prefix(end)),
            RangeEnd::Unbounded => None,
        };
        let bounds = Bounds { lower, upper };
        let rows = view.cursor(Family::History, bounds, Scan::Short)?;
        let mut cursor = Self {
            rows,
            revision,
            key: Vec::new(),
            modified: 0,
            live: false,
        };
        cursor.settle()?;
        Ok(cursor)
    }

    fn key(&self) -> Option<&[u8]> {
        self.live.then_some(self.key.as_slice())
    }

    /// Leaves the key it stands on.
    fn advance(&mut self) -> Result<(), Error> {
        self.leave_key()?;
        self.settle()
    }

    fn leave_key(&mut self) -> Result<(), Error> {
        let prefix = keys::history_prefix(&self.key);
        for _ in 0..STEPS_BEFORE_SEEK {
            self.rows.advance()?;
            if !self.rows.key().is_some_and(|row| row.starts_with(&prefix)) {
                return Ok(());
            }
        }
        Ok(self.rows.seek(&after_prefix(&prefix))?)
    }

    /// Moves on to the next version that was live.
    fn settle(&mut self) -> Result<(), Error> {
        self.live = false;
        while let Some((encoded, row)) = self.rows.row() {
            let corrupt = Error::Corrupt {
                what: "history: a key",
            };
            let Some((prefix, modified)) = keys::split_history(encoded, &mut self.key) else {
                return Err(corrupt);
            };
            if modified > self.revision {
                let mut target = encoded[..prefix].to_vec();
                keys::push_revision(&mut target, self.revision);
                self.rows.advance()?;
                if self.rows.key().is_some_and(|row| row < target.as_slice()) {
                    self.rows.seek(&target)?;
                }
                continue;
            }
            // The newest at or before the revision: live unless it had ended by then.
            let (ended, ..) = read_history(modified, row)?;
            if ended > self.revision {
                self.modified = modified;
                self.live = true;
                return Ok(());
            }
            self.leave_key()?;
        }
        Ok(())
    }

    fn version(&self) -> Result<(Meta, Value<'_>), Error> {
        let lost = Error::Corrupt {
            what: "a cursor lost its row",
        };
        let Some((_, row)) = self.rows.row() else {
            return Err(lost);
        };
        let (_, meta, stored) = read_history(self.modified, row)?;
        Ok(match stored {
            Stored::InEvent => (meta, Value::InEvent),
            Stored::Inline(value) => (meta, Value::Here(value)),
        })
    }
}

/// The first key behind all that start with a [`keys::history_prefix`], which ends in 0x00 0x00.
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut after = prefix.to_vec();
    if let Some(last) = after.last_mut() {
        *last = 1;
    }
    after
}

type TouchedRange<'a> = Peekable<btree_map::Range<'a, Bytes, Touched>>;

/// The merge. See the top of the file.
pub struct StateCursor<'a> {
    at: At,
    current: Option<Cursor<'a>>,
    history: Option<HistoryCursor<'a>>,
    touched: Option<TouchedRange<'a>>,
    /// Which sources stand on the key that was returned last, and are to be moved.
    spent: Spent,
}

#[derive(Clone, Copy, Default)]
struct Spent {
    current: bool,
    history: bool,
    touched: bool,
}

enum Winner {
    Touched,
    Current,
    History,
}

impl<'a> StateCursor<'a> {
    pub fn new(source: Source<'a>, range: &KeyRange, at: At, scan: Scan) -> Result<Self, Error> {
        let empty = matches!(&range.end, RangeEnd::Before(end) if *end <= range.start);
        let upper = match &range.end {
            RangeEnd::Single => Some([range.start.as_ref(), &[0]].concat()),
            RangeEnd::Before(end) => Some(end.to_vec()),
            RangeEnd::Unbounded => None,
        };
        let bounds = Bounds {
            lower: range.start.to_vec(),
            upper,
        };
        let current = match empty {
            true => None,
            false => Some(source.view.cursor(Family::Current, bounds, scan)?),
        };
        let history = match at {
            At::Revision(revision) if !empty => {
                Some(HistoryCursor::new(source.view, range, revision)?)
            }
            At::Revision(_) | At::Latest => None,
        };
        let touched = source
            .overlay
            .filter(|overlay| !empty && !overlay.is_empty());
        let touched = touched.map(|overlay| overlay.range(range).peekable());
        Ok(Self {
            at,
            current,
            history,
            touched,
            spent: Spent::default(),
        })
    }

    /// The next live key.
    pub fn next_live(&mut self) -> Result<Option<Found<'_>>, Error> {
        loop {
            self.leave()?;
            let Some(winner) = self.choose()? else {
                if self.spent.current || self.spent.history || self.spent.touched {
                    continue;
                }
                return Ok(None);
            };
            return self.found(&winner).map(Some);
        }
    }

    /// Moves the sources off the key that was looked at last.
    fn leave(&mut self) -> Result<(), Error> {
        let spent = std::mem::take(&mut self.spent);
        if spent.current
            && let Some(current) = &mut self.current
        {
            current.advance()?;
        }
        if spent.history
            && let Some(history) = &mut self.history
        {
            history.advance()?;
        }
        if spent.touched
            && let Some(touched) = &mut self.touched
        {
            touched.next();
        }
        Ok(())
    }

    /// Finds the lowest key and who knows its state. `None` with something spent means that the
    /// key is not live; with nothing spent, that all sources are at their end.
    fn choose(&mut self) -> Result<Option<Winner>, Error> {
        let current = self.current.as_ref().and_then(Cursor::row);
        let history = self.history.as_ref().and_then(HistoryCursor::key);
        let touched = self.touched.as_mut().and_then(|keys| keys.peek().copied());
        let touched_key = touched.map(|(key, _)| key.as_ref());
        let keys = [current.map(|(key, _)| key), history, touched_key];
        let Some(lowest) = keys.into_iter().flatten().min() else {
            return Ok(None);
        };
        let stands = |key: Option<&[u8]>| key == Some(lowest);
        self.spent = Spent {
            current: stands(current.map(|(key, _)| key)),
            history: stands(history),
            touched: stands(touched_key),
        };
        if let Some((_, touched)) = touched.filter(|_| self.spent.touched) {
            match touched_at(touched, self.at) {
                Some(Some(_)) => return Ok(Some(Winner::Touched)),
                Some(None) => return Ok(None),
                // `current` shows a version that the batch superseded: not older than it.
                None => return Ok(self.spent.history.then_some(Winner::History)),
            }
        }
        if let Some((_, row)) = current.filter(|_| self.spent.current) {
            match self.at {
                At::Latest => return Ok(Some(Winner::Current)),
                At::Revision(revision) => {
                    if read_current(row)?.0.modified <= revision {
                        return Ok(Some(Winner::Current));
                    }
                }
            }
        }
        Ok(self.spent.history.then_some(Winner::History))
    }

    fn found(&mut self, winner: &Winner) -> Result<Found<'_>, Error> {
        let lost = Error::Corrupt {
            what: "a cursor lost its row",
        };
        match winner {
            Winner::Touched => {
                let peeked = self.touched.as_mut().and_then(|keys| keys.peek().copied());
                let Some((key, touched)) = peeked else {
                    return Err(lost);
                };
                let Some(Some((meta, value))) = touched_at(touched, self.at) else {
                    return Err(lost);
                };
                Ok(Found { key, meta, value })
            }
            Winner::Current => {
                let row = self.current.as_ref().and_then(Cursor::row);
                let Some((key, row)) = row else {
                    return Err(lost);
                };
                let (meta, value) = read_current(row)?;
                Ok(Found {
                    key,
                    meta,
                    value: Value::Here(value),
                })
            }
            Winner::History => {
                let Some(history) = &self.history else {
                    return Err(lost);
                };
                let (meta, value) = history.version()?;
                Ok(Found {
                    key: &history.key,
                    meta,
                    value,
                })
            }
        }
    }
}

/// Visits the live keys of a range at the latest revision, until `visit` says that it is enough.
pub fn visit(
    source: Source<'_>,
    range: &KeyRange,
    visit: &mut impl FnMut(&Meta, &[u8]) -> bool,
) -> Result<(), Error> {
    if let RangeEnd::Single = range.end {
        if let Some((meta, value)) = source.get(&range.start)? {
            visit(&meta, &value);
        }
        return Ok(());
    }
    let mut cursor = StateCursor::new(source, range, At::Latest, Scan::List)?;
    while let Some(found) = cursor.next_live()? {
        if !source.with_value(&found, |value| visit(&found.meta, value))? {
            break;
        }
    }
    Ok(())
}

//! A hash of the logical state: equal on two members if and only if (but for chance) the same log
//! was applied, whatever their engines flushed, compacted or dropped in between.
//!
//! Each row is hashed by itself and the hashes are added up, so order does not matter. What may or
//! may not be there physically is left out: events below the compacted revision, versions that
//! ended at or before it, and whether history holds a value or points at it.

use super::Error;
use super::hash_kv::Abandoned;
use super::read_view::ReadView;
use super::row::read_history;
use super::state_cursor::{Found, Value};
use crate::storage::varint::put_bytes;
use crate::storage::{Bounds, Family, Scan, keys};
use xxhash_rust::xxh3::xxh3_128;

/// Takes one row: a tag for its kind, and its parts.
/// Takes a row in parts; false: that is enough.
pub(super) type Emit<'e> = dyn FnMut(u8, &[&[u8]]) -> bool + 'e;

pub fn state_hash(view: &ReadView<'_>) -> Result<[u8; 16], Error> {
    let mut sum = 0u128;
    logical_rows(view, |row| sum = sum.wrapping_add(xxh3_128(row)))?;
    Ok(sum.to_be_bytes())
}

/// As [`state_hash`]; `None` if it was abandoned meanwhile.
pub fn state_hash_unless(
    view: &ReadView<'_>,
    abandoned: &Abandoned,
) -> Result<Option<[u8; 16]>, Error> {
    let mut sum = 0u128;
    let finished = walk(view, &mut |row| {
        sum = sum.wrapping_add(xxh3_128(row));
        !abandoned.is_set()
    })?;
    Ok(finished.then(|| sum.to_be_bytes()))
}

/// Visits everything that the state logically is: one row at a time, tagged with its family.
pub fn logical_rows(view: &ReadView<'_>, mut visit: impl FnMut(&[u8])) -> Result<(), Error> {
    walk(view, &mut |row| {
        visit(row);
        true
    })?;
    Ok(())
}

/// False: `visit` had enough.
fn walk(view: &ReadView<'_>, visit: &mut dyn FnMut(&[u8]) -> bool) -> Result<bool, Error> {
    let compacted = view.compacted();
    let mut row = Vec::new();
    let mut emit = |tag: u8, parts: &[&[u8]]| {
        row.clear();
        row.push(tag);
        for part in parts {
            put_bytes(&mut row, part);
        }
        visit(&row)
    };

    let mut head = view.head().clone();
    // Where the state is of, not what it is: blank entries move it.
    head.applied = None;
    emit(b'm', &[&head.encode()]);
    let roster = &view.published().roster;
    roster.each(|key, row| {
        emit(b'n', &[key, row]);
    });

    view.published().alarms.hash(&mut emit);
    if let Some(version) = &view.published().downgrade {
        emit(b'd', &[version.as_bytes()]);
    }

    let rows = view.rows();
    let mut current = rows.cursor(Family::Current, Bounds::default(), Scan::Bulk)?;
    while let Some((key, value)) = current.row() {
        if !emit(b'c', &[key, value]) {
            return Ok(false);
        }
        current.advance()?;
    }

    let mut leases = rows.cursor(Family::Lease, Bounds::default(), Scan::Bulk)?;
    while let Some((key, value)) = leases.row() {
        if !emit(b'l', &[key, value]) {
            return Ok(false);
        }
        leases.advance()?;
    }

    let lower = keys::event(compacted.max(0), 0).to_vec();
    let mut events = rows.cursor(Family::Events, Bounds { lower, upper: None }, Scan::Bulk)?;
    while let Some((key, value)) = events.row() {
        if !emit(b'e', &[key, value]) {
            return Ok(false);
        }
        events.advance()?;
    }

    let mut history = rows.cursor(Family::History, Bounds::default(), Scan::Bulk)?;
    let mut key = Vec::new();
    while let Some((encoded, value)) = history.row() {
        let corrupt = Error::Corrupt {
            what: "history: a key",
        };
        let Some((_, modified)) = keys::split_history(encoded, &mut key) else {
            return Err(corrupt);
        };
        let (ended, meta, stored) = read_history(modified, value)?;
        if ended > compacted {
            let mut fixed = Vec::new();
            super::row::put_history(&mut fixed, ended, &meta, &super::row::Stored::InEvent);
            // The values of newer versions are among the events above.
            let goes_on = if modified < compacted {
                let value = match stored {
                    super::row::Stored::InEvent => Value::InEvent,
                    super::row::Stored::Inline(value) => Value::Here(value),
                };
                let found = Found {
                    key: &key,
                    meta,
                    value,
                };
                view.source()
                    .with_value(&found, |value| emit(b'h', &[encoded, &fixed, value]))?
            } else {
                emit(b'h', &[encoded, &fixed])
            };
            if !goes_on {
                return Ok(false);
            }
        }
        history.advance()?;
    }
    Ok(true)
}

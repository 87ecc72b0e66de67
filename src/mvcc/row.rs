//! The rows of `current`, `events` and `history`, to bytes and back.
//!
//! A worked example: key `a` is put at revision 5 and again at revision 9.
//!
//! ```text
//! current  a            create 5, modified 9.0, version 2, lease 0, value
//! events   5.0          put a: create 5, version 1, previous 0, value
//! events   9.0          put a: create 5, version 2, previous 5, value
//! history  (a, 5)       ended 9, create 5, sub 0, version 1, lease 0, value: see event 5.0
//! ```

use super::Error;
use crate::storage::varint::{Input, Malformed, put_bytes, put_i64, put_u64};
use crate::types::{KeyValue, LeaseId, Revision};
use bytes::Bytes;

/// Everything about a version of a key but its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    pub create: Revision,
    pub modified: Revision,
    /// Which change of revision `modified` wrote it.
    pub sub: u32,
    pub version: i64,
    pub lease: LeaseId,
}

impl Meta {
    pub fn key_value(&self, key: Bytes, value: Bytes) -> KeyValue {
        KeyValue {
            key,
            create_revision: self.create,
            mod_revision: self.modified,
            version: self.version,
            value,
            lease: self.lease,
        }
    }
}

fn corrupt(family: &'static str) -> impl Fn(Malformed) -> Error {
    move |_| Error::Corrupt { what: family }
}

pub fn put_current(out: &mut Vec<u8>, meta: &Meta, value: &[u8]) {
    put_i64(out, meta.create);
    put_i64(out, meta.modified);
    put_u64(out, u64::from(meta.sub));
    put_i64(out, meta.version);
    put_i64(out, meta.lease);
    out.extend_from_slice(value);
}

pub fn read_current(row: &[u8]) -> Result<(Meta, &[u8]), Error> {
    let read = || {
        let mut input = Input::new(row);
        let meta = Meta {
            create: input.i64()?,
            modified: input.i64()?,
            sub: input.u32()?,
            version: input.i64()?,
            lease: input.i64()?,
        };
        Ok((meta, input.rest()))
    };
    read().map_err(corrupt("current"))
}

/// Where a superseded version's value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored<T> {
    /// In the event that wrote it.
    InEvent,
    /// In the history row: the event may be dropped.
    Inline(T),
}

/// The row begins with `ended`, eight bytes big-endian, because the compaction filter reads it.
pub fn put_history(out: &mut Vec<u8>, ended: Revision, meta: &Meta, value: &Stored<&[u8]>) {
    out.extend_from_slice(&ended.to_be_bytes());
    put_i64(out, meta.create);
    put_u64(out, u64::from(meta.sub));
    put_i64(out, meta.version);
    put_i64(out, meta.lease);
    match value {
        Stored::InEvent => out.push(0),
        Stored::Inline(value) => {
            out.push(1);
            out.extend_from_slice(value);
        }
    }
}

/// `modified` comes from the key.
pub fn read_history(
    modified: Revision,
    row: &[u8],
) -> Result<(Revision, Meta, Stored<&[u8]>), Error> {
    let read = || {
        let (ended, rest) = row.split_first_chunk::<8>().ok_or(Malformed)?;
        let mut input = Input::new(rest);
        let meta = Meta {
            create: input.i64()?,
            modified,
            sub: input.u32()?,
            version: input.i64()?,
            lease: input.i64()?,
        };
        let stored = match input.u8()? {
            0 => Stored::InEvent,
            1 => Stored::Inline(input.rest()),
            _ => return Err(Malformed),
        };
        Ok((i64::from_be_bytes(*ended), meta, stored))
    };
    read().map_err(corrupt("history"))
}

/// One change of one key: what a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<B> {
    pub key: B,
    pub change: Change<B>,
    /// Revision of the version that it replaced; 0 if there was none.
    pub previous: Revision,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<B> {
    Put {
        create: Revision,
        version: i64,
        lease: LeaseId,
        value: B,
    },
    Delete,
}

impl<B> Event<B> {
    /// By how much it changed the number of live keys.
    pub fn keys_added(&self) -> i64 {
        match self.change {
            Change::Put { version: 1, .. } => 1,
            Change::Put { .. } => 0,
            Change::Delete => -1,
        }
    }
}

/// `total` is the size of all events up to and including this one, since the store was made: by it
/// a compaction knows what it released without reading the rest.
pub fn put_event<B: AsRef<[u8]>>(out: &mut Vec<u8>, event: &Event<B>, total: u64) {
    out.push(match event.change {
        Change::Delete => 0,
        Change::Put { .. } => 1,
    });
    put_u64(out, total);
    put_i64(out, event.previous);
    put_bytes(out, event.key.as_ref());
    if let Change::Put {
        create,
        version,
        lease,
        value,
    } = &event.change
    {
        put_i64(out, *create);
        put_i64(out, *version);
        put_i64(out, *lease);
        out.extend_from_slice(value.as_ref());
    }
}

pub fn read_event(row: &[u8]) -> Result<(Event<&[u8]>, u64), Error> {
    let read = || {
        let mut input = Input::new(row);
        let kind = input.u8()?;
        let total = input.u64()?;
        let previous = input.i64()?;
        let key = input.bytes()?;
        let change = match kind {
            0 if input.is_empty() => Change::Delete,
            1 => Change::Put {
                create: input.i64()?,
                version: input.i64()?,
                lease: input.i64()?,
                value: input.rest(),
            },
            _ => return Err(Malformed),
        };
        Ok((
            Event {
                key,
                change,
                previous,
            },
            total,
        ))
    };
    read().map_err(corrupt("events"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_come_back(
            create in any::<i64>(), modified in any::<i64>(), sub in any::<u32>(),
            version in any::<i64>(), lease in any::<i64>(), value in any::<Vec<u8>>(),
            key in any::<Vec<u8>>(), ended in any::<i64>(), total in any::<u64>(),
        ) {
            let meta = Meta { create, modified, sub, version, lease };
            let mut row = Vec::new();
            put_current(&mut row, &meta, &value);
            prop_assert_eq!(read_current(&row).unwrap(), (meta, &value[..]));
            for stored in [Stored::InEvent, Stored::Inline(&value[..])] {
                let mut row = Vec::new();
                put_history(&mut row, ended, &meta, &stored);
                prop_assert_eq!(read_history(modified, &row).unwrap(), (ended, meta, stored));
            }
            let put = Change::Put { create, version, lease, value: &value[..] };
            for change in [put, Change::Delete] {
                let event = Event { key: &key[..], change, previous: modified };
                let mut row = Vec::new();
                put_event(&mut row, &event, total);
                prop_assert_eq!(read_event(&row).unwrap(), (event, total));
            }
        }

        #[test]
        fn garbage_rows_are_errors(row in any::<Vec<u8>>()) {
            read_current(&row).ok();
            read_history(1, &row).ok();
            read_event(&row).ok();
        }
    }
}

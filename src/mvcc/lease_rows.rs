//! The rows of `lease`: leases, and which keys go with them.
//!
//! A worked example: lease 7 was granted by log entry 5 for 120 seconds, and key `a` was put with it.
//!
//! ```text
//! lease    (0, 7)         version 1, ttl 120, remaining 0, granted by entry 5
//! lease    (1, 7, a)      nothing: that the row is there says it
//! ```
//!
//! The second row says no more than the lease in `current` does; it is there so that a revoke meets
//! the keys of its lease and no other. It is written with the key's own row, in the same batch, so
//! the two cannot disagree, nothing has to be rebuilt at a start, and a member that holds a million
//! attachments holds them on disk.

use super::Error;
use super::read_view::ReadView;
use crate::storage::varint::{Input, Malformed, put_i64, put_u64};
use crate::storage::{Bounds, Family, Scan, View, keys};
use crate::types::{Lease, LeaseId};
use bytes::Bytes;

/// The version of a lease's row.
const LEASE_VERSION: u8 = 1;

pub fn lease_row(lease: &Lease) -> Vec<u8> {
    let mut row = vec![LEASE_VERSION];
    put_i64(&mut row, lease.ttl);
    put_i64(&mut row, lease.remaining);
    put_u64(&mut row, lease.granted_at);
    row
}

fn read_row(id: LeaseId, row: &[u8]) -> Result<Lease, Error> {
    if row.first().is_some_and(|&version| version > LEASE_VERSION) {
        return Err(Error::NewerFormat {
            what: "lease",
            found: row[0],
            supported: LEASE_VERSION,
        });
    }
    let read = || {
        let mut input = Input::new(row);
        if input.u8()? != LEASE_VERSION {
            return Err(Malformed);
        }
        let lease = Lease {
            id,
            ttl: input.i64()?,
            remaining: input.i64()?,
            granted_at: input.u64()?,
        };
        if input.is_empty() {
            Ok(lease)
        } else {
            Err(Malformed)
        }
    };
    read().map_err(|_| Error::Corrupt { what: "lease" })
}

pub(super) fn lease(view: &View<'_>, id: LeaseId) -> Result<Option<Lease>, Error> {
    let row = view.get(Family::Lease, &keys::lease(id))?;
    row.map(|row| read_row(id, &row)).transpose()
}

/// Visits the keys that go with a lease, in order, until `visit` says that it is enough.
pub(super) fn visit_keys(
    view: &View<'_>,
    id: LeaseId,
    mut visit: impl FnMut(&[u8]) -> bool,
) -> Result<(), Error> {
    let prefix = keys::attached_prefix(id);
    let bounds = Bounds {
        lower: prefix.to_vec(),
        upper: None,
    };
    let mut rows = view.cursor(Family::Lease, bounds, Scan::Short)?;
    while let Some(key) = rows.key().and_then(|key| key.strip_prefix(&prefix[..])) {
        if !visit(key) {
            break;
        }
        rows.advance()?;
    }
    Ok(())
}

impl ReadView<'_> {
    pub fn lease(&self, id: LeaseId) -> Result<Option<Lease>, Error> {
        lease(self.rows(), id)
    }

    /// Every lease, in the order of ids (negative ones last).
    pub fn leases(&self) -> Result<Vec<Lease>, Error> {
        let bounds = Bounds {
            lower: vec![keys::LEASE_TAG],
            upper: Some(vec![keys::LEASE_TAG + 1]),
        };
        let mut rows = self.rows().cursor(Family::Lease, bounds, Scan::List)?;
        let mut leases = Vec::new();
        while let Some((key, row)) = rows.row() {
            let id = keys::split_lease(key).ok_or(Error::Corrupt {
                what: "lease: a key",
            })?;
            leases.push(read_row(id, row)?);
            rows.advance()?;
        }
        Ok(leases)
    }

    /// The keys that go with a lease, in order.
    pub fn keys_of_lease(&self, id: LeaseId) -> Result<Vec<Bytes>, Error> {
        let mut found = Vec::new();
        visit_keys(self.rows(), id, |key| {
            found.push(Bytes::copy_from_slice(key));
            true
        })?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_come_back(
            id in any::<i64>(), ttl in any::<i64>(), remaining in any::<i64>(),
            granted_at in any::<u64>(), garbage in any::<Vec<u8>>(),
        ) {
            let lease = Lease { id, ttl, remaining, granted_at };
            prop_assert_eq!(read_row(id, &lease_row(&lease)).unwrap(), lease);
            read_row(id, &garbage).ok();
        }
    }

    #[test]
    fn a_newer_row_is_named() {
        let newer = read_row(7, &[9]);
        assert!(matches!(newer, Err(Error::NewerFormat { found: 9, .. })));
    }
}

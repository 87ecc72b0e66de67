//! That a downgrade of the cluster is under way, and to which version. A note that the members agree
//! on and show, no more: what is on disk is ours, and no version of etcd could take it over.

use super::Error;
use super::store::Store;
use super::write_txn::WriteTxn;
use crate::storage::{Batch, Family, View, keys};
use std::sync::Arc;

/// The version the cluster is being taken down to, as etcd writes it (`3.5.0`).
pub type DowngradeTarget = Option<Arc<str>>;

pub(super) fn put_change(before: &DowngradeTarget, now: &DowngradeTarget, batch: &mut Batch<'_>) {
    if before == now {
        return;
    }
    match now {
        Some(version) => batch.put(Family::Meta, keys::DOWNGRADE, version.as_bytes()),
        None => batch.delete(Family::Meta, keys::DOWNGRADE),
    }
}

pub(super) fn read(view: &View<'_>) -> Result<DowngradeTarget, Error> {
    let Some(row) = view.get(Family::Meta, keys::DOWNGRADE)? else {
        return Ok(None);
    };
    let version = std::str::from_utf8(&row).map_err(|_| Error::Corrupt {
        what: "meta/downgrade",
    })?;
    Ok(Some(version.into()))
}

impl WriteTxn<'_> {
    pub fn set_downgrade(&mut self, target: DowngradeTarget) {
        if self.changes.downgrade == target {
            return;
        }
        self.note_change(keys::DOWNGRADE, target.as_deref().unwrap_or("").as_bytes());
        self.changes.downgrade = target;
    }
}

impl Store {
    pub fn downgrade_target(&self) -> DowngradeTarget {
        self.published().downgrade.clone()
    }
}

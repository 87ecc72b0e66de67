//! Changes that are written at once: all of them or none.

use super::keys::Family;
use rocksdb::{ColumnFamily, WriteBatch};

/// Collects changes for [`super::Engine::write`].
pub struct Batch<'a> {
    pub(super) inner: WriteBatch,
    families: [&'a ColumnFamily; 5],
}

impl<'a> Batch<'a> {
    pub(super) fn new(families: [&'a ColumnFamily; 5]) -> Self {
        Self {
            inner: WriteBatch::default(),
            families,
        }
    }

    pub fn put(&mut self, family: Family, key: &[u8], value: &[u8]) {
        self.inner
            .put_cf(&self.families[family.position()], key, value);
    }

    pub fn delete(&mut self, family: Family, key: &[u8]) {
        self.inner.delete_cf(&self.families[family.position()], key);
    }

    /// Deletes every key in `[from, to)` with one mark. Reads pay for such marks: they are for the
    /// rare case of a whole front of `events`, never for user keys.
    pub fn delete_range(&mut self, family: Family, from: &[u8], to: &[u8]) {
        self.inner
            .delete_range_cf(&self.families[family.position()], from, to);
    }

    pub fn bytes(&self) -> usize {
        self.inner.size_in_bytes()
    }
}

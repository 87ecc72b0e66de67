//! Raft's membership, and the marks by which members compare their states.

use super::digest::{MARK_EVERY, PendingMark};
use super::write_txn::WriteTxn;
use crate::storage::keys;
use crate::types::Position;
use bytes::Bytes;

impl WriteTxn<'_> {
    /// Marks the end of the entry before, if it is one that all members mark.
    pub(super) fn mark(&mut self) {
        let head = &self.changes.head;
        if let Some(done) = head.applied
            && done.index.is_multiple_of(MARK_EVERY)
            && head.applied != self.writer.head.applied
        {
            self.changes.marks.push(PendingMark {
                head: head.clone(),
                events: self.changes.overlay.events().len(),
            });
        }
    }

    /// Adds to the digest what the command changes besides keys: rows that all members write alike.
    pub fn note_change(&mut self, key: &[u8], row: &[u8]) {
        self.changes.head.digest.change(key, row);
    }

    pub fn set_membership(&mut self, position: Position, bytes: Bytes) {
        self.note_change(keys::MEMBERSHIP, &bytes);
        self.changes.membership = Some((position, bytes));
    }
}

//! The part of a transaction that is about members.

use super::Refusal;
use super::roster::{MemberAttributes, Roster};
use super::write_txn::WriteTxn;
use crate::types::NodeId;

impl WriteTxn<'_> {
    /// A member says who it is.
    pub fn publish_member(&mut self, member: MemberAttributes) -> Result<(), Refusal> {
        if self.roster().is_removed(member.node) {
            return Err(Refusal::MemberRemoved);
        }
        // It says so at every start.
        if self.roster().attributes(member.node) != Some(&member) {
            self.change_roster(member.node, |roster| roster.publish(member));
        }
        Ok(())
    }

    /// Binds a member's id to its data directory, once and for all.
    pub fn claim_member(&mut self, node: NodeId, incarnation: u64) -> Result<(), Refusal> {
        if self.roster().is_removed(node) {
            return Err(Refusal::MemberRemoved);
        }
        match self.roster().claim(node) {
            Some(bound) if bound == incarnation => Ok(()),
            Some(_) => Err(Refusal::MemberKnownElsewhere),
            None => {
                self.change_roster(node, |roster| roster.bind(node, incarnation));
                Ok(())
            }
        }
    }

    /// Forgets what a member said of itself, and never that it was removed.
    pub fn remove_member(&mut self, node: NodeId) {
        if !self.roster().is_removed(node) {
            self.change_roster(node, |roster| roster.remove(node));
        }
    }

    fn roster(&self) -> &Roster {
        let changed = self.changes.roster.as_ref();
        changed.unwrap_or(&self.writer.roster)
    }

    fn change_roster(&mut self, node: NodeId, change: impl FnOnce(&mut Roster)) {
        let before = &self.writer.roster;
        let roster = self
            .changes
            .roster
            .get_or_insert_with(|| (**before).clone());
        change(roster);
        let mut rows = Vec::new();
        roster.each(|key, row| {
            if key.ends_with(&node.to_be_bytes()) {
                rows.push((key.to_vec(), row.to_vec()));
            }
        });
        for (key, row) in rows {
            self.note_change(&key, &row);
        }
    }
}

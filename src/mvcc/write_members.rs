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
        self.roster_mut().publish(member);
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
                self.roster_mut().bind(node, incarnation);
                Ok(())
            }
        }
    }

    /// Forgets what a member said of itself, and never that it was removed.
    pub fn remove_member(&mut self, node: NodeId) {
        self.roster_mut().remove(node);
    }

    fn roster(&self) -> &Roster {
        let changed = self.changes.roster.as_ref();
        changed.unwrap_or(&self.writer.roster)
    }

    fn roster_mut(&mut self) -> &mut Roster {
        let roster = &self.writer.roster;
        self.changes
            .roster
            .get_or_insert_with(|| roster.as_ref().clone())
    }
}

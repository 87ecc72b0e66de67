//! Alarms and the quota, as the doors meet them.

use super::{Node, NodeError};
use crate::mvcc::{Alarm, AlarmKind, Alarms, DowngradeTarget};
use crate::state_machine::command::{AlarmChange, Command};
use crate::state_machine::{Refusal, admission};
use crate::types::HexId;
use tokio::time::{Instant, timeout_at};

/// What speaks against a command.
enum Objection {
    /// An alarm that is on.
    Alarm(Refusal),
    /// It would not fit into the quota.
    Quota,
}

/// As etcd writes an alarm into `Status.errors`: protobuf's text, without what is zero.
pub(super) fn etcd_text(alarm: Alarm) -> String {
    let member = match alarm.member {
        0 => String::new(),
        member => format!("memberID:{member} "),
    };
    format!("{member}alarm:{} ", alarm.kind.name())
}

impl Node {
    /// The alarms that are on, as far as this member has applied the log.
    pub fn alarms(&self) -> Alarms {
        self.store().alarms()
    }

    /// The version that the cluster is to be taken down to, if it is.
    pub fn downgrade_target(&self) -> DowngradeTarget {
        self.store().downgrade_target()
    }

    /// Bytes that count towards the quota: the same on every member.
    pub fn bytes_in_use(&self) -> u64 {
        self.store().bytes_in_use()
    }

    /// Bytes at which this member's door refuses to add any; `None` is no quota.
    pub fn quota_bytes(&self) -> Option<u64> {
        self.inner.quota_bytes
    }

    /// Whether the door refuses a command. Not by what this member happens to know: an alarm that was
    /// cleared elsewhere, or room that was made, counts from the moment it was acknowledged. So an
    /// objection is raised again once this member has caught up. A full quota raises the alarm.
    pub(super) async fn refused(
        &self,
        command: &Command,
        deadline: Instant,
    ) -> Result<Option<Refusal>, NodeError> {
        if self.objection(command).is_none() {
            return Ok(None);
        }
        self.read_barrier(deadline).await?;
        Ok(match self.objection(command) {
            None => None,
            Some(Objection::Alarm(refusal)) => Some(refusal),
            Some(Objection::Quota) => {
                let raised = self.raise_no_space("the quota is used up", deadline);
                if let Err(error) = raised.await {
                    // Refused all the same: whoever comes next tries again.
                    tracing::warn!(%error, "alarm NOSPACE not raised");
                }
                Some(Refusal::NoSpace)
            }
        })
    }

    /// What speaks against a command as far as this member knows: an alarm that is on, or that it
    /// would not fit into the quota with what waits before it.
    fn objection(&self, command: &Command) -> Option<Objection> {
        if let Some(refusal) = admission::refused(&self.alarms(), command) {
            return Some(Objection::Alarm(refusal));
        }
        let quota = self.inner.quota_bytes?;
        let cost = admission::cost(command);
        let waiting = self.inner.proposer.queued_bytes() as u64;
        (cost > 0 && self.bytes_in_use() + waiting + cost >= quota).then_some(Objection::Quota)
    }

    /// Raises NOSPACE for this member.
    pub(super) async fn raise_no_space(
        &self,
        why: &'static str,
        deadline: Instant,
    ) -> Result<(), NodeError> {
        let alarm = Alarm {
            kind: AlarmKind::NoSpace,
            member: self.inner.identity.member_id,
        };
        self.raise(alarm, why, deadline).await
    }

    /// Raises an alarm, once: whoever comes while it is being raised waits for that.
    pub(super) async fn raise(
        &self,
        alarm: Alarm,
        why: &'static str,
        deadline: Instant,
    ) -> Result<(), NodeError> {
        let turn = timeout_at(deadline, self.inner.raising.lock()).await;
        let _turn = turn.map_err(|_| NodeError::Timeout)?;
        if self.alarms().contains(alarm) {
            return Ok(());
        }
        let command = Command::Alarm(AlarmChange { alarm, on: true });
        self.inner.proposer.propose(command, deadline).await?;
        tracing::warn!(member = %HexId(alarm.member), why, "alarm {} raised", alarm.kind.name());
        Ok(())
    }
}

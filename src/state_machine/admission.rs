//! What a full or a damaged cluster still does.
//!
//! One rule, asked twice. The door asks it so that a refusal comes at once and costs nothing. Apply
//! asks it again with the alarms as they stand at that place of the log, so a command that was on its
//! way when an alarm was raised is refused by every member alike.
//!
//! The quota itself is asked at the door only. It is a flag, and may differ from member to member;
//! what the log carries of it is the alarm, and from that entry on apply refuses. So a member may be
//! led over its quota by what was on its way in between, and never apart from the others.

use super::command::{Command, Operation, Put, Txn};
use crate::mvcc::Refusal;
use crate::mvcc::alarms::{AlarmKind, Alarms};

/// etcd's allowance for a pair besides its key and its value.
const PAIR_BYTES: u64 = 256;
/// And for a lease.
const LEASE_BYTES: u64 = 64;

/// Why a command is not carried out while these alarms are on.
pub fn refused(alarms: &Alarms, command: &Command) -> Option<Refusal> {
    if alarms.is_empty() {
        return None;
    }
    if alarms.any(AlarmKind::Corrupt) && touches_data(command) {
        return Some(Refusal::Corrupt);
    }
    (alarms.any(AlarmKind::NoSpace) && cost(command) > 0).then_some(Refusal::NoSpace)
}

/// Whether a command means anything only if the members agree on the data.
fn touches_data(command: &Command) -> bool {
    match command {
        Command::Put(_)
        | Command::DeleteRange(_)
        | Command::Txn(_)
        | Command::Compact { .. }
        | Command::LeaseGrant { .. }
        | Command::LeaseRevoke { .. } => true,
        Command::LeaseCheckpoint { .. }
        | Command::PublishMember(_)
        | Command::ClaimMember { .. }
        | Command::Alarm(_)
        | Command::Downgrade { .. } => false,
    }
}

/// Bytes that a command may add, as etcd estimates them; 0 for one that adds nothing.
pub fn cost(command: &Command) -> u64 {
    match command {
        Command::Put(put) => of_put(put),
        Command::Txn(txn) => of_txn(txn),
        Command::LeaseGrant { .. } => LEASE_BYTES,
        Command::DeleteRange(_)
        | Command::LeaseRevoke { .. }
        | Command::LeaseCheckpoint { .. }
        | Command::Compact { .. }
        | Command::PublishMember(_)
        | Command::ClaimMember { .. }
        | Command::Alarm(_)
        | Command::Downgrade { .. } => 0,
    }
}

fn of_put(put: &Put) -> u64 {
    PAIR_BYTES + (put.key.len() + put.value.len()) as u64
}

/// The dearer branch. Puts of nested transactions count, which etcd forgets; recursion is bounded,
/// because the door refuses deep nesting.
fn of_txn(txn: &Txn) -> u64 {
    let branch = |operations: &[Operation]| operations.iter().map(of_operation).sum::<u64>();
    branch(&txn.success).max(branch(&txn.failure))
}

fn of_operation(operation: &Operation) -> u64 {
    match operation {
        Operation::Put(put) => of_put(put),
        Operation::Txn(txn) => of_txn(txn),
        Operation::Range(_) | Operation::DeleteRange(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn put(value_bytes: usize) -> Operation {
        Operation::Put(Put {
            key: "k".into(),
            value: Bytes::from(vec![0; value_bytes]),
            lease: 0,
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        })
    }

    fn txn(success: Vec<Operation>, failure: Vec<Operation>) -> Txn {
        Txn {
            compare: Vec::new(),
            success,
            failure,
        }
    }

    #[test]
    fn the_dearer_branch_counts_with_what_it_nests() {
        let nested = Operation::Txn(txn(vec![], vec![put(10), put(20)]));
        let command = Command::Txn(txn(vec![put(1)], vec![nested]));
        assert_eq!(cost(&command), 2 * (PAIR_BYTES + 1) + 30);
        assert_eq!(cost(&Command::Txn(txn(vec![], vec![]))), 0);
    }
}

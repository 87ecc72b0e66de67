//! What a waiting command costs in memory, for admission: its bytes, roughly.

use crate::state_machine::command::{
    Command, Compare, CompareTarget, DeleteRange, MemberAttributes, Operation, Put, Txn,
};
use crate::types::{KeyRange, RangeEnd};

/// A command, an operation or a comparison without its keys and values.
const OVERHEAD_BYTES: usize = 128;

pub(super) fn weight(command: &Command) -> usize {
    OVERHEAD_BYTES
        + match command {
            Command::Put(put) => of_put(put),
            Command::DeleteRange(delete) => of_delete(delete),
            Command::Txn(txn) => of_txn(txn),
            Command::Compact { .. }
            | Command::LeaseGrant { .. }
            | Command::LeaseRevoke { .. }
            | Command::Alarm(_)
            | Command::ClaimMember { .. }
            | Command::Downgrade { .. } => 0,
            Command::LeaseCheckpoint { marks, .. } => size_of_val(marks.as_slice()),
            Command::PublishMember(member) => of_member(member),
        }
}

/// Whether a command gives something back, or says that something is wrong, and so has a place
/// where others are turned away. etcd does so for revoking leases.
pub(super) fn is_urgent(command: &Command) -> bool {
    match command {
        Command::Alarm(_) | Command::LeaseRevoke { .. } | Command::LeaseCheckpoint { .. } => true,
        Command::Put(_)
        | Command::DeleteRange(_)
        | Command::Txn(_)
        | Command::Compact { .. }
        | Command::LeaseGrant { .. }
        | Command::PublishMember(_)
        | Command::ClaimMember { .. }
        | Command::Downgrade { .. } => false,
    }
}

fn of_put(put: &Put) -> usize {
    put.key.len() + put.value.len()
}

fn of_delete(delete: &DeleteRange) -> usize {
    of_range(&delete.range)
}

fn of_range(range: &KeyRange) -> usize {
    let end = match &range.end {
        RangeEnd::Before(end) => end.len(),
        RangeEnd::Single | RangeEnd::Unbounded => 0,
    };
    range.start.len() + end
}

/// Recursion is bounded: the door refuses deep nesting.
fn of_txn(txn: &Txn) -> usize {
    let compares = txn.compare.iter().map(of_compare);
    let operations = txn.success.iter().chain(&txn.failure).map(of_operation);
    compares.chain(operations).sum()
}

fn of_compare(compare: &Compare) -> usize {
    let value = match &compare.target {
        CompareTarget::Value(value) => value.len(),
        CompareTarget::Version(_)
        | CompareTarget::Create(_)
        | CompareTarget::Mod(_)
        | CompareTarget::Lease(_) => 0,
    };
    OVERHEAD_BYTES + of_range(&compare.range) + value
}

fn of_operation(operation: &Operation) -> usize {
    OVERHEAD_BYTES
        + match operation {
            Operation::Put(put) => of_put(put),
            Operation::Txn(txn) => of_txn(txn),
            Operation::Range(query) => of_range(&query.range),
            Operation::DeleteRange(delete) => of_delete(delete),
        }
}

fn of_member(member: &MemberAttributes) -> usize {
    let urls = member
        .client_urls
        .iter()
        .map(|url| OVERHEAD_BYTES + url.len());
    member.name.len() + urls.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_machine::command::Relation;
    use bytes::Bytes;

    #[test]
    fn whatever_carries_bytes_weighs_them() {
        let long = || Bytes::from(vec![b'k'; 1000]);
        let ranges = [
            KeyRange::from_wire(long(), Bytes::new()),
            KeyRange::from_wire("k".into(), long()),
        ];
        for range in ranges {
            let delete = DeleteRange {
                range: range.clone(),
                prev_kv: false,
            };
            let compare = Compare {
                range,
                relation: Relation::Equal,
                target: CompareTarget::Version(1),
            };
            let txn = |compare, success| {
                Command::Txn(Txn {
                    compare,
                    success,
                    failure: Vec::new(),
                })
            };
            let inner = Operation::DeleteRange(delete.clone());
            for command in [
                Command::DeleteRange(delete),
                txn(vec![compare], vec![]),
                txn(vec![], vec![inner]),
            ] {
                assert!(weight(&command) >= 1000, "{command:?}");
            }
        }
        let compare = Compare {
            range: KeyRange::from_wire("k".into(), Bytes::new()),
            relation: Relation::Equal,
            target: CompareTarget::Value(long()),
        };
        assert!(of_compare(&compare) >= 1000);
    }
}

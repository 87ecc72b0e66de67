//! What a waiting command costs in memory, for admission: its bytes, roughly.

use crate::state_machine::command::{Command, Operation, Put, Txn};

/// A command without its keys and values.
const OVERHEAD_BYTES: usize = 128;

pub(super) fn weight(command: &Command) -> usize {
    OVERHEAD_BYTES
        + match command {
            Command::Put(put) => of_put(put),
            Command::Txn(txn) => of_txn(txn),
            Command::DeleteRange(_) | Command::Compact { .. } | Command::PublishMember(_) => 0,
        }
}

fn of_put(put: &Put) -> usize {
    put.key.len() + put.value.len()
}

/// Recursion is bounded: the door refuses deep nesting.
fn of_txn(txn: &Txn) -> usize {
    let operations = txn.success.iter().chain(&txn.failure);
    let inner: usize = operations
        .map(|operation| {
            OVERHEAD_BYTES
                + match operation {
                    Operation::Put(put) => of_put(put),
                    Operation::Txn(txn) => of_txn(txn),
                    Operation::Range(_) | Operation::DeleteRange(_) => 0,
                }
        })
        .sum();
    inner + txn.compare.len() * OVERHEAD_BYTES
}

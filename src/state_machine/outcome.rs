//! What apply answers: the same on every member, sent back to the door that asked.

use crate::mvcc::Alarm;
use crate::types::{KeyValue, RangeResult, Revision};

pub use crate::mvcc::Refusal;

/// The answer to one command. `revision` is the store's revision right after it (the header's).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub revision: Revision,
    pub result: Result<Outcome, Refusal>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Put {
        prev_kv: Option<KeyValue>,
    },
    DeleteRange {
        deleted: i64,
        prev_kvs: Vec<KeyValue>,
    },
    Txn(TxnOutcome),
    Compacted,
    Published,
    LeaseGranted,
    /// Unless `whole`, the lease had too many keys for one command, and is still there with the rest.
    LeaseRevoked {
        whole: bool,
    },
    LeaseCheckpointed,
    /// The alarm that is on or was cleared; none if there was nothing to clear.
    Alarm(Option<Alarm>),
    DowngradeNoted,
    Claimed,
    /// Carried out, but its answer of so many bytes was too long to be handed from the leader to
    /// the member that was asked. Never made by apply.
    TooLong {
        bytes: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TxnOutcome {
    pub succeeded: bool,
    pub responses: Vec<OperationOutcome>,
}

/// One operation's answer with its own header revision: the old revision before the transaction's
/// first write, the new one after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationOutcome {
    pub revision: Revision,
    pub result: OperationResult,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationResult {
    Range(RangeResult),
    Put {
        prev_kv: Option<KeyValue>,
    },
    DeleteRange {
        deleted: i64,
        prev_kvs: Vec<KeyValue>,
    },
    Txn(TxnOutcome),
}

//! What apply answers: the same on every member, sent back to the door that asked.

use crate::types::{KeyValue, RangeResult, Revision};

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

/// Why a valid command was not carried out. Deterministic: every member says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("required revision has been compacted")]
    Compacted,
    #[error("required revision is a future revision")]
    FutureRevision,
    #[error("requested lease not found")]
    LeaseNotFound,
    #[error("key not found")]
    KeyNotFound,
    /// The command would touch more bytes than one atomic batch may hold.
    #[error("the command is too large to apply at once")]
    TooLarge,
}

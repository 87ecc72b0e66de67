//! A request to a member, and its answer without what may differ.

use crate::door::Door;
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::response_op::Response as OpResponse;
use quorate::proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, ResponseHeader, TxnRequest, TxnResponse,
};
use tonic::{Code, Status};

/// A call of the KV service.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    Range(RangeRequest),
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
}

/// What came back, masked.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Range(RangeResponse),
    Put(PutResponse),
    DeleteRange(DeleteRangeResponse),
    Txn(TxnResponse),
    Compact(CompactionResponse),
    Error(Code, String),
}

impl Call {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Range(_) => "range",
            Self::Put(_) => "put",
            Self::DeleteRange(_) => "delete",
            Self::Txn(_) => "txn",
            Self::Compact(_) => "compact",
        }
    }

    /// Whether a member may answer it from its own state, without a barrier. A transaction without
    /// any operation is not among them: see `docs/compatibility.md`.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Range(range) => range.serializable,
            Self::Txn(txn) => {
                let empty = txn.success.is_empty() && txn.failure.is_empty();
                !empty && only_ranges(txn, |range| range.serializable)
            }
            Self::Put(_) | Self::DeleteRange(_) | Self::Compact(_) => false,
        }
    }

    /// Whether it goes through the log; a nested transaction does, whatever it holds.
    pub fn is_logged(&self) -> bool {
        match self {
            Self::Range(_) => false,
            Self::Txn(txn) => !only_ranges(txn, |_| true),
            Self::Put(_) | Self::DeleteRange(_) | Self::Compact(_) => true,
        }
    }

    pub async fn send(&self, door: &mut Door) -> Answer {
        let answer = match self.clone() {
            Self::Range(call) => door
                .kv
                .range(call)
                .await
                .map(|r| Answer::Range(r.into_inner())),
            Self::Put(call) => door.kv.put(call).await.map(|r| Answer::Put(r.into_inner())),
            Self::DeleteRange(call) => door
                .kv
                .delete_range(call)
                .await
                .map(|r| Answer::DeleteRange(r.into_inner())),
            Self::Txn(call) => door.kv.txn(call).await.map(|r| Answer::Txn(r.into_inner())),
            Self::Compact(call) => door
                .kv
                .compact(call)
                .await
                .map(|r| Answer::Compact(r.into_inner())),
        };
        answer.unwrap_or_else(|status| error(&status)).masked()
    }
}

/// Whether a transaction holds nothing but ranges, and only such.
fn only_ranges(txn: &TxnRequest, such: impl Fn(&RangeRequest) -> bool) -> bool {
    let mut operations = txn.success.iter().chain(&txn.failure);
    operations.all(|operation| match &operation.request {
        Some(Request::RequestRange(range)) => such(range),
        _ => false,
    })
}

fn error(status: &Status) -> Answer {
    Answer::Error(status.code(), status.message().to_owned())
}

impl Answer {
    /// The revision in the answer's header.
    pub fn revision(&self) -> Option<i64> {
        let header = match self {
            Self::Range(answer) => &answer.header,
            Self::Put(answer) => &answer.header,
            Self::DeleteRange(answer) => &answer.header,
            Self::Txn(answer) => &answer.header,
            Self::Compact(answer) => &answer.header,
            Self::Error(..) => &None,
        };
        header.as_ref().map(|header| header.revision)
    }

    fn masked(mut self) -> Self {
        match &mut self {
            Self::Range(answer) => mask(answer.header.as_mut()),
            Self::Put(answer) => mask(answer.header.as_mut()),
            Self::DeleteRange(answer) => mask(answer.header.as_mut()),
            Self::Txn(answer) => mask_txn(answer),
            Self::Compact(answer) => mask(answer.header.as_mut()),
            Self::Error(..) => {}
        }
        self
    }
}

/// The ids and the term, if they are there: an answer that lacks them must still differ.
fn mask(header: Option<&mut ResponseHeader>) {
    if let Some(header) = header {
        for field in [
            &mut header.cluster_id,
            &mut header.member_id,
            &mut header.raft_term,
        ] {
            *field = u64::from(*field != 0);
        }
    }
}

fn mask_txn(answer: &mut TxnResponse) {
    mask(answer.header.as_mut());
    for response in &mut answer.responses {
        match &mut response.response {
            Some(OpResponse::ResponseRange(answer)) => mask(answer.header.as_mut()),
            Some(OpResponse::ResponsePut(answer)) => mask(answer.header.as_mut()),
            Some(OpResponse::ResponseDeleteRange(answer)) => mask(answer.header.as_mut()),
            Some(OpResponse::ResponseTxn(answer)) => mask_txn(answer),
            None => {}
        }
    }
}

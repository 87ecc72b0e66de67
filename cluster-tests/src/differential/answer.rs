//! What came back, without what may differ between two clusters that do the same.

use quorate::proto::etcdserverpb::response_op::Response as OpResponse;
use quorate::proto::etcdserverpb::{
    CompactionResponse, DeleteRangeResponse, PutResponse, RangeResponse, ResponseHeader,
    TxnResponse,
};
use std::fmt::Debug;
use tonic::{Code, Status};

/// An answer, masked: ids and terms are 1 where they are set, so that one which lacks them still
/// differs.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Range(RangeResponse),
    Put(PutResponse),
    DeleteRange(DeleteRangeResponse),
    Txn(TxnResponse),
    Compact(CompactionResponse),
    /// What the other services say, as text, and the revision in their header.
    Said {
        revision: Option<i64>,
        text: String,
    },
    Error(Code, String),
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
            Self::Said { revision, .. } => return *revision,
            Self::Error(..) => &None,
        };
        header.as_ref().map(|header| header.revision)
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(..))
    }

    /// An answer of one of the other services, already masked but for its header.
    pub(super) fn said<T: Debug>(
        answer: Result<T, Status>,
        header: impl FnOnce(&mut T) -> Option<&mut ResponseHeader>,
    ) -> Self {
        match answer {
            Ok(mut answer) => {
                let header = header(&mut answer);
                let revision = header.as_ref().map(|header| header.revision);
                mask(header);
                let text = format!("{answer:?}");
                Self::Said { revision, text }
            }
            Err(status) => Self::refused(&status),
        }
    }

    pub(super) fn refused(status: &Status) -> Self {
        Self::Error(status.code(), status.message().to_owned())
    }

    pub(super) fn masked(mut self) -> Self {
        match &mut self {
            Self::Range(answer) => mask(answer.header.as_mut()),
            Self::Put(answer) => mask(answer.header.as_mut()),
            Self::DeleteRange(answer) => mask(answer.header.as_mut()),
            Self::Txn(answer) => mask_txn(answer),
            Self::Compact(answer) => mask(answer.header.as_mut()),
            Self::Said { .. } | Self::Error(..) => {}
        }
        self
    }
}

/// The ids and the term, if they are there: an answer that lacks them must still differ.
pub(super) fn mask(header: Option<&mut ResponseHeader>) {
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

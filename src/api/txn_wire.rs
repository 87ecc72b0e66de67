//! Decoding a transaction.
//!
//! etcd accepts transactions nested 127 deep, which are 254 levels of messages; prost stops at 100,
//! and taking its limit away would let a few kilobytes of nested groups overflow the stack in any
//! message on any port. So prost keeps its limit for every message, and the two that contain each
//! other, `TxnRequest` and `RequestOp`, are taken apart here, with a bound of their own. Everything
//! that later walks or drops the tree recurses no deeper than this let it grow.

use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::{RequestOp, TxnRequest};
use bytes::{Buf, Bytes};
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, message, skip_field};

/// Transactions inside a transaction: as many as the log's decoder takes.
pub(crate) use crate::state_machine::codec::NESTING_MAX;

#[derive(Debug)]
pub(super) enum TxnDecodeError {
    Malformed(DecodeError),
    TooDeep,
}

impl From<DecodeError> for TxnDecodeError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

/// Same result as prost's own decoding, unknown fields skipped, repeated oneofs merged.
pub(super) fn decode(bytes: Bytes) -> Result<TxnRequest, TxnDecodeError> {
    let mut txn = TxnRequest::default();
    merge_txn(&mut txn, bytes, NESTING_MAX)?;
    Ok(txn)
}

fn merge_txn(
    txn: &mut TxnRequest,
    mut bytes: Bytes,
    levels_left: usize,
) -> Result<(), TxnDecodeError> {
    while bytes.has_remaining() {
        let (field, wire_type) = decode_key(&mut bytes)?;
        match field {
            1 => {
                let context = DecodeContext::default();
                message::merge_repeated(wire_type, &mut txn.compare, &mut bytes, context)?;
            }
            2 => txn.success.push(decode_operation(
                nested(wire_type, &mut bytes)?,
                levels_left,
            )?),
            3 => txn.failure.push(decode_operation(
                nested(wire_type, &mut bytes)?,
                levels_left,
            )?),
            _ => skip_field(wire_type, field, &mut bytes, DecodeContext::default())?,
        }
    }
    Ok(())
}

fn decode_operation(mut bytes: Bytes, levels_left: usize) -> Result<RequestOp, TxnDecodeError> {
    let mut request = None;
    while bytes.has_remaining() {
        let (field, wire_type) = decode_key(&mut bytes)?;
        let context = DecodeContext::default();
        request = match (field, request) {
            (1, previous) => {
                let mut range = match previous {
                    Some(Request::RequestRange(range)) => range,
                    _ => Default::default(),
                };
                message::merge(wire_type, &mut range, &mut bytes, context)?;
                Some(Request::RequestRange(range))
            }
            (2, previous) => {
                let mut put = match previous {
                    Some(Request::RequestPut(put)) => put,
                    _ => Default::default(),
                };
                message::merge(wire_type, &mut put, &mut bytes, context)?;
                Some(Request::RequestPut(put))
            }
            (3, previous) => {
                let mut delete = match previous {
                    Some(Request::RequestDeleteRange(delete)) => delete,
                    _ => Default::default(),
                };
                message::merge(wire_type, &mut delete, &mut bytes, context)?;
                Some(Request::RequestDeleteRange(delete))
            }
            (4, previous) => {
                let mut txn = match previous {
                    Some(Request::RequestTxn(txn)) => txn,
                    _ => Default::default(),
                };
                let body = nested(wire_type, &mut bytes)?;
                let left = levels_left.checked_sub(1).ok_or(TxnDecodeError::TooDeep)?;
                merge_txn(&mut txn, body, left)?;
                Some(Request::RequestTxn(txn))
            }
            (_, previous) => {
                skip_field(wire_type, field, &mut bytes, context)?;
                previous
            }
        };
    }
    Ok(RequestOp { request })
}

/// The bytes of an embedded message: a slice, not a copy.
fn nested(wire_type: WireType, bytes: &mut Bytes) -> Result<Bytes, DecodeError> {
    let mut body = Bytes::new();
    prost::encoding::bytes::merge(wire_type, &mut body, bytes, DecodeContext::default())?;
    Ok(body)
}

#[cfg(test)]
mod tests;

//! Replies to bytes and back: the answer to a forwarded batch.

use super::batch::{COMMAND_FORMAT_VERSION, check_version};
use super::words::{
    Reader, put_alarm, put_flag, put_key_value, put_list, put_optional_pair, put_range_result,
};
use super::{CodecError, LEVELS_MAX};
use crate::state_machine::outcome::{
    OperationOutcome, OperationResult, Outcome, Refusal, Reply, TxnOutcome,
};
use crate::storage::varint::{put_i64, put_u64};
use crate::types::KeyValue;
use bytes::{BufMut, Bytes, BytesMut};

/// What an answer begins with. Never reuse a number.
const PUT: u8 = 1;
const DELETE_RANGE: u8 = 2;
const TXN: u8 = 3;
const COMPACTED: u8 = 4;
const PUBLISHED: u8 = 5;
/// Only inside a transaction.
const RANGE: u8 = 6;
const TOO_LONG: u8 = 7;
const LEASE_GRANTED: u8 = 17;
const LEASE_REVOKED: u8 = 18;
const LEASE_CHECKPOINTED: u8 = 19;
const ALARM: u8 = 20;
const DOWNGRADE_NOTED: u8 = 22;
const CLAIMED: u8 = 11;
/// A refusal: this plus its number.
const REFUSED: u8 = 0x80;

const REFUSALS: [Refusal; 11] = [
    Refusal::Compacted,
    Refusal::FutureRevision,
    Refusal::LeaseNotFound,
    Refusal::KeyNotFound,
    Refusal::TooLarge,
    Refusal::LeaseExists,
    Refusal::Fenced,
    Refusal::NoSpace,
    Refusal::Corrupt,
    Refusal::MemberRemoved,
    Refusal::MemberKnownElsewhere,
];

fn refusal_tag(refusal: Refusal) -> u8 {
    REFUSED
        | match refusal {
            Refusal::Compacted => 0,
            Refusal::FutureRevision => 1,
            Refusal::LeaseNotFound => 2,
            Refusal::KeyNotFound => 3,
            Refusal::TooLarge => 4,
            Refusal::LeaseExists => 5,
            Refusal::Fenced => 6,
            Refusal::NoSpace => 7,
            Refusal::Corrupt => 8,
            Refusal::MemberRemoved => 9,
            Refusal::MemberKnownElsewhere => 10,
        }
}

pub fn encode_replies(replies: &[Reply]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(COMMAND_FORMAT_VERSION);
    put_list(&mut out, replies, put_reply);
    out.freeze()
}

fn put_reply(out: &mut BytesMut, reply: &Reply) {
    put_i64(out, reply.revision);
    match &reply.result {
        Ok(outcome) => put_outcome(out, outcome),
        Err(refusal) => out.put_u8(refusal_tag(*refusal)),
    }
}

/// [`encode_replies`] in at most `bytes_max`: the longest replies give way to
/// [`Outcome::TooLong`], as many as must, so that the others' askers get theirs.
pub fn encode_replies_within(mut replies: Vec<Reply>, bytes_max: usize) -> Bytes {
    let whole = encode_replies(&replies);
    if whole.len() <= bytes_max {
        return whole;
    }
    let mut excess = whole.len() - bytes_max;
    drop(whole);
    let mut by_length: Vec<(usize, usize)> = Vec::with_capacity(replies.len());
    for (at, reply) in replies.iter().enumerate() {
        by_length.push((encoded_len(reply), at));
    }
    by_length.sort_unstable();
    while excess > 0
        && let Some((bytes, at)) = by_length.pop()
    {
        let reply = &mut replies[at];
        reply.result = Ok(Outcome::TooLong {
            bytes: bytes as u64,
        });
        excess = excess.saturating_sub(bytes.saturating_sub(encoded_len(reply)));
    }
    encode_replies(&replies)
}

fn encoded_len(reply: &Reply) -> usize {
    let mut alone = BytesMut::new();
    put_reply(&mut alone, reply);
    alone.len()
}

/// The reverse of [`encode_replies`]. Keys and values are slices of `bytes`.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the replies share these bytes from here on"
)]
pub fn decode_replies(bytes: Bytes) -> Result<Vec<Reply>, CodecError> {
    let mut reader = Reader::new(&bytes, check_version(&bytes)?);
    let replies = reader.list(|reader| {
        let revision = reader.input.i64()?;
        let tag = reader.input.u8()?;
        let result = match tag.checked_sub(REFUSED) {
            Some(number) => {
                let refusal = REFUSALS
                    .get(usize::from(number))
                    .ok_or(CodecError::Malformed)?;
                Err(*refusal)
            }
            None => Ok(read_outcome(reader, tag)?),
        };
        Ok(Reply { revision, result })
    })?;
    reader.end()?;
    Ok(replies)
}

fn put_outcome(out: &mut BytesMut, outcome: &Outcome) {
    match outcome {
        Outcome::Put { prev_kv } => put_put(out, prev_kv.as_ref()),
        Outcome::DeleteRange { deleted, prev_kvs } => put_delete(out, *deleted, prev_kvs),
        Outcome::Txn(txn) => put_txn(out, txn),
        Outcome::Compacted => out.put_u8(COMPACTED),
        Outcome::Published => out.put_u8(PUBLISHED),
        Outcome::DowngradeNoted => out.put_u8(DOWNGRADE_NOTED),
        Outcome::Alarm(alarm) => {
            out.put_u8(ALARM);
            put_flag(out, alarm.is_some());
            if let Some(alarm) = alarm {
                put_alarm(out, *alarm);
            }
        }
        Outcome::Claimed => out.put_u8(CLAIMED),
        Outcome::TooLong { bytes } => {
            out.put_u8(TOO_LONG);
            put_u64(out, *bytes);
        }
        Outcome::LeaseGranted => out.put_u8(LEASE_GRANTED),
        Outcome::LeaseRevoked { whole } => {
            out.put_u8(LEASE_REVOKED);
            put_flag(out, *whole);
        }
        Outcome::LeaseCheckpointed => out.put_u8(LEASE_CHECKPOINTED),
    }
}

fn read_outcome(reader: &mut Reader<'_>, tag: u8) -> Result<Outcome, CodecError> {
    Ok(match tag {
        PUT => Outcome::Put {
            prev_kv: reader.optional_pair()?,
        },
        DELETE_RANGE => Outcome::DeleteRange {
            deleted: reader.input.i64()?,
            prev_kvs: reader.list(Reader::key_value)?,
        },
        TXN => Outcome::Txn(read_txn(reader, LEVELS_MAX)?),
        COMPACTED => Outcome::Compacted,
        PUBLISHED => Outcome::Published,
        DOWNGRADE_NOTED => Outcome::DowngradeNoted,
        ALARM => Outcome::Alarm(if reader.flag()? {
            Some(reader.alarm()?)
        } else {
            None
        }),
        CLAIMED => Outcome::Claimed,
        TOO_LONG => Outcome::TooLong {
            bytes: reader.input.u64()?,
        },
        LEASE_GRANTED => Outcome::LeaseGranted,
        LEASE_REVOKED => Outcome::LeaseRevoked {
            whole: reader.flag()?,
        },
        LEASE_CHECKPOINTED => Outcome::LeaseCheckpointed,
        _ => return Err(CodecError::Malformed),
    })
}

fn put_put(out: &mut BytesMut, prev_kv: Option<&KeyValue>) {
    out.put_u8(PUT);
    put_optional_pair(out, prev_kv);
}

fn put_delete(out: &mut BytesMut, deleted: i64, prev_kvs: &[KeyValue]) {
    out.put_u8(DELETE_RANGE);
    put_i64(out, deleted);
    put_list(out, prev_kvs, put_key_value);
}

fn put_txn(out: &mut BytesMut, txn: &TxnOutcome) {
    out.put_u8(TXN);
    put_flag(out, txn.succeeded);
    put_list(out, &txn.responses, |out, response| {
        put_i64(out, response.revision);
        match &response.result {
            OperationResult::Range(result) => {
                out.put_u8(RANGE);
                put_range_result(out, result);
            }
            OperationResult::Put { prev_kv } => put_put(out, prev_kv.as_ref()),
            OperationResult::DeleteRange { deleted, prev_kvs } => {
                put_delete(out, *deleted, prev_kvs);
            }
            OperationResult::Txn(txn) => put_txn(out, txn),
        }
    });
}

/// `depth`: how many more levels may follow, this one included.
fn read_txn(reader: &mut Reader<'_>, depth: usize) -> Result<TxnOutcome, CodecError> {
    let depth = depth.checked_sub(1).ok_or(CodecError::TooDeep)?;
    let succeeded = reader.flag()?;
    let responses = reader.list(|reader| {
        let revision = reader.input.i64()?;
        let result = match reader.input.u8()? {
            RANGE => OperationResult::Range(reader.range_result()?),
            PUT => OperationResult::Put {
                prev_kv: reader.optional_pair()?,
            },
            DELETE_RANGE => OperationResult::DeleteRange {
                deleted: reader.input.i64()?,
                prev_kvs: reader.list(Reader::key_value)?,
            },
            TXN => OperationResult::Txn(read_txn(reader, depth)?),
            _ => return Err(CodecError::Malformed),
        };
        Ok(OperationOutcome { revision, result })
    })?;
    Ok(TxnOutcome {
        succeeded,
        responses,
    })
}

//! One command to bytes and back.

use super::words::{Reader, put_alarm, put_flag, put_key_range, put_list, put_query};
use super::{CodecError, LEVELS_MAX};
use crate::state_machine::command::{
    AlarmChange, Command, Compare, CompareTarget, DeleteRange, Fence, LeaseMark, MemberAttributes,
    Operation, Put, Relation, Txn,
};
use crate::storage::varint::{put_bytes, put_i64, put_u64};
use bytes::{BufMut, BytesMut};

/// What a command begins with. Never reuse a number.
pub(super) const PUT: u8 = 1;
const DELETE_RANGE: u8 = 2;
const TXN: u8 = 3;
const COMPACT: u8 = 4;
const PUBLISH_MEMBER: u8 = 5;
/// Only inside a transaction.
const RANGE: u8 = 6;
const LEASE_GRANT: u8 = 7;
const LEASE_REVOKE: u8 = 8;
const LEASE_CHECKPOINT: u8 = 9;
const ALARM: u8 = 10;
const DOWNGRADE: u8 = 12;
const CLAIM_MEMBER: u8 = 11;

pub(super) fn put_command(out: &mut BytesMut, command: &Command) {
    match command {
        Command::Put(put) => put_put(out, put),
        Command::DeleteRange(delete) => put_delete(out, delete),
        Command::Txn(txn) => put_txn(out, txn),
        Command::Compact { revision } => {
            out.put_u8(COMPACT);
            put_i64(out, *revision);
        }
        Command::PublishMember(member) => {
            out.put_u8(PUBLISH_MEMBER);
            put_u64(out, member.node);
            put_bytes(out, member.name.as_bytes());
            put_list(out, &member.client_urls, |out, url| {
                put_bytes(out, url.as_bytes());
            });
        }
        Command::LeaseGrant { id, ttl } => {
            out.put_u8(LEASE_GRANT);
            put_i64(out, *id);
            put_i64(out, *ttl);
        }
        Command::LeaseRevoke { id, fence } => {
            out.put_u8(LEASE_REVOKE);
            put_i64(out, *id);
            put_flag(out, fence.is_some());
            if let Some(fence) = fence {
                put_u64(out, fence.term);
                put_u64(out, fence.granted_at);
            }
        }
        Command::LeaseCheckpoint { term, marks } => {
            out.put_u8(LEASE_CHECKPOINT);
            put_u64(out, *term);
            put_list(out, marks, |out, mark| {
                put_i64(out, mark.id);
                put_u64(out, mark.granted_at);
                put_i64(out, mark.remaining);
            });
        }
        Command::Alarm(change) => {
            out.put_u8(ALARM);
            put_flag(out, change.on);
            put_alarm(out, change.alarm);
        }
        Command::Downgrade { target } => {
            out.put_u8(DOWNGRADE);
            put_flag(out, target.is_some());
            if let Some(version) = target {
                put_bytes(out, version.as_bytes());
            }
        }
        Command::ClaimMember { node, incarnation } => {
            out.put_u8(CLAIM_MEMBER);
            put_u64(out, *node);
            put_u64(out, *incarnation);
        }
    }
}

pub(super) fn read_command(reader: &mut Reader<'_>) -> Result<Command, CodecError> {
    Ok(match reader.input.u8()? {
        PUT => Command::Put(read_put(reader)?),
        DELETE_RANGE => Command::DeleteRange(read_delete(reader)?),
        TXN => Command::Txn(read_txn(reader, LEVELS_MAX)?),
        COMPACT => Command::Compact {
            revision: reader.input.i64()?,
        },
        PUBLISH_MEMBER => Command::PublishMember(MemberAttributes {
            node: reader.input.u64()?,
            name: reader.string()?,
            client_urls: reader.list(Reader::string)?,
        }),
        LEASE_GRANT => Command::LeaseGrant {
            id: reader.input.i64()?,
            ttl: reader.input.i64()?,
        },
        LEASE_REVOKE => Command::LeaseRevoke {
            id: reader.input.i64()?,
            fence: match reader.flag()? {
                false => None,
                true => Some(Fence {
                    term: reader.input.u64()?,
                    granted_at: reader.input.u64()?,
                }),
            },
        },
        LEASE_CHECKPOINT => Command::LeaseCheckpoint {
            term: reader.input.u64()?,
            marks: reader.list(|reader| {
                Ok(LeaseMark {
                    id: reader.input.i64()?,
                    granted_at: reader.input.u64()?,
                    remaining: reader.input.i64()?,
                })
            })?,
        },
        ALARM => Command::Alarm(AlarmChange {
            on: reader.flag()?,
            alarm: reader.alarm()?,
        }),
        DOWNGRADE => Command::Downgrade {
            target: if reader.flag()? {
                Some(reader.string()?.into())
            } else {
                None
            },
        },
        CLAIM_MEMBER => Command::ClaimMember {
            node: reader.input.u64()?,
            incarnation: reader.input.u64()?,
        },
        _ => return Err(CodecError::Malformed),
    })
}

const PREV_KV: u8 = 1;
const IGNORE_VALUE: u8 = 2;
const IGNORE_LEASE: u8 = 4;

fn put_put(out: &mut BytesMut, put: &Put) {
    out.put_u8(PUT);
    put_bytes(out, &put.key);
    put_bytes(out, &put.value);
    put_i64(out, put.lease);
    let flag = |set, bit| if set { bit } else { 0 };
    out.put_u8(
        flag(put.prev_kv, PREV_KV)
            | flag(put.ignore_value, IGNORE_VALUE)
            | flag(put.ignore_lease, IGNORE_LEASE),
    );
}

fn read_put(reader: &mut Reader<'_>) -> Result<Put, CodecError> {
    let key = reader.bytes()?;
    let value = reader.bytes()?;
    let lease = reader.input.i64()?;
    let flags = reader.input.u8()?;
    if flags & !(PREV_KV | IGNORE_VALUE | IGNORE_LEASE) != 0 {
        return Err(CodecError::Malformed);
    }
    Ok(Put {
        key,
        value,
        lease,
        prev_kv: flags & PREV_KV != 0,
        ignore_value: flags & IGNORE_VALUE != 0,
        ignore_lease: flags & IGNORE_LEASE != 0,
    })
}

fn put_delete(out: &mut BytesMut, delete: &DeleteRange) {
    out.put_u8(DELETE_RANGE);
    put_key_range(out, &delete.range);
    put_flag(out, delete.prev_kv);
}

fn read_delete(reader: &mut Reader<'_>) -> Result<DeleteRange, CodecError> {
    Ok(DeleteRange {
        range: reader.key_range()?,
        prev_kv: reader.flag()?,
    })
}

fn put_txn(out: &mut BytesMut, txn: &Txn) {
    out.put_u8(TXN);
    put_list(out, &txn.compare, put_compare);
    put_list(out, &txn.success, put_operation);
    put_list(out, &txn.failure, put_operation);
}

/// `depth`: how many more levels may follow, this one included.
fn read_txn(reader: &mut Reader<'_>, depth: usize) -> Result<Txn, CodecError> {
    let depth = depth.checked_sub(1).ok_or(CodecError::TooDeep)?;
    Ok(Txn {
        compare: reader.list(read_compare)?,
        success: reader.list(|reader| read_operation(reader, depth))?,
        failure: reader.list(|reader| read_operation(reader, depth))?,
    })
}

fn put_operation(out: &mut BytesMut, operation: &Operation) {
    match operation {
        Operation::Range(query) => {
            out.put_u8(RANGE);
            put_query(out, query);
        }
        Operation::Put(put) => put_put(out, put),
        Operation::DeleteRange(delete) => put_delete(out, delete),
        Operation::Txn(txn) => put_txn(out, txn),
    }
}

fn read_operation(reader: &mut Reader<'_>, depth: usize) -> Result<Operation, CodecError> {
    Ok(match reader.input.u8()? {
        RANGE => Operation::Range(reader.query()?),
        PUT => Operation::Put(read_put(reader)?),
        DELETE_RANGE => Operation::DeleteRange(read_delete(reader)?),
        TXN => Operation::Txn(read_txn(reader, depth)?),
        _ => return Err(CodecError::Malformed),
    })
}

fn put_compare(out: &mut BytesMut, compare: &Compare) {
    put_key_range(out, &compare.range);
    out.put_u8(match compare.relation {
        Relation::Equal => 0,
        Relation::Greater => 1,
        Relation::Less => 2,
        Relation::NotEqual => 3,
    });
    let number = |out: &mut BytesMut, tag, value| {
        out.put_u8(tag);
        put_i64(out, value);
    };
    match &compare.target {
        CompareTarget::Version(value) => number(out, 0, *value),
        CompareTarget::Create(value) => number(out, 1, *value),
        CompareTarget::Mod(value) => number(out, 2, *value),
        CompareTarget::Lease(value) => number(out, 3, *value),
        CompareTarget::Value(value) => {
            out.put_u8(4);
            put_bytes(out, value);
        }
    }
}

fn read_compare(reader: &mut Reader<'_>) -> Result<Compare, CodecError> {
    let range = reader.key_range()?;
    let relation = match reader.input.u8()? {
        0 => Relation::Equal,
        1 => Relation::Greater,
        2 => Relation::Less,
        3 => Relation::NotEqual,
        _ => return Err(CodecError::Malformed),
    };
    let target = match reader.input.u8()? {
        0 => CompareTarget::Version(reader.input.i64()?),
        1 => CompareTarget::Create(reader.input.i64()?),
        2 => CompareTarget::Mod(reader.input.i64()?),
        3 => CompareTarget::Lease(reader.input.i64()?),
        4 => CompareTarget::Value(reader.bytes()?),
        _ => return Err(CodecError::Malformed),
    };
    Ok(Compare {
        range,
        relation,
        target,
    })
}

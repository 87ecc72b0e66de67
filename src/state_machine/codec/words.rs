//! What commands and replies are made of: byte strings, flags, key ranges, queries, pairs.

use super::CodecError;
use crate::mvcc::{Alarm, AlarmKind};
use crate::storage::varint::{Input, put_bytes, put_i64, put_u64};
use crate::types::{KeyRange, KeyValue, RangeEnd, RangeQuery, RangeResult, SortOrder, SortTarget};
use bytes::{BufMut, Bytes, BytesMut};

/// Reads a message. Byte strings become slices of `whole`.
pub(super) struct Reader<'a> {
    whole: &'a Bytes,
    pub(super) input: Input<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(whole: &'a Bytes, part: &'a [u8]) -> Self {
        Self {
            whole,
            input: Input::new(part),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes, CodecError> {
        let bytes = self.input.bytes()?;
        Ok(self.whole.slice_ref(bytes))
    }

    pub(super) fn string(&mut self) -> Result<String, CodecError> {
        let text = std::str::from_utf8(self.input.bytes()?).map_err(|_| CodecError::Malformed)?;
        Ok(text.to_owned())
    }

    pub(super) fn flag(&mut self) -> Result<bool, CodecError> {
        match self.input.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CodecError::Malformed),
        }
    }

    /// A list with its length in front. Nothing is reserved on the word of the sender.
    pub(super) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Vec<T>, CodecError> {
        let len = self.input.u64()?;
        // Every item takes a byte at least.
        if len > self.input.rest().len() as u64 {
            return Err(CodecError::Malformed);
        }
        (0..len).map(|_| item(self)).collect()
    }

    pub(super) fn end(&self) -> Result<(), CodecError> {
        if self.input.is_empty() {
            Ok(())
        } else {
            Err(CodecError::Malformed)
        }
    }

    pub(super) fn key_range(&mut self) -> Result<KeyRange, CodecError> {
        let start = self.bytes()?;
        let end = match self.input.u8()? {
            0 => RangeEnd::Single,
            1 => RangeEnd::Before(self.bytes()?),
            2 => RangeEnd::Unbounded,
            _ => return Err(CodecError::Malformed),
        };
        Ok(KeyRange { start, end })
    }

    pub(super) fn query(&mut self) -> Result<RangeQuery, CodecError> {
        Ok(RangeQuery {
            range: self.key_range()?,
            limit: self.input.i64()?,
            revision: self.input.i64()?,
            sort_order: match self.input.u8()? {
                0 => SortOrder::None,
                1 => SortOrder::Ascend,
                2 => SortOrder::Descend,
                _ => return Err(CodecError::Malformed),
            },
            sort_target: match self.input.u8()? {
                0 => SortTarget::Key,
                1 => SortTarget::Version,
                2 => SortTarget::Create,
                3 => SortTarget::Mod,
                4 => SortTarget::Value,
                _ => return Err(CodecError::Malformed),
            },
            keys_only: self.flag()?,
            count_only: self.flag()?,
            min_mod_revision: self.input.i64()?,
            max_mod_revision: self.input.i64()?,
            min_create_revision: self.input.i64()?,
            max_create_revision: self.input.i64()?,
        })
    }

    pub(super) fn key_value(&mut self) -> Result<KeyValue, CodecError> {
        Ok(KeyValue {
            key: self.bytes()?,
            create_revision: self.input.i64()?,
            mod_revision: self.input.i64()?,
            version: self.input.i64()?,
            value: self.bytes()?,
            lease: self.input.i64()?,
        })
    }

    pub(super) fn optional_pair(&mut self) -> Result<Option<KeyValue>, CodecError> {
        Ok(if self.flag()? {
            Some(self.key_value()?)
        } else {
            None
        })
    }

    pub(super) fn alarm(&mut self) -> Result<Alarm, CodecError> {
        let kind = AlarmKind::from_number(self.input.u8()?);
        Ok(Alarm {
            kind: kind.ok_or(CodecError::Malformed)?,
            member: self.input.u64()?,
        })
    }

    pub(super) fn range_result(&mut self) -> Result<RangeResult, CodecError> {
        Ok(RangeResult {
            kvs: self.list(Self::key_value)?,
            more: self.flag()?,
            count: self.input.i64()?,
        })
    }
}

pub(super) fn put_list<T>(out: &mut BytesMut, items: &[T], mut put: impl FnMut(&mut BytesMut, &T)) {
    put_u64(out, items.len() as u64);
    for item in items {
        put(out, item);
    }
}

pub(super) fn put_flag(out: &mut BytesMut, flag: bool) {
    out.put_u8(u8::from(flag));
}

pub(super) fn put_key_range(out: &mut BytesMut, range: &KeyRange) {
    put_bytes(out, &range.start);
    match &range.end {
        RangeEnd::Single => out.put_u8(0),
        RangeEnd::Before(end) => {
            out.put_u8(1);
            put_bytes(out, end);
        }
        RangeEnd::Unbounded => out.put_u8(2),
    }
}

pub(super) fn put_query(out: &mut BytesMut, query: &RangeQuery) {
    put_key_range(out, &query.range);
    put_i64(out, query.limit);
    put_i64(out, query.revision);
    out.put_u8(match query.sort_order {
        SortOrder::None => 0,
        SortOrder::Ascend => 1,
        SortOrder::Descend => 2,
    });
    out.put_u8(match query.sort_target {
        SortTarget::Key => 0,
        SortTarget::Version => 1,
        SortTarget::Create => 2,
        SortTarget::Mod => 3,
        SortTarget::Value => 4,
    });
    put_flag(out, query.keys_only);
    put_flag(out, query.count_only);
    put_i64(out, query.min_mod_revision);
    put_i64(out, query.max_mod_revision);
    put_i64(out, query.min_create_revision);
    put_i64(out, query.max_create_revision);
}

pub(super) fn put_key_value(out: &mut BytesMut, kv: &KeyValue) {
    put_bytes(out, &kv.key);
    put_i64(out, kv.create_revision);
    put_i64(out, kv.mod_revision);
    put_i64(out, kv.version);
    put_bytes(out, &kv.value);
    put_i64(out, kv.lease);
}

pub(super) fn put_optional_pair(out: &mut BytesMut, kv: Option<&KeyValue>) {
    put_flag(out, kv.is_some());
    if let Some(kv) = kv {
        put_key_value(out, kv);
    }
}

pub(super) fn put_alarm(out: &mut BytesMut, alarm: Alarm) {
    out.put_u8(alarm.kind.number());
    put_u64(out, alarm.member);
}

pub(super) fn put_range_result(out: &mut BytesMut, result: &RangeResult) {
    put_list(out, &result.kvs, put_key_value);
    put_flag(out, result.more);
    put_i64(out, result.count);
}

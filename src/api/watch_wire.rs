//! Watch answers to bytes: an event is encoded once, whoever wants it, and a list of events that many
//! watchers share is put together once. What is the watcher's own, header and id, goes in front.

use super::convert;
use super::grpc::PREFIX_BYTES;
use crate::mvcc::row::Change;
use crate::proto::etcdserverpb::WatchResponse;
use crate::proto::mvccpb::{self, event::EventType};
use crate::watch::{Event, Events};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use std::sync::Arc;

/// `WatchResponse.events`.
const EVENTS_FIELD: u32 = 11;
/// Events up to this size are gathered in one piece of memory; longer ones travel uncopied.
const GATHERED_BYTES_MAX: usize = 4 << 10;
/// A message up to this size is one piece: a second frame would cost more than the copy.
const ONE_PIECE_BYTES_MAX: usize = 2 << 10;

/// The message cannot be framed: longer than 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

/// One event as a field of a `WatchResponse`.
pub(super) fn event(event: &Event, with_previous: bool) -> Bytes {
    event.encoded(with_previous, |event| {
        let message = message(event, with_previous);
        let length = message.encoded_len();
        let prefix = key_len(EVENTS_FIELD) + encoded_len_varint(length as u64);
        let mut buffer = BytesMut::with_capacity(prefix + length);
        encode_key(EVENTS_FIELD, WireType::LengthDelimited, &mut buffer);
        encode_varint(length as u64, &mut buffer);
        message.encode_raw(&mut buffer);
        buffer.freeze()
    })
}

fn message(event: &Event, with_previous: bool) -> mvccpb::Event {
    let previous = event.previous().filter(|_| with_previous).cloned();
    let (kind, kv) = match &event.change {
        Change::Put {
            create,
            version,
            lease,
            value,
        } => (
            EventType::Put,
            mvccpb::KeyValue {
                key: event.key.clone(),
                create_revision: *create,
                mod_revision: event.revision,
                version: *version,
                value: value.clone(),
                lease: *lease,
            },
        ),
        Change::Delete => (
            EventType::Delete,
            mvccpb::KeyValue {
                key: event.key.clone(),
                mod_revision: event.revision,
                ..mvccpb::KeyValue::default()
            },
        ),
    };
    mvccpb::Event {
        r#type: kind.into(),
        kv: Some(kv),
        prev_kv: previous.map(convert::key_value),
    }
}

/// All events, in as few pieces as are worth it.
pub(super) fn events(events: &Events, with_previous: bool) -> Arc<[Bytes]> {
    events.encoded(with_previous, |events| {
        let encoded = events.list().iter();
        pieces(encoded.map(|it| event(it, with_previous))).into()
    })
}

fn pieces(encoded: impl ExactSizeIterator<Item = Bytes>) -> Vec<Bytes> {
    if encoded.len() == 1 {
        return encoded.collect();
    }
    let mut pieces = Vec::new();
    let mut gathered = BytesMut::new();
    for event in encoded {
        if event.len() <= GATHERED_BYTES_MAX {
            gathered.extend_from_slice(&event);
            continue;
        }
        if !gathered.is_empty() {
            pieces.push(gathered.split().freeze());
        }
        pieces.push(event);
    }
    if !gathered.is_empty() {
        pieces.push(gathered.freeze());
    }
    pieces
}

/// A message whole, as pieces to send one after another. `head` is everything but the events.
pub(super) fn framed(head: &WatchResponse, events: &[Bytes]) -> Result<Vec<Bytes>, TooLong> {
    let head_bytes = head.encoded_len();
    let length = head_bytes + events.iter().map(Bytes::len).sum::<usize>();
    let prefix = u32::try_from(length).map_err(|_| TooLong)?;
    let one_piece = length <= ONE_PIECE_BYTES_MAX;
    let first = if one_piece { length } else { head_bytes };
    let mut buffer = BytesMut::with_capacity(PREFIX_BYTES + first);
    buffer.put_u8(0);
    buffer.put_u32(prefix);
    head.encode_raw(&mut buffer);
    if one_piece {
        for event in events {
            buffer.put_slice(event);
        }
        return Ok(vec![buffer.freeze()]);
    }
    let mut framed = Vec::with_capacity(1 + events.len());
    framed.push(buffer.freeze());
    framed.extend_from_slice(events);
    Ok(framed)
}

/// Splits the events of one answer into messages of less than `limit` bytes, or of one event, in
/// etcd's way (`sendFragments`). `head` is one of the messages without its events.
pub(super) fn fragments(
    head: &WatchResponse,
    events: &Events,
    with_previous: bool,
    limit: usize,
) -> Vec<Vec<Bytes>> {
    let sizes = events
        .list()
        .iter()
        .map(|it| event(it, with_previous).len());
    if head.encoded_len() + sizes.sum::<usize>() < limit {
        return vec![self::events(events, with_previous).to_vec()];
    }
    // All but the last say that there is more.
    let head_bytes = WatchResponse {
        fragment: true,
        ..head.clone()
    }
    .encoded_len();
    let mut messages = Vec::new();
    let (mut message, mut bytes) = (Vec::new(), head_bytes);
    for event in events.list() {
        let encoded = self::event(event, with_previous);
        if !message.is_empty() && bytes + encoded.len() >= limit {
            messages.push(std::mem::take(&mut message));
            bytes = head_bytes;
        }
        bytes += encoded.len();
        message.push(encoded);
    }
    messages.push(message);
    messages
}

#[cfg(test)]
mod tests;

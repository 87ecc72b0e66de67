//! One record: a 40-byte header, a payload, zeros up to the next multiple of 8.
//!
//! ```text
//!  0  u32 header checksum   crc32c of the segment's seed and of bytes 4..40
//!  4  u32 previous          the header checksum of the record before; of the first: the seed
//!  8  u32 payload checksum  crc32c of the payload
//! 12  u32 payload length
//! 16  u32 group             counts the segment's synced groups from 0
//! 20  u8  kind              1 state, 2 entry, 3 vote, 4 truncate, 5 purge
//! 21  u8  flags             1 last of its group, 2 position is "none", 4 vote is committed
//! 22  u16 zero
//! 24  u64 term              (vote: its term)
//! 32  u64 index             (vote: its node)
//! 40  payload
//! ```
//!
//! All integers are little-endian. The header checksum is seeded by the segment's incarnation, so a
//! record that an earlier life of a recycled file left behind is not a record; and it covers the
//! payload's checksum, so it names the whole record and serves as the link of the chain.
//!
//! The header has its own checksum because it must be believed before the payload is: recovery
//! looks for headers of later groups behind a damaged place, at every multiple of 8, and without
//! the seed nobody can plant one inside a payload.

use super::entry::Vote;
use crate::types::Position;
use std::mem::size_of;

pub(super) const HEADER_BYTES: usize = 40;
pub(super) const ALIGNMENT: usize = 8;
/// Payload of a state record.
const STATE_BYTES: usize = 64;

const FLAG_LAST_OF_GROUP: u8 = 1;
const FLAG_NONE: u8 = 2;
const FLAG_COMMITTED: u8 = 4;
const FLAGS_KNOWN: u8 = FLAG_LAST_OF_GROUP | FLAG_NONE | FLAG_COMMITTED;

const FLAGS_AT: usize = 21;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    State = 1,
    Entry = 2,
    Vote = 3,
    Truncate = 4,
    Purge = 5,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::State,
            2 => Self::Entry,
            3 => Self::Vote,
            4 => Self::Truncate,
            5 => Self::Purge,
            _ => return None,
        })
    }
}

/// What a record says; an entry's payload stays outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// First of every segment: all that the segments before it say, and where the last one ended.
    State(SegmentStart),
    Entry(Position),
    Vote(Vote),
    /// Entries after this position are gone; `None`: all of them.
    Truncate(Option<Position>),
    /// Entries up to this position are gone.
    Purge(Position),
}

/// The content of a state record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct SegmentStart {
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<Position>,
    pub(super) last: Option<Position>,
    /// End of the segment before: its offset, and the header checksum of its last record.
    pub(super) previous_end: u64,
    pub(super) previous_link: u32,
}

/// A header whose checksum holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) link: u32,
    pub(super) previous: u32,
    pub(super) payload_checksum: u32,
    pub(super) payload_bytes: u32,
    pub(super) group: u32,
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) term: u64,
    pub(super) index: u64,
}

/// Bytes of a record with this payload, padding included.
pub(super) fn record_bytes(payload_bytes: usize) -> usize {
    (HEADER_BYTES + payload_bytes).next_multiple_of(ALIGNMENT)
}

/// Bytes of the record that says this. An entry's payload is given beside it.
pub(super) fn encoded_bytes(record: &Record, payload: &[u8]) -> usize {
    record_bytes(if matches!(record, Record::State(_)) {
        STATE_BYTES
    } else {
        payload.len()
    })
}

/// Where in the stream a record stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) seed: u32,
    pub(super) previous: u32,
    pub(super) group: u32,
}

/// Appends a record to `buffer` and returns its own link.
pub(super) fn encode(buffer: &mut Vec<u8>, link: Link, record: &Record, payload: &[u8]) -> u32 {
    let none = Position { term: 0, index: 0 };
    let (kind, flags, position) = match *record {
        Record::State(_) => (Kind::State, 0, none),
        Record::Entry(position) => (Kind::Entry, 0, position),
        Record::Vote(vote) => (
            Kind::Vote,
            if vote.committed { FLAG_COMMITTED } else { 0 },
            Position {
                term: vote.term,
                index: vote.node,
            },
        ),
        Record::Truncate(None) => (Kind::Truncate, FLAG_NONE, none),
        Record::Truncate(Some(position)) => (Kind::Truncate, 0, position),
        Record::Purge(position) => (Kind::Purge, 0, position),
    };
    let state = if let Record::State(start) = record {
        encode_state(start)
    } else {
        [0; _]
    };
    let payload = if kind == Kind::State { &state } else { payload };
    let length = u32::try_from(payload.len()).expect("append refuses payloads over 1 GiB");

    let start = buffer.len();
    buffer.extend_from_slice(&link.seed.to_le_bytes());
    buffer.extend_from_slice(&link.previous.to_le_bytes());
    buffer.extend_from_slice(&crc_fast::crc32_iscsi(payload).to_le_bytes());
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(&link.group.to_le_bytes());
    buffer.extend_from_slice(&[kind as u8, flags, 0, 0]);
    buffer.extend_from_slice(&position.term.to_le_bytes());
    buffer.extend_from_slice(&position.index.to_le_bytes());
    buffer.extend_from_slice(payload);
    buffer.resize(start + record_bytes(payload.len()), 0);
    sign(&mut buffer[start..start + HEADER_BYTES], link.seed)
}

/// Marks the record at the start of `header` as the last of its group and returns its new link.
pub(super) fn close_group(header: &mut [u8], seed: u32) -> u32 {
    header[FLAGS_AT] |= FLAG_LAST_OF_GROUP;
    sign(&mut header[..HEADER_BYTES], seed)
}

/// The checksum is taken with the seed standing in its own place.
fn sign(header: &mut [u8], seed: u32) -> u32 {
    header[..4].copy_from_slice(&seed.to_le_bytes());
    let link = crc_fast::crc32_iscsi(header);
    header[..4].copy_from_slice(&link.to_le_bytes());
    link
}

/// Reads a header if there is one here: enough bytes, a known kind, the right checksum.
pub(super) fn header_at(bytes: &[u8], seed: u32) -> Option<Header> {
    let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    // Cheap tests first: zeros and text fail here, and a scan looks at every eighth byte.
    let kind = Kind::from_byte(bytes[20])?;
    if bytes[FLAGS_AT] & !FLAGS_KNOWN != 0 || bytes[22] != 0 || bytes[23] != 0 {
        return None;
    }
    let mut signed = *bytes;
    let link = sign(&mut signed, seed);
    if link != u32_at(bytes, 0) {
        return None;
    }
    Some(Header {
        link,
        previous: u32_at(bytes, 4),
        payload_checksum: u32_at(bytes, 8),
        payload_bytes: u32_at(bytes, 12),
        group: u32_at(bytes, 16),
        kind,
        flags: bytes[FLAGS_AT],
        term: u64_at(bytes, 24),
        index: u64_at(bytes, 32),
    })
}

impl Header {
    pub(super) fn is_last_of_group(&self) -> bool {
        self.flags & FLAG_LAST_OF_GROUP != 0
    }

    /// The payload of this header, which stands at the start of `bytes`; `None` if it is cut off or
    /// its checksum is wrong.
    pub(super) fn payload<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let length = usize::try_from(self.payload_bytes).ok()?;
        let payload = bytes.get(HEADER_BYTES..HEADER_BYTES.checked_add(length)?)?;
        (crc_fast::crc32_iscsi(payload) == self.payload_checksum).then_some(payload)
    }

    /// Bytes of the whole record.
    pub(super) fn record_bytes(&self) -> Option<usize> {
        let length = usize::try_from(self.payload_bytes).ok()?;
        HEADER_BYTES
            .checked_add(length)?
            .checked_next_multiple_of(ALIGNMENT)
    }

    /// What the record says; `None` if a state's payload makes no sense.
    pub(super) fn record(&self, payload: &[u8]) -> Option<Record> {
        let position = Position {
            term: self.term,
            index: self.index,
        };
        Some(match self.kind {
            Kind::State => Record::State(decode_state(payload)?),
            Kind::Entry => Record::Entry(position),
            Kind::Vote => Record::Vote(Vote {
                term: self.term,
                node: self.index,
                committed: self.flags & FLAG_COMMITTED != 0,
            }),
            Kind::Truncate if self.flags & FLAG_NONE != 0 => Record::Truncate(None),
            Kind::Truncate => Record::Truncate(Some(position)),
            Kind::Purge => Record::Purge(position),
        })
    }
}

const STATE_HAS_VOTE: u8 = 1;
const STATE_VOTE_COMMITTED: u8 = 2;
const STATE_HAS_PURGED: u8 = 4;
const STATE_HAS_LAST: u8 = 8;

/// `flags u8 | 3 zero | previous_link u32 | previous_end | vote (term, node) | purged | last`.
fn encode_state(start: &SegmentStart) -> [u8; STATE_BYTES] {
    let mut flags = 0;
    let mut words = [start.previous_end, 0, 0, 0, 0, 0, 0];
    if let Some(vote) = start.vote {
        flags |= STATE_HAS_VOTE
            | if vote.committed {
                STATE_VOTE_COMMITTED
            } else {
                0
            };
        words[1] = vote.term;
        words[2] = vote.node;
    }
    if let Some(purged) = start.purged {
        flags |= STATE_HAS_PURGED;
        words[3] = purged.term;
        words[4] = purged.index;
    }
    if let Some(last) = start.last {
        flags |= STATE_HAS_LAST;
        words[5] = last.term;
        words[6] = last.index;
    }
    let mut bytes = [0; STATE_BYTES];
    bytes[0] = flags;
    bytes[4..8].copy_from_slice(&start.previous_link.to_le_bytes());
    for (at, word) in words.iter().enumerate() {
        bytes[8 + at * size_of::<u64>()..][..size_of::<u64>()].copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn decode_state(bytes: &[u8]) -> Option<SegmentStart> {
    let bytes: &[u8; STATE_BYTES] = bytes.try_into().ok()?;
    let has = |flag: u8| bytes[0] & flag != 0;
    let position = |at| Position {
        term: u64_at(bytes, at),
        index: u64_at(bytes, at + 8),
    };
    Some(SegmentStart {
        vote: has(STATE_HAS_VOTE).then(|| Vote {
            term: u64_at(bytes, 16),
            node: u64_at(bytes, 24),
            committed: has(STATE_VOTE_COMMITTED),
        }),
        purged: has(STATE_HAS_PURGED).then(|| position(32)),
        last: has(STATE_HAS_LAST).then(|| position(48)),
        previous_end: u64_at(bytes, 8),
        previous_link: u32_at(bytes, 4),
    })
}

pub(super) fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

pub(super) fn u64_at<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position() -> impl Strategy<Value = Position> {
        (any::<u64>(), any::<u64>()).prop_map(|(term, index)| Position { term, index })
    }

    fn vote() -> impl Strategy<Value = Vote> {
        (any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(term, node, committed)| Vote {
            term,
            node,
            committed,
        })
    }

    fn record() -> impl Strategy<Value = Record> {
        let start = (
            prop::option::of(vote()),
            prop::option::of(position()),
            prop::option::of(position()),
            any::<u64>(),
            any::<u32>(),
        )
            .prop_map(|(vote, purged, last, previous_end, previous_link)| {
                Record::State(SegmentStart {
                    vote,
                    purged,
                    last,
                    previous_end,
                    previous_link,
                })
            });
        prop_oneof![
            start,
            position().prop_map(Record::Entry),
            vote().prop_map(Record::Vote),
            prop::option::of(position()).prop_map(Record::Truncate),
            position().prop_map(Record::Purge),
        ]
    }

    proptest! {
        #[test]
        fn a_record_reads_back(
            record in record(), body in prop::collection::vec(any::<u8>(), 0..400),
            seed: u32, previous: u32, group: u32, close: bool,
        ) {
            let body = if matches!(record, Record::Entry(_)) { body } else { Vec::new() };
            let mut bytes = vec![];
            let mut link = encode(&mut bytes, Link { seed, previous, group }, &record, &body);
            if close {
                link = close_group(&mut bytes, seed);
            }
            prop_assert_eq!(bytes.len(), encoded_bytes(&record, &body));
            prop_assert_eq!(bytes.len() % ALIGNMENT, 0);
            let header = header_at(&bytes, seed).unwrap();
            prop_assert_eq!((header.link, header.previous, header.group), (link, previous, group));
            prop_assert_eq!(header.is_last_of_group(), close);
            prop_assert_eq!(header.record_bytes(), Some(bytes.len()));
            let payload = header.payload(&bytes).unwrap();
            prop_assert_eq!(header.record(payload), Some(record));
            if matches!(record, Record::Entry(_)) {
                prop_assert_eq!(payload, &body[..]);
            }
        }

        #[test]
        fn a_flipped_bit_is_noticed(
            record in record(), body in prop::collection::vec(any::<u8>(), 1..64),
            seed: u32, at: prop::sample::Index, bit in 0..8_u8,
        ) {
            let mut bytes = vec![];
            encode(&mut bytes, Link { seed, previous: 7, group: 3 }, &record, &body);
            let header = header_at(&bytes, seed).unwrap();
            let covered = HEADER_BYTES + usize::try_from(header.payload_bytes).unwrap();
            bytes[at.index(covered)] ^= 1 << bit;
            let read = header_at(&bytes, seed).and_then(|header| header.payload(&bytes).map(|_| ()));
            prop_assert_eq!(read, None);
        }

        #[test]
        fn another_incarnation_is_not_read(record in record(), seed: u32, other: u32) {
            prop_assume!(seed != other);
            let mut bytes = vec![];
            encode(&mut bytes, Link { seed, previous: 7, group: 3 }, &record, b"body");
            prop_assert_eq!(header_at(&bytes, other), None);
        }

        #[test]
        fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), seed: u32) {
            if let Some(header) = header_at(&bytes, seed) {
                header.payload(&bytes).and_then(|payload| header.record(payload));
            }
        }
    }
}

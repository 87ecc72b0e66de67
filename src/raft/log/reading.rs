//! Entries that are no longer cached, read back from their segments and checked.

use super::entry::LogEntry;
use super::error::LogError;
use super::index::Place;
use super::nursery::Nursery;
use super::record::{self, HEADER_BYTES, Record};
use super::segment::Segment;
use crate::types::Position;
use bytes::Bytes;
use std::io;

/// One read of the disk is at most about this long.
const READ_BYTES: u32 = 1 << 20;

/// Entries of one segment that are fetched by one read.
pub(super) struct Run {
    segment: Segment,
    entries: Vec<(Position, Place)>,
}

impl Run {
    pub(super) fn new(segment: Segment, position: Position, place: Place) -> Self {
        Self {
            segment,
            entries: vec![(position, place)],
        }
    }

    pub(super) fn push(&mut self, position: Position, place: Place) {
        self.entries.push((position, place));
    }

    pub(super) fn can_take(&self, next: Place) -> bool {
        let (Some((_, first)), Some((_, last))) = (self.entries.first(), self.entries.last())
        else {
            return false;
        };
        // After a truncation the next index may stand anywhere, but only further on.
        next.sequence == first.sequence
            && next.offset > last.offset
            && next.offset - first.offset <= READ_BYTES
    }

    pub(super) fn read(&self, nursery: &Nursery, entries: &mut Vec<LogEntry>) -> io::Result<()> {
        let (Some((_, first)), Some((_, last))) = (self.entries.first(), self.entries.last())
        else {
            return Ok(());
        };
        let length =
            (last.offset - first.offset) as usize + HEADER_BYTES + last.payload_bytes as usize;
        let mut buffer = vec![0; length];
        self.segment
            .file
            .read_exact_at(&mut buffer, first.offset.into())?;
        let buffer = Bytes::from(buffer);
        for (position, place) in &self.entries {
            let bytes = buffer.slice((place.offset - first.offset) as usize..);
            let payload = self.check(*position, &bytes).ok_or_else(|| {
                let file = nursery.path(self.segment.header.sequence);
                let reason = "an entry read back is not what was written".to_owned();
                LogError::Damaged {
                    file,
                    offset: place.offset.into(),
                    reason,
                }
            })?;
            entries.push(LogEntry {
                position: *position,
                payload,
            });
        }
        Ok(())
    }

    fn check(&self, position: Position, bytes: &Bytes) -> Option<Bytes> {
        let header = record::header_at(bytes, self.segment.header.seed())?;
        let payload = header.payload(bytes)?;
        (header.record(payload)? == Record::Entry(position)).then(|| bytes.slice_ref(payload))
    }
}

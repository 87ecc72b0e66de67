//! One segment file: its name, its header, its handle.
//!
//! A segment is named by its sequence number (`0000000000000003.log`); sequence numbers are
//! consecutive. The first 4 KiB hold the header, records follow. A file that waits to become a
//! segment is named by its incarnation (`00000000000000a2.spare`).
//!
//! ```text
//!  0  8 bytes "QRATELOG"
//!  8  u32 format version
//! 12  u32 length of the file as it was made (0: made by a build that did not say)
//! 16  u64 sequence
//! 24  u64 incarnation   never used twice in a directory: the seed of the records' checksums
//! 32  u32 crc32c of bytes 0..32
//! ```

use super::error::LogError;
use super::record::{u32_at, u64_at};
use crate::env::DiskFile;
use std::path::Path;
use std::sync::Arc;

pub(super) const FORMAT_VERSION: u32 = 1;
/// Where records begin.
pub(super) const RECORDS_AT: u64 = 4096;
/// The smallest segment that makes sense.
pub(super) const SEGMENT_BYTES_MIN: u64 = 2 * RECORDS_AT;

const MAGIC: &[u8; 8] = b"QRATELOG";
const HEADER_BYTES: usize = 36;

/// The sequence number inside the index, where memory counts.
pub(super) type Sequence = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) sequence: Sequence,
    pub(super) incarnation: u64,
    /// How long the file was made, header included; 0 if that is not known.
    pub(super) bytes: u32,
}

/// What the first bytes of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Header(SegmentHeader),
    Newer(u32),
    Nothing,
}

impl SegmentHeader {
    /// Both checksum seed and link of the first record.
    pub(super) fn seed(&self) -> u32 {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.incarnation.to_le_bytes());
        bytes[8..].copy_from_slice(&u64::from(self.sequence).to_le_bytes());
        crc_fast::crc32_iscsi(&bytes)
    }

    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&u64::from(self.sequence).to_le_bytes());
        bytes[24..32].copy_from_slice(&self.incarnation.to_le_bytes());
        let checksum = crc_fast::crc32_iscsi(&bytes[..32]);
        bytes[32..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The version is read before the checksum is tested: a later format may put it elsewhere.
    pub(super) fn decode(bytes: &[u8]) -> Found {
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Found::Nothing;
        };
        if &bytes[..8] != MAGIC {
            return Found::Nothing;
        }
        let version = u32_at(bytes, 8);
        if version > FORMAT_VERSION {
            return Found::Newer(version);
        }
        let sequence = Sequence::try_from(u64_at(bytes, 16));
        match sequence {
            Ok(sequence)
                if version == FORMAT_VERSION
                    && crc_fast::crc32_iscsi(&bytes[..32]) == u32_at(bytes, 32) =>
            {
                Found::Header(Self {
                    sequence,
                    incarnation: u64_at(bytes, 24),
                    bytes: u32_at(bytes, 12),
                })
            }
            _ => Found::Nothing,
        }
    }

    /// Reads the start of a file. A file too short for a header has none.
    pub(super) fn read(file: &dyn DiskFile, path: &Path) -> Result<Found, LogError> {
        let mut bytes = [0; HEADER_BYTES];
        let length = file.len().map_err(LogError::io("measure", path))?;
        if length < bytes.len() as u64 {
            return Ok(Found::Nothing);
        }
        file.read_exact_at(&mut bytes, 0)
            .map_err(LogError::io("read", path))?;
        Ok(Self::decode(&bytes))
    }
}

/// A named segment.
#[derive(Clone)]
pub(super) struct Segment {
    pub(super) header: SegmentHeader,
    pub(super) file: Arc<dyn DiskFile>,
    /// The writer goes on to the next segment when a record would pass this.
    pub(super) bytes: u64,
}

pub(super) fn segment_name(sequence: Sequence) -> String {
    format!("{sequence:016x}.log")
}

pub(super) fn spare_name(incarnation: u64) -> String {
    format!("{incarnation:016x}.spare")
}

pub(super) fn parse_segment_name(name: &str) -> Option<Sequence> {
    Sequence::try_from(parse(name, ".log")?).ok()
}

pub(super) fn parse_spare_name(name: &str) -> Option<u64> {
    parse(name, ".spare")
}

fn parse(name: &str, ending: &str) -> Option<u64> {
    let digits = name.strip_suffix(ending)?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_other_files_are_not_ours() {
        assert_eq!(parse_segment_name(&segment_name(0xfe)), Some(0xfe));
        assert_eq!(parse_spare_name(&spare_name(u64::MAX)), Some(u64::MAX));
        for name in [
            "1.log",
            "000000000000000g.log",
            "0000000000000001.spare",
            "LOCK",
            ".log",
        ] {
            assert_eq!(parse_segment_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_header_reads_back_and_damage_shows() {
        let header = SegmentHeader {
            sequence: 3,
            incarnation: 0xa2,
            bytes: 1 << 20,
        };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Found::Header(header));
        for at in 0..bytes.len() {
            let mut damaged = bytes;
            damaged[at] ^= 0x10;
            assert_ne!(
                SegmentHeader::decode(&damaged),
                Found::Header(header),
                "byte {at}"
            );
        }
        let mut newer = bytes;
        newer[8] = 2;
        assert_eq!(SegmentHeader::decode(&newer), Found::Newer(2));
    }
}

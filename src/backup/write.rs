//! A backup, piece by piece, from a checkpoint on disk.

use super::{BACKUP_FORMAT_VERSION, BLOCK_BYTES, END, MAGIC, MANIFEST_BYTES_MAX, Manifest};
use crate::env::{Disk, DiskFile};
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes of a piece; the last but one may be shorter, the last is the SHA-256.
pub const PIECE_BYTES: usize = 128 << 10;

const CRC_BYTES: u64 = 4;

/// A piece of a backup and how much of it is still to come, the SHA-256 not counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub bytes: Bytes,
    pub remaining: u64,
}

/// Reads the files of a checkpoint as they are asked for. Blocking.
pub struct BackupWriter {
    disk: Arc<dyn Disk>,
    data: PathBuf,
    parts: VecDeque<Part>,
    remaining: u64,
    /// Gone once it was handed out.
    sha: Option<Sha256>,
}

enum Part {
    Bytes { bytes: Vec<u8>, taken: usize },
    Unopened { name: String, bytes: u64 },
    File(Box<OpenFile>),
}

struct OpenFile {
    file: Box<dyn DiskFile>,
    offset: u64,
    bytes: u64,
    crc: Digest,
}

impl Part {
    fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Bytes {
            bytes: bytes.into(),
            taken: 0,
        }
    }
}

impl BackupWriter {
    /// The files that `manifest` names are in `data` and do not change.
    pub fn new(disk: Arc<dyn Disk>, data: PathBuf, manifest: &Manifest) -> io::Result<Self> {
        let head = encode_head(manifest)?;
        let files = manifest.files.iter().map(|file| file.bytes + CRC_BYTES);
        let before_end = head.len() as u64 + files.sum::<u64>() + END.len() as u64;
        let padding = before_end.next_multiple_of(BLOCK_BYTES) - before_end;
        let mut end = END.to_vec();
        end.resize(
            END.len() + usize::try_from(padding).map_err(io::Error::other)?,
            0,
        );
        let mut parts = VecDeque::from([Part::bytes(head)]);
        parts.extend(manifest.files.iter().map(|file| Part::Unopened {
            name: file.name.clone(),
            bytes: file.bytes,
        }));
        parts.push_back(Part::bytes(end));
        Ok(Self {
            disk,
            data,
            parts,
            remaining: before_end + padding,
            sha: Some(Sha256::new()),
        })
    }

    /// Bytes still to come, the SHA-256 not counted.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// The next piece; `None` behind the SHA-256.
    pub fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        let Some(mut sha) = self.sha.take() else {
            return Ok(None);
        };
        if self.remaining == 0 {
            let bytes = Bytes::copy_from_slice(&sha.finalize());
            return Ok(Some(Piece {
                bytes,
                remaining: 0,
            }));
        }
        let mut piece = vec![0; PIECE_BYTES];
        let mut filled = 0;
        while filled < piece.len() && self.fill(&mut piece, &mut filled)? {}
        piece.truncate(filled);
        sha.update(&piece);
        self.sha = Some(sha);
        self.remaining = self
            .remaining
            .checked_sub(filled as u64)
            .ok_or_else(|| io::Error::other("a backup became longer than announced"))?;
        Ok(Some(Piece {
            bytes: piece.into(),
            remaining: self.remaining,
        }))
    }

    /// Fills more of `piece` from the first part. False: there is none.
    fn fill(&mut self, piece: &mut [u8], filled: &mut usize) -> io::Result<bool> {
        let Some(part) = self.parts.front_mut() else {
            return Ok(false);
        };
        let room = &mut piece[*filled..];
        match part {
            Part::Bytes { bytes, taken } => {
                let rest = &bytes[*taken..];
                let take = rest.len().min(room.len());
                room[..take].copy_from_slice(&rest[..take]);
                *taken += take;
                *filled += take;
                if *taken == bytes.len() {
                    self.parts.pop_front();
                }
            }
            Part::Unopened { name, bytes } => {
                *part = Part::File(Box::new(OpenFile {
                    file: self.disk.open(&self.data.join(&*name))?,
                    offset: 0,
                    bytes: *bytes,
                    crc: Digest::new(CrcAlgorithm::Crc32Iscsi),
                }));
            }
            Part::File(open) => {
                let left = usize::try_from(open.bytes - open.offset).unwrap_or(usize::MAX);
                let take = left.min(room.len());
                open.file.read_exact_at(&mut room[..take], open.offset)?;
                open.crc.update(&room[..take]);
                open.offset += take as u64;
                *filled += take;
                if open.offset == open.bytes {
                    let crc = u32::try_from(open.crc.finalize()).map_err(io::Error::other)?;
                    *part = Part::bytes(crc.to_le_bytes());
                }
            }
        }
        Ok(true)
    }
}

fn encode_head(manifest: &Manifest) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(manifest).map_err(io::Error::other)?;
    let length = u32::try_from(json.len()).ok();
    let length = length.filter(|length| *length <= MANIFEST_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("too many files for a backup"))?;
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&BACKUP_FORMAT_VERSION.to_le_bytes());
    head.extend_from_slice(&length.to_le_bytes());
    head.extend_from_slice(&json);
    let crc = crc_fast::crc32_iscsi(&head);
    head.extend_from_slice(&crc.to_le_bytes());
    Ok(head)
}

//! Floor 3: backups. The whole state of a member in one file that describes itself, and back.
//!
//! `Maintenance.Snapshot` streams such a file ([`mod@write`]); `quorate data restore` and `quorate data
//! status` read it ([`read`]). Both go through it once, from the front, in bounded memory.
//!
//! ```text
//! "QRATEBAK" | version u32 = 1 | bytes of the manifest u32 | manifest, JSON | CRC-32C u32
//! of each file that the manifest names: its bytes | CRC-32C u32
//! "QRATEEND" | zeros up to a multiple of 512 bytes
//! SHA-256 of everything before, 32 bytes
//! ```
//!
//! Integers are little-endian. The files are a RocksDB checkpoint, as in a Raft snapshot. etcd's
//! clients check of a backup that its length leaves 32 when divided by 512, and find the SHA-256
//! at its end: that is why it ends as it does.
//!
//! etcd's own backups are bbolt databases. They are recognized, so that the refusal can say what
//! they are ([`read::Kind`]).

pub mod manifest;
pub mod read;
pub mod write;

pub use manifest::{FileEntry, Manifest};

/// Raised when an older build could no longer read a backup.
pub const BACKUP_FORMAT_VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"QRATEBAK";
const END: &[u8; 8] = b"QRATEEND";
/// The part before the SHA-256 is a multiple of this.
const BLOCK_BYTES: u64 = 512;
const SHA_BYTES: usize = 32;
/// No manifest is longer: it names some hundred files.
const MANIFEST_BYTES_MAX: u32 = 16 << 20;

#[cfg(test)]
mod tests;

//! Floor 1: bytes, atomically. The one room that names RocksDB.
//!
//! An [`Engine`] is one RocksDB directory with five column families ([`Family`]). It has no
//! write-ahead log: the Raft log is one already. A [`Batch`] is written whole or not at all, all
//! families are flushed together (`atomic_flush`), so a crash brings back some earlier moment in
//! full, never a mixture. What is *written* and what is *durable* are therefore two things, and
//! [`Engine::get_durable`] asks for the second.
//!
//! A [`View`] is a RocksDB snapshot that borrows its engine. It carries the sequence number it was
//! taken at, by which `mvcc` finds out which published batch it shows.
//!
//! * [`options`]: the option sheet, measured, and why each choice stands.
//! * [`engine`]: open, write, flush, sizes, dropping what nobody needs.
//! * [`batch`]: changes to be written at once.
//! * [`view`]: reading: points and cursors.
//! * [`keys`]: the families and how keys are laid out in bytes.
//! * [`varint`]: integers in as few bytes as they need.
//! * [`mod@format`]: the version of the directory, checked before RocksDB is let in.

pub mod batch;
pub mod engine;
pub mod format;
pub mod keys;
pub mod options;
pub mod varint;
pub mod view;

pub use batch::Batch;
pub use engine::Engine;
pub use keys::Family;
pub use options::EngineOptions;
pub use view::{Bounds, Cursor, Pinned, Scan, View};

use std::path::PathBuf;

/// What can go wrong below the state. All of it is fatal to the member that meets it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("state engine: {action}")]
    Engine {
        action: &'static str,
        #[source]
        source: rocksdb::Error,
    },
    #[error("state directory {}: {action}", .path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "state directory {} has format {found}, written by a newer version; this one reads up to \
         {supported}", .path.display()
    )]
    NewerFormat {
        path: PathBuf,
        found: u64,
        supported: u64,
    },
    #[error("state directory {}: its FORMAT file is not a number", .path.display())]
    UnreadableFormat { path: PathBuf },
}

impl Error {
    fn engine(action: &'static str) -> impl FnOnce(rocksdb::Error) -> Self {
        move |source| Self::Engine { action, source }
    }
}

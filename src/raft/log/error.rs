//! Why a log does not open.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("raft log: {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Written by a later Quorate. Nothing was touched.
    #[error(
        "raft log: {} has format version {found}, this program knows versions up to {known}; \
         nothing was changed, start a newer program",
        file.display()
    )]
    NewerFormat {
        file: PathBuf,
        found: u32,
        known: u32,
    },
    /// Bytes that were durable are gone or changed. Cutting the log here could lose acknowledged
    /// writes, so a human decides. Nothing was touched.
    #[error(
        "raft log: {} is damaged at offset {offset}: {reason}; nothing was changed",
        file.display()
    )]
    Damaged {
        file: PathBuf,
        offset: u64,
        reason: String,
    },
}

impl LogError {
    pub(super) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        let kind = match &error {
            LogError::Io { source, .. } => source.kind(),
            LogError::NewerFormat { .. } => io::ErrorKind::Unsupported,
            LogError::Damaged { .. } => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

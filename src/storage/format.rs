//! The version of the state directory: a small file beside RocksDB's, because opening RocksDB
//! already writes, and a directory of a newer version must be left exactly as it is.

use super::Error;
use crate::env::disk::{Disk, write_file_durably};
use crate::env::disk_real::RealDisk;
use std::path::Path;

/// Of the rows and keys of the state. A reader refuses anything above it.
pub const FORMAT_VERSION: u64 = 1;

const FILE: &str = "FORMAT";

/// Reads the version, or writes it if the directory has none. An error leaves all as it was.
pub(super) fn check_or_create(dir: &Path) -> Result<(), Error> {
    if check(dir)? {
        return Ok(());
    }
    RealDisk.create_dir_all(dir).map_err(io(dir, "create"))?;
    // The directory's own name: without it a power cut takes everything inside along.
    if let Some(parent) = dir.parent() {
        let parent = match parent.as_os_str() {
            empty if empty.is_empty() => Path::new("."),
            _ => parent,
        };
        RealDisk
            .sync_dir(parent)
            .map_err(io(parent, "make a new directory durable"))?;
    }
    create(dir)
}

/// Writes the version of a new directory.
pub(super) fn create(dir: &Path) -> Result<(), Error> {
    let text = format!("{FORMAT_VERSION}\n");
    write_file_durably(&RealDisk, &dir.join(FILE), text.as_bytes()).map_err(io(dir, "write FORMAT"))
}

/// Whether the directory has a version; an error if it is not one that we read.
pub(super) fn check(dir: &Path) -> Result<bool, Error> {
    let bytes =
        crate::env::disk::read_file(&RealDisk, &dir.join(FILE)).map_err(io(dir, "read FORMAT"))?;
    let Some(bytes) = bytes else { return Ok(false) };
    let found = std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    match found {
        None => Err(Error::UnreadableFormat {
            path: dir.to_owned(),
        }),
        Some(found) if found > FORMAT_VERSION => Err(Error::NewerFormat {
            path: dir.to_owned(),
            found,
            supported: FORMAT_VERSION,
        }),
        Some(_) => Ok(true),
    }
}

fn io(dir: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    let path = dir.to_owned();
    move |source| Error::Io {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_directory_is_refused_and_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.create(&dir.path().join(FILE)).unwrap();
        file.write_all_at(b"7\n", 0).unwrap();
        let error = check_or_create(dir.path()).unwrap_err();
        assert!(matches!(
            error,
            Error::NewerFormat {
                found: 7,
                supported: FORMAT_VERSION,
                ..
            }
        ));
        assert_eq!(RealDisk.list(dir.path()).unwrap(), [FILE]);
    }

    #[test]
    fn garbage_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.create(&dir.path().join(FILE)).unwrap();
        file.write_all_at(b"\xff", 0).unwrap();
        assert!(matches!(
            check(dir.path()),
            Err(Error::UnreadableFormat { .. })
        ));
    }
}

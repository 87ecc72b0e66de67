//! One look at every version in a member's directory, before anything in it is written.
//!
//! Opening each part already changes it: the log starts a segment, RocksDB writes files, snapshots
//! clear what is half made. A directory that a newer build has touched must be left as it is, so
//! that the newer build finds it so.

use super::log::SegmentedLog;
use super::snapshot;
use super::state_dir::StateDir;
use crate::env::Disk;
use crate::state_machine::StateOptions;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// # Errors
/// One sentence naming the part that a newer build wrote.
pub fn check_formats(member_dir: &Path, disk: &Arc<dyn Disk>) -> io::Result<()> {
    StateDir::new(member_dir.to_owned(), disk.clone(), StateOptions::default()).check_format()?;
    SegmentedLog::check_formats(&member_dir.join("log"), disk.as_ref())
        .map_err(io::Error::other)?;
    snapshot::check_formats(disk.as_ref(), &member_dir.join("snapshot"))
}

//! What this process uses of the machine, for whoever watches it. Nothing depends on it.
#![allow(clippy::disallowed_methods, reason = "env is the one home of files")]

use rustix::process::{Resource, getrlimit};
use std::fs;
use std::io;

/// Where the kernel tells it.
const STAT: &str = "/proc/self/stat";
const OPEN_FILES: &str = "/proc/self/fd";
const MACHINE: &str = "/proc/stat";

/// As Prometheus' process collectors have it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessUsage {
    /// User and system.
    pub cpu_seconds: f64,
    pub open_files: u64,
    /// `None` where there is no limit.
    pub open_files_max: Option<u64>,
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    /// Seconds since 1970.
    pub start_time_seconds: f64,
}

/// # Errors
/// Where the kernel has no `/proc`.
pub fn usage() -> io::Result<ProcessUsage> {
    let stat = fs::read_to_string(STAT)?;
    let machine = fs::read_to_string(MACHINE)?;
    // Listing the directory opens it.
    let open_files = fs::read_dir(OPEN_FILES)?.count().saturating_sub(1);
    let ticks = rustix::param::clock_ticks_per_second();
    let page_bytes = rustix::param::page_size() as u64;
    let read = read_stat(&stat, &machine, ticks, page_bytes);
    let usage = read.ok_or_else(|| io::Error::other(format!("{STAT} reads strangely")))?;
    Ok(ProcessUsage {
        open_files: open_files as u64,
        open_files_max: getrlimit(Resource::Nofile).current,
        ..usage
    })
}

/// `proc(5)`: the fields after the command's name, which may hold anything but ends at the last
/// parenthesis.
fn read_stat(stat: &str, machine: &str, ticks: u64, page_bytes: u64) -> Option<ProcessUsage> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // The first of them is field 3.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let boot = machine
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse::<u64>()
        .ok()?;
    #[allow(clippy::cast_precision_loss, reason = "a metric")]
    let seconds = |of_ticks: u64| of_ticks as f64 / ticks as f64;
    #[allow(clippy::cast_precision_loss, reason = "a metric")]
    let boot = boot as f64;
    Some(ProcessUsage {
        cpu_seconds: seconds(field(14)? + field(15)?),
        start_time_seconds: boot + seconds(field(22)?),
        virtual_bytes: field(23)?,
        resident_bytes: field(24)? * page_bytes,
        ..ProcessUsage::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 9 0 1000 65536 7 \
                    18446744073709551615 1";
        let usage = read_stat(stat, "cpu 1 2\nbtime 1700000000\n", 100, 4096).unwrap();
        assert!((usage.cpu_seconds - 2.0).abs() < 1e-9);
        assert!((usage.start_time_seconds - 1_700_000_010.0).abs() < 1e-6);
        assert_eq!(usage.virtual_bytes, 65_536);
        assert_eq!(usage.resident_bytes, 7 * 4096);
        assert_eq!(read_stat("nonsense", "", 100, 4096), None);
    }

    #[test]
    fn this_process_is_there() {
        let usage = usage().unwrap();
        assert!(usage.resident_bytes > 0);
        assert!(usage.open_files > 2);
    }
}

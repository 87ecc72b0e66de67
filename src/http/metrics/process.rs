//! What the process uses. Nothing where the kernel does not tell.

use crate::env::process::usage;
use crate::telemetry::metrics::Page;

pub(super) fn write(page: &mut Page) {
    let usage = match usage() {
        Ok(usage) => usage,
        Err(error) => {
            tracing::debug!(%error, "no numbers of the process");
            return;
        }
    };
    page.counter(
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
        usage.cpu_seconds,
    );
    page.gauge(
        "process_open_fds",
        "Number of open file descriptors.",
        usage.open_files,
    );
    page.gauge(
        "os_fd_used",
        "The number of used file descriptors.",
        usage.open_files,
    );
    if let Some(files_max) = usage.open_files_max {
        page.gauge(
            "process_max_fds",
            "Maximum number of open file descriptors.",
            files_max,
        );
        page.gauge("os_fd_limit", "The file descriptor limit.", files_max);
    }
    page.gauge(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        usage.resident_bytes,
    );
    page.gauge(
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes.",
        usage.virtual_bytes,
    );
    page.gauge(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        usage.start_time_seconds,
    );
}

//! Watchers and their events.

use crate::node::Node;
use crate::telemetry::metrics::Page;

pub(super) fn write(page: &mut Page, node: &Node) {
    let counts = node.watch_counts();
    page.gauge(
        "etcd_debugging_mvcc_watcher_total",
        "Total number of watchers.",
        counts.watchers,
    );
    page.gauge(
        "etcd_debugging_mvcc_watch_stream_total",
        "Total number of watch streams.",
        counts.streams,
    );
    page.gauge(
        "etcd_debugging_mvcc_slow_watcher_total",
        "Total number of unsynced slow watchers.",
        counts.slow_watchers,
    );
    page.counter(
        "etcd_debugging_mvcc_events_total",
        "Total number of events sent by this member.",
        counts.events,
    );
    page.gauge(
        "etcd_debugging_mvcc_pending_events_total",
        "Total number of pending events to be sent.",
        counts.pending_events,
    );
}

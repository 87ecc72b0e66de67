//! The log's syncs, the store's commits, keys and revisions.

use crate::node::Node;
use crate::telemetry::metrics::Page;

pub(super) fn write(page: &mut Page, node: &Node) {
    let (log, store, status) = (node.log(), node.store_meters(), node.status());
    page.histogram(
        "etcd_disk_wal_fsync_duration_seconds",
        "The latency distributions of fsync called by WAL.",
        log.syncs(),
    );
    page.gauge(
        "etcd_disk_wal_write_bytes_total",
        "Total number of bytes written in WAL.",
        log.stats().bytes_written,
    );
    page.histogram(
        "etcd_disk_backend_commit_duration_seconds",
        "The latency distributions of commit called by backend.",
        &store.commits,
    );
    page.gauge(
        "etcd_mvcc_db_total_size_in_bytes",
        "Total size of the underlying database physically allocated in bytes.",
        status.db_bytes,
    );
    page.gauge(
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "Total size of the underlying database logically in use in bytes.",
        status.db_bytes_in_use,
    );
    page.counter(
        "etcd_mvcc_range_total",
        "Total number of ranges seen by this member.",
        &store.ranges,
    );
    page.counter(
        "etcd_mvcc_put_total",
        "Total number of puts seen by this member.",
        &store.puts,
    );
    page.counter(
        "etcd_mvcc_delete_total",
        "Total number of deletes seen by this member.",
        &store.deletes,
    );
    page.counter(
        "etcd_mvcc_txn_total",
        "Total number of txns seen by this member.",
        &store.txns,
    );
    page.gauge(
        "etcd_debugging_mvcc_keys_total",
        "Total number of keys.",
        node.keys(),
    );
    page.gauge(
        "etcd_debugging_mvcc_total_put_size_in_bytes",
        "The total size of put kv pairs seen by this member.",
        store.put_bytes.value(),
    );
    page.gauge(
        "etcd_debugging_mvcc_current_revision",
        "The current revision of store.",
        node.revision(),
    );
    page.gauge(
        "etcd_debugging_mvcc_compact_revision",
        "The revision of the last compaction in store.",
        node.compact_revision(),
    );
}

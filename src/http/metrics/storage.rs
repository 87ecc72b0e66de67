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
        "Total size of the underlying database in bytes, as it counts towards the quota.",
        status.bytes_in_use,
    );
    page.gauge(
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "Total size of the underlying database logically in use in bytes.",
        status.bytes_in_use,
    );
    // Below nothing where there is none: the stock alert divides by it, and must not fire.
    let quota = node
        .quota_bytes()
        .map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    page.gauge(
        "etcd_server_quota_backend_bytes",
        "Current backend storage quota size in bytes.",
        quota,
    );
    page.gauge(
        "quorate_state_bytes",
        "Bytes of this member's files and memory for the state.",
        status.bytes_on_disk,
    );
    page.gauge(
        "etcd_disk_defrag_inflight",
        "Whether or not defrag is active on the member. 1 means active, 0 means not.",
        u8::from(node.is_defragmenting()),
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

//! What became of leases.

use crate::node::Node;
use crate::telemetry::metrics::Page;

pub(super) fn write(page: &mut Page, node: &Node) {
    let (store, meters) = (node.store_meters(), node.meters());
    page.counter(
        "etcd_debugging_lease_granted_total",
        "The total number of granted leases.",
        &store.leases_granted,
    );
    page.counter(
        "etcd_debugging_lease_revoked_total",
        "The total number of revoked leases.",
        &store.leases_revoked,
    );
    page.counter(
        "etcd_debugging_lease_renewed_total",
        "The number of renewed leases seen by the leader.",
        &meters.leases_renewed,
    );
    page.counter(
        "etcd_debugging_server_lease_expired_total",
        "The total number of expired leases.",
        &meters.leases_expired,
    );
}

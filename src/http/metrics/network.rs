//! Peers: bytes, round trips, failures. And the bytes of clients' calls.

use crate::api::CallMeters;
use crate::node::Node;
use crate::raft::{PeerMeter, TransferMeter};
use crate::telemetry::metrics::{Kind, Page};
use crate::types::HexId;
use std::sync::Arc;

pub(super) fn write(page: &mut Page, node: &Node, calls: &CallMeters) {
    page.counter(
        "etcd_network_client_grpc_received_bytes_total",
        "The total number of bytes received from grpc clients.",
        &calls.received_bytes,
    );
    page.counter(
        "etcd_network_client_grpc_sent_bytes_total",
        "The total number of bytes sent to grpc clients.",
        &calls.sent_bytes,
    );
    let me = HexId(node.identity().member_id).to_string();
    let members = node.members();
    let known = node.peer_meters().all().into_iter();
    // Those who left are left out.
    let known = known.filter(|(peer, _)| members.iter().any(|member| member.id == *peer));
    let peers: Vec<(String, Arc<PeerMeter>)> = known
        .map(|(peer, meter)| (HexId(peer).to_string(), meter))
        .collect();
    let mut each = |name, kind, help, label: Label, value: fn(&PeerMeter) -> u64| {
        page.family(name, kind, help);
        for (peer, meter) in &peers {
            match label {
                Label::Pair => {
                    let labels = [("Local", me.as_str()), ("Remote", peer.as_str())];
                    page.sample(name, &labels, value(meter));
                }
                Label::One(label) => page.sample(name, &[(label, peer)], value(meter)),
            }
        }
    };
    each(
        "etcd_network_known_peers",
        Kind::Gauge,
        "The current number of known peers.",
        Label::Pair,
        |_| 1,
    );
    each(
        "etcd_network_active_peers",
        Kind::Gauge,
        "The current number of active peer connections.",
        Label::Pair,
        |meter| u64::from(meter.is_active()),
    );
    each(
        "etcd_network_peer_sent_bytes_total",
        Kind::Counter,
        "The total number of bytes sent to peers.",
        Label::One("To"),
        |meter| meter.traffic.sent.value(),
    );
    each(
        "etcd_network_peer_received_bytes_total",
        Kind::Counter,
        "The total number of bytes received from peers.",
        Label::One("From"),
        |meter| meter.traffic.received.value(),
    );
    each(
        "etcd_network_peer_sent_failures_total",
        Kind::Counter,
        "The total number of send failures from peers.",
        Label::One("To"),
        |meter| meter.send_failures.value(),
    );
    write_snapshots(
        page,
        &peers,
        "To",
        |meter| &meter.snapshots_sent,
        [
            "etcd_network_snapshot_send_inflights_total",
            "etcd_network_snapshot_send_success",
            "etcd_network_snapshot_send_failures",
            "etcd_network_snapshot_send_total_duration_seconds",
        ],
    );
    write_snapshots(
        page,
        &peers,
        "From",
        |meter| &meter.snapshots_received,
        [
            "etcd_network_snapshot_receive_inflights_total",
            "etcd_network_snapshot_receive_success",
            "etcd_network_snapshot_receive_failures",
            "etcd_network_snapshot_receive_total_duration_seconds",
        ],
    );
    let name = "etcd_network_peer_round_trip_time_seconds";
    page.family(
        name,
        Kind::Histogram,
        "Round-Trip-Time histogram between peers",
    );
    for (peer, meter) in &peers {
        page.durations(name, &[("To", peer)], &meter.round_trips);
    }
}

/// Transfers of snapshots in one direction: how many are under way, went well, failed, and how long
/// they took.
fn write_snapshots(
    page: &mut Page,
    peers: &[(String, Arc<PeerMeter>)],
    label: &'static str,
    transfers: fn(&PeerMeter) -> &TransferMeter,
    names: [&'static str; 4],
) {
    let [in_flight, succeeded, failed, took] = names;
    let mut each = |name, kind, help, value: fn(&TransferMeter) -> u64| {
        page.family(name, kind, help);
        for (peer, meter) in peers {
            page.sample(name, &[(label, peer)], value(transfers(meter)));
        }
    };
    each(
        in_flight,
        Kind::Gauge,
        "Total number of inflight snapshots",
        |transfers| transfers.in_flight.value(),
    );
    each(
        succeeded,
        Kind::Counter,
        "Total number of successful snapshots",
        |transfers| transfers.succeeded.value(),
    );
    each(
        failed,
        Kind::Counter,
        "Total number of failed snapshots",
        |transfers| transfers.failed.value(),
    );
    page.family(
        took,
        Kind::Histogram,
        "Total latency distributions of v3 snapshots",
    );
    for (peer, meter) in peers {
        page.durations(took, &[(label, peer)], &transfers(meter).took);
    }
}

#[derive(Clone, Copy)]
enum Label {
    /// `Local` and `Remote`.
    Pair,
    One(&'static str),
}

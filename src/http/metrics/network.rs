//! Peers: bytes, round trips, failures. And the bytes of clients' calls.

use crate::api::CallMeters;
use crate::node::Node;
use crate::raft::PeerMeter;
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

#[derive(Clone, Copy)]
enum Label {
    /// `Local` and `Remote`.
    Pair,
    One(&'static str),
}

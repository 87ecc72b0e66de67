//! Leadership, proposals, reads, health, versions.

use super::super::checks::Checks;
use super::super::health::Health;
use crate::config::{ETCD_CLUSTER_VERSION, ETCD_VERSION};
use crate::node::Node;
use crate::telemetry::metrics::{Kind, Page};
use crate::types::HexId;

pub(super) fn write(page: &mut Page, node: &Node) {
    let status = node.status();
    let meters = node.meters();
    let mut flag = |name, help, on: bool| page.gauge(name, help, u8::from(on));
    flag(
        "etcd_server_has_leader",
        "Whether or not a leader exists. 1 is existence, 0 is not.",
        status.leader != 0,
    );
    flag(
        "etcd_server_is_leader",
        "Whether or not this member is a leader. 1 if is, 0 otherwise.",
        status.leader == node.identity().member_id,
    );
    flag(
        "etcd_server_is_learner",
        "Whether or not this member is a learner. 1 if is, 0 otherwise.",
        status.is_learner,
    );
    page.counter(
        "etcd_server_leader_changes_seen_total",
        "The number of leader changes seen.",
        &meters.leader_changes,
    );
    page.gauge(
        "etcd_server_proposals_committed_total",
        "The total number of consensus proposals committed.",
        status.committed_index,
    );
    page.gauge(
        "etcd_server_proposals_applied_total",
        "The total number of consensus proposals applied.",
        status.applied_index,
    );
    page.gauge(
        "etcd_server_proposals_pending",
        "The current number of pending proposals to commit.",
        meters.proposals_pending.value(),
    );
    page.counter(
        "etcd_server_proposals_failed_total",
        "The total number of failed proposals seen.",
        &meters.proposals_failed,
    );
    page.counter(
        "etcd_server_read_indexes_failed_total",
        "The total number of failed read indexes seen.",
        &meters.read_indexes_failed,
    );
    page.counter(
        "etcd_server_slow_read_indexes_total",
        "The total number of pending read indexes not in sync with leader's or timed out read \
         index requests.",
        &meters.slow_read_indexes,
    );
    page.counter(
        "etcd_server_slow_apply_total",
        "The total number of slow apply requests (likely overloaded from slow disk).",
        node.slow_applies(),
    );
    write_queues(page, node);
    write_alarms(page, node);
    let peers = node.peer_meters().all();
    let failures = peers
        .iter()
        .map(|(_, peer)| peer.heartbeat_failures.value());
    page.counter(
        "etcd_server_heartbeat_send_failures_total",
        "The total number of leader heartbeat send failures.",
        failures.sum::<u64>(),
    );
    let mut version = |name, help, label, value: &str| {
        page.family(name, Kind::Gauge, help);
        page.sample(name, &[(label, value)], 1);
    };
    version(
        "etcd_server_version",
        "Which version is running. 1 for 'server_version' label with current version.",
        "server_version",
        ETCD_VERSION,
    );
    let minor = ETCD_CLUSTER_VERSION.rsplit_once('.');
    version(
        "etcd_cluster_version",
        "Which version is running. 1 for 'cluster_version' label with current cluster version",
        "cluster_version",
        minor.map_or(ETCD_CLUSTER_VERSION, |(minor, _)| minor),
    );
    version(
        "etcd_server_id",
        "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
        "server_id",
        &HexId(node.identity().member_id).to_string(),
    );
}

/// How full the queues are that clients wait in.
fn write_queues(page: &mut Page, node: &Node) {
    let meters = node.meters();
    page.gauge(
        "quorate_proposals_queued_bytes",
        "Bytes of the proposals that wait for a batch.",
        node.proposals_queued_bytes(),
    );
    let queues = node.queues();
    let name = "quorate_queue_length";
    page.family(name, Kind::Gauge, "What waits in a queue now.");
    for queue in &queues {
        page.sample(name, &[("queue", queue.name)], queue.waiting);
    }
    let name = "quorate_queue_limit";
    page.family(
        name,
        Kind::Gauge,
        "How much may wait in a queue; more is answered 'too many requests'.",
    );
    for queue in &queues {
        page.sample(name, &[("queue", queue.name)], queue.limit);
    }
    page.gauge(
        "quorate_reads_pending",
        "Linearizable reads that wait for a quorum's word.",
        meters.reads_pending.value(),
    );
    page.gauge(
        "quorate_long_reads_pending",
        "Reads of many keys that wait for their thread, or are being made.",
        meters.long_reads_pending.value(),
    );
    page.counter(
        "quorate_requests_turned_away_total",
        "Requests that were answered 'too many requests' by this member.",
        &meters.turned_away,
    );
}

fn write_alarms(page: &mut Page, node: &Node) {
    let name = "etcd_debugging_server_alarms";
    page.family(
        name,
        Kind::Gauge,
        "Alarms for every member in cluster. 1 for 'server_id' label with current ID. 2 for \
         'alarm_type' label with type of this alarm",
    );
    for alarm in node.alarms().iter() {
        let member = HexId(alarm.member).to_string();
        let labels = [
            ("server_id", member.as_str()),
            ("alarm_type", alarm.kind.name()),
        ];
        page.sample(name, &labels, 1);
    }
}

pub(super) fn write_health(page: &mut Page, health: &Health, checks: [&Checks; 2]) {
    page.counter(
        "etcd_server_health_success",
        "The total number of successful health checks",
        &health.succeeded,
    );
    page.counter(
        "etcd_server_health_failures",
        "The total number of failed health checks",
        &health.failed,
    );
    // What was never asked has no result.
    let tallies = || checks.iter().flat_map(|checks| checks.tallies());
    let asked = || tallies().filter(|tally| tally.succeeded + tally.failed > 0);
    let name = "etcd_server_healthcheck";
    page.family(name, Kind::Gauge, "The result of each kind of healthcheck.");
    for tally in asked() {
        let labels = [("type", tally.kind), ("name", tally.name)];
        page.sample(name, &labels, u8::from(tally.last_succeeded));
    }
    let name = "etcd_server_healthchecks_total";
    page.family(
        name,
        Kind::Counter,
        "The total number of each kind of healthcheck.",
    );
    for tally in asked() {
        for (status, count) in [("success", tally.succeeded), ("error", tally.failed)] {
            let labels = [
                ("type", tally.kind),
                ("name", tally.name),
                ("status", status),
            ];
            page.sample(name, &labels, count);
        }
    }
}

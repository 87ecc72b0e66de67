//! `/metrics`: what etcd's stock alert rules and dashboards read is there, and is true.

use crate::common::http::{get, get_on};
use crate::common::{Cluster, eventually};
use quorate::proto::health::HealthCheckRequest;
use std::collections::BTreeMap;

/// What etcd's own alert rules ask for (contrib/mixin), with labels they select by. Those of
/// `grpc_server_handling_seconds` need `--metrics extensive`, as on etcd.
const ALERTS: &[(&str, &[(&str, &str)])] = &[
    ("etcd_server_has_leader", &[]),
    ("etcd_server_leader_changes_seen_total", &[]),
    ("etcd_server_proposals_failed_total", &[]),
    ("etcd_network_peer_sent_failures_total", &[("To", "*")]),
    (
        "etcd_network_peer_round_trip_time_seconds_bucket",
        &[("To", "*"), ("le", "+Inf")],
    ),
    (
        "etcd_disk_wal_fsync_duration_seconds_bucket",
        &[("le", "+Inf")],
    ),
    (
        "etcd_disk_backend_commit_duration_seconds_bucket",
        &[("le", "+Inf")],
    ),
    ("etcd_server_quota_backend_bytes", &[]),
    ("etcd_mvcc_db_total_size_in_bytes", &[]),
    ("etcd_mvcc_db_total_size_in_use_in_bytes", &[]),
    (
        "grpc_server_handled_total",
        &[("grpc_code", "Unavailable"), ("grpc_method", "Put")],
    ),
    (
        "grpc_server_handling_seconds_bucket",
        &[("grpc_type", "unary"), ("grpc_method", "Range")],
    ),
];

/// What boards, etcd's own and others', draw beside that.
const BOARDS: &[&str] = &[
    "etcd_server_is_leader",
    "etcd_server_id",
    "etcd_server_version",
    "etcd_cluster_version",
    "etcd_server_proposals_committed_total",
    "etcd_server_proposals_applied_total",
    "etcd_server_proposals_pending",
    "etcd_server_slow_apply_total",
    "etcd_server_slow_read_indexes_total",
    "etcd_server_read_indexes_failed_total",
    "etcd_server_heartbeat_send_failures_total",
    "etcd_server_health_success",
    "etcd_server_health_failures",
    "etcd_disk_wal_write_bytes_total",
    "etcd_disk_defrag_inflight",
    "etcd_mvcc_range_total",
    "etcd_mvcc_put_total",
    "etcd_mvcc_delete_total",
    "etcd_mvcc_txn_total",
    "etcd_debugging_mvcc_keys_total",
    "etcd_debugging_mvcc_watcher_total",
    "etcd_debugging_mvcc_watch_stream_total",
    "etcd_debugging_mvcc_slow_watcher_total",
    "etcd_debugging_mvcc_events_total",
    "etcd_debugging_mvcc_pending_events_total",
    "etcd_debugging_mvcc_current_revision",
    "etcd_debugging_mvcc_compact_revision",
    "etcd_debugging_lease_granted_total",
    "etcd_debugging_lease_revoked_total",
    "etcd_debugging_lease_renewed_total",
    "etcd_debugging_server_lease_expired_total",
    "etcd_network_active_peers",
    "etcd_network_known_peers",
    "etcd_network_peer_sent_bytes_total",
    "etcd_network_peer_received_bytes_total",
    "etcd_network_client_grpc_sent_bytes_total",
    "etcd_network_client_grpc_received_bytes_total",
    "etcd_network_snapshot_send_total_duration_seconds_bucket",
    "etcd_network_snapshot_receive_total_duration_seconds_bucket",
    "grpc_server_started_total",
    "grpc_server_msg_received_total",
    "grpc_server_msg_sent_total",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_max_fds",
    "process_start_time_seconds",
    "quorate_queue_length",
    "quorate_queue_limit",
];

type Labels = BTreeMap<String, String>;

/// A page, read as Prometheus reads it.
struct Page(Vec<(String, Labels, f64)>);

impl Page {
    fn read(text: &str) -> Self {
        let (mut samples, mut families) = (Vec::new(), BTreeMap::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                let first = families.insert(name.to_owned(), kind.to_owned()).is_none();
                assert!(first, "{name} comes twice");
                continue;
            }
            if line.starts_with("# HELP ") {
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = match name.split_once('{') {
                None => (name, Labels::new()),
                Some((name, labels)) => {
                    let labels = labels.strip_suffix('}').unwrap().split(',');
                    let pair = |label: &str| {
                        let (label, value) = label.split_once('=').unwrap();
                        let value = value.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
                        (label.to_owned(), value.to_owned())
                    };
                    (name, labels.map(pair).collect())
                }
            };
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .filter(|family| {
                    families
                        .get(*family)
                        .is_some_and(|kind| kind == "histogram")
                })
                .unwrap_or(name);
            assert!(families.contains_key(family), "{name} has no type");
            samples.push((name.to_owned(), labels, value.parse().unwrap()));
        }
        Self(samples)
    }

    /// The sum of the samples under a name that have these labels; `*` is any value.
    fn sum(&self, name: &str, wanted: &[(&str, &str)]) -> Option<f64> {
        let fits = |labels: &Labels| {
            wanted.iter().all(|(label, value)| {
                labels
                    .get(*label)
                    .is_some_and(|had| *value == "*" || had == value)
            })
        };
        let found: Vec<f64> = self
            .0
            .iter()
            .filter(|(known, labels, _)| known == name && fits(labels))
            .map(|(_, _, value)| *value)
            .collect();
        (!found.is_empty()).then(|| found.iter().sum())
    }

    fn value(&self, name: &str) -> f64 {
        self.sum(name, &[]).unwrap_or_else(|| panic!("no {name}"))
    }
}

async fn page(cluster: &Cluster, number: usize) -> Page {
    let answer = get(cluster, number, "/metrics").await;
    assert_eq!(
        answer.headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    Page::read(&answer.body)
}

fn extensive(size: usize) -> Cluster {
    let mut cluster = Cluster::new(size);
    for number in 0..size {
        let mut config = cluster.config(number);
        config.extensive_metrics = true;
        config.quota_bytes = Some(2 << 30);
        config.listen_metrics = vec![format!("metrics-{number}:2381")];
        cluster.start_with(number, config);
    }
    cluster
}

#[tokio::test]
async fn every_series_of_the_stock_alerts_is_there() {
    let cluster = extensive(3);
    cluster.put(0, "k", "v").await;
    for number in 0..3 {
        // A member knows its peers once it has spoken with them.
        let whole = async || {
            let page = page(&cluster, number).await;
            let peers = page.sum("etcd_network_known_peers", &[]);
            (peers == Some(2.0)).then_some(page)
        };
        let page = eventually("both peers", whole).await;
        for (name, labels) in ALERTS {
            assert!(page.sum(name, labels).is_some(), "no {name} {labels:?}");
        }
        for name in BOARDS {
            assert!(page.sum(name, &[]).is_some(), "no {name}");
        }
        assert_eq!(page.value("etcd_server_has_leader"), 1.0);
        let quota = page.value("etcd_server_quota_backend_bytes");
        assert_eq!(quota, 2_147_483_648.0);
    }
}

#[tokio::test]
async fn a_snapshot_is_counted_where_it_leaves_and_where_it_arrives() {
    let mut cluster = Cluster::started_with_snapshots(3, 50);
    cluster.put(0, "k", "v").await;
    let leader = cluster.leader().await;
    let away = (leader + 1) % 3;
    let last = cluster.last_log(away).await;
    cluster.stop(away);
    cluster.put_until_purged_past(leader, last).await;
    cluster.start(away);
    cluster.converged().await;
    let counted = async |number, label, name: &str| {
        let name = format!("etcd_network_snapshot_{name}");
        let sum = page(&cluster, number).await.sum(&name, &[(label, "*")]);
        sum.unwrap_or_else(|| panic!("no {name}"))
    };
    eventually("the end of the transfer", async || {
        let mut sent = 0.0;
        for number in (0..3).filter(|number| *number != away) {
            sent += counted(number, "To", "send_success").await;
        }
        let received = counted(away, "From", "receive_success").await;
        (sent >= 1.0 && received >= 1.0).then_some(())
    })
    .await;
    let took = counted(away, "From", "receive_total_duration_seconds_count").await;
    assert!(took >= 1.0);
    assert_eq!(counted(away, "From", "receive_inflights_total").await, 0.0);
    // These members have no quota.
    let page = page(&cluster, away).await;
    assert_eq!(page.value("etcd_server_quota_backend_bytes"), -1.0);
}

#[tokio::test]
async fn numbers_follow_what_happens() {
    let cluster = extensive(3);
    cluster.put(0, "key", "value").await;
    let leader = cluster.leader().await;
    let before = page(&cluster, leader).await;
    for number in 0..10 {
        cluster.put(leader, &format!("key-{number}"), "value").await;
    }
    cluster.get(leader, "key", false).await.unwrap();
    let after = page(&cluster, leader).await;
    let rise = |name: &str, labels: &[(&str, &str)]| {
        after.sum(name, labels).unwrap() - before.sum(name, labels).unwrap()
    };
    let puts = [("grpc_service", "etcdserverpb.KV"), ("grpc_method", "Put")];
    assert!(rise("grpc_server_started_total", &puts) >= 10.0);
    assert!(rise("grpc_server_msg_received_total", &puts) >= 10.0);
    assert!(rise("grpc_server_msg_sent_total", &puts) >= 10.0);
    let ok = [("grpc_code", "OK"), puts[0], puts[1]];
    assert!(rise("grpc_server_handled_total", &ok) >= 10.0);
    assert!(rise("grpc_server_handling_seconds_count", &puts) >= 10.0);
    for name in [
        "etcd_mvcc_put_total",
        "etcd_debugging_mvcc_keys_total",
        "etcd_debugging_mvcc_current_revision",
        "etcd_server_proposals_committed_total",
        "etcd_server_proposals_applied_total",
        "etcd_disk_wal_fsync_duration_seconds_count",
        "etcd_disk_backend_commit_duration_seconds_count",
    ] {
        assert!(
            rise(name, &[]) >= 10.0,
            "{name} rose by {}",
            rise(name, &[])
        );
    }
    // "key-0", "value" and what frames and peers add.
    assert!(rise("etcd_debugging_mvcc_total_put_size_in_bytes", &[]) >= 100.0);
    assert!(rise("etcd_network_client_grpc_received_bytes_total", &[]) >= 100.0);
    assert!(rise("etcd_network_client_grpc_sent_bytes_total", &[]) >= 100.0);
    assert!(rise("etcd_network_peer_sent_bytes_total", &[]) >= 100.0);
    assert!(rise("etcd_network_peer_received_bytes_total", &[]) >= 100.0);
    assert!(rise("etcd_mvcc_range_total", &[]) >= 1.0);
    assert!(after.value("etcd_mvcc_db_total_size_in_use_in_bytes") > 100.0);
    assert!(after.value("etcd_server_leader_changes_seen_total") >= 1.0);
    assert!(after.value("process_resident_memory_bytes") > 1e6);
    assert_eq!(after.value("etcd_server_has_leader"), 1.0);
    assert_eq!(after.value("etcd_server_is_leader"), 1.0);
    assert_eq!(after.value("etcd_server_proposals_pending"), 0.0);
    let version = [("server_version", "3.6.8")];
    assert_eq!(after.sum("etcd_server_version", &version), Some(1.0));
    let follower = (leader + 1) % 3;
    let follower = eventually("a probed peer", async || {
        let page = page(&cluster, follower).await;
        (page.value("etcd_network_active_peers") >= 2.0).then_some(page)
    })
    .await;
    assert_eq!(follower.value("etcd_server_is_leader"), 0.0);
    assert!(follower.value("etcd_mvcc_put_total") >= 11.0);
    assert!(follower.value("etcd_network_peer_round_trip_time_seconds_count") >= 2.0);
}

#[tokio::test]
async fn a_stream_is_counted_while_it_goes_on_and_when_its_client_goes() {
    let cluster = extensive(1);
    cluster.put(0, "k", "v").await;
    let watch = [
        ("grpc_service", "grpc.health.v1.Health"),
        ("grpc_method", "Watch"),
        ("grpc_type", "server_stream"),
    ];
    let cancelled = [("grpc_code", "Canceled"), watch[0], watch[1], watch[2]];
    let mut client = cluster.health(0);
    let question = HealthCheckRequest::default();
    let mut states = client.watch(question).await.unwrap().into_inner();
    assert!(states.message().await.unwrap().is_some());
    let during = page(&cluster, 0).await;
    for name in [
        "grpc_server_started_total",
        "grpc_server_msg_received_total",
        "grpc_server_msg_sent_total",
    ] {
        assert_eq!(during.sum(name, &watch), Some(1.0), "{name}");
    }
    assert_eq!(during.sum("grpc_server_handled_total", &watch), Some(0.0));
    drop((states, client));
    eventually("the end of the stream", async || {
        let page = page(&cluster, 0).await;
        let ended = page.sum("grpc_server_handled_total", &cancelled)?;
        (ended == 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_lost_quorum_shows() {
    let mut cluster = extensive(3);
    cluster.put(0, "k", "v").await;
    cluster.stop(1);
    cluster.stop(2);
    eventually("no leader and dead peers", async || {
        let page = page(&cluster, 0).await;
        let alone = page.value("etcd_server_has_leader") == 0.0
            && page.value("etcd_network_active_peers") == 0.0;
        (alone && page.value("etcd_network_peer_sent_failures_total") > 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn metrics_have_ports_of_their_own_without_anything_else() {
    let cluster = extensive(1);
    cluster.put(0, "k", "v").await;
    let on_port = async |path: &str| get_on(&cluster, "metrics-0:2381", path).await;
    assert!(
        on_port("/metrics")
            .await
            .body
            .contains("etcd_server_has_leader 1")
    );
    assert_eq!(
        on_port("/health?exclude=NOSPACE&serializable=true")
            .await
            .body,
        r#"{"health":"true","reason":""}"#
    );
    assert_eq!(on_port("/livez").await.body, "ok\n");
    assert_eq!(on_port("/readyz").await.body, "ok\n");
    for path in ["/version", "/v3/kv/range", "/"] {
        assert_eq!(on_port(path).await.status.as_u16(), 404, "{path}");
    }
}

//! What a member does with more than it can do: refuses it at once, or forgets it in time.

use crate::common::http::get;
use crate::common::{Cluster, eventually};
use quorate::proto::etcdserverpb::PutRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tonic::Code;

/// Three members of which only this one runs, and knows that it leads nobody.
async fn alone() -> (Cluster, usize) {
    let mut cluster = Cluster::started(3);
    cluster.put(0, "before", "1").await;
    let left = cluster.leader().await;
    for number in (0..3).filter(|number| *number != left) {
        cluster.stop(number);
    }
    eventually("the leader to stop calling itself so", async || {
        (cluster.inspect(left).await?.leader == 0).then_some(())
    })
    .await;
    (cluster, left)
}

fn complete(cluster: &mut Cluster, left: usize) {
    for number in (0..3).filter(|number| *number != left) {
        cluster.start(number);
    }
}

/// A put by the JSON gateway, whose deadline is the server's business alone; the whole answer.
async fn put_within(cluster: &Cluster, number: usize, timeout: &str) -> String {
    let body = r#"{"key":"bGF0ZQ==","value":"MQ=="}"#;
    let request = format!(
        "POST /v3/kv/put HTTP/1.1\r\nhost: member\r\nconnection: close\r\n\
         grpc-timeout: {timeout}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = cluster.connect(number).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn what_is_too_late_is_not_proposed() {
    let (mut cluster, left) = alone().await;
    let answer = put_within(&cluster, left, "300m").await;
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    assert!(
        answer.contains("etcdserver: context deadline exceeded"),
        "{answer}"
    );
    complete(&mut cluster, left);
    // Whoever came later is served, so the one that was late would have been.
    cluster.put(left, "after", "2").await;
    assert_eq!(cluster.get(left, "late", false).await, None);
    let kept = cluster.get(left, "before", false).await;
    assert_eq!(kept.as_deref(), Some("1"));
}

async fn measured(cluster: &Cluster, number: usize, series: &str) -> f64 {
    let page = get(cluster, number, "/metrics").await.body;
    let line = page.lines().find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("no {series}"))
        .trim()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn a_full_queue_is_said_at_once_and_shows() {
    // 64 MiB may wait, and a batch or two have left the queue.
    const PUTS: usize = 80;
    const REFUSED: usize = 8;
    let (mut cluster, left) = alone().await;
    let kv = cluster.kv(left);
    let mut puts = JoinSet::new();
    for number in 0..PUTS {
        let mut kv = kv.clone();
        puts.spawn(async move {
            let request = PutRequest {
                key: format!("key-{number}").into(),
                value: vec![b'x'; 1 << 20].into(),
                ..PutRequest::default()
            };
            kv.put(request).await
        });
    }
    // Those that wait end after five seconds and more, so the first answers are refusals.
    for _ in 0..REFUSED {
        let refused = puts.join_next().await.unwrap().unwrap().unwrap_err();
        assert_eq!(refused.code(), Code::Unknown, "{refused:?}");
        assert_eq!(refused.message(), "etcdserver: too many requests");
    }
    let turned_away = measured(&cluster, left, "quorate_requests_turned_away_total").await;
    assert!(turned_away >= 8.0, "{turned_away}");
    let bytes = measured(&cluster, left, "quorate_proposals_queued_bytes").await;
    assert!(bytes > 60e6, "{bytes}");
    let waiting = r#"quorate_queue_length{queue="proposals"}"#;
    let waiting = measured(&cluster, left, waiting).await;
    assert!(waiting >= 60.0, "{waiting}");
    complete(&mut cluster, left);
    cluster.put(left, "after", "2").await;
    while let Some(put) = puts.join_next().await {
        // Carried out, refused, or too late: answered.
        let _answer = put.unwrap();
    }
    let waiting = r#"quorate_queue_length{queue="proposals"}"#;
    assert_eq!(measured(&cluster, left, waiting).await, 0.0);
}

//! Plain HTTP on the client port, over HTTP/1.1 and HTTP/2.

use crate::common::http::{Answer, ask};
use crate::common::{Cluster, eventually};
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode, Version};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn get(cluster: &Cluster, path: &str) -> Answer {
    crate::common::http::get(cluster, 0, path).await
}

async fn post(cluster: &Cluster, path: &str, body: &str) -> Answer {
    crate::common::http::post(cluster, 0, path, body).await
}

async fn serving() -> Cluster {
    let cluster = Cluster::started(1);
    cluster.put(0, "first", "1").await;
    cluster
}

#[tokio::test]
async fn health_and_version_are_the_same_over_both_protocols() {
    let cluster = serving().await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let ask = async |method, path| {
            let stream = cluster.connect(0).await;
            ask(stream, version, method, path, "").await
        };
        let health = ask(Method::GET, "/health").await;
        assert_eq!(health.status, StatusCode::OK);
        assert_eq!(health.body, r#"{"health":"true","reason":""}"#);
        assert_eq!(health.headers["access-control-allow-origin"], "*");
        let refused = ask(Method::POST, "/health").await;
        assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refused.headers["allow"], "GET");
        assert_eq!(refused.body, "Method Not Allowed\n");
        let version = ask(Method::GET, "/version").await;
        assert_eq!(version.headers[CONTENT_TYPE], "application/json");
        assert_eq!(
            version.body,
            r#"{"etcdserver":"3.6.8","etcdcluster":"3.6.0","storage":"3.6.0"}"#
        );
        let options = ask(Method::OPTIONS, "/anything").await;
        assert_eq!(
            (options.status, options.body.as_str()),
            (StatusCode::OK, "")
        );
        let nothing = ask(Method::GET, "/nothing").await;
        assert_eq!(nothing.status, StatusCode::NOT_FOUND);
        assert_eq!(nothing.body, "404 page not found\n");
    }
}

#[tokio::test]
async fn checks_can_be_named_excluded_and_told_in_full() {
    let cluster = serving().await;
    for (path, expected) in [
        ("/livez", "ok\n"),
        ("/readyz", "ok\n"),
        ("/livez?verbose", "[+]serializable_read ok\nok\n"),
        ("/livez/serializable_read", "ok\n"),
        (
            "/readyz?verbose&exclude=linearizable_read&exclude=data_corruption",
            "[+]serializable_read ok\n[+]non_learner ok\nok\n",
        ),
        ("/readyz/non_learner?verbose", "[+]non_learner ok\nok\n"),
    ] {
        let answer = get(&cluster, path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.body, expected, "{path}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    for path in ["/livez/linearizable_read", "/readyz/", "/readyz/nothing"] {
        assert_eq!(
            get(&cluster, path).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_member_without_a_quorum_is_alive_and_not_ready() {
    let mut cluster = Cluster::started(3);
    cluster.put(0, "k", "v").await;
    cluster.stop(1);
    cluster.stop(2);
    let health = eventually("no leader", async || {
        let answer = get(&cluster, "/health").await;
        answer.body.contains("RAFT NO LEADER").then_some(answer)
    })
    .await;
    assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        health.body,
        "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n"
    );
    let health = get(&cluster, "/health?serializable=true").await;
    assert_eq!(health.status, StatusCode::OK, "{}", health.body);
    assert_eq!(get(&cluster, "/livez").await.status, StatusCode::OK);
    let ready = get(&cluster, "/readyz?exclude=data_corruption").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        ready.body,
        "[+]serializable_read ok\n\
         [-]linearizable_read failed: etcdserver: request timed out\n\
         [+]non_learner ok\n\n"
    );
}

#[tokio::test]
async fn a_call_as_json_is_the_call() {
    let cluster = serving().await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let post = async |path, body| {
            let stream = cluster.connect(0).await;
            ask(stream, version, Method::POST, path, body).await
        };
        let put = post(
            "/v3/kv/put",
            r#"{"key":"Zm9v","value":"YmFy","prevKv":true}"#,
        )
        .await;
        assert_eq!(put.status, StatusCode::OK, "{}", put.body);
        assert_eq!(
            put.headers["grpc-metadata-content-type"],
            "application/grpc"
        );
        assert_eq!(cluster.get(0, "foo", false).await.unwrap(), "bar");
        let range = post("/v3beta/kv/range", r#"{"key":"Zm9v"}"#).await.json();
        assert_eq!(range["kvs"][0]["value"], "YmFy");
        assert_eq!(range["count"], "1");
        assert!(range.get("more").is_none());
        let txn = post(
            "/v3/kv/txn",
            r#"{"compare":[{"key":"Zm9v","target":"VALUE","value":"YmFy"}],
               "success":[{"request_range":{"key":"Zm9v"}}]}"#,
        );
        let txn = txn.await.json();
        assert_eq!(txn["succeeded"], true);
        assert_eq!(
            txn["responses"][0]["response_range"]["kvs"][0]["key"],
            "Zm9v"
        );
    }
}

#[tokio::test]
async fn refusals_have_the_gateways_shape() {
    let cluster = serving().await;
    let empty = post(&cluster, "/v3/kv/range", "").await;
    assert_eq!(empty.status, StatusCode::BAD_REQUEST);
    let text = "etcdserver: key is not provided";
    assert_eq!(
        empty.json(),
        json!({"error": text, "message": text, "code": 3, "details": []})
    );
    let cases = [
        ("/v3/kv/range", "x", 400, 3),
        ("/v3/kv/range", r#"{"key":1}"#, 400, 3),
        (
            "/v3/kv/range",
            r#"{"key":"YQ==","revision":"1000"}"#,
            400,
            11,
        ),
        ("/v3/nothing", "{}", 404, 5),
        ("/v3/auth/user/add", "{}", 501, 12),
    ];
    for (path, body, status, code) in cases {
        let answer = post(&cluster, path, body).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.body);
        assert_eq!(answer.json()["code"], code, "{path}");
    }
    let answer = get(&cluster, "/v3/kv/range").await;
    assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED);
    assert_eq!(answer.json()["message"], "Method Not Allowed");
    let long = format!(r#"{{"key":"{}"}}"#, "YWFh".repeat(1_100_000));
    let answer = post(&cluster, "/v3/kv/put", &long).await;
    assert_eq!(
        answer.status,
        StatusCode::TOO_MANY_REQUESTS,
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn one_connection_carries_many_requests_and_a_chunked_body() {
    let cluster = serving().await;
    let mut stream = cluster.connect(0).await;
    for _ in 0..2 {
        let request = "POST /v3/kv/range HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n\
                       5\r\n{\"key\r\n9\r\n\":\"YQ==\"}\r\n0\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"}}") {
            let mut piece = [0; 1024];
            let count = stream.read(&mut piece).await.unwrap();
            assert_ne!(count, 0, "{}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&piece[..count]);
        }
        assert!(read.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
    let mut nonsense = cluster.connect(0).await;
    nonsense
        .write_all(b"\x16\x03\x01 no HTTP\r\n\r\n")
        .await
        .unwrap();
    let mut read = Vec::new();
    nonsense.read_to_end(&mut read).await.unwrap();
    assert!(read.starts_with(b"HTTP/1.1 400"), "{read:?}");
}

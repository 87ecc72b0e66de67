//! A client of plain HTTP, one connection a request.

use super::Cluster;
use bytes::Bytes;
use http::header::HeaderMap;
use http::{Method, Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quorate::env::Stream;
use serde_json::Value;

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

pub async fn get(cluster: &Cluster, number: usize, path: &str) -> Answer {
    let stream = cluster.connect(number).await;
    ask(stream, Version::HTTP_11, Method::GET, path, "").await
}

pub async fn get_on(cluster: &Cluster, address: &str, path: &str) -> Answer {
    let stream = cluster.connect_to(address).await;
    ask(stream, Version::HTTP_11, Method::GET, path, "").await
}

pub async fn post(cluster: &Cluster, number: usize, path: &str, body: &str) -> Answer {
    let stream = cluster.connect(number).await;
    ask(stream, Version::HTTP_11, Method::POST, path, body).await
}

pub async fn ask(
    stream: Stream,
    version: Version,
    method: Method,
    path: &str,
    body: &str,
) -> Answer {
    let io = TokioIo::new(stream);
    let uri = if version == Version::HTTP_2 {
        format!("http://member{path}")
    } else {
        path.to_owned()
    };
    let request = Request::builder()
        .method(method)
        .version(version)
        .header("host", "member")
        .uri(uri)
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .unwrap();
    let response = if version == Version::HTTP_2 {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    } else {
        let (mut sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    };
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

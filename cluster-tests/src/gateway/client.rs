//! HTTP/1.1, one connection a request.

use super::cases::Case;
use crate::cluster::local::PATIENCE;
use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) body: String,
}

/// Asks, and reads as many lines as the case wants of a stream, or everything.
///
/// # Errors
/// No answer.
pub(super) async fn ask(address: &str, case: &Case) -> Result<Reply> {
    let asked = timeout(PATIENCE, exchange(address, case)).await;
    asked.context("no answer in time")?
}

async fn exchange(address: &str, case: &Case) -> Result<Reply> {
    let stream = TcpStream::connect(address).await.context("connect")?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = hyper::Request::post(case.path)
        .header("host", address)
        .body(Full::new(Bytes::from_static(case.body.as_bytes())))?;
    let response = sender.send_request(request).await.context("ask")?;
    let (head, mut body) = response.into_parts();
    let content_type = head.headers.get("content-type");
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.context("read the answer")?.into_data() {
            text.extend_from_slice(&data);
        }
        let lines = text.iter().filter(|byte| **byte == b'\n').count();
        if case.lines.is_some_and(|wanted| lines >= wanted) {
            break;
        }
    }
    // A stream goes on until its client goes.
    drop(sender);
    connection.abort();
    Ok(Reply {
        status: head.status.as_u16(),
        content_type: content_type.unwrap_or_default().to_owned(),
        body: String::from_utf8(text).context("the answer is no text")?,
    })
}

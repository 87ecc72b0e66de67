//! Calls whose request is bytes, not a message: what no generated client would send.

use bytes::{Buf, BufMut, Bytes};
use std::time::Duration;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// Sends `message` as it is to `path` ("/package.Service/Method") and returns the answer's bytes.
///
/// # Errors
/// What the server or the way to it says.
pub async fn call(channel: Channel, path: &'static str, message: Bytes) -> Result<Bytes, Status> {
    call_as(channel, path, message, &[]).await
}

/// As [`call`], with numbers as metadata.
///
/// # Errors
/// As [`call`].
pub async fn call_as(
    channel: Channel,
    path: &'static str,
    message: Bytes,
    metadata: &[(&'static str, u64)],
) -> Result<Bytes, Status> {
    let mut grpc = Grpc::new(channel).max_decoding_message_size(usize::MAX);
    grpc.ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static(path);
    let mut request = Request::new(message);
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, (*value).into());
    }
    Ok(grpc.unary(request, path, RawCodec).await?.into_inner())
}

/// Whether a server said this: not the client's own timeout, nor a connection that broke.
pub fn is_said(status: &Status) -> bool {
    std::error::Error::source(status).is_none()
        && !matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded)
}

/// A channel of its own to `address`.
///
/// # Errors
/// It cannot be dialled.
pub async fn dial(address: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(endpoint
        .timeout(Duration::from_secs(20))
        .tcp_nodelay(true)
        .connect()
        .await?)
}

/// A protobuf field of bytes: tag, length, content.
pub fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = varint(u64::from(number) << 3 | 2);
    bytes.extend(varint(content.len() as u64));
    bytes.extend_from_slice(content);
    bytes
}

/// A protobuf field that is a number.
pub fn number(number: u32, value: u64) -> Vec<u8> {
    let mut bytes = varint(u64::from(number) << 3);
    bytes.extend(varint(value));
    bytes
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            bytes.push(low & 0x7f);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(length)))
    }
}

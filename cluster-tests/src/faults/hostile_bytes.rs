//! What is thrown at a port below gRPC: bytes that are not HTTP/2, or not all of it.

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{Rng, RngCore};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame: length 0, type 4.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// A named piece of nonsense.
pub struct Throw {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    /// Leave the connection open and silent afterwards.
    pub hold: bool,
}

/// Every kind once; the random ones from `random`.
pub fn throws(random: &mut StdRng) -> Vec<Throw> {
    let mut noise = vec![0; random.random_range(1..100_000)];
    random.fill_bytes(&mut noise);
    let after_handshake = |rest: &[u8]| [PREFACE, SETTINGS, rest].concat();
    let throw = |name, bytes: Vec<u8>, hold| Throw { name, bytes, hold };
    let mut frames = Vec::new();
    for _ in 0..200 {
        // A plausible header, random type, flags and stream, then too little or random content.
        let length: u8 = random.random_range(0..64);
        frames.extend([0, 0, length, random.random_range(0..12), random.random()]);
        frames.extend(random.random_range(0..16_u32).to_be_bytes());
        let mut content = vec![0; usize::from(length)];
        random.fill_bytes(&mut content);
        frames.extend(content);
    }
    vec![
        throw("random bytes", noise.clone(), false),
        throw("random bytes, then silence", noise, true),
        throw("nothing at all", Vec::new(), true),
        throw(
            "an HTTP/1.1 GET",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            false,
        ),
        throw(
            "half an HTTP/1.1 request",
            b"POST /v3/kv/put HTTP/1.1\r\nContent-Le".to_vec(),
            true,
        ),
        throw(
            "an HTTP/1.1 request that promises too much",
            b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n{".to_vec(),
            false,
        ),
        throw(
            "a TLS client hello",
            [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[7; 64]].concat(),
            false,
        ),
        throw(
            "half a preface",
            PREFACE.get(..11).unwrap_or_default().to_vec(),
            true,
        ),
        throw("a preface, then silence", after_handshake(&[]), true),
        throw("half a frame header", after_handshake(&[0, 0]), false),
        throw(
            "half a frame",
            after_handshake(&[0, 0, 50, 1, 4, 0, 0, 0, 1, 1, 2, 3]),
            false,
        ),
        throw(
            "a frame over the size limit",
            after_handshake(&[&[255, 255, 255, 0, 0, 0, 0, 0, 1][..], &[0; 100_000]].concat()),
            false,
        ),
        throw(
            "headers that do not decompress",
            after_handshake(&[0, 0, 4, 1, 4, 0, 0, 0, 1, 255, 255, 255, 255]),
            false,
        ),
        throw(
            "data on a stream that is not open",
            after_handshake(&[0, 0, 1, 0, 0, 0, 0, 0, 9, 0]),
            false,
        ),
        throw("two hundred random frames", after_handshake(&frames), false),
    ]
}

impl Throw {
    /// Throws it at `address`. A connection to be held is returned; of the others all that the
    /// server says is read until it hangs up, or for a moment.
    pub async fn at(&self, address: &str) -> Result<Option<TcpStream>> {
        let mut stream = TcpStream::connect(address)
            .await
            .context("the port is closed")?;
        // The server may hang up in the middle: its right.
        drop(stream.write_all(&self.bytes).await);
        if self.hold {
            return Ok(Some(stream));
        }
        drop(stream.shutdown().await);
        let mut answer = Vec::new();
        drop(timeout(Duration::from_millis(200), stream.read_to_end(&mut answer)).await);
        Ok(None)
    }
}

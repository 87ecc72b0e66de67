//! TCP. Nagle's algorithm is off on both ends: with it a put waits for a delayed acknowledgement
//! and throughput falls more than tenfold.
#![allow(
    clippy::disallowed_methods,
    reason = "env is the one home of real sockets"
)]
#![allow(
    clippy::disallowed_types,
    reason = "env is the one home of real sockets"
)]

use super::network::{BoxFuture, Listener, Network, Stream};
use rustix::process::{Resource, getrlimit};
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream, lookup_host};

#[derive(Debug, Clone, Copy)]
pub struct Tcp;

impl Network for Tcp {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let stream = TcpStream::connect(&resolve(address).await?[..]).await?;
            stream.set_nodelay(true)?;
            Ok(Stream::new(stream, address.to_owned()))
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            // The first alone: if its port is in use, listening on the other family's would hide it.
            let first = resolve(address).await?[0];
            let listener = TcpListener::bind(first).await?;
            let address = listener.local_addr()?.to_string();
            Ok(Box::new(Accept { listener, address }) as Box<dyn Listener>)
        })
    }
}

/// The addresses of a `host:port`, at least one; IPv4 first, as Go has it: where `localhost` is both,
/// servers and clients must mean the same.
async fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    let mut found: Vec<SocketAddr> = lookup_host(address).await?.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    if found.is_empty() {
        return Err(io::Error::other(format!("{address} has no address")));
    }
    Ok(found)
}

/// Files kept for the member itself: etcd keeps as many, and a quarter where there are plenty,
/// because the storage engine keeps its tables open.
const RESERVED_FILES_MIN: u64 = 150;

fn connections_of(files_max: Option<u64>) -> usize {
    let Some(files) = files_max else {
        return usize::MAX;
    };
    let left = files.saturating_sub(RESERVED_FILES_MIN.max(files / 4));
    usize::try_from(left).unwrap_or(usize::MAX).max(1)
}

struct Accept {
    listener: TcpListener,
    address: String,
}

impl Listener for Accept {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let (stream, peer) = self.listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok(Stream::new(stream, peer.to_string()))
        })
    }

    fn local_address(&self) -> String {
        self.address.clone()
    }

    fn connections_max(&self) -> usize {
        connections_of(getrlimit(Resource::Nofile).current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_member() {
        assert_eq!(connections_of(None), usize::MAX);
        assert_eq!(connections_of(Some(100)), 1);
        assert_eq!(connections_of(Some(256)), 106);
        assert_eq!(connections_of(Some(1024)), 768);
    }

    #[test]
    fn localhost_is_ipv4_first() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        runtime.block_on(async {
            let found = resolve("localhost:0").await.unwrap();
            assert!(found.is_sorted_by_key(SocketAddr::is_ipv6), "{found:?}");
            let listener = Tcp.listen("localhost:0").await.unwrap();
            let address: SocketAddr = listener.local_address().parse().unwrap();
            assert_eq!(address.ip(), found[0].ip());
        });
    }
}

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
use std::io;
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Clone, Copy)]
pub struct Tcp;

impl Network for Tcp {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Stream::new(stream, address.to_owned()))
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?.to_string();
            Ok(Box::new(Accept { listener, address }) as Box<dyn Listener>)
        })
    }
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
}

//! A network inside one process: no socket is opened. Members of a test talk over it, and it shows
//! that the seam holds.

use super::network::{BoxFuture, Listener, Network, Stream};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// Bytes in flight per direction of a connection before a writer waits.
const PIPE_BYTES: usize = 1 << 20;
/// Connections waiting to be accepted before a dialler waits.
const BACKLOG: usize = 128;

type Registry = Arc<Mutex<HashMap<String, mpsc::Sender<Stream>>>>;

/// Clones share one address space.
#[derive(Clone, Default)]
pub struct MemoryNetwork {
    listeners: Registry,
}

impl MemoryNetwork {
    /// Addresses that somebody listens on.
    pub fn addresses(&self) -> Vec<String> {
        let mut all: Vec<_> = lock(&self.listeners).keys().cloned().collect();
        all.sort();
        all
    }
}

fn lock(registry: &Registry) -> std::sync::MutexGuard<'_, HashMap<String, mpsc::Sender<Stream>>> {
    registry.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Network for MemoryNetwork {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            let sender = lock(&self.listeners)
                .get(address)
                .cloned()
                .ok_or_else(refused)?;
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            sender
                .send(Stream::new(far, "memory".into()))
                .await
                .map_err(|_| refused())?;
            Ok(Stream::new(near, address.to_owned()))
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let (sender, incoming) = mpsc::channel(BACKLOG);
            let mut listeners = lock(&self.listeners);
            if listeners.get(address).is_some_and(|old| !old.is_closed()) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            listeners.insert(address.to_owned(), sender);
            Ok(Box::new(Accept {
                incoming,
                address: address.to_owned(),
            }) as Box<dyn Listener>)
        })
    }
}

struct Accept {
    incoming: mpsc::Receiver<Stream>,
    address: String,
}

impl Listener for Accept {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            self.incoming
                .recv()
                .await
                .ok_or_else(|| io::ErrorKind::NotConnected.into())
        })
    }

    fn local_address(&self) -> String {
        self.address.clone()
    }
}

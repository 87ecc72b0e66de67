//! The network in memory, from which members can be cut off. Their clients still reach them.

use quorate::env::network::{BoxFuture, Listener, Network, Stream};
use quorate::env::network_memory::MemoryNetwork;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use tokio::io::{copy_bidirectional, duplex};
use tokio::sync::watch;

const PIPE_BYTES: usize = 1 << 20;

/// Which members are cut off from each other. Clones share it.
#[derive(Clone)]
pub struct Cuts {
    apart: Arc<watch::Sender<BTreeSet<usize>>>,
}

impl Default for Cuts {
    fn default() -> Self {
        let (apart, _) = watch::channel(BTreeSet::new());
        Self {
            apart: Arc::new(apart),
        }
    }
}

impl Cuts {
    /// Ends the member's connections to and from all others; new ones are refused.
    pub fn cut_off(&self, member: usize) {
        self.apart.send_modify(|apart| {
            apart.insert(member);
        });
    }

    pub fn heal(&self) {
        self.apart.send_replace(BTreeSet::new());
    }
}

/// The network as one member has it.
pub struct CutNetwork {
    pub member: usize,
    pub cuts: Cuts,
    pub inner: MemoryNetwork,
}

/// Whose peer port an address is.
fn peer(address: &str) -> Option<usize> {
    let number = address.strip_prefix("peer-")?.split(':').next()?;
    number.parse().ok()
}

impl Network for CutNetwork {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        let Some(other) = peer(address) else {
            return self.inner.connect(address);
        };
        Box::pin(async move {
            let ends = [self.member, other];
            let is_cut = move |apart: &BTreeSet<usize>| ends.iter().any(|end| apart.contains(end));
            let mut apart = self.cuts.apart.subscribe();
            if is_cut(&apart.borrow_and_update()) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let mut far = self.inner.connect(address).await?;
            let (near, mut middle) = duplex(PIPE_BYTES);
            tokio::spawn(async move {
                tokio::select! {
                    _ = copy_bidirectional(&mut middle, &mut far) => {}
                    _ = apart.wait_for(is_cut) => {}
                }
            });
            Ok(Stream::new(near, address.to_owned()))
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        self.inner.listen(address)
    }
}

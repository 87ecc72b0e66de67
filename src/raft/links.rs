//! The connections to each peer, dialled through `env` and kept while the member runs.
//!
//! Three connections per peer, so that nothing small waits behind something big: *entries*,
//! *control* (heartbeats, votes, leadership), *bulk* (snapshots). All have HTTP/2 keep-alive, so
//! that a half-open link is found and dialled again (invariant 11).

use super::address_book::AddressBook;
use super::identity::{Introduce, Pins, SelfIdentity};
use super::log_store::READ_BYTES_MAX;
use super::peer_meters::PeerMeters;
use super::type_config::{MemberNode, Membership};
use crate::env::Network;
use crate::proto::peer::peer_client::PeerClient;
use crate::telemetry::metrics::{ConnectionTraffic, Traffic};
use crate::types::NodeId;
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};

/// The largest peer message: a read of the log holds at most [`super::log_store::READ_BYTES_MAX`],
/// or one entry, and an entry is at most one batch plus one request.
pub(super) const PEER_MESSAGE_BYTES_MAX: usize = 64 << 20;
/// A batch, the request that ended it, and the entries read before it.
const _: () = assert!(
    crate::config::REQUEST_BYTES_MAX * 9 / 4 + 4 * READ_BYTES_MAX <= PEER_MESSAGE_BYTES_MAX,
    "every request that a door takes must fit a peer message"
);
/// HTTP/2 flow-control windows; a window must hold the appends in flight of one round trip.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

pub type Client = PeerClient<InterceptedService<Channel, Introduce>>;

/// The connections to one peer.
#[derive(Clone)]
pub struct PeerLinks {
    pub entries: Client,
    pub control: Client,
    pub bulk: Client,
}

/// Timings of the connections, from the election timeout.
#[derive(Clone, Copy, Debug)]
pub struct LinkTimes {
    pub connect_timeout: Duration,
    pub keep_alive_interval: Duration,
    pub keep_alive_timeout: Duration,
}

impl LinkTimes {
    pub fn from_election_timeout(longest: Duration) -> Self {
        Self {
            connect_timeout: longest * 2,
            keep_alive_interval: (longest * 2).max(Duration::from_millis(500)),
            keep_alive_timeout: (longest * 3).max(Duration::from_millis(1000)),
        }
    }
}

/// A call failed because there was no connection: it was certainly not sent.
#[derive(Debug, thiserror::Error)]
#[error("not connected: {0}")]
pub(super) struct NotConnected(#[source] io::Error);

/// Whether a failed call certainly never left this member.
pub fn was_never_sent(status: &tonic::Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<NotConnected>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Dials peers and remembers the connections.
#[derive(Clone)]
pub struct Links {
    inner: Arc<Inner>,
}

struct Inner {
    pins: Pins,
    network: Arc<dyn Network>,
    addresses: AddressBook,
    times: LinkTimes,
    meters: PeerMeters,
    /// Where members are by the membership in force: newer than what a caller remembers.
    members: Arc<Mutex<HashMap<NodeId, MemberNode>>>,
    /// By node: the address dialled, and the connections.
    open: Mutex<HashMap<NodeId, (String, PeerLinks)>>,
}

impl Links {
    pub fn new(
        pins: Pins,
        network: Arc<dyn Network>,
        addresses: AddressBook,
        times: LinkTimes,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                pins,
                network,
                addresses,
                times,
                meters: PeerMeters::default(),
                members: Arc::default(),
                open: Mutex::default(),
            }),
        }
    }

    /// What is measured on all connections, the separate ones included.
    pub fn meters(&self) -> &PeerMeters {
        &self.inner.meters
    }

    pub fn me(&self) -> SelfIdentity {
        self.inner.pins.me()
    }

    /// From now on members are dialled where this membership says.
    pub(super) fn learn(&self, membership: &Membership) {
        let nodes = membership.nodes().map(|(id, node)| (*id, node.clone()));
        let mut members = lock(&self.inner.members);
        *members = nodes.collect();
        lock(&self.inner.open).retain(|node, _| members.contains_key(node));
    }

    /// A book of its own connections with the same addresses: for calls from another runtime,
    /// because a connection lives on the runtime that opened it.
    pub fn separate(&self) -> Self {
        let inner = &self.inner;
        Self {
            inner: Arc::new(Inner {
                pins: inner.pins.clone(),
                network: inner.network.clone(),
                addresses: inner.addresses.clone(),
                times: inner.times,
                meters: inner.meters.clone(),
                members: inner.members.clone(),
                open: Mutex::default(),
            }),
        }
    }

    /// The connections to a peer, dialled when first used: to where the membership in force says,
    /// or else `member`.
    pub fn to(&self, node: NodeId, member: &MemberNode) -> io::Result<PeerLinks> {
        let dialled = {
            let members = lock(&self.inner.members);
            let latest = members.get(&node).unwrap_or(member);
            self.inner.addresses.dial(latest)
        };
        let address = dialled.ok_or_else(|| {
            io::Error::other(format!("no dialable peer URL among {:?}", member.peer_urls))
        })?;
        let mut open = lock(&self.inner.open);
        if let Some((dialled, links)) = open.get(&node)
            && *dialled == address
        {
            return Ok(links.clone());
        }
        let introduce = Introduce::new(self.inner.pins.clone(), node);
        let (network, times) = (&self.inner.network, self.inner.times);
        let traffic = &self.inner.meters.of(node).traffic;
        let client = || {
            let channel = channel(network.clone(), &address, times, traffic);
            PeerClient::with_interceptor(channel, introduce.clone())
                .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
                .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX)
        };
        let links = PeerLinks {
            entries: client(),
            control: client(),
            bulk: client(),
        };
        open.insert(node, (address, links.clone()));
        Ok(links)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client that belongs to nobody yet, for the calls that need no introduction.
pub fn stranger(network: Arc<dyn Network>, address: &str, times: LinkTimes) -> PeerClient<Channel> {
    PeerClient::new(channel(network, address, times, &Arc::default()))
}

fn channel(
    network: Arc<dyn Network>,
    address: &str,
    times: LinkTimes,
    traffic: &Arc<Traffic>,
) -> Channel {
    let (address, traffic): (Arc<str>, _) = (address.into(), traffic.clone());
    let connector = tower::service_fn(move |_: Uri| {
        let (network, address) = (network.clone(), address.clone());
        let counted = Arc::new(ConnectionTraffic::of(traffic.clone()));
        async move {
            let dial = tokio::time::timeout(times.connect_timeout, network.connect(&address));
            let dialled = dial
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let counted = dialled.map(|stream| TokioIo::new(stream.counted(counted)));
            counted.map_err(NotConnected)
        }
    });
    // The URI only fills the `:authority` header; the connector knows where to go.
    Endpoint::from_static("http://peer.quorate")
        .http2_keep_alive_interval(times.keep_alive_interval)
        .keep_alive_timeout(times.keep_alive_timeout)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .connect_with_connector_lazy(connector)
}

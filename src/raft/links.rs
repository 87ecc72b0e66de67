//! The connections to each peer, dialled through `env` and kept while the member runs.
//!
//! Three connections per peer, so that nothing small waits behind something big: *entries*,
//! *control* (heartbeats, votes, leadership), *bulk* (snapshots). All have HTTP/2 keep-alive, so
//! that a half-open link is found and dialled again (invariant 11).

use super::address_book::AddressBook;
use super::identity::{Introduce, SelfIdentity};
use super::log_store::READ_BYTES_MAX;
use super::peer_meters::PeerMeters;
use super::type_config::MemberNode;
use crate::env::Network;
use crate::proto::peer::peer_client::PeerClient;
use crate::telemetry::metrics::{ConnectionTraffic, Traffic};
use crate::types::NodeId;
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
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
    me: SelfIdentity,
    network: Arc<dyn Network>,
    addresses: AddressBook,
    times: LinkTimes,
    meters: PeerMeters,
    open: Mutex<HashMap<(NodeId, String), PeerLinks>>,
}

impl Links {
    pub fn new(
        me: SelfIdentity,
        network: Arc<dyn Network>,
        addresses: AddressBook,
        times: LinkTimes,
    ) -> Self {
        let meters = PeerMeters::default();
        Self {
            inner: Arc::new(Inner {
                me,
                network,
                addresses,
                times,
                meters,
                open: Mutex::default(),
            }),
        }
    }

    /// What is measured on all connections, the separate ones included.
    pub fn meters(&self) -> &PeerMeters {
        &self.inner.meters
    }

    pub fn me(&self) -> SelfIdentity {
        self.inner.me
    }

    /// A book of its own connections with the same addresses: for calls from another runtime,
    /// because a connection lives on the runtime that opened it.
    pub fn separate(&self) -> Self {
        let inner = &self.inner;
        Self {
            inner: Arc::new(Inner {
                me: inner.me,
                network: inner.network.clone(),
                addresses: inner.addresses.clone(),
                times: inner.times,
                meters: inner.meters.clone(),
                open: Mutex::default(),
            }),
        }
    }

    /// The connections to a peer, dialled when first used.
    pub fn to(&self, node: NodeId, member: &MemberNode) -> io::Result<PeerLinks> {
        let address = self.inner.addresses.dial(member).ok_or_else(|| {
            io::Error::other(format!("no dialable peer URL among {:?}", member.peer_urls))
        })?;
        let mut open = self
            .inner
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(links) = open.get(&(node, address.clone())) {
            return Ok(links.clone());
        }
        let introduce = Introduce::new(self.inner.me, node);
        let traffic = &self.inner.meters.of(node).traffic;
        let client = || {
            PeerClient::with_interceptor(self.channel(&address, traffic), introduce.clone())
                .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
                .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX)
        };
        let links = PeerLinks {
            entries: client(),
            control: client(),
            bulk: client(),
        };
        open.insert((node, address), links.clone());
        Ok(links)
    }

    fn channel(&self, address: &str, traffic: &Arc<Traffic>) -> Channel {
        let times = self.inner.times;
        let network = self.inner.network.clone();
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
}

//! The one place where a run opens channels to members.
//!
//! By default a channel is a TCP connection. A simulation gives its own network to the process, once,
//! and from then on every channel is a connection of that network: whoever opens one here (doors,
//! observers, and so all clients, watchers and probes) need not know. One process holds one simulation
//! at most: whatever it simulates, it simulates once.

use anyhow::{Result, ensure};
use hyper_util::rt::TokioIo;
use quorate::env::Network;
use std::io;
use std::sync::{Arc, OnceLock};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

/// Without one: TCP.
static NETWORK: OnceLock<Arc<dyn Network>> = OnceLock::new();

/// From here on every channel of this process is a connection of `network`. Channels that are open
/// already stay what they are: this is to be said first.
///
/// # Errors
/// There is one already.
pub fn through(network: Arc<dyn Network>) -> Result<()> {
    ensure!(
        NETWORK.set(network).is_ok(),
        "this process has a simulated network already: one simulation a process"
    );
    Ok(())
}

/// A channel that dials when first used, and again after every loss of the connection.
pub fn lazily(endpoint: &Endpoint) -> Channel {
    match NETWORK.get() {
        None => endpoint.connect_lazy(),
        Some(network) => over(network, endpoint),
    }
}

fn over(network: &Arc<dyn Network>, endpoint: &Endpoint) -> Channel {
    let network = Arc::clone(network);
    endpoint.connect_with_connector_lazy(service_fn(move |uri: Uri| {
        let network = Arc::clone(&network);
        async move {
            let address = address(&uri)?;
            Ok::<_, io::Error>(TokioIo::new(network.connect(&address).await?))
        }
    }))
}

/// `host:port`, as [`Network`] wants it.
fn address(uri: &Uri) -> io::Result<String> {
    let host = uri.host().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(format!("{host}:{}", uri.port_u16().unwrap_or(80)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::client::failure;
    use quorate::env::network_memory::MemoryNetwork;
    use quorate::proto::etcdserverpb::StatusRequest;
    use quorate::proto::etcdserverpb::maintenance_client::MaintenanceClient;
    use std::time::Duration;

    #[test]
    fn addresses_have_ports() {
        let read = |uri: &str| address(&uri.parse().unwrap()).unwrap();
        assert_eq!(read("http://10.0.0.1:2379"), "10.0.0.1:2379");
        assert_eq!(read("http://member"), "member:80");
    }

    /// What a dead member's address says is told apart from an answer that was lost, as over TCP.
    #[tokio::test]
    async fn a_connection_that_is_refused_was_never_made() {
        let network: Arc<dyn Network> = Arc::new(MemoryNetwork::default());
        let endpoint =
            Endpoint::from_static("http://nobody:2379").connect_timeout(Duration::from_secs(1));
        let mut client = MaintenanceClient::new(over(&network, &endpoint));
        let status = client.status(StatusRequest {}).await.unwrap_err();
        let outcome = format!("{:?}", failure(&status));
        assert!(outcome.contains("not reached"), "{outcome}");
    }

    #[tokio::test]
    async fn a_call_goes_through_the_network() {
        let memory = MemoryNetwork::default();
        let mut listener = memory.listen("member:2379").await.unwrap();
        let network: Arc<dyn Network> = Arc::new(memory);
        let channel = over(&network, &Endpoint::from_static("http://member:2379"));
        let asked = tokio::spawn(async move {
            MaintenanceClient::new(channel)
                .status(StatusRequest {})
                .await
        });
        let stream = listener.accept().await.unwrap();
        assert_eq!(stream.peer(), "memory");
        drop(stream);
        assert!(asked.await.unwrap().is_err());
    }
}

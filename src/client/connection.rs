//! Channels to endpoints, opened when first needed.

use crate::env::Network;
use http::Uri;
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(6);

/// One endpoint and the channel to it, if there is one.
pub(super) struct Connection {
    address: String,
    network: Arc<dyn Network>,
    dial_timeout: Duration,
    channel: Mutex<Option<Channel>>,
}

impl Connection {
    /// `endpoint` is `host:port`, with or without `http://`.
    pub(super) fn new(network: Arc<dyn Network>, endpoint: &str, dial_timeout: Duration) -> Self {
        let address = endpoint.strip_prefix("http://").unwrap_or(endpoint);
        Self {
            address: address.trim_end_matches('/').to_owned(),
            network,
            dial_timeout,
            channel: Mutex::new(None),
        }
    }

    /// An error here means that nothing was sent.
    pub(super) async fn channel(&self) -> Result<Channel, String> {
        if let Some(channel) = self.lock().clone() {
            return Ok(channel);
        }
        let uri = format!("http://{}", self.address);
        let endpoint = Endpoint::from_shared(uri)
            .map_err(|error| error.to_string())?
            .connect_timeout(self.dial_timeout)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
        let network = Arc::clone(&self.network);
        let address = self.address.clone();
        let connect = service_fn(move |_: Uri| {
            let network = Arc::clone(&network);
            let address = address.clone();
            async move { Ok::<_, io::Error>(TokioIo::new(network.connect(&address).await?)) }
        });
        let connecting = endpoint.connect_with_connector(connect);
        let channel = tokio::time::timeout(self.dial_timeout, connecting)
            .await
            .map_err(|_| "dial timed out".to_owned())?
            .map_err(|error| error.to_string())?;
        *self.lock() = Some(channel.clone());
        Ok(channel)
    }

    /// Forgets the channel, so that the next call dials.
    pub(super) fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Channel>> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

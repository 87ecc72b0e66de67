//! One side's end of a watch stream.

use super::heard::Heard;
use crate::door::Door;
use anyhow::{Result, bail};
use futures_util::stream;
use quorate::proto::etcdserverpb::WatchRequest;
use quorate::proto::etcdserverpb::watch_request::RequestUnion;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Requests that may wait to be sent: more than anybody here ever sends at once.
const REQUESTS_QUEUED: usize = 64;

/// A stream that is being listened to.
#[derive(Debug)]
pub struct Stream {
    requests: mpsc::Sender<WatchRequest>,
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    heard: Mutex<Heard>,
    news: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// Opens a stream on a member. Servers may answer only once something was asked.
    pub fn open(mut door: Door) -> Self {
        let (requests, waiting) = mpsc::channel(REQUESTS_QUEUED);
        let outgoing = stream::unfold(waiting, |mut waiting: mpsc::Receiver<_>| async {
            waiting.recv().await.map(|request| (request, waiting))
        });
        let shared = Arc::new(Shared::default());
        let listener = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                let ended = async {
                    let mut answers = door.watch.watch(outgoing).await?.into_inner();
                    while let Some(message) = answers.message().await? {
                        shared.lock().hear(message);
                        shared.news.notify_one();
                    }
                    Ok::<_, tonic::Status>(())
                };
                let how = match ended.await {
                    Ok(()) => "without a word".to_owned(),
                    Err(status) => format!("{}: {}", status.code(), status.message()),
                };
                shared.lock().ended = Some(how);
                shared.news.notify_one();
            }
        });
        Self {
            requests,
            shared,
            listener,
        }
    }

    /// # Errors
    /// The stream has ended.
    pub async fn send(&self, request: RequestUnion) -> Result<()> {
        let request = WatchRequest {
            request_union: Some(request),
        };
        if self.requests.send(request).await.is_err() {
            bail!("the watch stream has ended {:?}", self.heard().ended);
        }
        Ok(())
    }

    /// What was said so far.
    pub fn heard(&self) -> MutexGuard<'_, Heard> {
        self.shared.lock()
    }

    /// Listens until `enough` holds; whether it does, within `limit` and before the stream ends.
    pub async fn listen(&self, limit: Duration, mut enough: impl FnMut(&Heard) -> bool) -> bool {
        let listening = async {
            loop {
                {
                    let heard = self.heard();
                    if enough(&heard) {
                        return true;
                    }
                    if heard.ended.is_some() {
                        return false;
                    }
                }
                self.shared.news.notified().await;
            }
        };
        timeout(limit, listening).await.unwrap_or(false)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

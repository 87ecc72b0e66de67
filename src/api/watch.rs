//! `etcdserverpb.Watch`: one stream, many watchers.
//!
//! The stream's task is the only one that writes to it. It answers the client's requests at once and
//! tells the node's notices in their order, so `created` comes before the watcher's first event and
//! nothing comes after `canceled`.

use super::dispatch::Call;
use super::stream::{Gone, Messages, Replies};
use super::{header, status, watch_wire};
use crate::canary::{Canary, planted};
use crate::node::WatchStream;
use crate::proto::etcdserverpb::watch_create_request::FilterType;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use crate::types::{KeyRange, Revision};
use crate::watch::{Ask, Events, Interest, Notice, WatchId};
use bytes::Bytes;
use std::collections::BTreeMap;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tonic::Status;

/// Of watchers that are none, and of progress that is all watchers'.
const NO_ID: WatchId = -1;

/// What the door remembers of a watcher.
struct Watcher {
    fragment: bool,
    /// The client wants to hear of progress by itself.
    progress: bool,
    /// Nothing was sent since the last look.
    quiet: bool,
}

struct Session {
    call: Call,
    replies: Replies,
    stream: WatchStream,
    watchers: BTreeMap<WatchId, Watcher>,
}

pub(super) async fn watch(
    call: Call,
    mut messages: Messages,
    replies: Replies,
) -> Result<(), Status> {
    // A member that is just started may not be where it once was: a watcher created now would be told
    // again what its client has seen.
    call.node()
        .caught_up_with_itself()
        .await
        .map_err(|error| status::failed(error, call.deadline))?;
    let interval = call.limits().watch_progress_interval;
    let interval = call.node().jittered(interval);
    let mut looks = interval_at(Instant::now() + interval, interval);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut session = Session {
        stream: call.node().watch(),
        call,
        replies,
        watchers: BTreeMap::new(),
    };
    // A client that says no more goes on listening.
    let mut listens = true;
    loop {
        let told = tokio::select! {
            message = messages.next::<WatchRequest>(), if listens => match message? {
                Some(message) => session.take(message).await,
                None => {
                    listens = false;
                    Ok(())
                }
            },
            notice = session.stream.next() => {
                // Clients open the stream anew, at another member, if the member stops.
                let notice = notice.map_err(|error| status::failed(error, session.call.deadline))?;
                session.tell(notice).await
            }
            _ = looks.tick() => {
                session.look();
                Ok(())
            }
        };
        if told.is_err() {
            return Ok(());
        }
    }
}

impl Session {
    async fn take(&mut self, message: WatchRequest) -> Result<(), Gone> {
        match message.request_union {
            Some(RequestUnion::CreateRequest(request)) => self.create(request).await,
            Some(RequestUnion::CancelRequest(request)) => self.cancel(request.watch_id).await,
            Some(RequestUnion::ProgressRequest(_)) => {
                // If it cannot be told now, the client asks again.
                self.stream.request_progress(None);
                Ok(())
            }
            // Of a later version.
            None => Ok(()),
        }
    }

    fn head(&self, id: WatchId, revision: Revision) -> WatchResponse {
        WatchResponse {
            header: Some(header::at(self.call.node(), revision)),
            watch_id: id,
            ..WatchResponse::default()
        }
    }

    async fn create(&mut self, request: WatchCreateRequest) -> Result<(), Gone> {
        let options = Watcher {
            fragment: request.fragment,
            progress: request.progress_notify,
            quiet: true,
        };
        let outcome = match request.start_revision {
            0.. => self
                .stream
                .create(&ask(request))
                .map_err(|refused| refused.to_string()),
            // What came before the beginning is gone.
            _ => Err("etcdserver: mvcc: required revision has been compacted".to_owned()),
        };
        let answer = match outcome {
            Ok(created) => {
                self.watchers.insert(created.id, options);
                WatchResponse {
                    created: true,
                    ..self.head(created.id, created.revision)
                }
            }
            Err(cancel_reason) => WatchResponse {
                created: true,
                canceled: true,
                cancel_reason,
                ..self.head(NO_ID, self.call.node().revision())
            },
        };
        self.replies.send(&answer).await
    }

    async fn cancel(&mut self, id: WatchId) -> Result<(), Gone> {
        if !self.stream.cancel(id) {
            return Ok(());
        }
        self.watchers.remove(&id);
        let answer = WatchResponse {
            canceled: true,
            ..self.head(id, self.call.node().revision())
        };
        self.replies.send(&answer).await
    }

    async fn tell(&mut self, notice: Notice) -> Result<(), Gone> {
        match notice {
            Notice::Events {
                id,
                events,
                with_previous,
            } => self.events(id, &events, with_previous).await,
            Notice::Progress { id, revision } => {
                let answer = self.head(id.unwrap_or(NO_ID), revision);
                self.replies.send(&answer).await
            }
            Notice::Compacted { id, revision } => {
                self.watchers.remove(&id);
                let answer = WatchResponse {
                    canceled: true,
                    compact_revision: revision,
                    ..self.head(id, 0)
                };
                self.replies.send(&answer).await
            }
        }
    }

    async fn events(
        &mut self,
        id: WatchId,
        events: &Events,
        with_previous: bool,
    ) -> Result<(), Gone> {
        let revision = self.call.node().revision().max(events.last_revision());
        let mut head = self.head(id, revision);
        let mut fragment = false;
        if let Some(watcher) = self.watchers.get_mut(&id) {
            watcher.quiet = false;
            fragment = watcher.fragment;
        }
        // Planted: an answer for every event.
        if planted(Canary::TxnNotAtomicInWatch) {
            for message in watch_wire::fragments(&head, events, with_previous, 0) {
                self.send(&head, &message).await?;
            }
            return Ok(());
        }
        if fragment {
            let limit = self.call.limits().receive_bytes_max();
            let messages = watch_wire::fragments(&head, events, with_previous, limit);
            let last = messages.len() - 1;
            for (number, message) in messages.iter().enumerate() {
                head.fragment = number < last;
                self.send(&head, message).await?;
            }
            return Ok(());
        }
        self.send(&head, &watch_wire::events(events, with_previous))
            .await
    }

    async fn send(&mut self, head: &WatchResponse, events: &[Bytes]) -> Result<(), Gone> {
        // gRPC has no longer messages; the client takes the end of the stream for the end of the
        // connection and starts where it was.
        let framed = watch_wire::framed(head, events).map_err(|_| Gone)?;
        for piece in framed {
            self.replies.send_framed(piece).await?;
        }
        Ok(())
    }

    /// Once an interval: tells the progress of watchers that were told nothing since.
    fn look(&mut self) {
        for (id, watcher) in &mut self.watchers {
            if watcher.progress && std::mem::replace(&mut watcher.quiet, true) {
                self.stream.request_progress(Some(*id));
            }
        }
    }
}

fn ask(request: WatchCreateRequest) -> Ask {
    let filters = |kind: FilterType| request.filters.contains(&kind.into());
    let (puts, deletes) = (!filters(FilterType::Noput), !filters(FilterType::Nodelete));
    // An empty key is the lowest there is.
    let key = match request.key.is_empty() {
        true => Bytes::from_static(&[0]),
        false => request.key,
    };
    Ask {
        id: request.watch_id,
        interest: Interest {
            range: KeyRange::from_wire(key, request.range_end),
            puts,
            deletes,
        },
        start: request.start_revision,
        with_previous: request.prev_kv,
    }
}

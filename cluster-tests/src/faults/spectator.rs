//! Watchers that stay with one member whatever befalls it, and note all that they are told.
//!
//! A spectator's stream may end; it opens the next one at the revision after the last that it was
//! told, as every client does. What a single stream or two in a row may never do it notes at once:
//! tell a revision again, tell revisions out of order or in two parts, or progress ahead of an event.
//! Whether something is missing is for [`judge`], which has all spectators' notes.

use crate::faults::history::{Action, History, Outcome};
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use quorate::proto::etcdserverpb::watch_client::WatchClient;
use quorate::proto::etcdserverpb::watch_request::RequestUnion;
use quorate::proto::etcdserverpb::{
    WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use quorate::proto::mvccpb::Event;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

/// How long a member may take to take a stream. One that stands still takes none.
const OPEN_PATIENCE: Duration = Duration::from_secs(2);
/// Between two attempts to open a stream, and between two questions for progress.
const PAUSE: Duration = Duration::from_millis(50);
/// The slow ones take a nap after every so many responses.
const NAP_EVERY: usize = 256;
const NAP: Duration = Duration::from_millis(500);
/// An open connection on which nothing comes back is given up, as clients do.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// What a spectator watches, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Everything, asking for progress all the time.
    Eager,
    /// Everything, but it does not read all the time.
    Slow,
    /// Registers only, with the pairs before.
    Registers,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Eager, Self::Slow, Self::Registers];

    fn wants(self, key: &[u8]) -> bool {
        self != Self::Registers || key.starts_with(b"r")
    }

    fn request(self, from: i64) -> WatchCreateRequest {
        let (key, range_end) = match self {
            Self::Eager | Self::Slow => (Bytes::from_static(&[0]), Bytes::from_static(&[0])),
            Self::Registers => (Bytes::from_static(b"r"), Bytes::from_static(b"s")),
        };
        WatchCreateRequest {
            key,
            range_end,
            start_revision: from,
            prev_kv: self == Self::Registers,
            ..WatchCreateRequest::default()
        }
    }
}

/// What one spectator was told.
#[derive(Debug)]
struct Notes {
    events: Vec<Event>,
    /// The first revision that it was not told.
    next: i64,
    /// All before this revision was told, as progress says.
    bookmark: i64,
    streams: usize,
    progress: usize,
    violation: Option<String>,
}

/// A watcher of one member.
#[derive(Debug)]
pub struct Spectator {
    node: usize,
    kind: Kind,
    notes: Arc<Mutex<Notes>>,
    task: JoinHandle<()>,
}

impl Drop for Spectator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Display for Spectator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the {:?} watcher of n{}", self.kind, self.node)
    }
}

fn lock(notes: &Mutex<Notes>) -> MutexGuard<'_, Notes> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

fn revision(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}

impl Spectator {
    /// Watches a member from the first revision on.
    ///
    /// # Errors
    /// The URL is not one.
    pub fn start(node: usize, url: &str, kind: Kind) -> Result<Self> {
        let channel = Endpoint::from_shared(url.to_owned())
            .context("endpoint")?
            .connect_timeout(OPEN_PATIENCE)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .connect_lazy();
        let notes = Arc::new(Mutex::new(Notes {
            events: Vec::new(),
            // Revision 1 is the empty store.
            next: 2,
            bookmark: 0,
            streams: 0,
            progress: 0,
            violation: None,
        }));
        let client = WatchClient::new(channel).max_decoding_message_size(usize::MAX);
        let task = tokio::spawn(spectate(client, kind, Arc::clone(&notes)));
        Ok(Self {
            node,
            kind,
            notes,
            task,
        })
    }

    /// The last revision that it was told.
    pub fn seen(&self) -> i64 {
        lock(&self.notes).next - 1
    }

    /// What went wrong already.
    ///
    /// # Errors
    /// The violation.
    pub fn check(&self) -> Result<()> {
        match &lock(&self.notes).violation {
            Some(violation) => bail!("{self}: {violation}"),
            None => Ok(()),
        }
    }

    pub fn streams(&self) -> usize {
        lock(&self.notes).streams
    }

    pub fn progress(&self) -> usize {
        lock(&self.notes).progress
    }
}

async fn spectate(mut client: WatchClient<Channel>, kind: Kind, notes: Arc<Mutex<Notes>>) {
    loop {
        // The stream's own words about its end do not matter: members come and go here.
        watch(&mut client, kind, &notes).await.unwrap_or_default();
        if lock(&notes).violation.is_some() {
            return;
        }
        sleep(PAUSE).await;
    }
}

/// One stream, to its end.
async fn watch(client: &mut WatchClient<Channel>, kind: Kind, notes: &Mutex<Notes>) -> Result<()> {
    let (requests, queue) = mpsc::channel(1);
    let create = RequestUnion::CreateRequest(kind.request(lock(notes).next));
    let say = |request| WatchRequest {
        request_union: Some(request),
    };
    requests.send(say(create)).await?;
    let opening = client.watch(ReceiverStream::new(queue));
    let mut responses = timeout(OPEN_PATIENCE, opening).await??.into_inner();
    lock(notes).streams += 1;
    let mut questions = interval(PAUSE);
    let mut responses_read = 0;
    loop {
        tokio::select! {
            response = responses.message() => {
                let Some(response) = response? else { return Ok(()) };
                let noted = lock(notes).note(kind, response);
                if let Err(violation) = noted {
                    lock(notes).violation = Some(format!("{violation:#}"));
                    return Ok(());
                }
                responses_read += 1;
                if kind == Kind::Slow && responses_read % NAP_EVERY == 0 {
                    sleep(NAP).await;
                }
            }
            _ = questions.tick(), if kind == Kind::Eager => {
                let question = RequestUnion::ProgressRequest(WatchProgressRequest {});
                // A question that is still on its way need not be asked again.
                requests.try_send(say(question)).unwrap_or_default();
            }
        }
    }
}

impl Notes {
    fn note(&mut self, kind: Kind, response: WatchResponse) -> Result<()> {
        let header = response.header.as_ref().context("no header")?;
        if response.created {
            return Ok(());
        }
        ensure!(!response.canceled, "cancelled: {response:?}");
        if response.events.is_empty() {
            self.progress += 1;
            self.bookmark = self.bookmark.max(header.revision);
            // Everything is watched, so nothing may be missing up to here.
            ensure!(
                kind == Kind::Registers || self.next > header.revision,
                "progress to {} before revision {}",
                header.revision,
                self.next
            );
            return Ok(());
        }
        for event in response.events {
            let at = revision(&event);
            let last = self.events.last().map_or(0, revision);
            ensure!(
                at >= self.next,
                "revision {at} again, or late, after {last}"
            );
            ensure!(
                at > self.bookmark,
                "revision {at} after progress to {}",
                self.bookmark
            );
            ensure!(at >= last, "revision {at} after {last}");
            self.events.push(event);
        }
        let last = self.events.last().map_or(0, revision);
        ensure!(header.revision >= last, "a header older than its events");
        self.next = last + 1;
        Ok(())
    }
}

/// What was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub revisions: i64,
    pub events: usize,
    pub streams: usize,
    pub progress: usize,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} events of {} revisions, each told once and in order, over {} streams; {} notices of \
             progress",
            self.events, self.revisions, self.streams, self.progress
        )
    }
}

/// Whether every spectator was told every revision up to `last` that concerns it, once, in order and
/// whole; and whether that is what the clients wrote.
///
/// # Errors
/// The violation.
pub fn judge(spectators: &[Spectator], history: &History, last: i64) -> Result<Verdict> {
    let mut verdict = Verdict {
        revisions: last,
        events: 0,
        streams: 0,
        progress: 0,
    };
    let eager = spectators.iter().find(|it| it.kind == Kind::Eager);
    let all = lock(&eager.context("nobody watched everything")?.notes)
        .events
        .clone();
    check_whole(&all, last)?;
    check_written(&all, history)?;
    for spectator in spectators {
        spectator.check()?;
        let notes = lock(&spectator.notes);
        let wanted = all.iter().filter(|event| {
            let key = event.kv.as_ref().map_or(&[][..], |kv| &kv.key);
            spectator.kind.wants(key)
        });
        let mut told = notes.events.iter();
        for wanted in wanted {
            let told = told.next();
            let told = told.with_context(|| format!("{spectator} missed {wanted:?}"))?;
            ensure!(
                (told.r#type, &told.kv) == (wanted.r#type, &wanted.kv),
                "{spectator} was told {told:?} and not {wanted:?}"
            );
        }
        let surplus = told.next();
        ensure!(surplus.is_none(), "{spectator} was told more: {surplus:?}");
        if spectator.kind == Kind::Registers {
            check_previous(&notes.events).with_context(|| spectator.to_string())?;
        }
        verdict.events += notes.events.len();
        verdict.streams += notes.streams;
        verdict.progress += notes.progress;
    }
    Ok(verdict)
}

/// Every revision changed something, so none may be missing.
fn check_whole(events: &[Event], last: i64) -> Result<()> {
    let mut expected = 2;
    for event in events {
        let at = revision(event);
        ensure!(
            at == expected || at + 1 == expected,
            "revision {at} came where {expected} was due"
        );
        expected = at + 1;
    }
    ensure!(
        expected == last + 1,
        "it ends before {expected}, not at {last}"
    );
    Ok(())
}

/// What was acknowledged at a revision is what was told of it.
fn check_written(events: &[Event], history: &History) -> Result<()> {
    let mut by_revision: HashMap<i64, Vec<(Bytes, Bytes)>> = HashMap::new();
    for event in events {
        let kv = event.kv.as_ref().context("an event without a pair")?;
        let pairs = by_revision.entry(kv.mod_revision).or_default();
        pairs.push((kv.key.clone(), kv.value.clone()));
    }
    for operation in history.all() {
        if let (Action::Write(pairs), Outcome::Written { revision }) =
            (&operation.action, &operation.outcome)
        {
            let told = by_revision.get(revision);
            ensure!(
                told == Some(pairs),
                "{pairs:?} was acknowledged at {revision}; told was {told:?}"
            );
        }
    }
    Ok(())
}

/// The pair before an event is the one of the event before it.
fn check_previous(events: &[Event]) -> Result<()> {
    let mut last = HashMap::new();
    for event in events {
        let kv = event.kv.as_ref().context("an event without a pair")?;
        let before = last.insert(kv.key.clone(), kv.clone());
        ensure!(
            event.prev_kv == before,
            "{event:?} came with another pair than {before:?}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate::proto::etcdserverpb::ResponseHeader;
    use quorate::proto::mvccpb::KeyValue;
    use tokio::time::Instant;

    fn notes() -> Notes {
        Notes {
            events: Vec::new(),
            next: 2,
            bookmark: 0,
            streams: 0,
            progress: 0,
            violation: None,
        }
    }

    fn response(header: i64, revisions: &[i64]) -> WatchResponse {
        let event = |at: &i64| Event {
            kv: Some(KeyValue {
                mod_revision: *at,
                ..KeyValue::default()
            }),
            ..Event::default()
        };
        WatchResponse {
            header: Some(ResponseHeader {
                revision: header,
                ..ResponseHeader::default()
            }),
            events: revisions.iter().map(event).collect(),
            ..WatchResponse::default()
        }
    }

    /// Whether the last of these responses is what breaks a promise.
    fn breaks(responses: &[(i64, &[i64])]) -> bool {
        let mut notes = notes();
        let (last, before) = responses.split_last().unwrap();
        for (header, revisions) in before {
            notes
                .note(Kind::Eager, response(*header, revisions))
                .unwrap();
        }
        notes.note(Kind::Eager, response(last.0, last.1)).is_err()
    }

    #[test]
    fn a_broken_promise_is_seen_at_once() {
        assert!(!breaks(&[(3, &[2, 2, 3]), (3, &[]), (4, &[4])]));
        assert!(
            breaks(&[(3, &[2, 3]), (3, &[3])]),
            "told again, or in two parts"
        );
        assert!(breaks(&[(4, &[2, 4, 3])]), "out of order");
        assert!(breaks(&[(2, &[2]), (3, &[])]), "progress ahead of an event");
        assert!(breaks(&[(2, &[3])]), "an old header");
    }

    fn put(at: i64, key: &'static str, value: &'static str, before: Option<&Event>) -> Event {
        Event {
            kv: Some(KeyValue {
                key: Bytes::from_static(key.as_bytes()),
                value: Bytes::from_static(value.as_bytes()),
                mod_revision: at,
                ..KeyValue::default()
            }),
            prev_kv: before.and_then(|event| event.kv.clone()),
            ..Event::default()
        }
    }

    #[test]
    fn what_nobody_wrote_is_seen_at_the_end() {
        let history = History::default();
        let pairs = vec![(Bytes::from("a"), Bytes::from("1"))];
        let written = Outcome::Written { revision: 2 };
        history.record(1, Action::Write(pairs), Instant::now(), written);
        assert!(check_written(&[put(2, "a", "1", None)], &history).is_ok());
        assert!(check_written(&[put(2, "a", "2", None)], &history).is_err());
        assert!(check_written(&[put(3, "a", "1", None)], &history).is_err());
        let twice = [put(2, "a", "1", None), put(2, "b", "1", None)];
        assert!(check_written(&twice, &history).is_err(), "more than that");
    }

    #[test]
    fn another_pair_before_is_seen_at_the_end() {
        let first = put(2, "a", "1", None);
        let other = put(3, "b", "1", None);
        let second = put(4, "a", "2", Some(&first));
        assert!(check_previous(&[first.clone(), other.clone(), second.clone()]).is_ok());
        let third = put(5, "a", "3", Some(&first));
        assert!(check_previous(&[first.clone(), second, third]).is_err());
        let none = put(4, "a", "2", None);
        assert!(check_previous(&[first, other, none]).is_err());
    }

    #[test]
    fn a_gap_is_seen_at_the_end() {
        let events = |revisions: &[i64]| response(9, revisions).events;
        assert!(check_whole(&events(&[2, 3, 3, 4]), 4).is_ok());
        assert!(check_whole(&events(&[2, 4]), 4).is_err());
        assert!(check_whole(&events(&[2, 3]), 4).is_err());
        assert!(check_whole(&events(&[3, 4]), 4).is_err());
    }
}

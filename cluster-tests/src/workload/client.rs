//! A client: one operation outstanding, at its own pace, written down with its outcome.

use super::wire::perform;
use crate::door::Door;
use crate::history::call::{Answer, Call, Found, Range, Txn};
use crate::history::operation::{Header, Operation, Outcome};
use crate::history::recorder::Recorder;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tonic::{Code, Status};

/// Every call's. Longer than an election, so that a member may answer after one.
pub const DEADLINE: Duration = Duration::from_millis(1500);
/// After an error a member is not asked again at once.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(20);

/// The members that clients know, which change when members come and go.
#[derive(Clone, Debug, Default)]
pub struct Members {
    /// Client URLs by node.
    urls: Arc<Mutex<BTreeMap<usize, String>>>,
}

impl Members {
    pub fn new(urls: impl IntoIterator<Item = (usize, String)>) -> Self {
        Self {
            urls: Arc::new(Mutex::new(urls.into_iter().collect())),
        }
    }

    pub fn all(&self) -> Vec<(usize, String)> {
        let urls = self.urls.lock().unwrap_or_else(PoisonError::into_inner);
        urls.iter()
            .map(|(node, url)| (*node, url.clone()))
            .collect()
    }

    pub fn add(&self, node: usize, url: String) {
        let mut urls = self.urls.lock().unwrap_or_else(PoisonError::into_inner);
        urls.insert(node, url);
    }

    pub fn remove(&self, node: usize) {
        let mut urls = self.urls.lock().unwrap_or_else(PoisonError::into_inner);
        urls.remove(&node);
    }

    /// The member after `node`, in a circle.
    fn after(&self, node: usize) -> Option<(usize, String)> {
        let all = self.all();
        let next = all.iter().find(|(other, _)| *other > node);
        next.or_else(|| all.first()).cloned()
    }

    pub fn url(&self, node: usize) -> Option<String> {
        let urls = self.urls.lock().unwrap_or_else(PoisonError::into_inner);
        urls.get(&node).cloned()
    }
}

/// What all clients of a run share.
#[derive(Clone, Debug)]
pub struct Ground {
    pub members: Members,
    pub recorder: Recorder,
    /// True: finish what you are at and end.
    pub stop: watch::Receiver<bool>,
    pub seed: u64,
}

impl Ground {
    pub fn is_over(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until `until`; false when the run is over before.
    pub async fn sleep(&mut self, until: Instant) -> bool {
        if self.is_over() {
            return false;
        }
        tokio::select! {
            () = sleep_until(until) => true,
            _ = self.stop.wait_for(|over| *over) => false,
        }
    }

    /// A source of choices for one client: the same in every run with the seed.
    pub fn random(&self, name: &str) -> StdRng {
        // FNV-1a: names differ in few letters, seeds must not.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        StdRng::seed_from_u64(self.seed ^ hash)
    }
}

/// One client.
#[derive(Debug)]
pub struct Client {
    pub ground: Ground,
    pub random: StdRng,
    name: String,
    workload: &'static str,
    /// The member that is asked.
    node: usize,
    doors: BTreeMap<usize, (String, Door)>,
    /// Between the beginnings of two calls.
    pace: Duration,
    next: Instant,
    /// Stays with its member, whatever happens.
    pinned: bool,
}

impl Client {
    /// Client `number` of a workload begins with the member of that number, in a circle.
    pub fn new(ground: &Ground, workload: &'static str, number: usize, pace: Duration) -> Self {
        let name = format!("{workload}.{number}");
        let members = ground.members.all();
        let node = members.get(number % members.len().max(1));
        Self {
            random: ground.random(&name),
            ground: ground.clone(),
            name,
            workload,
            node: node.map_or(1, |(node, _)| *node),
            doors: BTreeMap::new(),
            pace,
            next: Instant::now(),
            pinned: false,
        }
    }

    #[must_use]
    pub fn pinned(mut self) -> Self {
        self.pinned = true;
        self
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn node(&self) -> usize {
        self.node
    }

    /// Waits for its turn; false when the run is over.
    pub async fn turn(&mut self) -> bool {
        let now = Instant::now();
        // What an unanswered call cost is not caught up with: load would come in bursts.
        self.next = (self.next + self.pace).max(now);
        let next = self.next;
        self.ground.sleep(next).await
    }

    /// The door of the member that is asked now.
    fn door(&mut self) -> Result<Door, Status> {
        let url = self.ground.members.url(self.node);
        let Some(url) = url else {
            return Err(Status::unavailable("the member has left"));
        };
        if let Some((known, door)) = self.doors.get(&self.node)
            && *known == url
        {
            return Ok(door.clone());
        }
        let door =
            Door::open(&url, DEADLINE).map_err(|error| Status::internal(error.to_string()))?;
        self.doors.insert(self.node, (url, door.clone()));
        Ok(door)
    }

    /// Calls, writes it down, and after an error turns to the next member.
    pub async fn call(&mut self, call: Call) -> Option<(Header, Answer)> {
        let invoked = self.ground.recorder.now();
        let node = self.node;
        let outcome = match self.door() {
            Ok(mut door) => perform(&mut door, &call).await,
            Err(status) => Err(status),
        };
        let (outcome, answer) = match outcome {
            Ok((header, answer)) => {
                let outcome = Outcome::Ok {
                    header,
                    answer: answer.clone(),
                };
                (outcome, Some((header, answer)))
            }
            Err(status) => (failure(&status), None),
        };
        let unanswered = matches!(outcome, Outcome::Unknown(_));
        // A dead member refuses the connection: that is no answer of the cluster's.
        let elsewhere =
            unanswered || matches!(&outcome, Outcome::Refused(why) if why.starts_with(UNREACHED));
        let completed = self.ground.recorder.now();
        self.ground.recorder.operation(Operation {
            client: self.name.clone(),
            workload: self.workload.to_owned(),
            node,
            invoked,
            completed,
            call,
            outcome,
        });
        if elsewhere {
            if !self.pinned {
                self.turn_away();
            }
            let pause = Instant::now() + PAUSE_AFTER_ERROR;
            self.ground.sleep(pause).await;
        }
        answer
    }

    /// From now on it asks the next member.
    pub fn turn_away(&mut self) {
        if let Some((node, _)) = self.ground.members.after(self.node) {
            self.node = node;
        }
    }

    /// A read; none without an answer.
    pub async fn range(&mut self, range: Range) -> Option<(Header, Found)> {
        match self.call(Call::Range(range)).await? {
            (header, Answer::Range(found)) => Some((header, found)),
            _ => None,
        }
    }

    /// A transaction: whether the comparisons held.
    pub async fn txn(&mut self, txn: Txn) -> Option<(Header, bool)> {
        match self.call(Call::Txn(txn)).await? {
            (header, Answer::Txn { succeeded, .. }) => Some((header, succeeded)),
            _ => None,
        }
    }

    pub async fn put(
        &mut self,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> Option<Header> {
        let (header, _) = self.call(Call::Txn(Txn::put(key, value))).await?;
        Some(header)
    }
}

/// How the note of a call begins that reached nobody.
pub const UNREACHED: &str = "not reached: ";

/// What an error tells. Only what says that nothing was done is a refusal.
pub fn failure(status: &Status) -> Outcome {
    let words = format!("{:?}: {}", status.code(), status.message());
    match status.code() {
        // The request is wrong, or the store says no: both before anything is done.
        Code::InvalidArgument
        | Code::NotFound
        | Code::OutOfRange
        | Code::FailedPrecondition
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::Unimplemented => Outcome::Refused(words),
        Code::ResourceExhausted if status.message().starts_with("etcdserver:") => {
            Outcome::Refused(words)
        }
        _ if never_sent(status) => Outcome::Refused(format!("{UNREACHED}{words}")),
        _ => Outcome::Unknown(words),
    }
}

/// Whether the connection was never made, so that no byte of the request left.
fn never_sent(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        // tonic does not export the type.
        if format!("{error:?}").starts_with("ConnectError") {
            return true;
        }
        source = error.source();
    }
    false
}

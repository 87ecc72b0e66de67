//! Faults that are done by calls: members come and go, leadership is handed on, consumers do not read.

use super::site::Site;
use crate::cluster::local::PATIENCE;
use crate::door::Door;
use crate::schedule::cast::Cast;
use crate::schedule::fault::{Change, Fault};
use crate::workload::client::{DEADLINE, Members};
use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use quorate::proto::etcdserverpb::watch_request::RequestUnion;
use quorate::proto::etcdserverpb::{
    Member, MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
    MoveLeaderRequest, WatchCreateRequest, WatchRequest,
};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

/// Members that may join before anybody asks who did.
const JOINED_MAX: usize = 16;
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// What all deeds share.
#[derive(Clone, Debug)]
struct Stage {
    site: Arc<Site>,
    members: Members,
    /// Members that were removed, or are about to be: that they end is no trouble.
    leaving: Arc<Mutex<BTreeSet<usize>>>,
    joined: mpsc::Sender<usize>,
}

/// Begins deeds, and knows who came and who goes.
#[derive(Debug)]
pub struct Deeds {
    stage: Stage,
    joined: mpsc::Receiver<usize>,
}

/// One under way.
#[derive(Debug)]
pub struct Deed {
    task: JoinHandle<Result<()>>,
    /// It ends by itself, and must.
    finite: bool,
}

impl Deed {
    /// Whether its end is waited for.
    pub fn is_awaited(&self) -> bool {
        self.finite && !self.task.is_finished()
    }

    /// Whether a window may end now.
    pub fn may_end(&self) -> bool {
        !self.is_awaited()
    }

    /// # Errors
    /// What went wrong.
    pub async fn end(self) -> Result<()> {
        if !self.finite {
            self.task.abort();
        }
        match self.task.await {
            Ok(outcome) => outcome,
            Err(error) if error.is_cancelled() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Deeds {
    pub fn new(site: &Arc<Site>, members: &Members) -> Self {
        let (sender, joined) = mpsc::channel(JOINED_MAX);
        Self {
            stage: Stage {
                site: Arc::clone(site),
                members: members.clone(),
                leaving: Arc::default(),
                joined: sender,
            },
            joined,
        }
    }

    /// Whether a member is meant to run on.
    pub fn expects(&self, node: usize) -> bool {
        let leaving = self.stage.leaving.lock();
        !leaving
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&node)
    }

    /// From here on it is not expected to run on: it will be replaced.
    pub fn give_up(&self, node: usize) {
        self.stage.expect_end_of(node, true);
    }

    /// A member that joined since this was asked last.
    pub fn next_joined(&mut self) -> Option<usize> {
        self.joined.try_recv().ok()
    }

    /// Begins what the fault does by calls, if it does anything so.
    pub fn begin(&self, fault: &Fault, cast: &Cast) -> Option<Deed> {
        let stage = self.stage.clone();
        let (leader, follower) = (cast.first(), cast.follower());
        match *fault {
            Fault::Members { change } => Some(Deed {
                task: tokio::spawn(stage.change(change, leader, follower)),
                finite: true,
            }),
            Fault::Transfer { every_ms } => Some(Deed {
                task: tokio::spawn(stage.transfer(Duration::from_millis(every_ms))),
                finite: false,
            }),
            Fault::SlowConsumers { watchers } => Some(Deed {
                task: tokio::spawn(stage.consume_slowly(watchers)),
                finite: false,
            }),
            _ => None,
        }
    }
}

impl Stage {
    async fn change(self, change: Change, leader: usize, follower: usize) -> Result<()> {
        match change {
            Change::GrowAndShrink => {
                let node = self.join().await?;
                self.leave(node, false).await
            }
            Change::Replace => {
                self.leave(follower, true).await?;
                self.join().await.map(drop)
            }
            Change::RemoveLeader => {
                self.leave(leader, false).await?;
                self.join().await.map(drop)
            }
        }
    }

    /// A new member: a learner that is promoted as soon as it has caught up.
    async fn join(&self) -> Result<usize> {
        let (node, url, client_url) = {
            let mut cluster = self.site.ours().await.context("not our cluster")?;
            let node = cluster.enlist().await?;
            // It is not to run before it is a member.
            self.expect_end_of(node, true);
            (node, cluster.peer_url(node), cluster.client_url(node))
        };
        let members = self.ask(Question::Add(url.clone())).await?;
        {
            let mut cluster = self.site.ours().await.context("not our cluster")?;
            let urls = members.into_iter().flat_map(|member| member.peer_ur_ls);
            cluster.introduce(node, &urls.collect::<Vec<_>>())?;
            cluster.start(node).await?;
            self.expect_end_of(node, false);
        }
        let id = self.member_id(&url).await?;
        self.ask(Question::Promote(id)).await?;
        self.members.add(node, client_url);
        self.joined
            .send(node)
            .await
            .context("nobody asks who joined")?;
        Ok(node)
    }

    /// A member goes for ever. `lost`: its process dies first.
    async fn leave(&self, node: usize, lost: bool) -> Result<()> {
        self.expect_end_of(node, true);
        let url = {
            let mut cluster = self.site.ours().await.context("not our cluster")?;
            if lost {
                cluster.kill(node).await?;
            }
            cluster.peer_url(node)
        };
        self.members.remove(node);
        let id = self.member_id(&url).await?;
        self.ask(Question::Remove(id)).await?;
        let mut cluster = self.site.ours().await.context("not our cluster")?;
        cluster.retire(node).await
    }

    fn expect_end_of(&self, node: usize, expected: bool) {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        if expected {
            leaving.insert(node);
        } else {
            leaving.remove(&node);
        }
    }

    async fn member_id(&self, peer_url: &str) -> Result<u64> {
        let members = self.ask(Question::List).await?;
        let member = members
            .iter()
            .find(|member| member.peer_ur_ls.iter().any(|url| url == peer_url));
        Ok(member
            .with_context(|| format!("{peer_url} is no member's"))?
            .id)
    }

    /// Asks one member after another until one does it. Members may be down, without a leader, or say
    /// that it is too early.
    async fn ask(&self, question: Question) -> Result<Vec<Member>> {
        let deadline = Instant::now() + PATIENCE;
        for turn in 0_usize.. {
            let members = self.members.all();
            let (_, url) = members
                .get(turn % members.len().max(1))
                .context("no members")?;
            let mut door = Door::open(url, DEADLINE)?;
            match question.ask(&mut door).await {
                Ok(members) => return Ok(members),
                Err(status) if worth_another(&status) && Instant::now() < deadline => {
                    sleep(PAUSE).await;
                }
                Err(status) => return Err(status).with_context(|| question.to_string()),
            }
        }
        bail!("{question}: nobody was asked")
    }

    /// Hands leadership on, again and again, to whoever is next.
    async fn transfer(self, every: Duration) -> Result<()> {
        for turn in 0_usize.. {
            sleep(every).await;
            // A leader that is just elected may refuse; the next turn comes soon.
            drop(self.transfer_once(turn).await);
        }
        Ok(())
    }

    async fn transfer_once(&self, turn: usize) -> Result<()> {
        let members = self.members.all();
        let mut ids = Vec::new();
        let mut leading = None;
        for (node, url) in &members {
            let mut door = Door::open(url, DEADLINE)?;
            let Ok(status) = door.status().await else {
                continue;
            };
            let id = status.header.as_ref().map_or(0, |header| header.member_id);
            if status.leader == id {
                leading = Some((*node, door));
            } else {
                ids.push(id);
            }
        }
        let (_, mut door) = leading.context("nobody leads")?;
        ensure!(!ids.is_empty(), "nobody follows");
        let Some(target_id) = ids.get(turn % ids.len()).copied() else {
            bail!("nobody follows");
        };
        door.maintenance
            .move_leader(MoveLeaderRequest { target_id })
            .await?;
        Ok(())
    }

    /// Opens watches of everything and does not read them.
    async fn consume_slowly(self, watchers: usize) -> Result<()> {
        let mut open = JoinSet::new();
        let members = self.members.all();
        for number in 0..watchers {
            let Some((_, url)) = members.get(number % members.len().max(1)) else {
                break;
            };
            let mut door = Door::open(url, Duration::from_secs(3600))?;
            open.spawn(async move {
                let create = WatchCreateRequest {
                    key: Bytes::from_static(&[0]),
                    range_end: Bytes::from_static(&[0]),
                    start_revision: 1,
                    prev_kv: true,
                    ..WatchCreateRequest::default()
                };
                let (requests, queue) = mpsc::channel(1);
                let request = WatchRequest {
                    request_union: Some(RequestUnion::CreateRequest(create)),
                };
                let asked = requests.send(request).await;
                let stream = door.watch.watch(ReceiverStream::new(queue)).await;
                // Held open, never read.
                std::future::pending::<()>().await;
                drop((asked, stream, requests));
            });
        }
        std::future::pending::<()>().await;
        drop(open);
        Ok(())
    }
}

/// About the members.
#[derive(Debug)]
enum Question {
    List,
    /// A learner, by its peer URL.
    Add(String),
    Promote(u64),
    Remove(u64),
}

impl fmt::Display for Question {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List => formatter.write_str("list the members"),
            Self::Add(url) => write!(formatter, "add {url}"),
            Self::Promote(id) => write!(formatter, "promote {id:x}"),
            Self::Remove(id) => write!(formatter, "remove {id:x}"),
        }
    }
}

impl Question {
    /// The members after it. What was done by an earlier question whose answer was lost is done.
    async fn ask(&self, door: &mut Door) -> Result<Vec<Member>, Status> {
        let cluster = &mut door.cluster;
        let answer = match self {
            Self::List => {
                let list = MemberListRequest { linearizable: true };
                cluster
                    .member_list(list)
                    .await
                    .map(|answer| answer.into_inner().members)
            }
            Self::Add(url) => {
                let request = MemberAddRequest {
                    peer_ur_ls: vec![url.clone()],
                    is_learner: true,
                };
                cluster
                    .member_add(request)
                    .await
                    .map(|answer| answer.into_inner().members)
            }
            Self::Promote(id) => {
                let request = MemberPromoteRequest { id: *id };
                cluster
                    .member_promote(request)
                    .await
                    .map(|answer| answer.into_inner().members)
            }
            Self::Remove(id) => {
                let request = MemberRemoveRequest { id: *id };
                cluster
                    .member_remove(request)
                    .await
                    .map(|answer| answer.into_inner().members)
            }
        };
        match (self, answer) {
            // Of too many learners one may be this very member.
            (Self::Add(url), Err(status)) => {
                let list = MemberListRequest { linearizable: true };
                let members = cluster.member_list(list).await?.into_inner().members;
                let added = members.iter().any(|member| member.peer_ur_ls.contains(url));
                if added { Ok(members) } else { Err(status) }
            }
            (Self::Promote(_), Err(status))
                if status
                    .message()
                    .ends_with("can only promote a learner member") =>
            {
                Ok(Vec::new())
            }
            (Self::Remove(_), Err(status)) if status.code() == Code::NotFound => Ok(Vec::new()),
            (_, answer) => answer,
        }
    }
}

/// Errors of a cluster that is under way.
fn worth_another(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
    ) || status.message().contains("learner")
        || status.message().contains("leader")
        || status.message().contains("unhealthy")
}

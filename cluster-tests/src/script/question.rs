//! What a story asks a member, and how the answer reads. An error is told in etcd's words; silence, a
//! refused connection and a stream that broke are all "no answer", because which of them it is, is a
//! matter of moments.

use super::names::Names;
use super::phrase;
use super::words::Words;
use crate::door::Door;
use crate::history::call::{Act, Answer, Call, Done, Found, Pair, Range, Txn};
use crate::workload::watcher::Watch;
use crate::workload::wire::perform;
use anyhow::{Context as _, Result, bail, ensure};
use quorate::proto::etcdserverpb::{
    LeaseTimeToLiveRequest, Member, MemberAddRequest, MemberListRequest, MemberPromoteRequest,
    MemberRemoveRequest, MoveLeaderRequest,
};
use quorate::proto::v3lockpb::LockRequest;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;
use tonic::{Code, Status};

/// A call with all it needs, so that it can be asked later, or again.
#[derive(Clone, Debug)]
pub enum Question {
    Store {
        call: Call,
        /// The store's revision is told too.
        as_of: bool,
    },
    Lock {
        name: String,
        lease: i64,
    },
    Remaining {
        lease: i64,
    },
    Members,
    /// A learner or not, by its peer URL; so are the members below known.
    Add {
        url: String,
        learner: bool,
    },
    Promote {
        url: String,
    },
    Remove {
        url: String,
    },
    MoveLeader {
        url: String,
    },
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub text: String,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was done, or read.
    Answer,
    /// An error that says that it was not done.
    Refusal,
    /// Nobody knows whether it was done.
    Silence,
}

/// Who is who, for answers that name members by their peer URLs.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    pub names: Names,
    /// Peer URLs by node.
    pub urls: BTreeMap<usize, String>,
}

impl Directory {
    fn name(&self, url: &str) -> String {
        let known = self.urls.iter().find(|(_, known)| *known == url);
        known.map_or_else(|| url.to_owned(), |(node, _)| self.names.name(*node))
    }

    /// # Errors
    /// Nobody is called so.
    pub fn url(&self, name: &str) -> Result<String> {
        let node = self.names.node(name)?;
        let url = self.urls.get(&node);
        url.cloned()
            .with_context(|| format!("{name} has no address"))
    }
}

/// Reads the question out of a line; none if the verb is none of a question's.
///
/// # Errors
/// Its words are not as they must be.
pub fn parse(
    words: &mut Words,
    leases: &mut BTreeMap<String, i64>,
    directory: &Directory,
) -> Result<Option<Question>> {
    let store = |call| Question::Store { call, as_of: false };
    Ok(Some(match words.verb.as_str() {
        "put" => {
            let (key, mut value) = (words.next("the key")?, words.next("the value")?);
            if let Some(bytes) = words.number("bytes")? {
                ensure!(!value.is_empty(), "a value to repeat is missing");
                value = value.chars().cycle().take(bytes).collect();
            }
            let lease = match words.take("lease") {
                None => 0,
                Some(name) => lease(leases, &name)?,
            };
            store(Call::Txn(Txn {
                then: vec![Act::Put { key, value, lease }],
                ..Txn::default()
            }))
        }
        "get" => {
            let mut range = range(words)?;
            range.revision = words.number("revision")?.unwrap_or(0);
            range.serializable = words.flag("serializable");
            Question::Store {
                as_of: range.serializable,
                call: Call::Range(range),
            }
        }
        "delete" => store(Call::Txn(Txn::delete(range(words)?))),
        "txn" => {
            let side = |text: Option<String>| phrase::acts(&text.unwrap_or_default());
            store(Call::Txn(Txn {
                compares: phrase::compares(&words.take("if").unwrap_or_default())?,
                then: side(words.take("then"))?,
                otherwise: side(words.take("else"))?,
            }))
        }
        "compact" => store(Call::Compact {
            revision: words.next_number("the revision")?,
        }),
        "grant" => {
            let name = words.next("the lease's name")?;
            let ttl = words.number("ttl")?.context("grant NAME ttl=SECONDS")?;
            // The smallest numbers there are: a lock's key ends in its lease's.
            let id = leases.values().max().map_or(1, |most| most + 1);
            let id = *leases.entry(name).or_insert(id);
            store(Call::Grant { id, ttl })
        }
        "revoke" => store(Call::Revoke {
            id: lease(leases, &words.next("the lease")?)?,
        }),
        "keepalive" => store(Call::KeepAlive {
            id: lease(leases, &words.next("the lease")?)?,
        }),
        "ttl" => Question::Remaining {
            lease: lease(leases, &words.next("the lease")?)?,
        },
        "lock" => Question::Lock {
            name: words.next("the lock's name")?,
            lease: lease(
                leases,
                &words.take("lease").context("lock NAME lease=NAME")?,
            )?,
        },
        "members" => Question::Members,
        "add" => Question::Add {
            url: directory.url(&words.next("who joins")?)?,
            learner: words.flag("learner"),
        },
        "promote" => Question::Promote {
            url: directory.url(&words.next("who is promoted")?)?,
        },
        "remove" => Question::Remove {
            url: directory.url(&words.next("who is removed")?)?,
        },
        "move-leader" => Question::MoveLeader {
            url: directory.url(&words.next("who is to lead")?)?,
        },
        _ => return Ok(None),
    }))
}

/// `KEY [prefix]`; the empty prefix means everything.
///
/// # Errors
/// There is no key.
pub fn range(words: &mut Words) -> Result<Range> {
    let key = words.next("the key")?;
    Ok(match (words.flag("prefix"), key.is_empty()) {
        (true, true) => Watch::everything(),
        (true, false) => Range::prefix(key),
        (false, _) => Range::one(key),
    })
}

fn lease(leases: &BTreeMap<String, i64>, name: &str) -> Result<i64> {
    let id = leases.get(name).copied();
    id.with_context(|| format!("no lease {name:?} was granted"))
}

impl Question {
    /// Asks once, and waits at most `limit`.
    pub async fn ask(&self, door: &mut Door, limit: Duration, directory: &Directory) -> Said {
        match timeout(limit, self.call(door, directory)).await {
            Err(_) => Said::nothing(),
            Ok(Ok(text)) => Said {
                text,
                kind: Kind::Answer,
            },
            Ok(Err(status)) => Said::error(&status),
        }
    }

    async fn call(&self, door: &mut Door, directory: &Directory) -> Result<String, Status> {
        match self {
            Self::Store { call, as_of } => {
                let (header, answer) = perform(door, call).await?;
                let text = told(call, header.revision, &answer);
                Ok(if *as_of {
                    format!("{text}; its revision is {}", header.revision)
                } else {
                    text
                })
            }
            Self::Lock { name, lease } => {
                let request = LockRequest {
                    name: name.clone().into_bytes().into(),
                    lease: *lease,
                };
                let answer = door.lock.lock(request).await?.into_inner();
                let key = String::from_utf8_lossy(&answer.key).into_owned();
                Ok(format!("held, by the key {key}"))
            }
            Self::Remaining { lease } => {
                let request = LeaseTimeToLiveRequest {
                    id: *lease,
                    keys: true,
                };
                let answer = door.lease.lease_time_to_live(request).await?.into_inner();
                if answer.ttl < 0 {
                    return Ok("there is no such lease".to_owned());
                }
                let keys = answer.keys.iter().map(|key| String::from_utf8_lossy(key));
                let keys: Vec<String> = keys.map(std::borrow::Cow::into_owned).collect();
                let keys = or_nothing(keys.join(", "));
                Ok(format!(
                    "it lives; of {} s, keys: {keys}",
                    answer.granted_ttl
                ))
            }
            Self::Members => {
                let members = members(door, true).await?;
                let mut names: Vec<String> = members
                    .iter()
                    .map(|member| {
                        let url = member.peer_ur_ls.first().map_or("", String::as_str);
                        let name = directory.name(url);
                        if member.is_learner {
                            format!("{name} (learner)")
                        } else {
                            name
                        }
                    })
                    .collect();
                names.sort();
                Ok(names.join(", "))
            }
            Self::Add { url, learner } => {
                let request = MemberAddRequest {
                    peer_ur_ls: vec![url.clone()],
                    is_learner: *learner,
                };
                door.cluster.member_add(request).await?;
                Ok("added".to_owned())
            }
            Self::Promote { url } => {
                let id = member_id(door, url).await?;
                door.cluster
                    .member_promote(MemberPromoteRequest { id })
                    .await?;
                Ok("promoted".to_owned())
            }
            Self::Remove { url } => {
                let id = member_id(door, url).await?;
                door.cluster
                    .member_remove(MemberRemoveRequest { id })
                    .await?;
                Ok("removed".to_owned())
            }
            Self::MoveLeader { url } => {
                let target_id = member_id(door, url).await?;
                door.maintenance
                    .move_leader(MoveLeaderRequest { target_id })
                    .await?;
                Ok("moved".to_owned())
            }
        }
    }
}

async fn members(door: &mut Door, linearizable: bool) -> Result<Vec<Member>, Status> {
    let request = MemberListRequest { linearizable };
    Ok(door
        .cluster
        .member_list(request)
        .await?
        .into_inner()
        .members)
}

async fn member_id(door: &mut Door, url: &str) -> Result<u64, Status> {
    let members = members(door, false).await?;
    let known = members
        .iter()
        .find(|member| member.peer_ur_ls.iter().any(|other| other == url));
    known
        .map(|member| member.id)
        .ok_or_else(|| Status::not_found("etcdserver: member not found"))
}

impl Said {
    pub fn nothing() -> Self {
        Self {
            text: "no answer".to_owned(),
            kind: Kind::Silence,
        }
    }

    fn error(status: &Status) -> Self {
        let words = status.message();
        // What the server says itself begins so; all else is tonic's, of a connection.
        let of_server = words.starts_with("etcdserver: ") || words.starts_with("quorate: ");
        let silent = matches!(
            status.code(),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled
        );
        match (of_server, silent) {
            (true, true) => Self {
                text: words.to_owned(),
                kind: Kind::Silence,
            },
            (true, false) => Self {
                text: words.to_owned(),
                kind: Kind::Refusal,
            },
            // A broken connection is Unknown to tonic.
            (false, _) if silent || status.code() == Code::Unknown => Self::nothing(),
            (false, _) => Self {
                text: format!("{:?}: {words}", status.code()),
                kind: Kind::Refusal,
            },
        }
    }

    /// Whether it may be otherwise in a moment: while nobody leads, or a learner catches up.
    pub fn is_worth_another(&self) -> bool {
        self.kind == Kind::Silence
            || self.text.contains("in sync with leader")
            || self.text.contains("unhealthy")
            || self.text.contains("re-configuration failed")
    }

    /// Tells apart only what a story may know: whether it is one of `texts`, which may hold
    /// "no answer" for every kind of silence.
    pub fn among(&self, texts: &[&str]) -> bool {
        texts
            .iter()
            .any(|text| *text == self.text || (*text == "no answer" && self.kind == Kind::Silence))
    }
}

fn or_nothing(text: String) -> String {
    if text.is_empty() {
        "none".to_owned()
    } else {
        text
    }
}

/// "@5", "a=1 @3", "then @7: ..."
fn told(call: &Call, revision: i64, answer: &Answer) -> String {
    match answer {
        Answer::Range(found) => held(call, found),
        Answer::Txn { succeeded, done } => {
            let Call::Txn(txn) = call else {
                return format!("@{revision}");
            };
            let did: Vec<String> = done.iter().filter_map(did).collect();
            let did = did.join("; ");
            if txn.compares.is_empty() && txn.otherwise.is_empty() && txn.then.len() == 1 {
                return if did.is_empty() {
                    format!("@{revision}")
                } else {
                    format!("{did} @{revision}")
                };
            }
            let branch = if *succeeded { "then" } else { "else" };
            let wrote = done.iter().any(|done| match done {
                Done::Put { .. } => true,
                Done::Deleted { previous } => !previous.is_empty(),
                Done::Get(_) => false,
            });
            let mut text = branch.to_owned();
            if wrote {
                text = format!("{text} @{revision}");
            }
            if !did.is_empty() {
                text = format!("{text}: {did}");
            }
            text
        }
        Answer::Lease { ttl: 0, .. } => "there is no such lease".to_owned(),
        Answer::Lease { ttl, .. } => match call {
            Call::Grant { .. } => format!("granted, {ttl} s"),
            _ => format!("renewed, {ttl} s"),
        },
        Answer::Revoked => format!("revoked @{revision}"),
        Answer::Compacted => "compacted".to_owned(),
    }
}

/// What a put did needs no words.
fn did(done: &Done) -> Option<String> {
    match done {
        Done::Put { .. } => None,
        Done::Get(found) => Some(pairs(&found.kvs)),
        Done::Deleted { previous } => Some(format!("{} deleted", previous.len())),
    }
}

fn held(call: &Call, found: &Found) -> String {
    match call {
        Call::Range(range) if found.kvs.is_empty() && range.end.is_none() => {
            format!("{} is not there", range.key)
        }
        _ => pairs(&found.kvs),
    }
}

fn pairs(kvs: &[Pair]) -> String {
    let pairs: Vec<String> = kvs.iter().map(Pair::to_string).collect();
    or_nothing(pairs.join(", "))
}

/// # Errors
/// It is no question.
pub fn required(question: Option<Question>, verb: &str) -> Result<Question> {
    match question {
        Some(question) => Ok(question),
        None => bail!("there is no command {verb:?}"),
    }
}

//! The taxonomy of faults, as data.
//!
//! Numbers of rows and names follow the literature: minority and majority, bridge and ring (Jepsen),
//! quorum loss, constrained election and chained (Omni-Paxos), dangling (Howard and Abraham), swizzle
//! (FoundationDB), deaf and mute for one-way cuts.

use crate::cluster::weather::{Cut, Quality};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What befalls the cluster for the length of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Fault {
    /// Links are cut.
    Partition { shape: Shape, how: Cut },
    /// The same, coming and going: so long cut, so long open.
    Flapping {
        shape: Shape,
        cut_ms: u64,
        open_ms: u64,
    },
    /// A random set of nodes is cut off one by one, and comes back in another order.
    Swizzle,
    /// Links are there, but bad.
    Degrade { scope: Scope, quality: Quality },
    /// kill -9, and a start on the same data at the end.
    Kill { who: Who },
    /// kill -9 and a start, again and again.
    CrashLoop { who: Who, every_ms: u64 },
    /// Killed, all, and what was not synced is lost.
    PowerCut { who: Who },
    /// The process stands still (a long garbage collection, a stalled virtual machine), its sockets
    /// open.
    Pause { who: Who },
    /// One after another is stopped and started.
    RollingRestart,
    /// So many percent of a processor.
    Throttle { who: Who, percent: u32 },
    /// The members change under load.
    Members { change: Change },
    /// Leadership is handed on, as often.
    Transfer { every_ms: u64 },
    /// So many watchers of everything that do not read.
    SlowConsumers { watchers: usize },
}

/// Who hears whom, by role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// The largest minority without the leader, from the rest.
    Minority,
    /// The leader with the largest minority, from the rest.
    Majority,
    IsolateLeader,
    IsolateFollower,
    /// Each hears its two neighbours only.
    Ring,
    /// Two halves that share one node.
    Bridge,
    /// Everybody hears the hub alone, and the leader is not it.
    QuorumLoss,
    /// As before, but the hub misses the newest entries and the leader is gone: only the hub could win,
    /// and it must not.
    Constrained,
    /// The leader and one follower do not hear each other (Cloudflare, 2020).
    Chained,
    /// The leader hears one follower, which hears everybody (Howard and Abraham).
    Dangling,
    LeaderDeaf,
    LeaderMute,
    /// The leader is heard by all, and hears a minority: it loses the acknowledgements.
    LeaderHalfDeaf,
    FollowerDeaf,
    FollowerMute,
    /// Written out, in the text form of [`crate::cluster::topology`].
    Exactly(String),
}

/// Which links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    All,
    /// To and from the leader.
    Leader,
    /// To and from one follower.
    Follower,
}

/// Which members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    Leader,
    Follower,
    /// Whoever the seed says.
    One,
    /// The leader and enough of the others that no majority is left.
    Majority,
    All,
    Node(usize),
}

/// How the members change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A learner comes, is promoted, and is removed.
    GrowAndShrink,
    /// A follower is lost for ever; another member takes its place.
    Replace,
    /// The leader is removed; another member takes its place.
    RemoveLeader,
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Minority => "a minority is cut off",
            Self::Majority => "the leader is cut off with a minority",
            Self::IsolateLeader => "the leader is cut off from everybody",
            Self::IsolateFollower => "a follower is cut off from everybody",
            Self::Ring => "each hears its two neighbours only",
            Self::Bridge => "two halves share one node",
            Self::QuorumLoss => "only one follower hears everybody, the others hear only it",
            Self::Constrained => "only one node that lags hears everybody",
            Self::Chained => "the leader and one follower do not hear each other",
            Self::Dangling => "the leader hears one follower only",
            Self::LeaderDeaf => "the leader hears nobody, all hear it",
            Self::LeaderMute => "nobody hears the leader, it hears all",
            Self::LeaderHalfDeaf => "the leader hears too few answers",
            Self::FollowerDeaf => "a follower hears nobody, all hear it",
            Self::FollowerMute => "nobody hears a follower, it hears all",
            Self::Exactly(text) => return write!(formatter, "cut {text}"),
        })
    }
}

impl fmt::Display for Who {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader => formatter.write_str("the leader"),
            Self::Follower => formatter.write_str("a follower"),
            Self::One => formatter.write_str("one member"),
            Self::Majority => formatter.write_str("a majority, the leader among it,"),
            Self::All => formatter.write_str("everybody"),
            Self::Node(node) => write!(formatter, "n{node}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition { shape, how } => match how {
                Cut::Drop => write!(formatter, "{shape}"),
                Cut::Reset => write!(formatter, "{shape}, by resets"),
                Cut::NewOnly => write!(formatter, "{shape}, for new connections"),
            },
            Self::Flapping {
                shape,
                cut_ms,
                open_ms,
            } => {
                write!(
                    formatter,
                    "{shape}, {cut_ms} ms of each {} ms",
                    cut_ms + open_ms
                )
            }
            Self::Swizzle => {
                formatter.write_str("nodes are cut off one by one and come back in another order")
            }
            Self::Degrade { scope, quality } => {
                let scope = match scope {
                    Scope::All => "all links",
                    Scope::Leader => "the leader's links",
                    Scope::Follower => "a follower's links",
                };
                write!(formatter, "{scope}: {}", in_words(quality))
            }
            Self::Kill { who } => write!(formatter, "{who} is killed"),
            Self::CrashLoop { who, every_ms } => {
                write!(formatter, "{who} is killed every {every_ms} ms")
            }
            Self::PowerCut { who } => {
                write!(formatter, "{who} loses power, and what was not synced")
            }
            Self::Pause { who } => write!(formatter, "{who} stands still"),
            Self::RollingRestart => formatter.write_str("one after another is restarted"),
            Self::Throttle { who, percent } => {
                write!(formatter, "{who} has {percent}% of a processor")
            }
            Self::Members { change } => formatter.write_str(match change {
                Change::GrowAndShrink => "a member joins, votes and leaves",
                Change::Replace => "a follower is lost and replaced",
                Change::RemoveLeader => "the leader is removed and replaced",
            }),
            Self::Transfer { every_ms } => {
                write!(formatter, "leadership is handed on every {every_ms} ms")
            }
            Self::SlowConsumers { watchers } => {
                write!(formatter, "{watchers} watchers do not read")
            }
        }
    }
}

/// "20 ms, +-10 ms, 5% lost"
pub fn in_words(quality: &Quality) -> String {
    let mut words = Vec::new();
    match quality.cut {
        Some(Cut::Drop) => words.push("cut".to_owned()),
        Some(Cut::Reset) => words.push("reset".to_owned()),
        Some(Cut::NewOnly) => words.push("no new connections".to_owned()),
        None => {}
    }
    if quality.delay_ms > 0 {
        words.push(format!("{} ms", quality.delay_ms));
    }
    if quality.jitter_ms > 0 {
        words.push(format!("up to {} ms more", quality.jitter_ms));
    }
    if quality.loss_per_mille > 0 {
        let (whole, tenth) = (quality.loss_per_mille / 10, quality.loss_per_mille % 10);
        words.push(format!("{whole}.{tenth}% lost"));
    }
    if let Some(rate) = quality.rate {
        words.push(format!("{} kB/s", rate / 1000));
    }
    if let Some(largest) = quality.largest {
        words.push(format!("nothing over {largest} bytes passes"));
    }
    words.join(", ")
}

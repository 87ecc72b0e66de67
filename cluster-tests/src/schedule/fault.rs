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
    /// Again and again a follower is cut off for `away_ms`, long enough that the log it lacks is gone. It
    /// comes back over links of `rate` bytes a second and is sent a snapshot; `after_ms` later, and so
    /// much later with each round, somebody is struck for `down_ms`, while that snapshot is made, on its
    /// way or being installed.
    CatchUp {
        away_ms: u64,
        rate: u64,
        after_ms: u64,
        down_ms: u64,
        strikes: Midway,
    },
    /// So many percent of a processor.
    Throttle { who: Who, percent: u32 },
    /// The members change under load.
    Members { change: Change },
    /// Leadership is handed on, as often.
    Transfer { every_ms: u64 },
    /// So many watchers of everything that do not read.
    SlowConsumers { watchers: usize },
    /// The disk of these members is in trouble; a member that ends by it is started again when its disk
    /// is well.
    Disk { who: Who, trouble: Trouble },
    /// Killed, and what the disk holds of the member is changed; started at the end. A member that does
    /// not run on with it is replaced, as an operator would.
    Damage { who: Who, what: Store, how: Harm },
    /// The clock of these members is wrong: from one moment to the next by `offset_ms`, and from then on
    /// `rate_per_mille` thousandths too fast (negative: behind, too slow).
    Clock {
        who: Who,
        offset_ms: i64,
        rate_per_mille: i64,
    },
}

/// Whom it strikes while a follower is sent a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Midway {
    /// The follower is killed.
    Receiver,
    /// The follower loses power: half a snapshot is half synced.
    PowerOfReceiver,
    /// Who led when the fault began is killed: it sends, until somebody else has to begin anew.
    Sender,
    /// Nobody: the follower is cut off again.
    Link,
}

/// What is wrong with a disk while it lasts. The later is the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// Every sync takes so many milliseconds.
    Slow { ms: u64 },
    /// Reads fail.
    ReadError,
    /// There is no space left; what is there can be read.
    Full,
    /// Writes fail.
    WriteError,
    /// Syncs fail, and what was written since the last one may be lost.
    SyncError,
    /// Nothing that was asked of it comes back before the trouble is over.
    Hang,
}

impl Fault {
    /// Whether somebody loses power under it, and with it what was not synced.
    pub fn cuts_power(&self) -> bool {
        matches!(
            self,
            Self::PowerCut { .. }
                | Self::CatchUp {
                    strikes: Midway::PowerOfReceiver,
                    ..
                }
        )
    }

    /// Whether processes are started again when it ends, or a while before.
    pub fn restarts(&self) -> bool {
        match self {
            Self::Kill { .. }
            | Self::CrashLoop { .. }
            | Self::PowerCut { .. }
            | Self::RollingRestart
            | Self::CatchUp { .. }
            | Self::Members { .. }
            | Self::Damage { .. }
            | Self::Disk { .. } => true,
            Self::Partition { .. }
            | Self::Flapping { .. }
            | Self::Swizzle
            | Self::Degrade { .. }
            | Self::Pause { .. }
            | Self::Throttle { .. }
            | Self::Transfer { .. }
            | Self::SlowConsumers { .. }
            | Self::Clock { .. } => false,
        }
    }
}

impl Trouble {
    /// Whether a member may end by it rather than go on: one that was told that its data is not safe
    /// must not act as if it were.
    pub fn may_end_a_member(self) -> bool {
        match self {
            Self::Slow { .. } | Self::Hang => false,
            Self::ReadError | Self::Full | Self::WriteError | Self::SyncError => true,
        }
    }

    /// Whether a leader cannot go on under it.
    pub fn deposes(self) -> bool {
        match self {
            // Who has all in memory need not read, and who is full may still hold on to what it has.
            Self::Slow { .. } | Self::ReadError | Self::Full => false,
            Self::WriteError | Self::SyncError | Self::Hang => true,
        }
    }
}

/// What a disk holds of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Store {
    /// Raft's log.
    Log,
    /// The key-value store.
    State,
    /// The newest snapshot.
    Snapshot,
}

/// What becomes of a file that is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// A bit is another one.
    Flip,
    /// Its end is gone.
    Truncate,
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
    /// Each hears its neighbours only, so many that it has a majority and nobody hears all (Jepsen's
    /// majorities-ring): one on either side of five, two of seven.
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
    /// All but a random majority ([`Who::Rest`]), from it and from each other.
    Rest,
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
    /// All but a random majority, whoever leads.
    Rest,
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
            Self::Ring => "each hears its neighbours only, who make a majority with it",
            Self::Bridge => "two halves share one node",
            Self::QuorumLoss => "only one follower hears everybody, the others hear only it",
            Self::Constrained => "only one node that lags hears everybody",
            Self::Chained => "the leader and one follower do not hear each other",
            Self::Dangling => "the leader hears one follower only",
            Self::LeaderDeaf => "the leader hears nobody, all hear it",
            Self::LeaderMute => "nobody hears the leader, it hears all",
            Self::LeaderHalfDeaf => "the leader hears too few answers",
            Self::Rest => "only a random majority hears each other",
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
            Self::Rest => formatter.write_str("everybody but a random majority"),
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
            Self::CatchUp {
                away_ms, strikes, ..
            } => write!(
                formatter,
                "a follower is away for {away_ms} ms at a time, and while it is sent a snapshot {strikes}"
            ),
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
            Self::Disk { who, trouble } => write!(formatter, "{who} has a disk {trouble}"),
            Self::Damage { who, what, how } => {
                write!(formatter, "{who} is killed, and {how} {what}")
            }
            Self::Clock {
                who,
                offset_ms,
                rate_per_mille,
            } => {
                write!(formatter, "{who} has a clock that is {offset_ms:+} ms off")?;
                match rate_per_mille {
                    0 => Ok(()),
                    rate => write!(formatter, " and runs {rate:+} thousandths too fast"),
                }
            }
        }
    }
}

impl fmt::Display for Midway {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Receiver => "it is killed",
            Self::PowerOfReceiver => "it loses power",
            Self::Sender => "the leader is killed",
            Self::Link => "it is cut off again",
        })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Slow { ms } => return write!(formatter, "that syncs within {ms} ms"),
            Self::ReadError => "that fails to read",
            Self::Full => "without space",
            Self::WriteError => "that fails to write",
            Self::SyncError => "that fails to sync",
            Self::Hang => "that hangs",
        })
    }
}

impl fmt::Display for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Log => "its log",
            Self::State => "its state",
            Self::Snapshot => "its snapshot",
        })
    }
}

impl fmt::Display for Harm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Flip => "a bit flips in",
            Self::Truncate => "the end is cut off",
        })
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
    if quality.duplicate_per_mille > 0 {
        let tenths = quality.duplicate_per_mille;
        words.push(format!("{}.{}% come twice", tenths / 10, tenths % 10));
    }
    if quality.reorder_per_mille > 0 {
        let tenths = quality.reorder_per_mille;
        words.push(format!("{}.{}% are overtaken", tenths / 10, tenths % 10));
    }
    if let Some(rate) = quality.rate {
        words.push(format!("{} kB/s", rate / 1000));
    }
    if let Some(largest) = quality.largest {
        words.push(format!("nothing over {largest} bytes passes"));
    }
    words.join(", ")
}

//! Floor 0: bugs that can be planted, to see whether anybody notices.
//!
//! A canary is a known mistake, at one place of the product, which a laboratory worth its name must
//! catch: judges that have never rejected a real cluster have proved nothing. `cluster-tests canaries`
//! plants one after the other, and says which judge caught it, when, and by which seed.
//!
//! **The shipped binary has none of them.** They exist with the cargo feature `canaries`, which
//! nothing turns on by default; the binary is then called `quorate-canaries`, and its `--version`
//! names the one that `QUORATE_CANARY` planted. In every other build [`planted`] is a constant
//! `false`, so that each place where a bug could be is compiled to nothing. This file is the only one
//! in the product that asks about the feature.

/// The bugs. Each names the mistake that it repeats, and who can see it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Canary {
    /// A linearizable read is answered like a serializable one: from what this member has applied.
    /// The classic (etcd before 3.1 read so unless asked for a quorum; Jepsen's "etcd and Consul",
    /// 2014). Seen by whoever reads at another member than the one that wrote.
    StaleRead,
    /// A leader answers reads without asking whether it still leads: its lease never ends (Raft thesis
    /// 6.4.1 without the bound on the clocks; etcd's `ReadOnlyLeaseBased` behind a pause). Seen when a
    /// leader is cut off, or stands still, while its clients still reach it.
    LeaseReadWithoutBound,
    /// The log says that a group is durable when it is merely written. What `--unsafe-no-fsync` does;
    /// what a disk that lies does. A kill loses nothing; seen when the power is cut.
    AcknowledgeBeforeFsync,
    /// A vote is said to be saved and is not written: a member that was killed comes back in a term
    /// that is over, and may vote twice in one (Raft thesis 3.8; etcd-io/raft's `MustSync`). Seen when
    /// all are killed: terms fall, and openraft ends a member that is elected in a term below its
    /// log's.
    VoteNotDurable,
    /// Watchers are not told that a snapshot replaced the state: those of a follower that was away go
    /// on behind it and miss what came between. Seen when a follower is cut off until the log that it
    /// lacks is purged, while somebody watches it.
    WatchOverSnapshotGap,
    /// A watch that goes on from a revision is told the one before as well (etcd's robustness property
    /// "unique"). Seen when a watcher's member is killed and it resumes.
    WatchDuplicateOnResume,
    /// The events of one revision come in an answer each, and none says that there is more: who
    /// resumes in between has half a transaction (etcd's robustness property "atomic"). Seen by
    /// whoever watches two keys of a transaction.
    TxnNotAtomicInWatch,
    /// The pair before an event is read as it is now, not as it was then. Seen by a watcher with
    /// `prev_kv`, which etcd's robustness tests hold against the history too.
    PrevKvOfLatest,
    /// Deletions right behind the compacted revision are not told to watchers who catch up (etcd issues
    /// 18089 and 19179, where it was the compacted revision's own). Seen when a watcher resumes soon after a
    /// compaction that reached almost to the present.
    CompactionLosesDelete,
    /// A state that is opened goes on one revision too early and uses it a second time (etcd issue
    /// 17780: the last revision was compacted when the member crashed). Seen when a member is killed.
    RevisionReusedAfterCrash,
    /// Every member revokes leases by its own clock, which knows of no renewal that another member
    /// took (etcd issue 15247: a leader of the past did so). Seen as soon as a lease is kept alive for
    /// longer than its time.
    LeaseExpiryByLocalClock,
    /// openraft's `enable_leader_restore`: a leader that comes back at once leads on in its old term,
    /// and answers reads before it has applied what it acknowledged before. Seen when the leader is
    /// killed and restarted within an election timeout.
    LeaderRestoreOn,
    /// A member whose clients do not wait for the replies applies the first two commands of a batch in
    /// each other's place. Seen under concurrent writes: members hold different revisions.
    ApplyOrderSwapped,
    /// What deletes several keys goes through them in a hash map's order, another one on every member
    /// (etcd sorts a lease's keys in `lessor.Revoke` for this reason). Seen when a range of keys is
    /// deleted: members hold different events.
    NonDeterministicApply,
    /// A batch whose outcome is not known is proposed again, though nothing tells a second time from a
    /// first (Raft thesis 6.3 without sessions). Seen when the leader is killed or cut off: what was
    /// written once happens twice.
    UnknownProposalRetried,
}

/// Deletions that [`Canary::CompactionLosesDelete`] loses: those of so many revisions.
pub const LOST_REVISIONS: i64 = 100;

/// In the order that a hash map would have them in, which is another one each time.
pub fn in_hash_order<T>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    use std::hash::{BuildHasher, RandomState};
    let state = RandomState::new();
    let mut numbered: Vec<(usize, T)> = items.into_iter().enumerate().collect();
    numbered.sort_by_key(|(number, _)| state.hash_one(number));
    numbered.into_iter().map(|(_, item)| item).collect()
}

/// Whether this bug is in this process. In this build there is none: the compiler knows, and leaves
/// out whatever depends on it.
#[cfg(not(feature = "canaries"))]
pub const fn planted(_: Canary) -> bool {
    false
}

/// What the log and `--version` say of it: nothing, in this build.
#[cfg(not(feature = "canaries"))]
pub const fn note() -> Option<String> {
    None
}

#[cfg(feature = "canaries")]
pub use choice::{Unknown, note, plant_from_environment, planted};

#[cfg(feature = "canaries")]
mod choice {
    use super::Canary;
    use std::ffi::OsString;
    use std::fmt;
    use std::sync::OnceLock;

    const VARIABLE: &str = "QUORATE_CANARY";

    const NAMES: &[(&str, Canary)] = &[
        ("stale-read", Canary::StaleRead),
        ("lease-read-without-bound", Canary::LeaseReadWithoutBound),
        ("acknowledge-before-fsync", Canary::AcknowledgeBeforeFsync),
        ("vote-not-durable", Canary::VoteNotDurable),
        ("watch-over-snapshot-gap", Canary::WatchOverSnapshotGap),
        ("watch-duplicate-on-resume", Canary::WatchDuplicateOnResume),
        ("txn-not-atomic-in-watch", Canary::TxnNotAtomicInWatch),
        ("prev-kv-of-latest", Canary::PrevKvOfLatest),
        ("compaction-loses-delete", Canary::CompactionLosesDelete),
        (
            "revision-reused-after-crash",
            Canary::RevisionReusedAfterCrash,
        ),
        (
            "lease-expiry-by-local-clock",
            Canary::LeaseExpiryByLocalClock,
        ),
        ("leader-restore-on", Canary::LeaderRestoreOn),
        ("apply-order-swapped", Canary::ApplyOrderSwapped),
        ("non-deterministic-apply", Canary::NonDeterministicApply),
        ("unknown-proposal-retried", Canary::UnknownProposalRetried),
    ];

    static PLANTED: OnceLock<(&str, Canary)> = OnceLock::new();

    /// Nobody knows a canary of this name.
    pub struct Unknown(OsString);

    impl fmt::Display for Unknown {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            let Self(name) = self;
            write!(formatter, "{VARIABLE}={}: the canaries are", name.display())?;
            NAMES
                .iter()
                .try_for_each(|(name, _)| write!(formatter, " {name}"))
        }
    }

    /// Plants what the environment names, if it names something. Once, before anything runs.
    ///
    /// # Errors
    /// There is no such canary.
    pub fn plant_from_environment() -> Result<(), Unknown> {
        let Some(name) = std::env::var_os(VARIABLE).filter(|name| !name.is_empty()) else {
            return Ok(());
        };
        let found = NAMES.iter().find(|(known, _)| name == *known);
        let canary = *found.ok_or(Unknown(name))?;
        // A second one would be a bug of `main`; the first stays.
        PLANTED.get_or_init(|| canary);
        Ok(())
    }

    /// Whether this bug is in this process.
    pub fn planted(canary: Canary) -> bool {
        PLANTED.get().is_some_and(|(_, planted)| *planted == canary)
    }

    /// What the log and `--version` say of it.
    pub fn note() -> Option<String> {
        Some(match PLANTED.get() {
            Some((name, _)) => format!("Built with canaries: {name} is planted"),
            None => "Built with canaries: none is planted".to_owned(),
        })
    }
}

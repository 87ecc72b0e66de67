//! What is to be reached: the floors and aims of docs/performance.md, as data.
//!
//! Where the table names CPU times, they stand here as a part of etcd's: ratios decide, because a machine may be
//! half as fast as the one on which etcd's column was measured.

/// A bound of one figure of ours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// Of etcd's figure, in the same run.
    TimesAtLeast(f64),
    TimesAtMost(f64),
    AtMost(f64),
    AtLeast(f64),
    /// Of what an empty handler reaches with the same client ([`super::empty`]).
    OfCeiling(f64),
    /// One of two is enough.
    Either(&'static Bound, &'static Bound),
}

/// A figure that is to be reached, in the row of the table in docs/performance.md.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    pub row: u8,
    /// As [`super::figures::Figure::name`].
    pub figure: &'static str,
    pub floor: Bound,
    pub aim: Bound,
}

use Bound::{AtLeast, AtMost, Either, OfCeiling, TimesAtLeast, TimesAtMost};

const fn goal(row: u8, figure: &'static str, floor: Bound, aim: Bound) -> Goal {
    Goal {
        row,
        figure,
        floor,
        aim,
    }
}

const NEAR_CEILING: Bound = OfCeiling(0.85);
/// What has no floor.
const ANY: Bound = AtMost(f64::INFINITY);

/// In the order of the table.
pub const GOALS: &[Goal] = &[
    goal(
        1,
        "put c=256, servers",
        TimesAtMost(55.0 / 106.0),
        TimesAtMost(38.0 / 106.0),
    ),
    goal(
        1,
        "put c=64, servers",
        TimesAtMost(70.0 / 128.0),
        TimesAtMost(48.0 / 128.0),
    ),
    goal(2, "put c=64, rate", TimesAtLeast(2.0), TimesAtLeast(3.0)),
    goal(2, "put c=256, rate", TimesAtLeast(2.0), TimesAtLeast(3.0)),
    goal(2, "put c=1000, rate", TimesAtLeast(2.0), TimesAtLeast(3.0)),
    goal(3, "put c=64, p99", TimesAtMost(0.5), TimesAtMost(0.334)),
    goal(3, "put c=256, p99", TimesAtMost(0.5), TimesAtMost(0.334)),
    goal(3, "put c=1000, p99", TimesAtMost(0.5), TimesAtMost(0.334)),
    goal(4, "put c=1, p50", TimesAtMost(0.5), TimesAtMost(0.5)),
    goal(4, "put c=1, (p50 - round trip) / fsync", ANY, AtMost(1.5)),
    goal(
        5,
        "get c=64, rate",
        TimesAtLeast(2.5),
        Either(&TimesAtLeast(4.0), &NEAR_CEILING),
    ),
    goal(
        5,
        "get c=256, rate",
        TimesAtLeast(2.5),
        Either(&TimesAtLeast(4.0), &NEAR_CEILING),
    ),
    goal(
        5,
        "get c=64, servers",
        TimesAtMost(30.0 / 91.0),
        TimesAtMost(15.0 / 91.0),
    ),
    goal(
        5,
        "get c=256, servers",
        TimesAtMost(30.0 / 91.0),
        TimesAtMost(15.0 / 91.0),
    ),
    goal(
        6,
        "serializable get c=256, rate",
        TimesAtLeast(1.6),
        Either(&TimesAtLeast(2.5), &NEAR_CEILING),
    ),
    goal(
        7,
        "compare-and-put c=256, rate",
        TimesAtLeast(3.0),
        TimesAtLeast(4.0),
    ),
    goal(8, "bulk load, keys", TimesAtLeast(2.5), TimesAtLeast(4.0)),
    goal(
        9,
        "list of 1000 out of 1M, servers",
        TimesAtMost(0.05),
        TimesAtMost(0.02),
    ),
    goal(
        10,
        "100 watchers, events",
        TimesAtLeast(2.0),
        TimesAtLeast(4.0),
    ),
    goal(
        10,
        "100 watchers, server per event",
        TimesAtMost(0.5),
        TimesAtMost(0.8 / 3.4),
    ),
    goal(
        11,
        "lease keep-alive, servers",
        TimesAtMost(0.5),
        TimesAtMost(0.334),
    ),
    goal(12, "memory at 1M keys", TimesAtMost(0.5), AtMost(300.0)),
    goal(12, "memory idle", TimesAtMost(0.5), AtMost(25.0)),
    goal(13, "restart at 1M keys", AtMost(2.0), AtMost(1.0)),
    goal(
        13,
        "restart at 1M keys after kill -9",
        AtMost(2.0),
        AtMost(1.0),
    ),
    goal(14, "leader killed, worst gap", AtMost(1.5), AtMost(0.6)),
    goal(15, "leader stopped, failed", AtMost(0.0), AtMost(0.0)),
    goal(15, "leader stopped, worst gap", ANY, AtMost(0.050)),
    goal(16, "compaction, p99 ratio", AtMost(2.0), AtMost(1.2)),
    goal(16, "compaction, worst gap", AtMost(0.300), AtMost(0.050)),
    goal(16, "compaction, failed", AtMost(0.0), AtMost(0.0)),
    goal(17, "defragment, failed", AtMost(0.0), AtMost(0.0)),
    goal(17, "defragment, p99 ratio", ANY, AtMost(1.2)),
    goal(
        18,
        "snapshot of 2 GB, share of the disk",
        AtLeast(0.5),
        AtLeast(0.8),
    ),
    goal(18, "snapshot of 2 GB, p99 ratio", ANY, AtMost(1.2)),
    goal(19, "overload, goodput", AtLeast(0.8), AtLeast(0.9)),
    goal(19, "overload, memory", ANY, AtMost(1.25)),
];

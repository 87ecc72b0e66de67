//! Random steps; here those of the KV service, with every option of every call,
//! sensible and not.
//!
//! Keys come from a small pool, so that requests meet each other's keys, and from a wide one for
//! long lists. Sorting by something other than the key happens within the small pool alone: among
//! more than twelve elements Go's sort puts equal ones in an order of its own.

use super::answer::Answer;
use super::areas::{Area, Areas};
use super::call::Call;
use super::exceptions::AMBIGUOUS_VALUE_BYTES;
use super::generate_services::Services;
use super::generate_watch::Watches;
use super::lockstep::Outcome;
use super::steps::Step;
use bytes::Bytes;
use quorate::proto::etcdserverpb::compare::TargetUnion;
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Twelve at most (see above), all between "s" and "t".
const SMALL: &[&[u8]] = &[
    b"s",
    b"s\0",
    b"s\0\0",
    b"s/a",
    b"s/a\0",
    b"s/b",
    b"s/ba",
    b"s/\x7f",
    b"s/\xc3\xa9",
    b"s\xff",
    b"s\xff\xff",
];
/// Odd ones outside.
const ODD: &[&[u8]] = &[b"\0", b"\0\0", b"\xff", b"\xff\xff\xff", b"r0", b"z"];
const WIDE_KEYS: u32 = 300;

/// Makes steps, knowing which revisions exist, and which leases and watchers.
#[derive(Debug)]
pub struct Generator {
    pub(super) random: StdRng,
    areas: Areas,
    pub(super) revision: i64,
    compacted: i64,
    pub(super) services: Services,
    pub(super) watches: Watches,
}

impl Generator {
    pub fn new(seed: u64, areas: Areas) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            areas,
            revision: 1,
            compacted: 0,
            services: Services::default(),
            watches: Watches::default(),
        }
    }

    /// Notes where the stores are after a step.
    pub fn learn(&mut self, step: &Step, outcome: &Outcome, revision: i64) {
        self.revision = revision;
        match (step, outcome) {
            (Step::Call(call), Outcome::Answered { answer, .. }) => {
                if let (Call::Compact(call), Answer::Compact(_)) = (call, answer) {
                    self.compacted = self.compacted.max(call.revision);
                }
                self.services.learn(call, answer);
            }
            (Step::Watch { stream, what }, outcome) => {
                self.watches.learn(*stream, what, outcome);
            }
            (Step::Call(_), _) => {}
        }
    }

    /// The next step.
    pub fn next_step(&mut self) -> Step {
        if let Some(call) = self.end_of_an_alarm() {
            return Step::Call(call);
        }
        let area = match self.below(1_000) {
            0..150 => Area::Watch,
            150..260 => Area::Lease,
            260..310 => Area::Lock,
            310..350 => Area::Maintenance,
            350..360 => Area::Cluster,
            _ => Area::Kv,
        };
        if !self.areas.has(area) {
            return Step::Call(self.kv_call());
        }
        match area {
            Area::Kv => Step::Call(self.kv_call()),
            Area::Watch => self.watch_step(),
            Area::Lease => Step::Call(Call::Lease(self.lease_call())),
            Area::Lock => Step::Call(Call::Lock(self.lock_call())),
            Area::Maintenance => Step::Call(Call::Other(self.maintenance_call())),
            Area::Cluster => Step::Call(Call::Other(self.cluster_call())),
        }
    }

    fn kv_call(&mut self) -> Call {
        match self.below(1_000) {
            0..400 => {
                let mut range = self.range();
                if self.one_in(60) {
                    range.sort_order = self.random.random_range(3..9);
                }
                Call::Range(range)
            }
            400..650 => Call::Put(self.put()),
            650..740 => Call::DeleteRange(self.delete()),
            740..979 => Call::Txn(super::survivable::txn(self.txn(0))),
            979..985 if !self.has_alarm() => Call::Txn(super::budget::txn(&mut self.random)),
            985..990 => Call::Txn(self.read_only_txn_with_an_unknown_order()),
            990..992 => Call::Txn(self.long_txn()),
            992..993 => Call::Put(self.put_about_as_large_as_may_be()),
            _ => Call::Compact(CompactionRequest {
                revision: self.some_revision(),
                physical: self.one_in(2),
            }),
        }
    }

    pub(super) fn below(&mut self, bound: u32) -> u32 {
        self.random.random_range(0..bound)
    }

    pub(super) fn one_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }

    fn pick(&mut self, from: &[&'static [u8]]) -> Bytes {
        let at = self.random.random_range(0..from.len().max(1));
        Bytes::from_static(from.get(at).copied().unwrap_or_default())
    }

    pub(super) fn key(&mut self) -> Bytes {
        match self.below(100) {
            0..2 => Bytes::new(),
            2..10 => self.pick(ODD),
            10..25 => format!("w{:03}", self.below(WIDE_KEYS)).into(),
            25..26 => vec![b'r'; self.random.random_range(1..5_000)].into(),
            _ => self.pick(SMALL),
        }
    }

    pub(super) fn range_end(&mut self, key: &Bytes) -> Bytes {
        match self.below(100) {
            0..50 => Bytes::new(),
            50..60 => Bytes::from_static(b"\0"),
            60..70 => prefix_end(key),
            // May well be before the key.
            _ => self.key(),
        }
    }

    /// Old, current, future, compacted, zero, negative.
    pub(super) fn some_revision(&mut self) -> i64 {
        let (compacted, revision) = (self.compacted, self.revision);
        match self.below(100) {
            0..4 => revision + self.random.random_range(1..1_000),
            4..6 => -self.random.random_range(1..5_i64),
            6..8 => 0,
            8..10 => i64::MAX,
            10..14 => compacted,
            14..18 => revision,
            18..24 => self.random.random_range(0..=compacted),
            _ => self.random.random_range(compacted..=revision),
        }
    }

    fn range(&mut self) -> RangeRequest {
        let key = self.key();
        let mut range = RangeRequest {
            range_end: self.range_end(&key),
            key,
            ..Default::default()
        };
        if self.one_in(6) {
            range.key = Bytes::from_static(b"\0");
            range.range_end = Bytes::from_static(b"\0");
        }
        if self.one_in(3) {
            range.limit = self.random.random_range(-2..8);
        }
        if self.one_in(3) {
            range.revision = self.some_revision();
        }
        if self.one_in(3) {
            range.sort_order = self.random.random_range(0..3);
        }
        if self.one_in(4) {
            range.key = Bytes::from_static(b"s");
            range.range_end = Bytes::from_static(b"t");
            range.sort_order = self.random.random_range(0..3);
            range.sort_target = self.random.random_range(0..5);
        }
        range.serializable = self.one_in(4);
        range.keys_only = self.one_in(6);
        range.count_only = self.one_in(10);
        let mut filter = || {
            if self.one_in(12) {
                self.some_revision()
            } else {
                0
            }
        };
        range.min_mod_revision = filter();
        range.max_mod_revision = filter();
        range.min_create_revision = filter();
        range.max_create_revision = filter();
        range
    }

    pub(super) fn value(&mut self) -> Bytes {
        match self.below(10) {
            0..2 => Bytes::new(),
            2..3 => vec![0xfe; self.random.random_range(1..2_000)].into(),
            // Few, so that comparisons and sorts by value meet equal ones.
            _ => format!("v{}", self.below(8)).into(),
        }
    }

    fn put(&mut self) -> PutRequest {
        PutRequest {
            key: self.key(),
            value: if self.one_in(10) {
                Bytes::new()
            } else {
                self.value()
            },
            lease: self.lease_of_a_put(),
            prev_kv: self.one_in(3),
            ignore_value: self.one_in(12),
            ignore_lease: self.one_in(12),
        }
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        let key = self.key();
        // Seldom everything, or lists would stay short.
        let range_end = match self.range_end(&key) {
            end if end.as_ref() == b"\0" && !self.one_in(8) => Bytes::new(),
            end => end,
        };
        DeleteRangeRequest {
            key,
            range_end,
            prev_kv: self.one_in(2),
        }
    }

    fn compare(&mut self) -> Compare {
        let key = self.key();
        let range_end = if self.one_in(4) {
            self.range_end(&key)
        } else {
            Bytes::new()
        };
        let revision = self.some_revision();
        let small = self.random.random_range(-1..4);
        let mut target = self.random.random_range(0..5);
        let target_union = match if self.one_in(10) {
            self.random.random_range(0..6)
        } else {
            target
        } {
            0 => Some(TargetUnion::Version(small)),
            1 => Some(TargetUnion::CreateRevision(revision)),
            2 => Some(TargetUnion::ModRevision(revision)),
            3 => Some(TargetUnion::Value(self.value())),
            4 => Some(TargetUnion::Lease(small)),
            _ => None,
        };
        let mut result = self.random.random_range(0..4);
        if self.one_in(40) {
            target = self.random.random_range(5..9);
        }
        if self.one_in(40) {
            result = self.random.random_range(4..9);
        }
        Compare {
            result,
            target,
            key,
            range_end,
            target_union,
        }
    }

    fn txn(&mut self, depth: u32) -> TxnRequest {
        let compares = if self.one_in(3) { 0 } else { self.below(3) };
        let compare = (0..compares).map(|_| self.compare()).collect();
        TxnRequest {
            compare,
            success: self.operations(depth),
            failure: self.operations(depth),
        }
    }

    fn operations(&mut self, depth: u32) -> Vec<RequestOp> {
        let count = self.below(if depth == 0 { 6 } else { 4 });
        (0..count).map(|_| self.operation(depth)).collect()
    }

    fn operation(&mut self, depth: u32) -> RequestOp {
        let request = match self.below(100) {
            0..35 => Some(Request::RequestRange(self.range())),
            35..70 => Some(Request::RequestPut(self.put())),
            70..83 => Some(Request::RequestDeleteRange(self.delete())),
            83..99 if depth < 4 && !self.has_alarm() => {
                Some(Request::RequestTxn(self.txn(depth + 1)))
            }
            83..99 => Some(Request::RequestPut(self.put())),
            _ => None,
        };
        RequestOp { request }
    }

    /// Around the limit of 128 operations.
    fn long_txn(&mut self) -> TxnRequest {
        let count = self.random.random_range(126..131);
        let success = (0..count)
            .map(|number| RequestOp {
                request: Some(Request::RequestPut(PutRequest {
                    key: format!("w{number:03}").into(),
                    value: self.value(),
                    ..Default::default()
                })),
            })
            .collect();
        TxnRequest {
            success,
            ..Default::default()
        }
    }

    fn put_about_as_large_as_may_be(&mut self) -> PutRequest {
        let bytes = if self.one_in(2) {
            self.random.random_range(1_572_800..1_572_900)
        } else {
            AMBIGUOUS_VALUE_BYTES - 2 + self.random.random_range(0..5)
        };
        PutRequest {
            key: "s".into(),
            value: vec![7; bytes + usize::from(bytes == AMBIGUOUS_VALUE_BYTES)].into(),
            ..Default::default()
        }
    }

    /// Read-only, because etcd 3.4 carries it out (see `exceptions`).
    fn read_only_txn_with_an_unknown_order(&mut self) -> TxnRequest {
        let range = RangeRequest {
            key: self.pick(SMALL),
            sort_order: self.random.random_range(3..9),
            ..Default::default()
        };
        let success = vec![RequestOp {
            request: Some(Request::RequestRange(range)),
        }];
        TxnRequest {
            success,
            ..Default::default()
        }
    }
}

/// The end of the range of all keys that begin with `key`.
fn prefix_end(key: &Bytes) -> Bytes {
    let mut end = key.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end.into();
        }
    }
    Bytes::from_static(b"\0")
}

#[cfg(test)]
mod tests {
    use super::super::survivable;
    use super::*;

    #[test]
    fn a_seed_is_a_sequence() {
        let steps = |seed| {
            let mut generator = Generator::new(seed, Areas::all());
            (0..200).map(|_| generator.next_step()).collect::<Vec<_>>()
        };
        assert_eq!(steps(1), steps(1));
        assert_ne!(steps(1), steps(2));
    }

    #[test]
    fn no_transaction_keeps_what_it_may_have_deleted() {
        let mut generator = Generator::new(3, Areas::all());
        let mut deleting = 0;
        for _ in 0..50_000 {
            if let Step::Call(Call::Txn(txn)) = generator.next_step() {
                deleting += usize::from(survivable::deletes_to_the_end(&txn));
                assert_eq!(survivable::txn(txn.clone()), txn);
            }
        }
        assert!(deleting > 100, "{deleting} deletions tell little");
    }

    #[test]
    fn the_end_of_a_prefix_is_etcds() {
        assert_eq!(
            prefix_end(&Bytes::from_static(b"a\xff")),
            Bytes::from_static(b"b")
        );
        assert_eq!(
            prefix_end(&Bytes::from_static(b"\xff\xff")),
            Bytes::from_static(b"\0")
        );
    }

    #[test]
    fn the_small_pool_is_small_enough_for_a_stable_sort() {
        assert!(SMALL.len() <= 12);
        assert!(
            SMALL
                .iter()
                .all(|key| (b"s".as_slice()..b"t".as_slice()).contains(key))
        );
    }
}

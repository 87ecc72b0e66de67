//! Random calls of the lease, lock, election, cluster and maintenance services.

use super::answer::Answer;
use super::call::Call;
use super::generate::Generator;
use super::lease_calls::LeaseCall;
use super::lock_calls::{LockCall, key};
use super::other_calls::{Named, OtherCall};
use quorate::proto::etcdserverpb::{AlarmRequest, AlarmType};
use quorate::proto::v3electionpb::LeaderKey;
use rand::Rng;
use rand::seq::IteratorRandom;
use std::collections::BTreeSet;

/// Few, so that requests meet each other's leases.
const LEASES: &[i64] = &[1, 2, 3, 4, 5, 7, 0x1234_5678_9abc, -2, i64::MAX, i64::MIN];
/// In seconds: longer than any run. The shortest has the most digits in common with none.
const LONG_TTL: std::ops::Range<i64> = 10_000..20_000;
/// The longest that etcd grants.
const TTL_MAX: i64 = 9_000_000_000;
const LOCKS: &[&str] = &["l/a", "l/b"];
const ELECTIONS: &[&str] = &["e/a", "e/b"];
/// While an alarm is raised, one step in so many lowers it.
const ALARM_STEPS: u32 = 12;

/// The leases and alarms that there are, and who leads.
#[derive(Debug, Default)]
pub(super) struct Services {
    leases: BTreeSet<i64>,
    alarms: Vec<AlarmRequest>,
    leaders: Vec<LeaderKey>,
}

impl Services {
    pub(super) fn learn(&mut self, call: &Call, answer: &Answer) {
        if answer.is_error() {
            return;
        }
        match call {
            Call::Lease(LeaseCall::Grant { id, .. }) => {
                self.leases.insert(*id);
            }
            Call::Lease(LeaseCall::Revoke { id }) => {
                self.leases.remove(id);
            }
            Call::Other(OtherCall::Alarm(alarm)) if alarm.action == 1 => {
                self.alarms.push(*alarm);
            }
            Call::Other(OtherCall::Alarm(alarm)) if alarm.action == 2 => {
                let lowered = |raised: &AlarmRequest| {
                    raised.alarm == alarm.alarm && raised.member_id == alarm.member_id
                };
                self.alarms.retain(|raised| !lowered(raised));
            }
            Call::Lock(LockCall::Campaign { name, lease, .. }) => {
                // The answer's own revision: that of the key, or later.
                let leader = LeaderKey {
                    name: name.clone().into(),
                    key: key(name, *lease),
                    rev: answer.revision().unwrap_or(1),
                    lease: *lease,
                };
                self.leaders.retain(|known| known.key != leader.key);
                self.leaders.push(leader);
            }
            _ => {}
        }
    }
}

impl Generator {
    /// Mostly none, or one that lives.
    pub(super) fn lease_of_a_put(&mut self) -> i64 {
        match self.below(100) {
            0..12 => {
                let lives = self.services.leases.iter().choose(&mut self.random);
                lives.copied().unwrap_or(0)
            }
            12..16 => self.random.random_range(-3..3),
            _ => 0,
        }
    }

    fn some_lease(&mut self) -> i64 {
        LEASES.iter().choose(&mut self.random).copied().unwrap_or(1)
    }

    /// Mostly one that lives.
    fn known_lease(&mut self) -> i64 {
        let lives = self
            .services
            .leases
            .iter()
            .choose(&mut self.random)
            .copied();
        match lives {
            Some(id) if !self.one_in(8) => id,
            _ => self.some_lease(),
        }
    }

    pub(super) fn lease_call(&mut self) -> LeaseCall {
        match self.below(100) {
            0..30 => LeaseCall::Grant {
                id: self.some_lease(),
                ttl: self.random.random_range(LONG_TTL),
            },
            30..42 => LeaseCall::GrantAndRevoke {
                id: if self.one_in(2) { 0 } else { self.some_lease() },
                ttl: self.some_ttl(),
            },
            42..60 => LeaseCall::Revoke {
                id: if self.one_in(20) {
                    0
                } else {
                    self.known_lease()
                },
            },
            60..72 => {
                let count = self.random.random_range(1..4);
                let ids = (0..count).map(|_| self.known_lease()).collect();
                LeaseCall::KeepAlive { ids }
            }
            72..92 => LeaseCall::TimeToLive {
                id: self.known_lease(),
                keys: self.one_in(2),
            },
            _ => LeaseCall::Leases,
        }
    }

    /// Too short, too long, and around the limits.
    fn some_ttl(&mut self) -> i64 {
        match self.below(10) {
            0 => 0,
            1 => self.random.random_range(-5..0),
            2 => i64::MIN,
            3 => i64::MAX,
            4..6 => TTL_MAX + self.random.random_range(-1..3),
            6..8 => self.random.random_range(1..10),
            _ => self.random.random_range(LONG_TTL),
        }
    }

    pub(super) fn lock_call(&mut self) -> LockCall {
        let name = |names: &[&str], nth: usize| names.get(nth).copied().unwrap_or("l").to_owned();
        let nth = self.random.random_range(0..2);
        let (lock, election) = (name(LOCKS, nth), name(ELECTIONS, nth));
        let lease = self.known_lease();
        match self.below(100) {
            0..20 => LockCall::Lock { name: lock, lease },
            20..38 => LockCall::Unlock {
                key: if self.one_in(10) {
                    self.key()
                } else {
                    key(&lock, lease)
                },
            },
            38..50 => match self.known_lease() {
                waiter if waiter != lease => LockCall::Contended {
                    name: lock,
                    holder: lease,
                    waiter,
                },
                _ => LockCall::Lock { name: lock, lease },
            },
            50..65 => LockCall::Campaign {
                name: election,
                lease,
                value: self.value(),
            },
            65..77 => LockCall::Proclaim {
                leader: self.some_leader(),
                value: self.value(),
            },
            77..88 => LockCall::Leader { name: election },
            _ => LockCall::Resign {
                leader: self.some_leader(),
            },
        }
    }

    /// Who leads or led; seldom somebody who never did, or nobody.
    fn some_leader(&mut self) -> Option<LeaderKey> {
        if self.one_in(15) {
            return None;
        }
        let mut leader = self
            .services
            .leaders
            .iter()
            .choose(&mut self.random)
            .cloned()?;
        if self.one_in(8) {
            leader.rev = self.some_revision();
        }
        Some(leader)
    }

    pub(super) fn maintenance_call(&mut self) -> OtherCall {
        match self.below(1_000) {
            0..150 => OtherCall::Status,
            // HashKV is asked by `hashes`.
            150..200 => OtherCall::Hash,
            200..400 => OtherCall::Alarm(self.alarm(0)),
            400..550 => OtherCall::Alarm(self.alarm(2)),
            550..600 => OtherCall::Alarm(self.alarm(1)),
            600..800 => OtherCall::MoveLeader {
                target: if self.one_in(2) {
                    Named::Own
                } else {
                    Named::Stranger(7)
                },
            },
            _ => OtherCall::Defragment,
        }
    }

    fn alarm(&mut self, action: i32) -> AlarmRequest {
        // Of type NONE none is raised: etcd 3.4 stores such a one.
        let lowest = i32::from(action == 1);
        AlarmRequest {
            action,
            member_id: self.random.random_range(u64::from(action != 0)..4),
            alarm: match self.services.alarms.first() {
                Some(raised) if action == 1 => raised.alarm,
                _ => self.random.random_range(lowest..3),
            },
        }
    }

    /// While there is, no transaction is nested: see `exceptions`.
    pub(super) fn has_alarm(&self) -> bool {
        !self.services.alarms.is_empty()
    }

    /// Most requests are refused while there is an alarm, so none stays for long.
    pub(super) fn end_of_an_alarm(&mut self) -> Option<Call> {
        let mut alarm = *self.services.alarms.first()?;
        if !self.one_in(ALARM_STEPS) {
            return None;
        }
        alarm.action = 2;
        debug_assert_ne!(alarm.alarm, AlarmType::None as i32);
        Some(Call::Other(OtherCall::Alarm(alarm)))
    }

    pub(super) fn cluster_call(&mut self) -> OtherCall {
        let urls = match self.below(5) {
            0 => vec![],
            1 => vec![String::new()],
            2 => vec!["127.0.0.1:2380".to_owned()],
            3 => vec!["http://127.0.0.1".to_owned()],
            _ => vec![
                "ftp://127.0.0.1:1".to_owned(),
                "http://127.0.0.1:1/path".to_owned(),
            ],
        };
        match self.below(10) {
            0..4 => OtherCall::MemberList {
                linearizable: self.one_in(2),
            },
            4..6 => OtherCall::MemberAdd {
                urls,
                is_learner: self.one_in(2),
            },
            6..8 => OtherCall::MemberRemove { id: 7 },
            _ => OtherCall::MemberUpdate { id: 7, urls },
        }
    }
}

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn lease(id: LeaseId, ttl: i64, granted_at: u64) -> Lease {
    Lease {
        id,
        ttl,
        remaining: 0,
        granted_at,
    }
}

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ids(ended: &[Ended]) -> Vec<LeaseId> {
    ended.iter().map(|ended| ended.id).collect()
}

#[test]
fn a_renewed_lease_has_its_whole_time_again() {
    let mut clock = LeaseClock::default();
    clock.granted(&lease(1, 10, 5), at(100));
    clock.granted(&lease(2, 10, 6), at(101));
    assert_eq!(clock.next(), Some(at(110)));
    let renewed = Renewal::Renewed {
        ttl: 10,
        mark: None,
    };
    assert_eq!(clock.renew(1, at(109)), renewed);
    assert_eq!(
        clock.left(1, at(110)),
        Some(Left {
            seconds: 9,
            ttl: 10
        })
    );
    assert_eq!(clock.take_ended(at(110), 9), []);
    assert_eq!(ids(&clock.take_ended(at(111), 9)), [2]);
    assert_eq!(clock.renew(2, at(112)), Renewal::Ending);
    assert_eq!(clock.left(2, at(112)), None);
    assert_eq!(clock.renew(3, at(112)), Renewal::Unknown);
    assert_eq!(ids(&clock.take_ended(at(119), 9)), [1]);
}

#[test]
fn an_ended_lease_is_handed_out_once_until_its_revoke_fails() {
    let mut clock = LeaseClock::default();
    for id in 1..=5 {
        clock.granted(&lease(id, id, 0), at(0));
    }
    assert_eq!(ids(&clock.take_ended(at(9), 2)), [1, 2]);
    let rest = clock.take_ended(at(9), 9);
    assert_eq!(ids(&rest), [3, 4, 5]);
    assert_eq!(clock.next(), None);
    clock.not_revoked(&rest[1], at(12), at(9));
    assert_eq!(clock.take_ended(at(11), 9), []);
    assert_eq!(clock.renew(4, at(11)), Renewal::Ending, "not alive again");
    assert_eq!(clock.take_ended(at(12), 9), [rest[1]]);
    // Granted anew meanwhile: what is left of the old revoke says nothing about the new lease.
    clock.granted(&lease(4, 60, 7), at(13));
    clock.not_revoked(&rest[1], at(14), at(13));
    assert_eq!(clock.take_ended(at(20), 9), []);
    clock.gone(4);
    assert_eq!(clock.renew(4, at(20)), Renewal::Unknown);
}

#[test]
fn an_inherited_lease_has_what_was_noted_and_a_grace_and_never_less() {
    let mut clock = LeaseClock::default();
    clock.inherited(&lease(1, 100, 0), at(50), at(1));
    let noted = Lease {
        remaining: 30,
        ..lease(2, 100, 0)
    };
    clock.inherited(&noted, at(50), at(1));
    assert_eq!(clock.end(1), Some(at(151)));
    assert_eq!(clock.end(2), Some(at(81)));
    // A renewal at once must not take the grace away.
    clock.renew(1, at(50));
    assert_eq!(clock.end(1), Some(at(151)));
    let Renewal::Renewed {
        mark: Some(mark), ..
    } = clock.renew(2, at(51))
    else {
        panic!("what an earlier leader noted must be taken back");
    };
    assert_eq!(clock.end(2), Some(at(151)));
    clock.unmarked(&mark);
    let renewed = Renewal::Renewed {
        ttl: 100,
        mark: None,
    };
    assert_eq!(clock.renew(2, at(52)), renewed);
}

#[test]
fn what_is_left_of_long_leases_is_noted_and_taken_back_by_a_renewal() {
    let mut clock = LeaseClock::default();
    clock.granted(&lease(1, 300, 3), at(0));
    clock.granted(&lease(2, 1000, 4), at(0));
    let half = Duration::from_millis(500);
    assert_eq!(clock.take_marks(at(299), 9), []);
    let marks = clock.take_marks(at(300) + half, 9);
    let mark = LeaseMark {
        id: 2,
        granted_at: 4,
        remaining: 700,
    };
    assert_eq!(
        marks,
        [mark],
        "rounded up; a lease of five minutes is not long"
    );
    assert_eq!(clock.take_marks(at(600), 9), []);
    let Renewal::Renewed {
        mark: Some(first), ..
    } = clock.renew(2, at(590))
    else {
        panic!("the mark must be taken back");
    };
    // Noted again before the first was taken back: then it still counts as marked.
    assert_eq!(clock.take_marks(at(890), 9).len(), 1);
    clock.unmarked(&first);
    assert!(matches!(
        clock.renew(2, at(891)),
        Renewal::Renewed { mark: Some(_), .. }
    ));
    // The last minutes are not noted any more.
    assert_eq!(clock.take_marks(at(1191), 9).len(), 1);
    assert_eq!(clock.take_marks(at(1491), 9).len(), 1);
    assert_eq!(clock.take_marks(at(1791), 9).len(), 1);
    assert_eq!(clock.take_marks(at(1890), 9), []);
}

#[derive(Clone, Debug)]
enum Step {
    Granted(LeaseId, i64),
    Gone(LeaseId),
    Renew(LeaseId),
    Take(usize),
    Fail,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 1i64..6;
    prop_oneof![
        3 => (id(), 1i64..900).prop_map(|(id, ttl)| Step::Granted(id, ttl)),
        1 => id().prop_map(Step::Gone),
        3 => id().prop_map(Step::Renew),
        2 => (0usize..3).prop_map(Step::Take),
        1 => Just(Step::Fail),
        4 => (0u64..400).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Against a table that is scanned: what has ended, and in which order it is handed out.
    #[test]
    fn the_clock_is_a_table_of_ends(steps in proptest::collection::vec(step(), 1..80)) {
        let mut clock = LeaseClock::default();
        // End, whether it is handed out, serial.
        let mut table: BTreeMap<LeaseId, (Duration, bool, u64, i64)> = BTreeMap::new();
        let (mut now, mut serial, mut taken) = (Duration::ZERO, 0, Vec::new());
        for step in steps {
            match step {
                Step::Granted(id, ttl) => {
                    serial += 1;
                    clock.granted(&lease(id, ttl, serial), now);
                    table.insert(id, (now + seconds(ttl), false, serial, ttl));
                }
                Step::Gone(id) => {
                    clock.gone(id);
                    table.remove(&id);
                }
                Step::Renew(id) => {
                    let expected = match table.get_mut(&id) {
                        None => Renewal::Unknown,
                        Some((end, ..)) if *end <= now => Renewal::Ending,
                        Some((end, _, _, ttl)) => {
                            *end = now + seconds(*ttl);
                            Renewal::Renewed { ttl: *ttl, mark: None }
                        }
                    };
                    let renewal = match clock.renew(id, now) {
                        Renewal::Renewed { ttl, .. } => Renewal::Renewed { ttl, mark: None },
                        other => other,
                    };
                    prop_assert_eq!(renewal, expected);
                }
                Step::Take(max) => {
                    let mut ended: Vec<_> = table
                        .iter_mut()
                        .filter(|(_, (end, out, ..))| *end <= now && !*out)
                        .collect();
                    ended.sort_by_key(|(id, (end, ..))| (*end, **id));
                    ended.truncate(max);
                    let mut expected = Vec::new();
                    for (id, (_, out, granted_at, _)) in ended {
                        *out = true;
                        expected.push(Ended { id: *id, granted_at: *granted_at });
                    }
                    let found = clock.take_ended(now, max);
                    prop_assert_eq!(&found, &expected);
                    taken.extend(found);
                }
                Step::Fail => {
                    for ended in taken.drain(..) {
                        clock.not_revoked(&ended, now, now);
                        if let Some((end, out, granted_at, _)) = table.get_mut(&ended.id)
                            && *granted_at == ended.granted_at
                        {
                            // It stands in the queue from now on, whenever it ended.
                            *end = if *out { now } else { *end };
                            *out = false;
                        }
                    }
                }
                Step::Pass(seconds) => {
                    now += at(seconds);
                    clock.take_marks(now, 3);
                }
            }
            prop_assert_eq!(clock.len(), table.len());
            let waiting = table.values().filter(|(_, out, ..)| !out).count();
            prop_assert_eq!(clock.by_end.len(), waiting);
            for (id, (end, ..)) in &table {
                let left = clock.left(*id, now).map(|left| left.seconds);
                let expected = end.checked_sub(now).filter(|it| !it.is_zero());
                prop_assert_eq!(left, expected.map(|it| i64::try_from(it.as_secs()).unwrap()));
            }
            let checkpoints = clock.records.values().filter(|it| it.checkpoint.is_some());
            prop_assert_eq!(clock.by_checkpoint.len(), checkpoints.count());
        }
    }
}

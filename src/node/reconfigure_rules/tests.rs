//! etcd's tables, by the number of members and how many of them are there.

use super::*;

const STRICT: Rules = Rules {
    is_strict: true,
    learners_max: 1,
};
const LOOSE: Rules = Rules {
    is_strict: false,
    ..STRICT
};

fn member(id: NodeId, is_started: bool) -> Member {
    Member {
        id,
        name: if is_started {
            format!("n{id}")
        } else {
            String::new()
        },
        peer_urls: vec![format!("http://n{id}:2380")],
        client_urls: Vec::new(),
        is_learner: false,
    }
}

fn learner(id: NodeId) -> Member {
    Member {
        is_learner: true,
        ..member(id, true)
    }
}

/// Members 1.. of which the first so many have started.
fn members(count: u64, started: u64) -> Vec<Member> {
    (1..=count).map(|id| member(id, id <= started)).collect()
}

/// Member 1 leads; `connected` others answer, and have for a minute.
fn check(
    rules: Rules,
    members: &[Member],
    connected: &[NodeId],
    change: &Reconfiguration,
) -> Result<(), Refused> {
    let situation = Situation {
        members,
        me: 1,
        connected_for: &|id| connected.contains(&id).then_some(Duration::from_secs(60)),
        is_ready: &|id| id != 9,
    };
    rules.check(change, &situation, false)
}

fn add(id: NodeId, is_learner: bool) -> Reconfiguration {
    Reconfiguration::Add {
        id,
        peer_urls: vec![format!("http://n{id}:2380")],
        is_learner,
    }
}

fn remove(id: NodeId) -> Reconfiguration {
    Reconfiguration::Remove { id }
}

#[test]
fn a_member_is_added_only_where_that_costs_no_quorum() {
    assert_eq!(check(STRICT, &members(1, 1), &[], &add(8, false)), Ok(()));
    let refused = Err(Refused::NotEnoughStarted);
    assert_eq!(check(STRICT, &members(2, 1), &[2], &add(8, false)), refused);
    assert_eq!(
        check(STRICT, &members(3, 2), &[2, 3], &add(8, false)),
        refused
    );
    assert_eq!(check(LOOSE, &members(2, 1), &[2], &add(8, false)), Ok(()));
    let unhealthy = Err(Refused::Unhealthy);
    assert_eq!(
        check(STRICT, &members(3, 3), &[2], &add(8, false)),
        unhealthy
    );
    assert_eq!(
        check(STRICT, &members(3, 3), &[2], &add(8, true)),
        unhealthy
    );
    assert_eq!(
        check(STRICT, &members(3, 3), &[2, 3], &add(8, false)),
        Ok(())
    );
    assert_eq!(
        check(STRICT, &members(5, 5), &[2, 3, 4], &add(8, true)),
        Ok(())
    );
}

#[test]
fn a_contact_counts_after_five_seconds() {
    let three = members(3, 3);
    let after = |seconds| {
        let situation = Situation {
            members: &three,
            me: 1,
            connected_for: &|_| Some(Duration::from_secs(seconds)),
            is_ready: &|_| true,
        };
        STRICT.check(&add(8, false), &situation, false)
    };
    assert_eq!(after(4), Err(Refused::Unhealthy));
    assert_eq!(after(5), Ok(()));
}

#[test]
fn a_member_is_removed_only_where_that_costs_no_quorum() {
    let refused = Err(Refused::NotEnoughStarted);
    assert_eq!(check(STRICT, &members(1, 1), &[], &remove(1)), refused);
    assert_eq!(check(LOOSE, &members(1, 1), &[], &remove(1)), refused);
    assert_eq!(check(STRICT, &members(2, 1), &[], &remove(1)), refused);
    assert_eq!(check(STRICT, &members(2, 2), &[2], &remove(1)), Ok(()));
    assert_eq!(
        check(STRICT, &members(3, 3), &[2], &remove(3)),
        Ok(()),
        "it is down"
    );
    let unhealthy = Err(Refused::Unhealthy);
    assert_eq!(check(STRICT, &members(3, 3), &[2], &remove(2)), unhealthy);
    assert_eq!(check(STRICT, &members(3, 3), &[2], &remove(1)), unhealthy);
    assert_eq!(check(STRICT, &members(3, 3), &[2, 3], &remove(1)), Ok(()));
    let mut with_learner = members(3, 3);
    with_learner.push(learner(4));
    assert_eq!(check(STRICT, &with_learner, &[], &remove(4)), Ok(()));
    assert_eq!(
        check(STRICT, &members(2, 2), &[7], &remove(7)),
        Err(Refused::NotFound)
    );
}

#[test]
fn what_makes_no_sense_is_refused_with_or_without_the_strict_check() {
    let mut four = members(3, 3);
    four.push(learner(4));
    for rules in [STRICT, LOOSE] {
        let check = |change: &Reconfiguration| check(rules, &four, &[2, 3, 4], change);
        assert_eq!(check(&add(2, false)), Err(Refused::IdExists));
        assert_eq!(check(&add(8, true)), Err(Refused::TooManyLearners));
        let elsewhere = |id, url: &str| Reconfiguration::Update {
            id,
            peer_urls: vec![url.to_owned()],
        };
        assert_eq!(check(&elsewhere(7, "http://new:1")), Err(Refused::NotFound));
        assert_eq!(
            check(&elsewhere(2, "http://n3:2380")),
            Err(Refused::PeerUrlExists)
        );
        assert_eq!(check(&elsewhere(2, "http://n2:2380")), Ok(()));
        let again = Reconfiguration::Add {
            id: 8,
            peer_urls: vec!["http://n4:2380".to_owned()],
            is_learner: false,
        };
        assert_eq!(check(&again), Err(Refused::PeerUrlExists));
        let promote = |id| Reconfiguration::Promote { id };
        assert_eq!(check(&promote(2)), Err(Refused::NotLearner));
        assert_eq!(check(&promote(7)), Err(Refused::NotFound));
        assert_eq!(check(&promote(4)), Ok(()));
    }
    four.push(learner(9));
    let not_ready = check(
        STRICT,
        &four,
        &[2, 3, 9],
        &Reconfiguration::Promote { id: 9 },
    );
    assert_eq!(not_ready, Err(Refused::LearnerNotReady));
}

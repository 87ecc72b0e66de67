//! Leases, as clients of whole members see them.

use crate::common::{Cluster, eventually};
use quorate::proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseRevokeRequest, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, PutRequest, RangeRequest,
};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

async fn grant(cluster: &Cluster, member: usize, id: i64, ttl: i64) -> Result<(i64, i64), Status> {
    let mut lease = cluster.lease(member);
    let answer = lease.lease_grant(LeaseGrantRequest { ttl, id }).await?;
    let answer = answer.into_inner();
    Ok((answer.id, answer.ttl))
}

/// Tries until there is a leader; only for leases that nobody else grants.
async fn granted(cluster: &Cluster, member: usize, id: i64, ttl: i64) {
    eventually("a grant", async || {
        match grant(cluster, member, id, ttl).await {
            Ok(_) => Some(()),
            // An earlier attempt whose answer was lost.
            Err(status) => (status.code() == Code::FailedPrecondition).then_some(()),
        }
    })
    .await;
}

async fn put(cluster: &Cluster, member: usize, key: &str, lease: i64) -> Result<i64, Status> {
    let request = PutRequest {
        key: key.to_owned().into(),
        value: "v".into(),
        lease,
        ..PutRequest::default()
    };
    let answer = cluster.kv(member).put(request).await?;
    Ok(answer.into_inner().header.unwrap().revision)
}

async fn look(cluster: &Cluster, member: usize, id: i64) -> LeaseTimeToLiveResponse {
    eventually("a time to live", async || {
        let request = LeaseTimeToLiveRequest { id, keys: true };
        let asked = cluster.lease(member).lease_time_to_live(request).await;
        asked.ok().map(tonic::Response::into_inner)
    })
    .await
}

async fn count(cluster: &Cluster, member: usize, from: &str, to: &str) -> Option<i64> {
    let request = RangeRequest {
        key: from.to_owned().into(),
        range_end: to.to_owned().into(),
        count_only: true,
        ..RangeRequest::default()
    };
    let answer = cluster.kv(member).range(request).await.ok()?;
    Some(answer.into_inner().count)
}

/// A keep-alive stream.
struct Keeper {
    questions: mpsc::Sender<LeaseKeepAliveRequest>,
    answers: Streaming<LeaseKeepAliveResponse>,
}

impl Keeper {
    async fn open(cluster: &Cluster, member: usize) -> Self {
        let (questions, waiting) = mpsc::channel(64);
        let mut lease = cluster.lease(member);
        let answers = lease.lease_keep_alive(ReceiverStream::new(waiting)).await;
        Self {
            questions,
            answers: answers.unwrap().into_inner(),
        }
    }

    async fn say(&self, id: i64) {
        self.questions
            .send(LeaseKeepAliveRequest { id })
            .await
            .unwrap();
    }

    async fn renew(&mut self, id: i64) -> i64 {
        self.say(id).await;
        let answer = self.answers.message().await.unwrap().unwrap();
        assert_eq!(answer.id, id);
        answer.ttl
    }
}

#[tokio::test]
async fn a_lease_is_granted_looked_at_and_revoked_through_every_member() {
    let cluster = Cluster::started(3);
    cluster.put(0, "before", "1").await;
    for member in 0..3 {
        let (id, ttl) = grant(&cluster, member, 0, 100).await.unwrap();
        assert!(id > 0, "a random id is positive: {id}");
        assert_eq!(ttl, 100);
        let refused = grant(&cluster, member, id, 100).await.unwrap_err();
        assert_eq!(refused.message(), "etcdserver: lease already exists");
        assert_eq!(refused.code(), Code::FailedPrecondition);

        for key in ["b", "a"] {
            put(&cluster, (member + 1) % 3, &format!("{member}{key}"), id)
                .await
                .unwrap();
        }
        for asked in 0..3 {
            let seen = look(&cluster, asked, id).await;
            assert_eq!((seen.id, seen.granted_ttl), (id, 100));
            assert!(
                (90..100).contains(&seen.ttl),
                "whole seconds left: {}",
                seen.ttl
            );
            let expected = [format!("{member}a"), format!("{member}b")].map(String::into_bytes);
            assert_eq!(seen.keys, expected);
        }

        let before = put(&cluster, member, "other", 0).await.unwrap();
        let revoke = LeaseRevokeRequest { id };
        let mut lease = cluster.lease((member + 2) % 3);
        let answer = lease.lease_revoke(revoke).await.unwrap().into_inner();
        assert_eq!(
            answer.header.unwrap().revision,
            before + 1,
            "one revision for all keys"
        );
        let refused = lease.lease_revoke(revoke).await.unwrap_err();
        assert_eq!(refused.message(), "etcdserver: requested lease not found");
        assert_eq!(refused.code(), Code::NotFound);
        let seen = look(&cluster, member, id).await;
        assert_eq!((seen.ttl, seen.granted_ttl, seen.keys.len()), (-1, 0, 0));
    }
    cluster.converged().await;
}

#[tokio::test]
async fn the_least_and_the_most_time_and_any_id() {
    let cluster = Cluster::started(1);
    cluster.put(0, "before", "1").await;
    // Three halves of 300 ms, in whole seconds.
    for (asked, given) in [
        (0, 1),
        (-5, 1),
        (1, 1),
        (2, 2),
        (9_000_000_000, 9_000_000_000),
    ] {
        assert_eq!(grant(&cluster, 0, 0, asked).await.unwrap().1, given);
    }
    let refused = grant(&cluster, 0, 0, 9_000_000_001).await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: too large lease TTL");
    assert_eq!(refused.code(), Code::OutOfRange);
    assert_eq!(grant(&cluster, 0, -7, 60).await.unwrap(), (-7, 60));
    assert_eq!(grant(&cluster, 0, i64::MIN, 50).await.unwrap().0, i64::MIN);
    put(&cluster, 0, "k", -7).await.unwrap();
    let refused = put(&cluster, 0, "k", 99).await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: requested lease not found");
    assert_eq!(look(&cluster, 0, -7).await.keys, ["k"]);
    let mut lease = cluster.lease(0);
    let refused = lease.lease_revoke(LeaseRevokeRequest { id: 0 }).await;
    assert_eq!(refused.unwrap_err().code(), Code::NotFound);
    let listed = lease.lease_leases(LeaseLeasesRequest {}).await.unwrap();
    let listed = listed.into_inner().leases;
    let ids: Vec<_> = listed.iter().map(|lease| lease.id).collect();
    let place = |id| ids.iter().position(|other| *other == id).unwrap();
    assert!(
        place(i64::MIN) < place(-7),
        "in the order of their ends: {ids:?}"
    );
}

#[tokio::test]
async fn a_lease_that_is_kept_alive_lives_and_one_that_is_not_dies_with_its_keys() {
    let cluster = Cluster::started(3);
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    granted(&cluster, leader, 1, 1).await;
    granted(&cluster, leader, 2, 1).await;
    for (key, lease) in [("kept", 1), ("left/b", 2), ("left/a", 2)] {
        put(&cluster, follower, key, lease).await.unwrap();
    }
    let mut here = Keeper::open(&cluster, leader).await;
    let mut there = Keeper::open(&cluster, follower).await;
    let begun = Instant::now();
    let mut gone = None;
    // Long past the end of the other, and of this one if it were not kept.
    while begun.elapsed() < Duration::from_secs(4) {
        assert_eq!(here.renew(1).await, 1);
        assert_eq!(there.renew(1).await, 1, "forwarded");
        if count(&cluster, follower, "left/", "left0").await == Some(0) {
            gone.get_or_insert(begun.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let gone = gone.expect("nobody kept it");
    println!("a lease of 1 s was gone after {gone:?}");
    assert_eq!(count(&cluster, follower, "kept", "").await, Some(1));
    // An unknown lease is an answer of 0, and the stream goes on.
    for keeper in [&mut here, &mut there] {
        assert_eq!(keeper.renew(2).await, 0);
        assert_eq!(keeper.renew(77).await, 0);
        assert_eq!(keeper.renew(1).await, 1);
    }
    cluster.converged().await;
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_questions() {
    let cluster = Cluster::started(3);
    let leader = cluster.leader().await;
    for id in 1..=40 {
        granted(&cluster, leader, id, 60 + id).await;
    }
    for member in 0..3 {
        let mut keeper = Keeper::open(&cluster, member).await;
        let asked: Vec<i64> = (1..=60).rev().collect();
        for id in &asked {
            keeper.say(*id).await;
        }
        for id in asked {
            let answer = keeper.answers.message().await.unwrap().unwrap();
            let expected = if id <= 40 { 60 + id } else { 0 };
            assert_eq!((answer.id, answer.ttl), (id, expected));
        }
        // A client that has said its last hears the rest, and the end.
        keeper.say(7).await;
        let Keeper {
            questions,
            mut answers,
        } = keeper;
        drop(questions);
        assert_eq!(answers.message().await.unwrap().unwrap().id, 7);
        assert_eq!(answers.message().await.unwrap(), None);
    }
}

#[tokio::test]
async fn leases_survive_a_restart_of_everybody() {
    let mut cluster = Cluster::started(3);
    let leader = cluster.leader().await;
    granted(&cluster, leader, 5, 100).await;
    granted(&cluster, leader, 6, 1).await;
    put(&cluster, leader, "five", 5).await.unwrap();
    put(&cluster, leader, "six", 6).await.unwrap();
    for number in 0..3 {
        cluster.stop(number);
    }
    for number in 0..3 {
        cluster.start(number);
    }
    let seen = look(&cluster, 1, 5).await;
    assert_eq!(
        (seen.granted_ttl, &seen.keys[..]),
        (100, &["five".into()][..])
    );
    eventually("the short one to end", async || {
        (count(&cluster, 1, "six", "").await? == 0).then_some(())
    })
    .await;
    assert_eq!(count(&cluster, 1, "five", "").await, Some(1));
    cluster.converged().await;
}

/// Each new leader gives the whole time again: what was acknowledged to a client is kept.
#[tokio::test]
async fn a_change_of_leaders_shortens_no_lease() {
    let mut cluster = Cluster::started(3);
    let mut leader = cluster.leader().await;
    granted(&cluster, leader, 9, 3).await;
    put(&cluster, leader, "nine", 9).await.unwrap();
    for _ in 0..3 {
        let mut keeper = Keeper::open(&cluster, (leader + 1) % 3).await;
        assert_eq!(keeper.renew(9).await, 3);
        let renewed = Instant::now();
        cluster.stop(leader);
        let old = leader;
        leader = cluster.leader().await;
        cluster.start(old);
        // Nobody renews it, and it lives as long as was promised.
        while renewed.elapsed() < Duration::from_millis(2900) {
            if let Some(left) = count(&cluster, leader, "nine", "").await
                && renewed.elapsed() < Duration::from_millis(2900)
            {
                assert_eq!(
                    left,
                    1,
                    "gone {:?} after a renewal for 3 s",
                    renewed.elapsed()
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut keeper = Keeper::open(&cluster, leader).await;
        assert_eq!(
            keeper.renew(9).await,
            3,
            "the new leader began its time anew"
        );
    }
    eventually("its end", async || {
        (count(&cluster, leader, "nine", "").await? == 0).then_some(())
    })
    .await;
}

/// A leader that is cut off goes on counting. What it then decides reaches nobody; neither by way of
/// its successor, to whom it sends what waits as soon as it hears of it.
#[tokio::test]
async fn a_leader_of_the_past_revokes_nothing() {
    let cluster = Cluster::started(3);
    cluster.put(0, "before", "1").await;
    let old = cluster.leader().await;
    granted(&cluster, old, 4, 1).await;
    put(&cluster, old, "four", 4).await.unwrap();
    cluster.cuts.cut_off(old);
    // While this one is under way there, what it decides about leases waits behind it.
    let mut kv = cluster.kv(old);
    let stuck = tokio::spawn(async move {
        let request = PutRequest {
            key: "stuck".into(),
            ..PutRequest::default()
        };
        kv.put(request).await
    });
    let next = cluster.leader_instead_of(old).await;
    let mut keeper = Keeper::open(&cluster, next).await;
    let begun = Instant::now();
    let mut healed = false;
    while begun.elapsed() < Duration::from_secs(5) {
        assert_eq!(keeper.renew(4).await, 1, "after {:?}", begun.elapsed());
        // By its own clock the lease ended long ago.
        if begun.elapsed() > Duration::from_millis(2500) && !std::mem::replace(&mut healed, true) {
            cluster.cuts.heal();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(count(&cluster, next, "four", "").await, Some(1));
    stuck.await.unwrap().ok();
    drop(keeper);
    eventually("its end, now that nobody keeps it", async || {
        (count(&cluster, old, "four", "").await? == 0).then_some(())
    })
    .await;
    cluster.converged().await;
}

/// A leader that is cut off acknowledges no renewal: it cannot know whether it still leads.
#[tokio::test]
async fn a_leader_without_a_quorum_acknowledges_no_renewal() {
    let cluster = Cluster::started(3);
    cluster.put(0, "before", "1").await;
    let old = cluster.leader().await;
    granted(&cluster, old, 4, 100).await;
    let mut keeper = Keeper::open(&cluster, old).await;
    assert_eq!(keeper.renew(4).await, 100);
    cluster.cuts.cut_off(old);
    keeper.say(4).await;
    let refused = keeper.answers.message().await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: request timed out");
    assert_eq!(refused.code(), Code::Unavailable);
    let request = LeaseTimeToLiveRequest { id: 4, keys: false };
    let mut request = tonic::Request::new(request);
    request.set_timeout(Duration::from_millis(500));
    let refused = cluster.lease(old).lease_time_to_live(request).await;
    assert!(refused.is_err(), "{refused:?}");
    // Which leases there are, it still says.
    let listed = cluster.lease(old).lease_leases(LeaseLeasesRequest {}).await;
    assert_eq!(listed.unwrap().into_inner().leases.len(), 1);
}

/// Ten thousand leases end at once, while somebody writes.
#[tokio::test]
async fn a_mass_expiry_ends_everything_and_nothing_else() {
    const LEASES: i64 = 10_000;
    let cluster = Cluster::started(3);
    let leader = cluster.leader().await;
    granted(&cluster, leader, LEASES + 1, 1000).await;
    put(&cluster, leader, "stays", LEASES + 1).await.unwrap();
    // Many hands: one after the other would take longer than the leases live.
    let hands = (0..50).map(|hand| {
        let (mut lease, mut kv) = (cluster.lease(leader), cluster.kv(leader));
        tokio::spawn(async move {
            for id in (1..=LEASES).filter(|id| id % 50 == hand) {
                let grant = LeaseGrantRequest { ttl: 8, id };
                lease.lease_grant(grant).await.unwrap();
                let put = PutRequest {
                    key: format!("dies/{id:05}").into(),
                    lease: id,
                    ..PutRequest::default()
                };
                kv.put(put).await.unwrap();
            }
        })
    });
    for hand in hands.collect::<Vec<_>>() {
        hand.await.unwrap();
    }
    let written = count(&cluster, leader, "dies/", "dies0").await.unwrap();
    let (mut slowest, mut writes, mut begun) = (Duration::ZERO, 0u32, None);
    let ended = eventually("the end of all of them", async || {
        for _ in 0..20 {
            let before = Instant::now();
            put(&cluster, leader, "write", 0).await.unwrap();
            slowest = slowest.max(before.elapsed());
            writes += 1;
        }
        let left = count(&cluster, leader, "dies/", "dies0").await?;
        if left < LEASES {
            begun.get_or_insert_with(Instant::now);
        }
        (left == 0).then(|| begun.map(|begun| begun.elapsed()))
    })
    .await;
    println!(
        "{written} of {LEASES} lived to see all granted; they ended within {ended:?}; {writes} puts \
         meanwhile, the slowest took {slowest:?}"
    );
    assert_eq!(count(&cluster, leader, "stays", "").await, Some(1));
    let listed = cluster
        .lease(leader)
        .lease_leases(LeaseLeasesRequest {})
        .await
        .unwrap();
    let listed = listed.into_inner().leases;
    assert_eq!(
        listed.iter().map(|lease| lease.id).collect::<Vec<_>>(),
        [LEASES + 1]
    );
    cluster.converged().await;
}

//! Members come and go while the cluster serves: whole members in one process, on a network in memory,
//! asked through their doors as a client asks them.

use crate::common::{Cluster, eventually};
use quorate::proto::etcdserverpb::{
    Member, MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
    MemberUpdateRequest, PutRequest,
};
use quorate::raft::REMOVED;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tonic::{Code, Status};

/// Puts `key-N` for every N, one after the other, through one member; a put whose outcome is not
/// known is put again.
struct Writer {
    acknowledged: Arc<AtomicU64>,
    enough: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Writer {
    fn start(cluster: &Cluster, number: usize) -> Self {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let enough = Arc::new(AtomicBool::new(false));
        let (count, stop) = (acknowledged.clone(), enough.clone());
        let mut kv = cluster.kv(number);
        let task = tokio::spawn(async move {
            let mut written = 0;
            while !stop.load(Ordering::Relaxed) {
                let request = PutRequest {
                    key: format!("key-{written}").into(),
                    value: "value".into(),
                    ..PutRequest::default()
                };
                while kv.put(request.clone()).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                written += 1;
                count.store(written, Ordering::Relaxed);
            }
        });
        Self {
            acknowledged,
            enough,
            task,
        }
    }

    async fn goes_on(&self) {
        let before = self.acknowledged.load(Ordering::Relaxed);
        eventually("more acknowledged writes", async || {
            (self.acknowledged.load(Ordering::Relaxed) > before + 20).then_some(())
        })
        .await;
    }

    async fn stop(self) -> u64 {
        self.enough.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.acknowledged.load(Ordering::Relaxed)
    }
}

async fn members(cluster: &Cluster, asked: usize) -> Vec<Member> {
    let request = MemberListRequest { linearizable: true };
    eventually("a list of members", async || {
        let list = cluster.door(asked).member_list(request).await;
        Some(list.ok()?.into_inner().members)
    })
    .await
}

/// Adds member n`number`, asked of n`asked`.
async fn add(
    cluster: &Cluster,
    asked: usize,
    number: usize,
    is_learner: bool,
) -> Result<(Member, Vec<Member>), Status> {
    let request = MemberAddRequest {
        peer_ur_ls: vec![cluster.peer_url(number)],
        is_learner,
    };
    let added = cluster.door(asked).member_add(request).await?.into_inner();
    assert_eq!(added.header.unwrap().revision, 0);
    Ok((added.member.unwrap(), added.members))
}

/// The same once the members have been connected for long enough.
async fn add_when_healthy(cluster: &Cluster, asked: usize, number: usize) -> Member {
    eventually("the cluster to be healthy", async || {
        match add(cluster, asked, number, false).await {
            Ok((member, _)) => Some(member),
            Err(status) => {
                assert_eq!(status.message(), "etcdserver: unhealthy cluster");
                None
            }
        }
    })
    .await
}

async fn remove(cluster: &Cluster, asked: usize, id: u64) -> Result<Vec<Member>, Status> {
    let request = MemberRemoveRequest { id };
    let removed = cluster.door(asked).member_remove(request).await?;
    Ok(removed.into_inner().members)
}

/// Waits until every running member has so many voters, and all have published themselves.
async fn settled(cluster: &Cluster, voters: usize) {
    eventually("the membership to settle", async || {
        for number in cluster.running() {
            let seen = cluster.inspect(number).await?;
            let request = MemberListRequest {
                linearizable: false,
            };
            let list = cluster.door(number).member_list(request).await.ok()?;
            let named = list.into_inner().members;
            let all = named.iter().all(|member| !member.client_ur_ls.is_empty());
            if seen.voters.len() != voters || !all {
                return None;
            }
        }
        Some(())
    })
    .await;
}

fn refusal<T>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.err().unwrap();
    (status.code(), status.message().to_owned())
}

#[tokio::test]
async fn a_cluster_grows_from_one_to_three_and_its_leader_leaves_under_load() {
    let mut cluster = Cluster::founded_by(1, 3);
    cluster.put(0, "first", "1").await;
    settled(&cluster, 1).await;
    let writer = Writer::start(&cluster, 0);
    writer.goes_on().await;

    let (added, all) = add(&cluster, 0, 1, false).await.unwrap();
    assert_eq!((added.name.as_str(), added.is_learner), ("", false));
    assert_eq!(added.peer_ur_ls, [cluster.peer_url(1)]);
    assert_eq!(all, members(&cluster, 0).await);
    assert!(all.is_sorted_by_key(|member| member.id));
    // Nobody waits for a member that has not started.
    writer.goes_on().await;
    let not_enough = "etcdserver: re-configuration failed due to not enough started members";
    let refused = refusal(add(&cluster, 0, 2, false).await);
    assert_eq!(refused, (Code::Unknown, not_enough.to_owned()));

    cluster.start_joining(1, &[0]);
    settled(&cluster, 2).await;
    writer.goes_on().await;
    add_when_healthy(&cluster, 1, 2).await;
    cluster.start_joining(2, &[0, 1]);
    settled(&cluster, 3).await;
    let acknowledged = writer.stop().await;

    let leader = cluster.leader().await;
    let leaver = cluster.inspect(leader).await.unwrap().member_id;
    let left = eventually("the leader to be removed", async || {
        match remove(&cluster, leader, leaver).await {
            Ok(left) => Some(left),
            Err(status) => {
                assert_eq!(status.message(), "etcdserver: unhealthy cluster");
                None
            }
        }
    })
    .await;
    assert_eq!(left.len(), 2);
    assert!(left.iter().all(|member| member.id != leaver));
    // It learns of it, stops, and stays away.
    let ended = cluster.take(leader);
    tokio::task::spawn_blocking(|| ended.end())
        .await
        .unwrap()
        .unwrap();
    cluster.start_joining(leader, &[]);
    let again = cluster.take(leader);
    let reason = tokio::task::spawn_blocking(|| again.end()).await.unwrap();
    let reason = reason.unwrap_err().to_string();
    assert!(reason.starts_with(REMOVED), "{reason}");

    settled(&cluster, 2).await;
    let stays = cluster.running()[0];
    let gone = refusal(remove(&cluster, stays, leaver).await);
    assert_eq!(
        gone,
        (Code::NotFound, "etcdserver: member not found".to_owned())
    );
    let last = format!("key-{}", acknowledged - 1);
    assert_eq!(
        cluster.get(stays, &last, false).await.as_deref(),
        Some("value")
    );
    cluster.converged().await;
}

#[tokio::test]
async fn a_learner_catches_up_refuses_clients_and_is_promoted() {
    let mut cluster = Cluster::founded_by(1, 3);
    cluster.put(0, "a", "1").await;
    let (learner, _) = add(&cluster, 0, 1, true).await.unwrap();
    assert!(learner.is_learner);
    let too_many = refusal(add(&cluster, 0, 2, true).await);
    let words = "etcdserver: too many learner members in cluster".to_owned();
    assert_eq!(too_many, (Code::FailedPrecondition, words));
    let promote = MemberPromoteRequest { id: learner.id };
    let early = refusal(cluster.door(0).member_promote(promote).await);
    let words = "etcdserver: can only promote a learner member which is in sync with leader";
    assert_eq!(early, (Code::FailedPrecondition, words.to_owned()));

    cluster.start_joining(1, &[0]);
    eventually("the learner to catch up", async || {
        cluster.get(1, "a", true).await
    })
    .await;
    let words = "etcdserver: rpc not supported for learner".to_owned();
    let list = MemberListRequest {
        linearizable: false,
    };
    let refused = refusal(cluster.door(1).member_list(list).await);
    assert_eq!(refused, (Code::FailedPrecondition, words));

    eventually("the promotion", async || {
        cluster.door(0).member_promote(promote).await.ok()
    })
    .await;
    settled(&cluster, 2).await;
    assert!(
        members(&cluster, 1)
            .await
            .iter()
            .all(|member| !member.is_learner)
    );
    let again = refusal(cluster.door(1).member_promote(promote).await);
    let words = "etcdserver: can only promote a learner member".to_owned();
    assert_eq!(again, (Code::FailedPrecondition, words));
}

#[tokio::test]
async fn an_added_member_comes_back_with_its_directory_or_not_at_all() {
    let mut cluster = Cluster::founded_by(1, 2);
    cluster.put(0, "a", "1").await;
    add(&cluster, 0, 1, false).await.unwrap();
    cluster.start_joining(1, &[0]);
    settled(&cluster, 2).await;
    cluster.stop(1);
    cluster.start_joining(1, &[0]);
    cluster.put(1, "b", "2").await;
    // Both vote: without a second directory there is no quorum, and still it is not let in.
    cluster.stop(1);
    std::fs::rename(
        cluster.data_dir(1),
        cluster.data_dir(1).with_extension("away"),
    )
    .unwrap();
    cluster.start_joining(1, &[0]);
    let wiped = cluster.take(1);
    let reason = tokio::task::spawn_blocking(|| wiped.end()).await.unwrap();
    let reason = format!("{:#}", reason.unwrap_err());
    // Nobody leads, so nobody can tell it more than that.
    assert!(
        reason.contains("cannot fetch cluster info from peer urls"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_wiped_member_of_a_cluster_with_a_quorum_is_told_why() {
    let mut cluster = Cluster::new(4);
    (cluster.founders, cluster.strict) = (3, false);
    (0..3).for_each(|number| cluster.start(number));
    cluster.put(0, "a", "1").await;
    settled(&cluster, 3).await;
    add(&cluster, 0, 3, false).await.unwrap();
    cluster.start_joining(3, &[0, 1, 2]);
    settled(&cluster, 4).await;
    cluster.stop(3);
    std::fs::remove_dir_all(cluster.data_dir(3)).unwrap();
    cluster.start_joining(3, &[0, 1, 2]);
    let wiped = cluster.take(3);
    let reason = tokio::task::spawn_blocking(|| wiped.end()).await.unwrap();
    let reason = format!("{:#}", reason.unwrap_err());
    assert!(reason.contains("has already been bootstrapped"), "{reason}");
}

#[tokio::test]
async fn a_member_that_was_away_follows_a_leader_that_it_has_never_heard_of() {
    let mut cluster = Cluster::new(4);
    // With one of three away nobody may be added otherwise.
    (cluster.founders, cluster.strict) = (3, false);
    (0..3).for_each(|number| cluster.start(number));
    cluster.put(0, "a", "1").await;
    settled(&cluster, 3).await;
    cluster.stop(2);
    let (added, _) = eventually("a leader without the third", async || {
        add(&cluster, 0, 3, false).await.ok()
    })
    .await;
    cluster.start_joining(3, &[0, 1, 2]);
    eventually("a fourth voter", async || {
        let seen = cluster.inspect(3).await?;
        (seen.voters.len() == 4).then_some(())
    })
    .await;
    // The new one leads: it stands for election long before the others would.
    while cluster.leader().await != 3 {
        for number in [0, 1] {
            cluster.stop(number);
        }
        for number in [0, 1] {
            let mut patient = cluster.config(number);
            patient.election_timeout *= 10;
            cluster.start_with(number, patient);
        }
    }
    let id = added.id;
    cluster.put(3, "b", "2").await;
    cluster.start(2);
    eventually("the one that was away to follow", async || {
        let seen = cluster.inspect(2).await?;
        (seen.leader == id && seen.voters.len() == 4).then_some(())
    })
    .await;
    assert_eq!(cluster.get(2, "b", false).await.as_deref(), Some("2"));
}

#[tokio::test]
async fn what_etcd_refuses_is_refused_in_its_words() {
    let cluster = Cluster::founded_by(1, 2);
    cluster.put(0, "a", "1").await;
    settled(&cluster, 1).await;
    let me = members(&cluster, 0).await[0].clone();
    let mut door = cluster.door(0);
    let words = |text: &str| format!("etcdserver: {text}");
    for urls in [vec![], vec!["localhost"], vec!["http://a:1/path"]] {
        let request = MemberAddRequest {
            peer_ur_ls: urls.into_iter().map(str::to_owned).collect(),
            is_learner: false,
        };
        let refused = refusal(door.member_add(request).await);
        let expected = (
            Code::InvalidArgument,
            words("given member URLs are invalid"),
        );
        assert_eq!(refused, expected);
    }
    let refused = refusal(add(&cluster, 0, 0, false).await);
    let expected = (Code::FailedPrecondition, words("Peer URLs already exists"));
    assert_eq!(refused, expected);
    let not_enough = "re-configuration failed due to not enough started members";
    let refused = refusal(remove(&cluster, 0, me.id).await);
    assert_eq!(refused, (Code::Unknown, words(not_enough)));
    let not_found = (Code::NotFound, words("member not found"));
    assert_eq!(refusal(remove(&cluster, 0, 7).await), not_found);
    let promote = |id| MemberPromoteRequest { id };
    assert_eq!(refusal(door.member_promote(promote(7)).await), not_found);
    let refused = refusal(door.member_promote(promote(me.id)).await);
    let expected = words("can only promote a learner member");
    assert_eq!(refused, (Code::FailedPrecondition, expected));
    let update = |id| MemberUpdateRequest {
        id,
        peer_ur_ls: vec!["http://elsewhere:2380".to_owned()],
    };
    assert_eq!(refusal(door.member_update(update(7)).await), not_found);
}

#[tokio::test]
async fn links_follow_a_member_to_its_new_address() {
    let mut cluster = Cluster::started(3);
    cluster.put(0, "a", "1").await;
    settled(&cluster, 3).await;
    let leader = cluster.leader().await;
    let mover = (leader + 1) % 3;
    let id = cluster.inspect(mover).await.unwrap().member_id;
    cluster.stop(mover);
    let request = MemberUpdateRequest {
        id,
        peer_ur_ls: vec!["http://moved:2380".to_owned()],
    };
    let updated = cluster.door(leader).member_update(request).await.unwrap();
    let updated = updated.into_inner().members;
    let moved = updated.iter().find(|member| member.id == id).unwrap();
    assert_eq!(moved.peer_ur_ls, ["http://moved:2380"]);
    let mut config = cluster.config(mover);
    config.listen_peer = vec!["moved:2380".to_owned()];
    cluster.start_with(mover, config);
    cluster.put(leader, "b", "2").await;
    eventually("the moved member to catch up", async || {
        let found = cluster.get(mover, "b", true).await;
        found.filter(|value| value == "2")
    })
    .await;
    tokio::time::timeout(Duration::from_secs(30), cluster.put(mover, "c", "3"))
        .await
        .unwrap();
}

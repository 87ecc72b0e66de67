//! A member whose log has lost its end, in a place where no log can tell a torn write from damage.

use crate::common::{Cluster, eventually};
use quorate::config::Config;
use quorate::proto::etcdserverpb::{MemberListRequest, StatusRequest};
use std::fs;
use std::path::{Path, PathBuf};

/// Where the records of a segment begin (`docs/data-layout.md`).
const RECORDS_AT: usize = 4096;

/// The directory of a stopped member's state.
fn state_of(data_dir: &Path) -> PathBuf {
    let member = data_dir.join("member");
    let name = fs::read_to_string(member.join("state.current")).unwrap();
    member.join(name.trim())
}

/// Copies a directory of files.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Flips a bit of the last record of a stopped member's log.
fn damage_last_record(data_dir: &Path) {
    let names = fs::read_dir(data_dir.join("member/log")).unwrap();
    let mut segments: Vec<PathBuf> = names.map(|name| name.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|name| name == "log"));
    segments.sort();
    let (path, mut bytes, last) = segments
        .into_iter()
        .rev()
        .find_map(|path| {
            let bytes = fs::read(&path).unwrap();
            let last = bytes.iter().rposition(|byte| *byte != 0)?;
            (last >= RECORDS_AT).then_some((path, bytes, last))
        })
        .expect("the log holds something");
    bytes[last] ^= 1;
    fs::write(path, bytes).unwrap();
}

async fn term(cluster: &Cluster, number: usize) -> u64 {
    let status = cluster.maintenance(number).status(StatusRequest {}).await;
    status.unwrap().into_inner().raft_term
}

/// Returns once every member has published where its clients find it, `number` what its `config` says:
/// no entry of a member's own comes any more.
async fn published(cluster: &Cluster, number: usize, config: &Config) {
    eventually("the members to publish themselves", async || {
        let mut door = cluster.door(number);
        let list = MemberListRequest { linearizable: true };
        let members = door.member_list(list).await.ok()?.into_inner().members;
        let all = members.iter().all(|member| {
            if member.name == config.name {
                member.client_ur_ls == config.advertise_client_urls
            } else {
                !member.client_ur_ls.is_empty()
            }
        });
        all.then_some(())
    })
    .await;
}

/// Found by seed 149 of the simulation: openraft takes a follower that lacks what it had acknowledged
/// for impossible, and the leader stopped.
#[tokio::test]
async fn who_lacks_what_it_had_acknowledged_stops_for_good_and_its_leader_goes_on() {
    let mut cluster = Cluster::started(3);
    let leader = cluster.leader().await;
    let hurt = (leader + 1) % 3;
    let mut config = cluster.config(hurt);
    published(&cluster, hurt, &config).await;
    config.advertise_client_urls = vec!["http://elsewhere:2379".to_owned()];
    cluster.put(leader, "k", "before").await;
    cluster.converged().await;
    cluster.stop(hurt);
    // A state is flushed when its member stops, and seldom before: with an older one back in its
    // place, the directory is what kill -9 leaves.
    let data_dir = cluster.data_dir(hurt);
    let older = tempfile::tempdir().unwrap();
    copy(&state_of(&data_dir), older.path());
    cluster.start_with(hurt, config.clone());
    // What is acknowledged while its member stops the leader never hears of, and a torn end is then a torn
    // write, no more. So the last entry is one that the leader could not do without: nobody publishes
    // itself any more, and the third member is away.
    published(&cluster, hurt, &config).await;
    let third = 3 - leader - hurt;
    cluster.stop(third);
    for n in 0..20 {
        cluster.put(leader, "k", &format!("{n}")).await;
    }
    let led = term(&cluster, leader).await;
    cluster.stop(hurt);
    let state = state_of(&data_dir);
    fs::remove_dir_all(&state).unwrap();
    copy(older.path(), &state);
    damage_last_record(&data_dir);

    cluster.start_with(hurt, config.clone());
    let end = cluster.take(hurt).end().unwrap_err().to_string();
    assert!(end.contains("had acknowledged all up to entry"), "{end}");
    assert!(end.contains("remove this member from the cluster"), "{end}");
    cluster.start(third);
    cluster.put(leader, "k", "after").await;
    assert_eq!(term(&cluster, leader).await, led, "nobody else had to lead");
    // It might vote before a leader tells it again.
    cluster.start_with(hurt, config);
    let end = cluster.take(hurt).end().unwrap_err().to_string();
    assert!(end.contains("is incomplete"), "{end}");
}

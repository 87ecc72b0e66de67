//! Starting again: after a crash at a bad moment, with parts of the directory gone, with a directory
//! of a newer build, with fewer flags.

use crate::common::{Cluster, eventually};
use quorate::proto::etcdserverpb::{DefragmentRequest, PutRequest};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn member_dir(cluster: &Cluster, number: usize) -> PathBuf {
    cluster.data_dir(number).join("member")
}

/// As a crash leaves it before the directory was marked as one that may vote.
fn unmark(cluster: &Cluster, number: usize) {
    let path = member_dir(cluster, number).join("identity.json");
    let identity = fs::read_to_string(&path).unwrap();
    let unmarked = identity.replace("\"bootstrapped\": true", "\"bootstrapped\": false");
    assert_ne!(identity, unmarked);
    fs::write(&path, unmarked).unwrap();
}

fn is_marked(cluster: &Cluster, number: usize) -> bool {
    let path = member_dir(cluster, number).join("identity.json");
    let identity = fs::read_to_string(path).unwrap();
    identity.contains("\"bootstrapped\": true")
}

async fn end_of(cluster: &mut Cluster, number: usize) -> String {
    let member = cluster.take(number);
    let end = tokio::task::spawn_blocking(|| member.end()).await.unwrap();
    format!("{:#}", end.unwrap_err())
}

async fn finds(cluster: &Cluster, number: usize, key: &str, value: &str) {
    let found = eventually("the old value", async || {
        cluster.get(number, key, false).await
    })
    .await;
    assert_eq!(found, value);
}

#[tokio::test]
async fn a_crash_before_the_cluster_is_founded_is_a_first_start_again() {
    let mut cluster = Cluster::started(1);
    cluster.put(0, "a", "1").await;
    cluster.stop(0);
    unmark(&cluster, 0);
    let member = member_dir(&cluster, 0);
    for entry in fs::read_dir(&member).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            fs::remove_dir_all(entry.path()).unwrap();
        }
    }
    fs::remove_file(member.join("state.current")).unwrap();
    cluster.start(0);
    cluster.put(0, "b", "2").await;
    assert!(is_marked(&cluster, 0));
}

#[tokio::test]
async fn a_crash_between_the_first_entry_and_the_mark_loses_nothing() {
    for size in [1, 3] {
        let mut cluster = Cluster::started(size);
        cluster.put(0, "a", "1").await;
        cluster.converged().await;
        for number in 0..size {
            cluster.stop(number);
            unmark(&cluster, number);
        }
        for number in 0..size {
            cluster.start(number);
        }
        cluster.put(0, "b", "2").await;
        for number in 0..size {
            finds(&cluster, number, "a", "1").await;
            assert!(is_marked(&cluster, number));
        }
    }
}

#[tokio::test]
async fn a_member_without_its_log_does_not_vote() {
    for size in [1, 3] {
        let mut cluster = Cluster::started(size);
        cluster.put(0, "a", "1").await;
        cluster.stop(0);
        fs::remove_dir_all(member_dir(&cluster, 0).join("log")).unwrap();
        // A start that is refused leaves nobody behind who still writes there: the next one would
        // meet him.
        for _ in 0..5 {
            cluster.start(0);
            let reason = end_of(&mut cluster, 0).await;
            assert!(reason.contains("must not vote again"), "{reason}");
        }
    }
}

#[tokio::test]
async fn a_restart_needs_no_flags_that_name_the_cluster() {
    let mut cluster = Cluster::started(3);
    cluster.put(0, "a", "1").await;
    cluster.stop(1);
    let mut config = cluster.config(1);
    config.initial_cluster = vec![(config.name.clone(), config.advertise_peer_urls.clone())];
    config.initial_cluster_token = "etcd-cluster".to_owned();
    cluster.start_with(1, config.clone());
    finds(&cluster, 1, "a", "1").await;
    cluster.converged().await;
    // A name that was given is held against the directory.
    cluster.stop(1);
    config.initial_cluster_token = "another".to_owned();
    cluster.start_with(1, config);
    let reason = end_of(&mut cluster, 1).await;
    assert!(reason.contains("belongs to"), "{reason}");
}

/// Every file and what is in it.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.insert(entry.path(), Vec::new());
            found.append(&mut contents(&entry.path()));
        } else {
            found.insert(entry.path(), fs::read(entry.path()).unwrap());
        }
    }
    found
}

fn newer_identity(member: &Path) {
    let path = member.join("identity.json");
    let identity = fs::read_to_string(&path).unwrap();
    let newer = identity.replace("\"format_version\": 1", "\"format_version\": 99");
    fs::write(&path, newer).unwrap();
}

fn newer_state(member: &Path) {
    fs::write(member.join("state-000001/FORMAT"), "99\n").unwrap();
}

fn newer_log(member: &Path) {
    let names = fs::read_dir(member.join("log")).unwrap();
    let paths = names.map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "log"))
        .collect();
    segments.sort();
    let last = segments.last().unwrap();
    let mut bytes = fs::read(last).unwrap();
    bytes[8..12].copy_from_slice(&99_u32.to_le_bytes());
    fs::write(last, bytes).unwrap();
}

fn newer_snapshot(member: &Path) {
    let dir = member.join("snapshot/1-1-0");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("manifest.json"), "{\"format_version\": 99}").unwrap();
}

#[tokio::test]
async fn a_directory_of_a_newer_build_is_refused_and_left_as_it_is() {
    let parts: [fn(&Path); 4] = [newer_identity, newer_state, newer_log, newer_snapshot];
    for make_newer in parts {
        let mut cluster = Cluster::started(1);
        cluster.put(0, "a", "1").await;
        cluster.stop(0);
        make_newer(&member_dir(&cluster, 0));
        // What an interrupted build or install left would be cleared by a start.
        fs::create_dir_all(member_dir(&cluster, 0).join("snapshot/tmp-1")).unwrap();
        fs::create_dir_all(member_dir(&cluster, 0).join("state-000009")).unwrap();
        let before = contents(&cluster.data_dir(0));
        cluster.start(0);
        let reason = end_of(&mut cluster, 0).await;
        assert!(
            reason.contains("99") && reason.contains("newer"),
            "{reason}"
        );
        assert!(!reason.contains('\n'), "one sentence: {reason}");
        let after = contents(&cluster.data_dir(0));
        assert!(before == after, "touched, though: {reason}");
    }
}

#[tokio::test]
async fn a_damaged_snapshot_is_in_nobodys_way() {
    let mut cluster = Cluster::started(1);
    cluster.put(0, "a", "1").await;
    cluster.stop(0);
    let dir = member_dir(&cluster, 0).join("snapshot/1-1-0");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("manifest.json"), "{ damaged").unwrap();
    cluster.start(0);
    finds(&cluster, 0, "a", "1").await;
    assert!(!dir.exists());
}

/// Values that no compression makes smaller: 12 MiB, more than a rewrite is done with while a member
/// stops.
async fn put_a_lot(cluster: &Cluster) {
    let mut noise = 1_u64;
    let words = std::iter::repeat_with(|| {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise.to_le_bytes()
    });
    let mut bytes = words.flatten();
    let mut kv = cluster.kv(0);
    for number in 0..12 {
        let value: Vec<u8> = bytes.by_ref().take(1 << 20).collect();
        let request = PutRequest {
            key: format!("much-{number}").into(),
            value: value.into(),
            ..PutRequest::default()
        };
        kv.put(request).await.unwrap();
    }
}

/// A member that has stopped holds nothing of its directory, whatever its threads were doing.
#[tokio::test]
async fn a_member_that_stopped_amidst_a_rewrite_starts_again_at_once() {
    let mut cluster = Cluster::started(1);
    cluster.put(0, "a", "1").await;
    put_a_lot(&cluster).await;
    for _ in 0..3 {
        let mut maintenance = cluster.maintenance(0);
        maintenance.defragment(DefragmentRequest {}).await.unwrap();
        drop(maintenance);
        // Aside, so that this end of the connection closes too: the stop waits for nobody.
        let member = cluster.take(0);
        let end = tokio::task::spawn_blocking(|| member.stop()).await;
        end.unwrap().unwrap();
        cluster.start(0);
        finds(&cluster, 0, "a", "1").await;
    }
}

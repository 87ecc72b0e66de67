//! Backups of members at work, and new clusters made of them.

use crate::common::{Cluster, eventually};
use quorate::config::Config;
use quorate::env::Env;
use quorate::node::restore::{Restore, Restored, inspect, restore};
use quorate::proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, HashKvRequest, HashKvResponse, HashRequest,
    LeaseGrantRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, MemberAddRequest, PutRequest,
    RangeRequest, SnapshotRequest,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Streams a backup of one member into a file, as etcd's client does.
async fn save(cluster: &Cluster, number: usize, dir: &Path) -> PathBuf {
    let mut stream = cluster
        .maintenance(number)
        .snapshot(SnapshotRequest {})
        .await
        .unwrap()
        .into_inner();
    let (mut bytes, mut remaining) = (Vec::new(), None);
    while let Some(piece) = stream.message().await.unwrap() {
        if let Some(expected) = remaining {
            let sent = u64::try_from(piece.blob.len()).unwrap();
            let is_sha = expected == 0;
            assert_eq!(
                piece.remaining_bytes + if is_sha { 0 } else { sent },
                expected
            );
        }
        remaining = Some(piece.remaining_bytes);
        bytes.extend_from_slice(&piece.blob);
    }
    assert_eq!(bytes.len() % 512, 32, "what etcd's client checks");
    let path = dir.join("backup.db");
    std::fs::write(&path, bytes).unwrap();
    path
}

async fn hash_kv(cluster: &Cluster, number: usize, revision: i64) -> HashKvResponse {
    let request = HashKvRequest { revision };
    let mut client = cluster.maintenance(number);
    let answer = client.hash_kv(request).await.unwrap();
    answer.into_inner()
}

fn plan(backup: &Path, config: Config) -> Restore {
    Restore {
        backup: backup.to_owned(),
        config,
        skip_hash_check: false,
        bump_revision: 0,
    }
}

fn restored(cluster: &Cluster, number: usize, backup: &Path) -> Restored {
    restore(&plan(backup, cluster.config(number)), &Env::real()).unwrap()
}

/// A history with overwritten, deleted and compacted versions.
async fn some_history(cluster: &Cluster) {
    for n in 0..200 {
        let (key, value) = (format!("key-{:02}", n % 50), format!("value-{n}"));
        cluster.put(n % 3, &key, &value).await;
    }
    let mut kv = cluster.kv(0);
    kv.delete_range(DeleteRangeRequest {
        key: "key-10".into(),
        range_end: "key-15".into(),
        ..Default::default()
    })
    .await
    .unwrap();
    let mut lease = cluster.lease(0);
    let grant = LeaseGrantRequest { id: 7, ttl: 3600 };
    lease.lease_grant(grant).await.unwrap();
    let leased = PutRequest {
        key: "leased".into(),
        lease: 7,
        ..Default::default()
    };
    kv.put(leased).await.unwrap();
    let compaction = CompactionRequest {
        revision: 120,
        physical: false,
    };
    kv.compact(compaction).await.unwrap();
}

#[tokio::test]
async fn a_backup_under_load_founds_clusters_of_one_and_of_three() {
    let cluster = Cluster::started(3);
    some_history(&cluster).await;
    let enough = Arc::new(AtomicBool::new(false));
    let (mut kv, done) = (cluster.kv(1), enough.clone());
    let load = tokio::spawn(async move {
        let mut puts = 0;
        while !done.load(Ordering::Relaxed) {
            let request = PutRequest {
                key: "load".into(),
                value: puts.to_string().into(),
                ..Default::default()
            };
            kv.put(request).await.unwrap();
            puts += 1;
        }
        puts
    });
    eventually("the load at the member", async || {
        cluster.get(2, "load", true).await
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let backup = save(&cluster, 2, dir.path()).await;
    enough.store(true, Ordering::Relaxed);
    assert!(load.await.unwrap() > 0);

    let verified = inspect(&backup, &Env::real().disk).unwrap();
    let revision = verified.manifest.revision;
    assert!(revision > 203, "some of the load is in it");
    assert_eq!(verified.manifest.live_keys, 47);
    let expected = hash_kv(&cluster, 0, revision).await;
    drop(cluster);

    for size in [1, 3] {
        let mut cluster = Cluster::new(size);
        for number in 0..size {
            assert_eq!(restored(&cluster, number, &backup).revision, revision);
            cluster.start(number);
        }
        cluster.put(0, "after", "1").await;
        cluster.converged().await;
        for number in 0..size {
            let hash = hash_kv(&cluster, number, revision).await;
            assert_eq!(hash.hash, expected.hash, "n{number} of {size}");
            assert_eq!(hash.compact_revision, 120);
            let got = cluster.get(number, "key-49", true).await;
            assert_eq!(got.unwrap(), "value-199");
            assert_eq!(cluster.get(number, "key-12", true).await, None);
        }
        // Etcd's hash is of the history, this one of all that a member holds.
        let mut hashes = Vec::new();
        for number in 0..size {
            let answer = cluster.maintenance(number).hash(HashRequest {}).await;
            hashes.push(answer.unwrap().into_inner().hash);
        }
        assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
        // Revisions go on where they were, and what was before can still be read.
        let old = RangeRequest {
            key: "key-12".into(),
            revision: 201,
            ..Default::default()
        };
        let old = cluster.kv(0).range(old).await.unwrap().into_inner();
        assert_eq!(old.kvs[0].value, "value-162");
        assert_eq!(old.header.unwrap().revision, revision + 1);
        // The lease goes on, with its key, and its clock is wound up again.
        let mut lease = cluster.lease(0);
        let left = LeaseTimeToLiveRequest { id: 7, keys: true };
        let left = lease.lease_time_to_live(left).await.unwrap().into_inner();
        assert!(left.granted_ttl == 3600 && left.ttl > 3500, "{left:?}");
        assert_eq!(left.keys, ["leased"]);
        // A restart comes back to the same.
        let before = hash_kv(&cluster, 0, 0).await;
        cluster.stop(0);
        cluster.start(0);
        cluster.converged().await;
        assert_eq!(hash_kv(&cluster, 0, 0).await.hash, before.hash);
        let revoke = LeaseRevokeRequest { id: 7 };
        cluster.lease(0).lease_revoke(revoke).await.unwrap();
        assert_eq!(cluster.get(0, "leased", false).await, None);
    }
}

#[tokio::test]
async fn who_joins_a_restored_cluster_gets_what_was_restored() {
    let cluster = Cluster::started(1);
    cluster.put(0, "k", "v").await;
    let dir = tempfile::tempdir().unwrap();
    let backup = save(&cluster, 0, dir.path()).await;
    drop(cluster);
    let mut cluster = Cluster::new(2);
    cluster.founders = 1;
    restored(&cluster, 0, &backup);
    cluster.start(0);
    cluster.put(0, "after", "1").await;
    // The log tells of nothing that was restored, and must not be all that a new member gets.
    let request = MemberAddRequest {
        peer_ur_ls: vec![cluster.peer_url(1)],
        is_learner: true,
    };
    eventually("a cluster that takes members", async || {
        cluster.door(0).member_add(request.clone()).await.ok()
    })
    .await;
    cluster.start_joining(1, &[0]);
    cluster.converged().await;
    let inspected = cluster.inspect(1).await.unwrap();
    assert_eq!(inspected.snapshots_installed, 1);
}

#[tokio::test]
async fn a_bumped_revision_is_above_all_that_clients_have_seen() {
    let cluster = Cluster::started(1);
    cluster.put(0, "k", "v").await;
    let dir = tempfile::tempdir().unwrap();
    let backup = save(&cluster, 0, dir.path()).await;
    drop(cluster);
    let mut cluster = Cluster::new(1);
    let bumped = Restore {
        bump_revision: 1_000,
        ..plan(&backup, cluster.config(0))
    };
    assert_eq!(restore(&bumped, &Env::real()).unwrap().revision, 1_002);
    cluster.start(0);
    cluster.put(0, "after", "1").await;
    assert_eq!(cluster.get(0, "k", false).await.unwrap(), "v");
    let old = RangeRequest {
        key: "k".into(),
        revision: 2,
        ..Default::default()
    };
    let refused = cluster.kv(0).range(old).await.unwrap_err();
    assert!(refused.message().contains("compacted"), "{refused}");
    let after = RangeRequest {
        key: "after".into(),
        ..Default::default()
    };
    let after = cluster.kv(0).range(after).await.unwrap().into_inner();
    assert_eq!(after.kvs[0].mod_revision, 1_003);
}

#[tokio::test]
async fn what_is_no_whole_backup_is_refused_in_one_sentence_and_leaves_nothing() {
    let cluster = Cluster::started(1);
    cluster.put(0, "k", "v").await;
    let dir = tempfile::tempdir().unwrap();
    let backup = save(&cluster, 0, dir.path()).await;
    let whole = std::fs::read(&backup).unwrap();
    let fresh = Cluster::new(1);
    let refusal = |bytes: &[u8]| {
        std::fs::write(&backup, bytes).unwrap();
        let failed = restore(&plan(&backup, fresh.config(0)), &Env::real());
        let sentence = format!("{:#}", failed.unwrap_err());
        assert!(!sentence.contains('\n'), "{sentence}");
        assert!(!fresh.data_dir(0).exists(), "{sentence}");
        sentence
    };
    let sentence = refusal(&whole[..whole.len() - 700]);
    assert!(sentence.contains("cut off"), "{sentence}");
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let sentence = refusal(&flipped);
    assert!(sentence.contains("damaged"), "{sentence}");
    let mut bbolt = vec![0; 8192];
    bbolt[16..20].copy_from_slice(&[0xed, 0xda, 0x0c, 0xed]);
    let sentence = refusal(&bbolt);
    assert!(sentence.contains("database of etcd"), "{sentence}");

    // A member's directory is never overwritten.
    std::fs::write(&backup, &whole).unwrap();
    let occupied = restore(&plan(&backup, cluster.config(0)), &Env::real());
    let sentence = occupied.unwrap_err().to_string();
    assert!(sentence.contains("not empty"), "{sentence}");
    assert_eq!(cluster.get(0, "k", false).await.unwrap(), "v");
}

#[tokio::test]
async fn members_that_start_from_different_data_found_nothing() {
    let cluster = Cluster::started(1);
    cluster.put(0, "k", "v").await;
    let dir = tempfile::tempdir().unwrap();
    let backup = save(&cluster, 0, dir.path()).await;
    drop(cluster);
    let mut cluster = Cluster::new(3);
    restored(&cluster, 0, &backup);
    restored(&cluster, 1, &backup);
    for number in 0..3 {
        cluster.start(number);
    }
    let ended = eventually("a member that refuses", async || {
        let ended = |member: &Option<crate::common::Member>| {
            member
                .as_ref()
                .is_some_and(crate::common::Member::has_ended)
        };
        cluster.members.iter().position(ended)
    })
    .await;
    let sentence = cluster.take(ended).end().unwrap_err().to_string();
    assert!(sentence.contains("restore the same backup"), "{sentence}");
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_copy_along() {
    let cluster = Cluster::started(1);
    cluster.put(0, "k", "v").await;
    let copies = || {
        let dir = cluster.data_dir(0).join("member/snapshot");
        let names = std::fs::read_dir(dir).unwrap();
        names
            .filter(|name| {
                let name = name.as_ref().unwrap().file_name();
                name.to_string_lossy().starts_with("tmp-")
            })
            .count()
    };
    let mut stream = cluster
        .maintenance(0)
        .snapshot(SnapshotRequest {})
        .await
        .unwrap()
        .into_inner();
    stream.message().await.unwrap().unwrap();
    drop(stream);
    eventually("no copy of the state", async || {
        (copies() == 0).then_some(())
    })
    .await;
}

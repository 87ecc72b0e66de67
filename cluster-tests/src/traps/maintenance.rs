//! Traps of the maintenance service.

use super::ground::{Ground, compact, delete, inner, just, put, put_op, revision, txn};
use crate::cluster::local::PATIENCE;
use crate::cluster::program::Program;
use crate::door::Door;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use quorate::proto::etcdserverpb::{
    HashKvRequest, HashKvResponse, LeaseGrantRequest, PutRequest, SnapshotRequest, StatusRequest,
};

/// crc32c of "key": what etcd says of a store in which nothing ever was.
const EMPTY: u32 = 1_084_519_789;

async fn hash(door: &mut Door, revision: i64) -> Result<HashKvResponse> {
    Ok(inner(
        door.maintenance.hash_kv(HashKvRequest { revision }).await,
    )?)
}

/// The numbers are etcd 3.4's: whatever stores the same must say the same.
pub(super) async fn the_hash_of_all_pairs_is_etcds_bit_by_bit(ground: &mut Ground) -> Result<()> {
    let cluster = ground.own(1, &[]).await?;
    let mut door = cluster.door(1, PATIENCE)?;
    let empty = hash(&mut door, 0).await?;
    ensure!(
        empty.hash == EMPTY && empty.compact_revision == -1,
        "{empty:?}"
    );

    let key = |name: &'static str| Bytes::from_static(name.as_bytes());
    put(&mut door, key("a"), "1").await?;
    put(&mut door, key("a"), "").await?;
    door.lease
        .lease_grant(LeaseGrantRequest { ttl: 600, id: 7 })
        .await?;
    let leased = PutRequest {
        key: key("b"),
        value: "2".into(),
        lease: 7,
        ..PutRequest::default()
    };
    door.kv.put(leased).await?;
    let many = ["c", "d", "e"].map(|name| put_op(key(name), "3"));
    txn(&mut door, just(many.into())).await?;
    delete(&mut door, key("a"), key("c")).await?;
    put(&mut door, key("b"), "4").await?;
    let whole = hash(&mut door, 0).await?;
    let then = hash(&mut door, 5).await?;
    // At the revision of the deletion: its tombstone is kept for watchers, and not in the hash.
    compact(&mut door, 6).await?;
    let compacted = hash(&mut door, 0).await?;
    let hashes = [whole.hash, then.hash, compacted.hash];
    ensure!(hashes == [WHOLE, AT_FIVE, COMPACTED], "{hashes:?}");
    ensure!(compacted.compact_revision == 6, "{compacted:?}");
    ensure!(revision(&mut door).await? == 7, "another history");
    Ok(())
}

const WHOLE: u32 = 59_445_823;
const AT_FIVE: u32 = 2_821_910_815;
const COMPACTED: u32 = 1_458_308_619;

pub(super) async fn a_backup_ends_with_its_checksum_and_the_version_is_new_enough(
    ground: &mut Ground,
) -> Result<()> {
    for node in 1..=3 {
        let mut door = ground.door(node)?;
        put(&mut door, ground.key("a"), "x").await?;
        let mut backup = door
            .maintenance
            .snapshot(SnapshotRequest {})
            .await?
            .into_inner();
        let mut bytes = Vec::new();
        let mut left = None;
        while let Some(part) = backup.message().await? {
            ensure!(!part.blob.is_empty(), "an empty part");
            bytes.extend_from_slice(&part.blob);
            left = Some(part.remaining_bytes);
        }
        ensure!(left == Some(0), "{left:?} bytes are left at the end");
        ensure!(bytes.len() % 512 == 32, "{} bytes", bytes.len());
        let (content, trailer) = bytes.split_at(bytes.len() - 32);
        ensure!(sha256(content)? == trailer, "another checksum");
        let status = inner(door.maintenance.status(StatusRequest {}).await)?;
        let numbers = status.version.split('.').map(str::parse::<u32>);
        let numbers: Vec<u32> = numbers.collect::<Result<_, _>>().context("the version")?;
        // kube-apiserver asks for progress only from here on. 3.4 is older.
        let new = numbers >= vec![3, 5, 13];
        ensure!(numbers.len() == 3, "version {}", status.version);
        ensure!(
            new || ground.program() == Program::Etcd,
            "version {}",
            status.version
        );
    }
    Ok(())
}

/// As coreutils have it: one more check that does not share our code.
fn sha256(content: &[u8]) -> Result<Vec<u8>> {
    let mut file = tempfile::NamedTempFile::new().context("a temporary file")?;
    std::io::Write::write_all(&mut file, content)?;
    let output = std::process::Command::new("sha256sum")
        .arg(file.path())
        .output();
    let output = output.context("sha256sum")?;
    let text = String::from_utf8(output.stdout).context("sha256sum's words")?;
    let digits = text.split(' ').next().unwrap_or_default();
    let pairs = (0..digits.len())
        .step_by(2)
        .filter_map(|at| digits.get(at..at + 2));
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).context("a digit"))
        .collect()
}

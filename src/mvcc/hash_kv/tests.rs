use super::*;
use crate::mvcc::{StoreOptions, Writer};
use crate::storage::EngineOptions;
use crate::types::Position;
use prost::Message;

fn open(dir: &std::path::Path) -> Writer {
    let options = StoreOptions {
        engine: EngineOptions::small(),
        ..StoreOptions::default()
    };
    Writer::open(dir, &options).unwrap()
}

fn command(writer: &mut Writer, change: impl FnOnce(&mut crate::mvcc::WriteTxn<'_>)) {
    let index = writer.head().applied.map_or(1, |last| last.index + 1);
    let mut txn = writer.begin();
    txn.begin_entry(Position { term: 1, index }).unwrap();
    change(&mut txn);
    txn.finish_command();
    txn.commit().unwrap();
}

fn put(writer: &mut Writer, key: &str, value: &str) {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    command(writer, |txn| {
        txn.put(key, value, 0, false).unwrap();
    });
}

fn compact(writer: &mut Writer, revision: Revision) {
    command(writer, |txn| txn.compact(revision).unwrap().unwrap());
}

fn at(writer: &Writer, revision: Revision) -> u32 {
    let view = writer.store().view().unwrap();
    let hash = hash_kv(&view, revision, &Abandoned::default()).unwrap();
    hash.unwrap().unwrap().hash
}

#[test]
fn of_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let writer = open(dir.path());
    let view = writer.store().view().unwrap();
    // As a fresh etcd answers.
    let expected = KvHash {
        hash: 1_084_519_789,
        revision: 1,
        latest: 1,
        compacted: -1,
    };
    let abandoned = Abandoned::default();
    assert_eq!(hash_kv(&view, 0, &abandoned).unwrap(), Some(Ok(expected)));
    let future = hash_kv(&view, 2, &abandoned).unwrap();
    assert_eq!(future, Some(Err(Refusal::FutureRevision)));
    assert_eq!(at(&writer, -7), 1_084_519_789);
}

#[test]
fn a_pair_is_marshaled_as_protobuf_does() {
    let pair = crate::proto::mvccpb::KeyValue {
        key: "k".into(),
        create_revision: 300,
        mod_revision: 70_000,
        version: 2,
        value: "value".into(),
        lease: -5,
    };
    let mut out = Vec::new();
    let numbers = Numbers {
        create: 300,
        modified: 70_000,
        version: 2,
        lease: -5,
    };
    put_pair(&mut out, b"k", &numbers, b"value");
    assert_eq!(out, pair.encode_to_vec());
}

#[test]
fn however_many_passes_the_hash_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    // Keys in another order than revisions.
    for n in 0..100 {
        put(&mut writer, &format!("{:02}", n * 37 % 100), "v");
    }
    compact(&mut writer, 90);
    put(&mut writer, "00", "w");
    let view = writer.store().view().unwrap();
    let whole = hash_kv(&view, 0, &Abandoned::default()).unwrap();
    for pass_records in [1, 2, 7, 50, 88, 89] {
        let abandoned = Abandoned::default();
        let hash = hash_in_passes(&view, 0, &abandoned, pass_records).unwrap();
        assert_eq!(hash, whole, "{pass_records} a pass");
    }
}

#[test]
fn what_a_compaction_keeps_hashes_as_before_the_files_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    for n in 0..50 {
        put(&mut writer, &format!("{}", n % 10), &format!("{n}"));
    }
    compact(&mut writer, 30);
    let before: Vec<u32> = (30..=51).map(|revision| at(&writer, revision)).collect();
    writer.store().remove_compacted().unwrap();
    let after: Vec<u32> = (30..=51).map(|revision| at(&writer, revision)).collect();
    assert_eq!(before, after);
    let view = writer.store().view().unwrap();
    let compacted = hash_kv(&view, 29, &Abandoned::default()).unwrap();
    assert_eq!(compacted, Some(Err(Refusal::Compacted)));
}

#[test]
fn nobody_waits_for_an_abandoned_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    command(&mut writer, |txn| {
        for n in 0..ROWS_A_LOOK {
            let key = Bytes::from(n.to_string());
            txn.put(key, Bytes::new(), 0, false).unwrap();
        }
    });
    let view = writer.store().view().unwrap();
    let abandoned = Abandoned::default();
    abandoned.set();
    assert_eq!(hash_kv(&view, 0, &abandoned).unwrap(), None);
}

fn delete(writer: &mut Writer, range: &KeyRange) {
    command(writer, |txn| {
        txn.delete_range(range, false).unwrap().unwrap();
    });
}

/// What etcd 3.4.23 answered to `etcdctl endpoint hashkv` along the same commands.
#[test]
fn as_an_etcd_answered() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    for value in ["1", "2", "3", "4"] {
        put(&mut writer, "a", value);
    }
    put(&mut writer, "b", "1");
    delete(&mut writer, &KeyRange::single("b".into()));
    assert_eq!(at(&writer, 0), 2_573_865_347);
    compact(&mut writer, 5);
    assert_eq!(at(&writer, 6), 1_562_007_975);
    assert_eq!(at(&writer, 7), 120_236_060);
    // To the deletion's own revision.
    compact(&mut writer, 7);
    assert_eq!(at(&writer, 0), 509_862_352);
    put(&mut writer, "c", "1");
    put(&mut writer, "d", "2");
    let all = KeyRange {
        start: "a".into(),
        end: RangeEnd::Unbounded,
    };
    delete(&mut writer, &all);
    // No key is left: what the compaction kept counts again.
    assert_eq!(at(&writer, 0), 3_548_962_186);
    compact(&mut writer, 9);
    assert_eq!(at(&writer, 0), 3_548_962_186);
    command(&mut writer, |txn| {
        txn.put("x".into(), "1".into(), 0, false).unwrap();
        txn.put("y".into(), "2".into(), 0, false).unwrap();
    });
    assert_eq!(at(&writer, 0), 2_894_422_914);
    let lease = 0x774e_a214_31cf_9712;
    command(&mut writer, |txn| {
        txn.put("z".into(), "1".into(), lease, false).unwrap();
    });
    assert_eq!(at(&writer, 0), 2_851_791_719);
}

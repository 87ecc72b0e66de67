//! The state of one cluster becomes the founding state of another: the data stays, and what is the
//! old cluster's own goes.

use super::Error;
use super::head::Head;
use super::store::{Membership, StoreOptions, membership_row};
use super::writer::Writer;
use crate::storage::{Bounds, Family, Scan, keys};
use crate::types::Revision;
use std::path::Path;

/// Rows of `meta` that tell of the cluster's members, by how their keys begin.
const OF_THE_CLUSTER: &[&[u8]] = &[
    keys::MEMBERSHIP,
    keys::MEMBER_PREFIX,
    keys::CLAIM_PREFIX,
    keys::REMOVED_PREFIX,
    keys::ALARM_PREFIX,
    keys::DOWNGRADE,
];

/// Makes the state in `dir` one to which the first entry of a new cluster's log was applied, and no
/// other: `founding`, which says who the members are. Durably; all live keys are read and checked on
/// the way.
///
/// That the entry is applied already matters. Openraft then counts it as purged from the log, so
/// the new cluster's log alone leads nobody to its state: whoever joins later, empty, is sent a
/// snapshot.
///
/// With `bump` above 0 the revision rises by as much, and what is older counts as compacted:
/// clients that cached what the old cluster said after the backup see revisions rise, and watchers
/// learn that they missed something.
pub fn refound(
    dir: &Path,
    options: &StoreOptions,
    bump: Revision,
    founding: &Membership,
) -> Result<Head, Error> {
    let writer = Writer::open(dir, options)?;
    let mut head = writer.head().clone();
    head.applied = Some(founding.0);
    head.digest.change(keys::MEMBERSHIP, &founding.1);
    if bump > 0 {
        head.revision = head.revision.saturating_add(bump);
        head.compacted_event_bytes = head.event_bytes;
        head.compact(head.revision);
    }
    let engine = &writer.store().engine;
    let mut batch = engine.batch();
    let view = engine.latest();
    let mut rows = view.cursor(Family::Meta, Bounds::default(), Scan::Short)?;
    while let Some(key) = rows.key() {
        if OF_THE_CLUSTER.iter().any(|prefix| key.starts_with(prefix)) {
            batch.delete(Family::Meta, key);
        }
        rows.advance()?;
    }
    drop(rows);
    drop(view);
    batch.put(Family::Meta, keys::HEAD, &head.encode());
    batch.put(Family::Meta, keys::MEMBERSHIP, &membership_row(founding));
    engine.write(batch)?;
    engine.flush()?;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mvcc::{Alarm, AlarmKind, MemberAttributes, Roster, lease_rows};
    use crate::storage::EngineOptions;
    use crate::types::{KeyRange, Position, RangeQuery};
    use bytes::Bytes;

    fn options() -> StoreOptions {
        StoreOptions {
            engine: EngineOptions::small(),
            ..StoreOptions::default()
        }
    }

    /// Puts `k` once, by a member that published itself.
    fn one_put(dir: &Path) {
        let mut writer = Writer::open(dir, &options()).unwrap();
        let mut txn = writer.begin();
        let position = Position { term: 4, index: 9 };
        txn.begin_entry(position).unwrap();
        txn.set_membership(position, Bytes::from_static(b"members"));
        let member = MemberAttributes {
            node: 1,
            name: "n1".to_owned(),
            client_urls: Vec::new(),
        };
        txn.publish_member(member).unwrap();
        txn.claim_member(1, 77).unwrap();
        txn.remove_member(2);
        let alarm = Alarm {
            kind: AlarmKind::NoSpace,
            member: 1,
        };
        txn.set_alarm(alarm, true).unwrap();
        txn.grant_lease(7, 60).unwrap().unwrap();
        txn.put("k".into(), "v".into(), 7, false).unwrap();
        txn.finish_command();
        txn.commit().unwrap();
        writer.store().flush().unwrap();
    }

    fn founding() -> Membership {
        let first = Position { term: 0, index: 0 };
        (first, Bytes::from_static(b"founders"))
    }

    #[test]
    fn the_data_stays_and_the_cluster_goes() {
        let dir = tempfile::tempdir().unwrap();
        one_put(dir.path());
        refound(dir.path(), &options(), 0, &founding()).unwrap();
        let mut writer = Writer::open(dir.path(), &options()).unwrap();
        assert_eq!(writer.head().applied, Some(founding().0));
        assert_eq!(writer.head().revision, 2);
        assert_eq!(writer.membership(), Some(&founding()));
        let store = writer.store().clone();
        assert_eq!(*store.roster(), Roster::default());
        assert!(store.alarms().is_empty());
        // The lease stays, and its key goes with it.
        let leases = lease_rows::lease(&store.engine.latest(), 7).unwrap();
        assert_eq!(leases.unwrap().ttl, 60);
        let mut txn = writer.begin();
        txn.begin_entry(Position { term: 1, index: 1 }).unwrap();
        txn.put("k".into(), "w".into(), 0, false).unwrap();
        txn.finish_command();
        txn.commit().unwrap();
        let query = RangeQuery {
            revision: 2,
            ..RangeQuery::latest(KeyRange::single("k".into()))
        };
        let found = store.view().unwrap().range(&query).unwrap().unwrap();
        assert_eq!(found.kvs[0].value, "v");
    }

    #[test]
    fn a_bump_leaves_nothing_old_to_read() {
        let dir = tempfile::tempdir().unwrap();
        one_put(dir.path());
        let head = refound(dir.path(), &options(), 1_000, &founding()).unwrap();
        assert_eq!((head.revision, head.compacted), (1_002, 1_002));
        let mut writer = Writer::open(dir.path(), &options()).unwrap();
        let store = writer.store().clone();
        let at = |revision| {
            let query = RangeQuery {
                revision,
                ..RangeQuery::latest(KeyRange::single("k".into()))
            };
            store.view().unwrap().range(&query).unwrap()
        };
        assert!(at(2).is_err());
        assert_eq!(at(1_002).unwrap().kvs[0].mod_revision, 2);
        store.remove_compacted().unwrap();
        let mut txn = writer.begin();
        txn.begin_entry(Position { term: 1, index: 1 }).unwrap();
        txn.put("k".into(), "w".into(), 0, false).unwrap();
        txn.finish_command();
        txn.commit().unwrap();
        assert_eq!(at(1_002).unwrap().kvs[0].value, "v");
        assert_eq!(at(0).unwrap().kvs[0].mod_revision, 1_003);
    }
}

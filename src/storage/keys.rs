//! The column families and the byte layout of their keys.
//!
//! Keys sort as bytes, so numbers are big-endian. `docs/data-layout.md` has an example of each.

/// A column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// user key -> the live version.
    Current,
    /// (revision, sub) -> the change.
    Events,
    /// (user key, descending revision) -> a version that was overwritten or deleted.
    History,
    /// lease id -> lease; and (lease id, user key): which keys go with it.
    Lease,
    /// What the store knows of itself.
    Meta,
}

impl Family {
    pub const ALL: [Self; 5] = [
        Self::Current,
        Self::Events,
        Self::History,
        Self::Lease,
        Self::Meta,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Events => "events",
            Self::History => "history",
            Self::Lease => "lease",
            Self::Meta => "meta",
        }
    }

    pub(super) fn position(self) -> usize {
        match self {
            Self::Current => 0,
            Self::Events => 1,
            Self::History => 2,
            Self::Lease => 3,
            Self::Meta => 4,
        }
    }
}

/// `meta`: revision, compaction, applied position, counters: one small record per batch.
pub const HEAD: &[u8] = b"head";
/// `meta`: the last membership and the position that it was applied at.
pub const MEMBERSHIP: &[u8] = b"membership";
/// `meta`: what a member published of itself, under `member/` + its id.
pub const MEMBER_PREFIX: &[u8] = b"member/";
/// `meta`: which data directory a member lives in, under `claim/` + its id.
pub const CLAIM_PREFIX: &[u8] = b"claim/";
/// `meta`: members that were removed, for ever, under `removed/` + the id.
pub const REMOVED_PREFIX: &[u8] = b"removed/";

/// `meta`: the version that the cluster is to be taken down to, while it is.
pub const DOWNGRADE: &[u8] = b"downgrade";
/// `meta`: an alarm that is on, under `alarm/` + its kind (one byte) + its member's id; no value.
pub const ALARM_PREFIX: &[u8] = b"alarm/";

pub fn alarm(kind: u8, node: u64) -> Vec<u8> {
    let mut key = ALARM_PREFIX.to_vec();
    key.push(kind);
    key.extend_from_slice(&node.to_be_bytes());
    key
}

pub fn member(node: u64) -> Vec<u8> {
    of_node(MEMBER_PREFIX, node)
}

pub fn claim(node: u64) -> Vec<u8> {
    of_node(CLAIM_PREFIX, node)
}

pub fn removed(node: u64) -> Vec<u8> {
    of_node(REMOVED_PREFIX, node)
}

fn of_node(prefix: &[u8], node: u64) -> Vec<u8> {
    let mut key = prefix.to_vec();
    key.extend_from_slice(&node.to_be_bytes());
    key
}

pub const EVENT_KEY_BYTES: usize = 12;

/// Revisions are never negative on disk; a negative one sorts first.
fn main_bytes(main: i64) -> [u8; 8] {
    u64::try_from(main).unwrap_or(0).to_be_bytes()
}

/// `events`: revision, then the number of the change within it.
pub fn event(main: i64, sub: u32) -> [u8; EVENT_KEY_BYTES] {
    let mut key = [0; EVENT_KEY_BYTES];
    key[..8].copy_from_slice(&main_bytes(main));
    key[8..].copy_from_slice(&sub.to_be_bytes());
    key
}

/// The reverse of [`event`].
pub fn split_event(key: &[u8]) -> Option<(i64, u32)> {
    let (main, sub) = key.split_first_chunk::<8>()?;
    let main = i64::try_from(u64::from_be_bytes(*main)).ok()?;
    Some((main, u32::from_be_bytes(sub.try_into().ok()?)))
}

/// `history`: the user key, escaped so that no key is a prefix of another (0x00 becomes 0x00 0xff,
/// the end is 0x00 0x00), then the complement of the revision so that newer versions come first.
///
/// `"a"` at revision 5 is `61 00 00 ff ff ff ff ff ff ff fa`.
pub fn history(key: &[u8], modified: i64) -> Vec<u8> {
    let mut encoded = history_prefix(key);
    push_revision(&mut encoded, modified);
    encoded
}

/// Appends the descending revision to a [`history_prefix`].
pub fn push_revision(prefix: &mut Vec<u8>, modified: i64) {
    let ascending = u64::from_be_bytes(main_bytes(modified));
    prefix.extend_from_slice(&(!ascending).to_be_bytes());
}

/// Where the versions of `key` begin.
pub fn history_prefix(key: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(key.len() + 10);
    for &byte in key {
        encoded.push(byte);
        if byte == 0 {
            encoded.push(0xff);
        }
    }
    encoded.extend_from_slice(&[0, 0]);
    encoded
}

/// Takes a `history` key apart: writes the user key into `key` and answers the length of its
/// prefix and the revision. `None` if the bytes are not such a key.
pub fn split_history(encoded: &[u8], key: &mut Vec<u8>) -> Option<(usize, i64)> {
    key.clear();
    let (prefix, revision) = encoded.split_last_chunk::<8>()?;
    let mut bytes = prefix.strip_suffix(&[0, 0])?.iter();
    while let Some(&byte) = bytes.next() {
        if byte == 0 && bytes.next() != Some(&0xff) {
            return None;
        }
        key.push(byte);
    }
    let revision = i64::try_from(!u64::from_be_bytes(*revision)).ok()?;
    Some((prefix.len(), revision))
}

/// `lease`: what a key begins with. Leases stand together, so that listing them meets nothing else.
pub const LEASE_TAG: u8 = 0;
const ATTACHED_TAG: u8 = 1;
/// A tag and an id.
pub const LEASE_KEY_BYTES: usize = 9;

fn lease_key(tag: u8, id: i64) -> [u8; LEASE_KEY_BYTES] {
    let mut key = [tag; LEASE_KEY_BYTES];
    key[1..].copy_from_slice(&id.cast_unsigned().to_be_bytes());
    key
}

/// `lease`: a lease.
pub fn lease(id: i64) -> [u8; LEASE_KEY_BYTES] {
    lease_key(LEASE_TAG, id)
}

/// The reverse of [`lease`].
pub fn split_lease(key: &[u8]) -> Option<i64> {
    let id = key.strip_prefix(&[LEASE_TAG])?.try_into().ok()?;
    Some(u64::from_be_bytes(id).cast_signed())
}

/// `lease`: where the user keys of a lease begin; each stands behind this prefix as it is.
pub fn attached_prefix(lease: i64) -> [u8; LEASE_KEY_BYTES] {
    lease_key(ATTACHED_TAG, lease)
}

/// `lease`: that a user key goes with a lease.
pub fn attached(lease: i64, key: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(LEASE_KEY_BYTES + key.len());
    encoded.extend_from_slice(&attached_prefix(lease));
    encoded.extend_from_slice(key);
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn history_keys_sort_by_key_then_newest_first(
            a in proptest::collection::vec(0u8..3, 0..6), b in proptest::collection::vec(0u8..3, 0..6),
            m in 0i64..5, n in 0i64..5,
        ) {
            let order = a.cmp(&b).then(n.cmp(&m));
            prop_assert_eq!(history(&a, m).cmp(&history(&b, n)), order);
        }

        #[test]
        fn history_keys_come_apart(a in proptest::collection::vec(any::<u8>(), 0..20), m in 0i64..) {
            let mut key = Vec::new();
            let (prefix, revision) = split_history(&history(&a, m), &mut key).unwrap();
            prop_assert_eq!((&key, revision), (&a, m));
            prop_assert_eq!(prefix, history_prefix(&a).len());
        }

        #[test]
        fn leases_stand_before_and_apart_from_what_goes_with_them(
            a in any::<i64>(), b in any::<i64>(), key in proptest::collection::vec(any::<u8>(), 1..9),
        ) {
            prop_assert_eq!(split_lease(&lease(a)), Some(a));
            let attached = attached(a, &key);
            prop_assert_eq!(split_lease(&attached), None);
            prop_assert!(lease(b)[..] < attached[..]);
            prop_assert_eq!(attached.starts_with(&attached_prefix(b)), a == b);
        }

        #[test]
        fn garbage_is_no_key(a in proptest::collection::vec(any::<u8>(), 0..30)) {
            split_history(&a, &mut Vec::new());
            split_event(&a);
            split_lease(&a);
        }
    }
}

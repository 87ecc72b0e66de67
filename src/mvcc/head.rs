//! What the store knows of itself: one small row (`meta`, `head`) in every batch, so that the data,
//! the revision and the place in the log cannot disagree (invariant 4). It is a pure function of
//! the log: every member has the same one.
//!
//! # The lagging drop
//!
//! A history row may point at the event that wrote its version. When may events be dropped? Say
//! key `a` is written at 10, a compaction to 1000 is applied when the store is at 1500, and `a` is
//! overwritten at 2000. An overwrite looks at the compacted revision: 10 is at or below it, so the
//! value is copied into the history row, and the event is not needed. But an overwrite at 1200, before the
//! compaction was applied, left a pointer; and a read at revision 1100 is still legal.
//!
//! So: after a compaction to C, applied at revision N, events below C go only when the compacted
//! revision has reached N. Proof: a pointer to an event below C was written before C was applied,
//! so its version ended at or before N; a legal read is at or after the compacted revision, which
//! is at or after N, and sees no such version. A compaction to the latest revision (C = N) drops
//! at once; a periodic one lags by a round.

use super::Error;
use super::digest::Digest;
use crate::storage::varint::{Input, Malformed, put_i64, put_u64};
use crate::types::{Position, Revision};

/// Nothing was ever compacted. Not 0: etcd takes a first `compact(0)`, and refuses a second.
pub const NEVER_COMPACTED: Revision = -1;

/// The version of the row itself.
const HEAD_VERSION: u8 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The last log entry whose effects are here.
    pub applied: Option<Position>,
    pub revision: Revision,
    pub compacted: Revision,
    /// Events below this revision are needed by nobody.
    pub events_floor: Revision,
    /// (C, N) of a compaction whose events cannot go yet.
    pub lagging: Option<(Revision, Revision)>,
    /// Bytes of live keys and values, with an allowance per key.
    pub live_bytes: u64,
    /// Bytes of all events ever written, and of those below the compacted revision.
    pub event_bytes: u64,
    pub compacted_event_bytes: u64,
    /// By which members compare what they hold.
    pub digest: Digest,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            applied: None,
            revision: 1,
            compacted: NEVER_COMPACTED,
            events_floor: 0,
            lagging: None,
            live_bytes: 0,
            event_bytes: 0,
            compacted_event_bytes: 0,
            digest: Digest::default(),
        }
    }
}

impl Head {
    /// Notes a compaction to `revision`, which is legal, and what may be dropped for it.
    pub fn compact(&mut self, revision: Revision) {
        assert!(revision > self.compacted, "a compaction moves forward");
        assert!(
            revision <= self.revision,
            "a compaction is not of the future"
        );
        self.compacted = revision;
        if let Some((compacted, applied_at)) = self.lagging
            && revision >= applied_at
        {
            self.events_floor = self.events_floor.max(compacted);
            self.lagging = None;
        }
        if revision == self.revision {
            self.events_floor = revision.max(0);
            self.lagging = None;
        } else if self.lagging.is_none() {
            self.lagging = Some((revision, self.revision));
        }
    }

    /// What counts towards the space quota: the same on every member, unlike file sizes.
    pub fn bytes_in_use(&self) -> u64 {
        self.live_bytes + (self.event_bytes - self.compacted_event_bytes)
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        out.push(HEAD_VERSION);
        match self.applied {
            None => out.push(0),
            Some(position) => {
                out.push(1);
                put_u64(&mut out, position.term);
                put_u64(&mut out, position.index);
            }
        }
        put_i64(&mut out, self.revision);
        put_i64(&mut out, self.compacted);
        put_i64(&mut out, self.events_floor);
        match self.lagging {
            None => out.push(0),
            Some((compacted, applied_at)) => {
                out.push(1);
                put_i64(&mut out, compacted);
                put_i64(&mut out, applied_at);
            }
        }
        put_u64(&mut out, self.live_bytes);
        put_u64(&mut out, self.event_bytes);
        put_u64(&mut out, self.compacted_event_bytes);
        out.extend_from_slice(&self.digest.changes.to_be_bytes());
        out.extend_from_slice(&self.digest.live.to_be_bytes());
        put_u64(&mut out, self.digest.keys);
        out
    }

    pub fn decode(row: &[u8]) -> Result<Self, Error> {
        if row.first().is_some_and(|&version| version > HEAD_VERSION) {
            return Err(Error::NewerFormat {
                what: "head",
                found: row[0],
                supported: HEAD_VERSION,
            });
        }
        Self::read(row).map_err(|_| Error::Corrupt { what: "meta/head" })
    }

    fn read(row: &[u8]) -> Result<Self, Malformed> {
        let mut input = Input::new(row);
        if input.u8()? != HEAD_VERSION {
            return Err(Malformed);
        }
        let applied = match input.u8()? {
            0 => None,
            1 => Some(Position {
                term: input.u64()?,
                index: input.u64()?,
            }),
            _ => return Err(Malformed),
        };
        let (revision, compacted, events_floor) = (input.i64()?, input.i64()?, input.i64()?);
        let lagging = match input.u8()? {
            0 => None,
            1 => Some((input.i64()?, input.i64()?)),
            _ => return Err(Malformed),
        };
        let head = Self {
            applied,
            revision,
            compacted,
            events_floor,
            lagging,
            live_bytes: input.u64()?,
            event_bytes: input.u64()?,
            compacted_event_bytes: input.u64()?,
            digest: Digest {
                changes: read_hash(&mut input)?,
                live: read_hash(&mut input)?,
                keys: input.u64()?,
            },
        };
        let sane = head.revision >= 1
            && head.compacted <= head.revision
            && head.compacted_event_bytes <= head.event_bytes;
        if sane && input.is_empty() {
            Ok(head)
        } else {
            Err(Malformed)
        }
    }
}

fn read_hash(input: &mut Input<'_>) -> Result<u64, Malformed> {
    let bytes = input.take(8)?.try_into().map_err(|_| Malformed)?;
    Ok(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_comes_back() {
        let mut head = Head {
            revision: 2000,
            ..Head::default()
        };
        assert_eq!(Head::decode(&head.encode()).unwrap(), head);
        head.applied = Some(Position {
            term: 3,
            index: u64::MAX,
        });
        head.compact(7);
        head.live_bytes = 5;
        head.event_bytes = 9;
        head.digest.changes = u64::MAX;
        head.digest.keys = 3;
        assert_eq!(Head::decode(&head.encode()).unwrap(), head);
    }

    #[test]
    fn a_newer_row_is_named_and_garbage_refused() {
        let newer = Head::decode(&[9, 1, 2]);
        assert!(matches!(newer, Err(Error::NewerFormat { found: 9, .. })));
        assert!(matches!(Head::decode(&[2, 1]), Err(Error::Corrupt { .. })));
        assert!(matches!(Head::decode(&[]), Err(Error::Corrupt { .. })));
    }

    #[test]
    fn events_go_when_no_pointer_can_be_read() {
        let mut head = Head {
            revision: 1500,
            ..Head::default()
        };
        head.compact(1000);
        assert_eq!((head.events_floor, head.lagging), (0, Some((1000, 1500))));
        head.revision = 3000;
        head.compact(1400);
        assert_eq!((head.events_floor, head.lagging), (0, Some((1000, 1500))));
        head.compact(1600);
        assert_eq!(
            (head.events_floor, head.lagging),
            (1000, Some((1600, 3000)))
        );
        head.compact(3000);
        assert_eq!((head.events_floor, head.lagging), (3000, None));
    }
}

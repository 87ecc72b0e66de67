//! What watchers are told.

use crate::mvcc::row::Change;
use crate::types::{KeyValue, Revision};
use bytes::{BufMut, Bytes, BytesMut};
use std::sync::{Arc, OnceLock};

/// One change of one key, shared by all who want it.
#[derive(Debug)]
pub struct Event {
    pub revision: Revision,
    pub key: Bytes,
    pub change: Change<Bytes>,
    /// Revision of the version that it replaced; 0 if there was none.
    pub previous_revision: Revision,
    previous: OnceLock<Option<KeyValue>>,
    encoded: [OnceLock<Bytes>; 2],
}

impl Event {
    /// Copies key and value into memory of their own: the log entry that they are a part of may be a
    /// thousand times larger, and a slow client would keep it alive.
    pub fn copy<B: AsRef<[u8]>>(revision: Revision, event: &crate::mvcc::row::Event<B>) -> Self {
        let key = event.key.as_ref();
        let value = match &event.change {
            Change::Put { value, .. } => value.as_ref(),
            Change::Delete => &[],
        };
        let mut space = BytesMut::with_capacity(key.len() + value.len());
        space.put_slice(key);
        space.put_slice(value);
        let mut key_value = space.freeze();
        let value = key_value.split_off(key.len());
        let change = match event.change {
            Change::Put {
                create,
                version,
                lease,
                ..
            } => Change::Put {
                create,
                version,
                lease,
                value,
            },
            Change::Delete => Change::Delete,
        };
        Self {
            revision,
            key: key_value,
            change,
            previous_revision: event.previous,
            previous: OnceLock::new(),
            encoded: [OnceLock::new(), OnceLock::new()],
        }
    }

    pub fn is_put(&self) -> bool {
        matches!(self.change, Change::Put { .. })
    }

    /// Whether the key was not there before this revision.
    fn is_creation(&self) -> bool {
        matches!(self.change, Change::Put { create, .. } if create == self.revision)
    }

    /// Whether there is a pair before it that has not been read yet.
    pub fn lacks_previous(&self) -> bool {
        self.previous_revision != 0 && !self.is_creation() && self.previous.get().is_none()
    }

    /// Keeps what was read; the first one counts.
    pub fn set_previous(&self, previous: Option<KeyValue>) {
        self.previous.get_or_init(|| previous);
    }

    /// The pair before this revision, once it was read; none of a creation.
    pub fn previous(&self) -> Option<&KeyValue> {
        self.previous.get()?.as_ref()
    }

    /// What a door makes of the event, made once; a second time for those who want the previous
    /// pair with it.
    pub fn encoded(&self, with_previous: bool, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        let slot = &self.encoded[usize::from(with_previous)];
        slot.get_or_init(|| encode(self)).clone()
    }

    /// With the pair before it, if that was read.
    pub(super) fn bytes(&self) -> usize {
        /// Besides key and value: the two of them, and what points at them.
        const OVERHEAD: usize = 256;
        let value = match &self.change {
            Change::Put { value, .. } => value.len(),
            Change::Delete => 0,
        };
        let previous = self
            .previous()
            .map_or(0, |pair| pair.key.len() + pair.value.len());
        self.key.len() + value + previous + OVERHEAD
    }
}

/// Whole revisions for one watcher, or for many with the same interest. Never empty.
#[derive(Debug)]
pub struct Events {
    list: Vec<Arc<Event>>,
    bytes: usize,
    encoded: [OnceLock<Arc<[Bytes]>>; 2],
}

impl Events {
    /// `None` if there are none.
    pub fn new(list: Vec<Arc<Event>>) -> Option<Self> {
        let bytes = list.iter().map(|event| event.bytes()).sum();
        (!list.is_empty()).then_some(Self {
            list,
            bytes,
            encoded: [OnceLock::new(), OnceLock::new()],
        })
    }

    pub fn list(&self) -> &[Arc<Event>] {
        &self.list
    }

    /// Memory that it keeps, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn first_revision(&self) -> Revision {
        self.list.first().map_or(0, |event| event.revision)
    }

    pub fn last_revision(&self) -> Revision {
        self.list.last().map_or(0, |event| event.revision)
    }

    /// Those of `from` and later.
    pub(super) fn since(&self, from: Revision) -> Option<Self> {
        let start = self.list.partition_point(|event| event.revision < from);
        Self::new(self.list[start..].to_vec())
    }

    /// What a door makes of all of them, made once for everybody who shares the list.
    pub fn encoded(
        &self,
        with_previous: bool,
        encode: impl FnOnce(&Self) -> Arc<[Bytes]>,
    ) -> Arc<[Bytes]> {
        let slot = &self.encoded[usize::from(with_previous)];
        slot.get_or_init(|| encode(self)).clone()
    }
}

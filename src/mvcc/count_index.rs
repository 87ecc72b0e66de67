//! Counting without walking: how many live keys lie in a range, in microseconds.
//!
//! Some keys are *fences*: those whose hash ends in six zero bits, one in 64. For every fence
//! the index holds how many live keys stand from it up to the next one. A count adds those up and
//! walks only the two ends. Because the hash alone decides, the index is a pure function of the set
//! of keys: one built by a scan equals one kept up to date, and that is how it is tested.
//!
//! ```text
//! keys     a  b  c  D  e  f  G  h        capitals are fences
//! fences   ""=3     D=3      G=2         "" stands before everything
//! count [b, h) = (3 - 1) + 3 + 1         walks a..b and G..h
//! ```
//!
//! Fences sit in chunks behind `Arc`: a clone is a list of pointers, and changing a clone copies
//! only the chunks that it touches. So each published batch has its own index for next to nothing.

use super::Error;
use crate::storage::{Bounds, Family, Scan, View};
use bytes::Bytes;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A key is a fence if these bits of its hash are zero.
const FENCE_MASK: u64 = 63;
/// A chunk with more fences is split.
const CHUNK_FENCES: usize = 256;

/// The keys of fences in a row, one after another in one piece of memory: a search through keys
/// that lie all over the heap costs a cache miss at each step. They are copies: a key as it came is
/// a slice of its log entry, and would keep the whole entry in memory.
#[derive(Clone, Debug, Default)]
struct Fences {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Fences {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    fn key(&self, at: usize) -> &[u8] {
        &self.bytes[self.start(at)..self.ends[at]]
    }

    fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    fn insert(&mut self, at: usize, key: &[u8]) {
        let start = self.start(at);
        self.bytes.splice(start..start, key.iter().copied());
        self.ends.insert(at, start);
        self.ends[at..].iter_mut().for_each(|end| *end += key.len());
    }

    fn remove(&mut self, at: usize) {
        let range = self.start(at)..self.ends[at];
        let len = range.len();
        self.bytes.drain(range);
        self.ends.remove(at);
        self.ends[at..].iter_mut().for_each(|end| *end -= len);
    }

    fn split_off(&mut self, at: usize) -> Self {
        let start = self.start(at);
        let bytes = self.bytes.split_off(start);
        let ends = self
            .ends
            .split_off(at)
            .into_iter()
            .map(|end| end - start)
            .collect();
        Self { bytes, ends }
    }

    /// The last fence at or before `key`. The first one is.
    fn find(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.len());
        while high - low > 1 {
            let middle = low.midpoint(high);
            if self.key(middle) <= key {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// Some fences in a row. Counts change with every key, fences seldom: a copy shares the keys.
#[derive(Clone, Debug)]
struct Chunk {
    fences: Arc<Fences>,
    /// Per fence, the live keys from it up to the next one.
    counts: Vec<u64>,
    /// Their sum.
    keys: u64,
}

impl Chunk {
    fn new(fences: Fences, counts: Vec<u64>) -> Arc<Self> {
        let keys = counts.iter().sum();
        Arc::new(Self {
            fences: Arc::new(fences),
            counts,
            keys,
        })
    }

    fn first(&self) -> &[u8] {
        self.fences.key(0)
    }
}

/// Invariants: chunks and the fences in them ascend by key; the very first fence is the empty key;
/// no chunk is empty; a chunk's `keys` is the sum over its fences.
#[derive(Clone, Debug)]
pub struct CountIndex {
    chunks: Vec<Arc<Chunk>>,
    /// Not known to clients, who could otherwise send only keys that are no fences.
    seed: u64,
}

impl CountIndex {
    pub fn empty(seed: u64) -> Self {
        Self {
            chunks: vec![Chunk::new(first_fence(), vec![0])],
            seed,
        }
    }

    /// Reads all live keys once, and shows each with its row to `visit`.
    pub fn build(
        view: &View<'_>,
        seed: u64,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let mut index = Self::empty(seed);
        let mut fences = first_fence();
        let mut counts = vec![0];
        index.chunks.clear();
        let mut cursor = view.cursor(Family::Current, Bounds::default(), Scan::Bulk)?;
        while let Some((key, row)) = cursor.row() {
            visit(key, row)?;
            if index.is_fence(key) {
                if counts.len() == CHUNK_FENCES / 2 {
                    let full = (std::mem::take(&mut fences), std::mem::take(&mut counts));
                    index.chunks.push(Chunk::new(full.0, full.1));
                }
                fences.push(key);
                counts.push(0);
            }
            if let Some(last) = counts.last_mut() {
                *last += 1;
            }
            cursor.advance()?;
        }
        index.chunks.push(Chunk::new(fences, counts));
        Ok(index)
    }

    fn is_fence(&self, key: &[u8]) -> bool {
        xxh3_64_with_seed(key, self.seed) & FENCE_MASK == 0
    }

    /// All live keys.
    pub fn total(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.keys).sum()
    }

    /// Live keys in `[start, end)`, or from `start` on. `view` shows the state that this index is of.
    pub fn count(&self, view: &View<'_>, start: &[u8], end: Option<&[u8]>) -> Result<u64, Error> {
        if end.is_some_and(|end| end <= start) {
            return Ok(0);
        }
        if let Some(end) = end
            && self.find(start) == self.find(end)
        {
            return walk(view, start, Some(end));
        }
        let below_end = match end {
            Some(end) => self.rank(view, end)?,
            None => self.total(),
        };
        Ok(below_end.saturating_sub(self.rank(view, start)?))
    }

    /// Live keys below `key`.
    fn rank(&self, view: &View<'_>, key: &[u8]) -> Result<u64, Error> {
        let (at, fence) = self.find(key);
        let before: u64 = self.chunks[..at].iter().map(|chunk| chunk.keys).sum();
        let chunk = &self.chunks[at];
        let within: u64 = chunk.counts[..fence].iter().sum();
        Ok(before + within + walk(view, chunk.fences.key(fence), Some(key))?)
    }

    /// The last fence at or before `key`: its chunk and its place there.
    fn find(&self, key: &[u8]) -> (usize, usize) {
        let chunk = self.chunks.partition_point(|chunk| chunk.first() <= key) - 1;
        (chunk, self.chunks[chunk].fences.find(key))
    }

    /// Follows a batch that is about to be written: `created` and `deleted` are the keys that exist
    /// after it and not before, and the reverse, in order. `view` shows the state before it.
    pub fn update(
        &mut self,
        view: &View<'_>,
        created: &[Bytes],
        deleted: &[Bytes],
    ) -> Result<(), Error> {
        for key in deleted {
            let (at, fence) = self.find(key);
            let chunk = Arc::make_mut(&mut self.chunks[at]);
            chunk.counts[fence] -= 1;
            chunk.keys -= 1;
            if self.is_fence(key) {
                self.remove_fence(key);
            }
        }
        let mut at = 0;
        for key in created {
            // Keys ascend, so the chunk is the last one or one behind it.
            let behind = &self.chunks[at + 1..];
            if behind
                .first()
                .is_some_and(|next| next.first() <= key.as_ref())
            {
                at += behind.partition_point(|chunk| chunk.first() <= key.as_ref());
            }
            let fence = self.chunks[at].fences.find(key);
            let chunk = Arc::make_mut(&mut self.chunks[at]);
            chunk.counts[fence] += 1;
            chunk.keys += 1;
        }
        // All counts are right now; new fences split them by walking the state, changes included.
        for key in created {
            if self.is_fence(key) {
                self.insert_fence(view, key, created, deleted)?;
            }
        }
        Ok(())
    }

    fn insert_fence(
        &mut self,
        view: &View<'_>,
        key: &Bytes,
        created: &[Bytes],
        deleted: &[Bytes],
    ) -> Result<(), Error> {
        let (at, fence) = self.find(key);
        let chunk = &self.chunks[at];
        let next = if fence + 1 < chunk.fences.len() {
            Some(chunk.fences.key(fence + 1))
        } else {
            self.chunks.get(at + 1).map(|next| next.first())
        };
        let before = walk(view, key, next)? + among(created, key, next);
        let keys = before - among(deleted, key, next);
        let chunk = Arc::make_mut(&mut self.chunks[at]);
        let fences = Arc::make_mut(&mut chunk.fences);
        assert!(
            fences.key(fence) != key.as_ref(),
            "a key becomes a fence once"
        );
        let before = &mut chunk.counts[fence];
        *before = before.checked_sub(keys).ok_or(Error::Corrupt {
            what: "the count index",
        })?;
        fences.insert(fence + 1, key);
        chunk.counts.insert(fence + 1, keys);
        if fences.len() > CHUNK_FENCES {
            let fences = fences.split_off(CHUNK_FENCES / 2);
            let behind = Chunk::new(fences, chunk.counts.split_off(CHUNK_FENCES / 2));
            chunk.keys -= behind.keys;
            self.chunks.insert(at + 1, behind);
        }
        Ok(())
    }

    /// Gives the fence's keys to the one before it.
    fn remove_fence(&mut self, key: &[u8]) {
        let (at, fence) = self.find(key);
        let chunk = Arc::make_mut(&mut self.chunks[at]);
        let fences = Arc::make_mut(&mut chunk.fences);
        assert!(fences.key(fence) == key, "a live fence is in the index");
        fences.remove(fence);
        let keys = chunk.counts.remove(fence);
        if fence > 0 {
            chunk.counts[fence - 1] += keys;
            return;
        }
        // Never the first chunk: its first fence is the empty key, which no user has.
        chunk.keys -= keys;
        if fences.len() == 0 {
            self.chunks.remove(at);
        }
        let before = Arc::make_mut(&mut self.chunks[at - 1]);
        before.keys += keys;
        if let Some(last) = before.counts.last_mut() {
            *last += keys;
        }
    }

    /// The fences and their counts, for comparing two indexes.
    #[cfg(test)]
    pub(crate) fn contents(&self) -> Vec<(Bytes, u64)> {
        let fences = self.chunks.iter().flat_map(|chunk| {
            assert_eq!(chunk.keys, chunk.counts.iter().sum::<u64>());
            assert_eq!(chunk.fences.len(), chunk.counts.len());
            let keys =
                (0..chunk.fences.len()).map(|at| Bytes::copy_from_slice(chunk.fences.key(at)));
            keys.zip(chunk.counts.iter().copied())
        });
        fences.collect()
    }
}

/// The empty key, before all others.
fn first_fence() -> Fences {
    let mut fences = Fences::default();
    fences.push(&[]);
    fences
}

/// How many of `keys`, which are in order, are in `[start, end)`.
fn among(keys: &[Bytes], start: &[u8], end: Option<&[u8]>) -> u64 {
    let below = |bound: &[u8]| keys.partition_point(|key| key.as_ref() < bound);
    (end.map_or(keys.len(), below) - below(start)) as u64
}

/// Counts live keys in `[start, end)` one by one.
fn walk(view: &View<'_>, start: &[u8], end: Option<&[u8]>) -> Result<u64, Error> {
    if end.is_some_and(|end| end <= start) {
        return Ok(0);
    }
    let bounds = Bounds {
        lower: start.to_vec(),
        upper: end.map(<[u8]>::to_vec),
    };
    let mut cursor = view.cursor(Family::Current, bounds, Scan::Short)?;
    let mut keys = 0;
    while cursor.key().is_some() {
        keys += 1;
        cursor.advance()?;
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Engine, EngineOptions};
    use std::collections::BTreeSet;

    /// A generator good enough to mix keys, and the same every time.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            xxhash_rust::xxh3::xxh3_64(&self.0.to_le_bytes())
        }
    }

    fn key(n: u64) -> Bytes {
        Bytes::from(format!("{n:x}"))
    }

    #[test]
    fn a_hundred_thousand_keys_are_counted_as_a_scan_counts_them() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), &EngineOptions::small()).unwrap();
        let view = engine.latest();
        let mut index = CountIndex::empty(7);
        let mut live = BTreeSet::new();
        let mut dice = Dice(1);
        // Mostly creations, then mostly deletions, then nearly everything goes.
        for (round, deletes_in_ten) in (0..30).map(|n| (n, if n < 20 { 1 } else { 7 })) {
            let mut batch = engine.batch();
            let (mut created, mut deleted) = (BTreeSet::new(), BTreeSet::new());
            for _ in 0..6000 {
                let key = key(dice.roll() % 150_000);
                if dice.roll() % 10 < deletes_in_ten {
                    if live.contains(&key) && !created.contains(&key) {
                        deleted.insert(key);
                    }
                } else if !live.contains(&key) {
                    created.insert(key);
                }
            }
            for key in &created {
                batch.put(Family::Current, key, b"");
                live.insert(key.clone());
            }
            for key in &deleted {
                batch.delete(Family::Current, key);
                live.remove(key);
            }
            let (created, deleted): (Vec<_>, Vec<_>) =
                (created.into_iter().collect(), deleted.into_iter().collect());
            let before = index.contents();
            let older = index.clone();
            index.update(&view, &created, &deleted).unwrap();
            engine.write(batch).unwrap();
            assert_eq!(older.contents(), before, "a published index never changes");
            assert_eq!(index.total(), live.len() as u64, "round {round}");
            for _ in 0..10 {
                let (start, end) = (key(dice.roll()), key(dice.roll()));
                let wanted = live
                    .range(start.clone()..)
                    .take_while(|key| **key < end)
                    .count();
                let counted = index.count(&view, &start, Some(&end)).unwrap();
                assert_eq!(counted, wanted as u64, "round {round}: {start:?}..{end:?}");
                let counted = index.count(&view, &start, None).unwrap();
                assert_eq!(counted, live.range(start..).count() as u64);
            }
        }
        assert!(live.len() > 10_000);
        assert!(index.chunks.len() > 1);
        let rebuilt = CountIndex::build(&view, 7, |_, _| Ok(())).unwrap();
        assert_eq!(index.contents(), rebuilt.contents());
        let all: Vec<_> = live.into_iter().collect();
        let mut batch = engine.batch();
        all.iter()
            .for_each(|key| batch.delete(Family::Current, key));
        index.update(&view, &[], &all).unwrap();
        engine.write(batch).unwrap();
        assert_eq!(index.contents(), [(Bytes::new(), 0)]);
    }
}

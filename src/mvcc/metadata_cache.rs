//! What the apply thread remembers of keys it met lately: their revisions and sizes, not their
//! values. An overwrite needs no more than that, and without it must read `current` first, which
//! costs three times the write (measured).
//!
//! It is a cache, not state: a miss reads `current`. Keys are known by 96 bits of a hash seeded per
//! process, so two keys that look the same to it are not to be had by chance or on purpose. The
//! table is four-way associative and doubles as it fills, up to its cap: an idle member stays
//! small.

use super::row::Meta;
use xxhash_rust::xxh3::xxh3_128_with_seed;

const WAYS: usize = 4;
/// Sets of the smallest table: 160 KiB.
const SETS_MIN: usize = 1 << 10;

/// What is remembered of a live key. No lease: keys with one are not kept here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub create: i64,
    pub modified: i64,
    pub sub: u32,
    pub version: i64,
    pub value_bytes: u32,
}

impl Known {
    pub fn meta(&self) -> Meta {
        let Self {
            create,
            modified,
            sub,
            version,
            value_bytes: _,
        } = *self;
        Meta {
            create,
            modified,
            sub,
            version,
            lease: 0,
        }
    }
}

/// 40 bytes: ten words, so that revisions need no alignment of eight.
#[derive(Clone, Copy, Default)]
struct Slot {
    tag: [u32; 3],
    create: [u32; 2],
    modified: [u32; 2],
    sub: u32,
    /// 0 marks a free slot.
    version: u32,
    value_bytes: u32,
}

pub struct MetadataCache {
    sets: Vec<[Slot; WAYS]>,
    sets_max: usize,
    used: usize,
    seed: u64,
    /// Takes turns among the ways when a full set must give one up.
    turn: usize,
}

struct Place {
    set: usize,
    tag: [u32; 3],
}

fn low(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).expect("32 bits were kept")
}

fn words(value: i64) -> [u32; 2] {
    let value = value.cast_unsigned();
    [low(value >> 32), low(value)]
}

fn number(words: [u32; 2]) -> i64 {
    ((u64::from(words[0]) << 32) | u64::from(words[1])).cast_signed()
}

impl MetadataCache {
    /// `seed` is not known to clients.
    pub fn new(bytes_max: usize, seed: u64) -> Self {
        let sets_max = (bytes_max / size_of::<[Slot; WAYS]>()).max(1);
        // A power of two, rounded down.
        let sets_max = 1 << sets_max.ilog2();
        let sets = vec![[Slot::default(); WAYS]; SETS_MIN.min(sets_max)];
        Self {
            sets,
            sets_max,
            used: 0,
            seed,
            turn: 0,
        }
    }

    fn place(&self, key: &[u8]) -> Place {
        let hash = xxh3_128_with_seed(key, self.seed);
        let low_half = u64::try_from(hash & u128::from(u64::MAX)).expect("64 bits were kept");
        let high_half = u64::try_from(hash >> 64).expect("64 bits are left");
        let tag = [low(low_half >> 32), low(low_half), low(high_half)];
        Place {
            set: self.set(tag),
            tag,
        }
    }

    /// The top bits of the tag choose the set, so that set `n` becomes `2n` and `2n + 1` when the
    /// table doubles.
    fn set(&self, tag: [u32; 3]) -> usize {
        let bits = self.sets.len().ilog2();
        let top = u64::from(tag[0]) << 32 | u64::from(tag[1]);
        // A table of one set has no bits to take.
        let set = top.checked_shr(64 - bits).unwrap_or(0);
        usize::try_from(set).expect("fewer bits than the table has sets")
    }

    pub fn get(&self, key: &[u8]) -> Option<Known> {
        let place = self.place(key);
        let slot = self.sets[place.set]
            .iter()
            .find(|slot| slot.tag == place.tag && slot.version != 0)?;
        Some(Known {
            create: number(slot.create),
            modified: number(slot.modified),
            sub: slot.sub,
            version: i64::from(slot.version),
            value_bytes: slot.value_bytes,
        })
    }

    pub fn remove(&mut self, key: &[u8]) {
        let place = self.place(key);
        for slot in &mut self.sets[place.set] {
            if slot.tag == place.tag && slot.version != 0 {
                *slot = Slot::default();
                self.used -= 1;
            }
        }
    }

    pub fn put(&mut self, key: &[u8], known: &Known) {
        let Ok(version) = u32::try_from(known.version) else {
            // Four thousand million writes of one key: it is read from `current` from here on.
            self.remove(key);
            return;
        };
        let place = self.place(key);
        self.put_slot(Slot {
            tag: place.tag,
            create: words(known.create),
            modified: words(known.modified),
            sub: known.sub,
            version,
            value_bytes: known.value_bytes,
        });
        if self.used * 8 > self.sets.len() * WAYS * 5 && self.sets.len() < self.sets_max {
            self.double();
        }
    }

    fn put_slot(&mut self, new: Slot) {
        let set = self.set(new.tag);
        let ways = &mut self.sets[set];
        let same = ways
            .iter()
            .position(|slot| slot.tag == new.tag && slot.version != 0);
        let way = match same.or_else(|| ways.iter().position(|slot| slot.version == 0)) {
            Some(way) => way,
            None => {
                self.turn = (self.turn + 1) % WAYS;
                self.turn
            }
        };
        self.used += usize::from(ways[way].version == 0);
        ways[way] = new;
    }

    fn double(&mut self) {
        let doubled = self.sets.len() * 2;
        let old = std::mem::replace(&mut self.sets, vec![[Slot::default(); WAYS]; doubled]);
        self.used = 0;
        for slot in old.into_iter().flatten().filter(|slot| slot.version != 0) {
            self.put_slot(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(n: u32) -> Known {
        Known {
            create: 5,
            modified: i64::from(n) << 20,
            sub: n,
            version: 1,
            value_bytes: n,
        }
    }

    #[test]
    fn grows_and_remembers_up_to_its_cap() {
        let mut cache = MetadataCache::new(10 << 20, 1);
        let small = cache.sets.len();
        for n in 0..100_000 {
            cache.put(&n.to_string().into_bytes(), &known(n));
        }
        assert!(cache.sets.len() > small);
        let mut hits = 0;
        for n in 0..100_000 {
            if let Some(found) = cache.get(&n.to_string().into_bytes()) {
                assert_eq!(found, known(n));
                hits += 1;
            }
        }
        assert!(hits > 85_000, "{hits} of 100000 found");
        cache.remove(b"7");
        assert_eq!(cache.get(b"7"), None);
    }

    #[test]
    fn a_full_table_replaces() {
        let mut cache = MetadataCache::new(160, 1);
        for n in 0..100 {
            cache.put(&[u8::try_from(n).unwrap()], &known(n));
            assert_eq!(cache.get(&[u8::try_from(n).unwrap()]), Some(known(n)));
        }
        assert_eq!((cache.sets.len(), cache.used), (1, WAYS));
    }
}

//! Which keys may be live. What is surely new need not be looked for.
//!
//! A put asks for the version that it replaces. Of a new key there is none, and to hear that from
//! the engine means asking every memtable and the filter of every file: more than a quarter of what
//! applying a bulk load costs (measured). This asks one filter in memory.
//!
//! It is a Bloom filter whose bits of one key lie in one line of the cache, in layers: a full layer
//! stays as it is, and the next one is four times as large, so that an idle member stays small and
//! nothing is ever read again to grow. Keys are only added. One that was deleted is looked for in
//! vain when it is put again; one that is live is never denied. When the largest layer is full, after
//! 22 million keys were made, the filter is dropped, and everything is looked for until the store is
//! opened again, which reads all live keys anyway.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bits of a key in its line: with ten bits of room for each key one new key in a hundred is looked for in
/// vain.
const PROBES: u32 = 6;
const BITS_A_KEY: usize = 10;
/// 20 KiB.
const FIRST_KEYS: usize = 1 << 14;
const GROWTH: usize = 4;
/// The layers of 16 thousand to 16 million keys have 27 MiB together.
const LAYERS_MAX: u32 = 6;

/// A line of the cache.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Line([u64; 8]);

struct Layer {
    lines: Vec<Line>,
    /// How many more keys it takes.
    room: usize,
}

impl Layer {
    fn new(keys: usize) -> Self {
        Self {
            lines: vec![Line::default(); (keys * BITS_A_KEY).div_ceil(512)],
            room: keys,
        }
    }

    /// The upper half of the hash chooses a line.
    fn line(&self, hash: u64) -> usize {
        let lines = self.lines.len() as u64;
        usize::try_from(((hash >> 32) * lines) >> 32).expect("less than the number of lines")
    }

    fn has(&self, hash: u64) -> bool {
        let Line(words) = &self.lines[self.line(hash)];
        bits(hash).all(|(word, bit)| words[word] & bit != 0)
    }

    fn add(&mut self, hash: u64) {
        let at = self.line(hash);
        let Line(words) = &mut self.lines[at];
        for (word, bit) in bits(hash) {
            words[word] |= bit;
        }
        self.room -= 1;
    }
}

/// The lower half of the hash chooses bits of a line: in each step the nine uppermost, then they are mixed.
fn bits(hash: u64) -> impl Iterator<Item = (usize, u64)> {
    let [.., a, b, c, d] = hash.to_be_bytes();
    let mut rest = u32::from_be_bytes([a, b, c, d]);
    (0..PROBES).map(move |_| {
        let at = rest >> 23;
        rest = rest.wrapping_mul(0x9e37_79b9);
        let word = usize::try_from(at / 64).expect("three bits");
        (word, 1 << (at % 64))
    })
}

pub struct KeyFilter {
    /// The last one has room. None at all: every key may be live.
    layers: Vec<Layer>,
    /// Not known to clients, who could otherwise choose keys that look like others.
    seed: u64,
}

impl KeyFilter {
    pub fn new(seed: u64) -> Self {
        Self {
            layers: vec![Layer::new(FIRST_KEYS)],
            seed,
        }
    }

    /// False: `key` was not added.
    pub fn may_have(&self, key: &[u8]) -> bool {
        let hash = xxh3_64_with_seed(key, self.seed);
        // Most keys are in the last one.
        self.layers.is_empty() || self.layers.iter().rev().any(|layer| layer.has(hash))
    }

    pub fn add(&mut self, key: &[u8]) {
        let Some(last) = self.layers.last_mut() else {
            return;
        };
        last.add(xxh3_64_with_seed(key, self.seed));
        if last.room > 0 {
            return;
        }
        match u32::try_from(self.layers.len()) {
            Ok(layers) if layers < LAYERS_MAX => {
                let keys = FIRST_KEYS * GROWTH.pow(layers);
                self.layers.push(Layer::new(keys));
            }
            Ok(_) | Err(_) => self.layers = Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mvcc::{StoreOptions, Writer};
    use crate::storage::EngineOptions;
    use crate::types::Position;

    fn key(number: usize) -> Vec<u8> {
        format!("/registry/pods/{number}").into_bytes()
    }

    #[test]
    fn what_was_added_is_never_denied_and_little_else_is_suspected() {
        let mut filter = KeyFilter::new(7);
        assert!(!filter.may_have(&key(0)));
        let count = 200_000;
        for number in 0..count {
            filter.add(&key(number));
            assert!(filter.may_have(&key(number)));
        }
        assert!(filter.layers.len() > 2, "it grew");
        assert!((0..count).all(|number| filter.may_have(&key(number))));
        let suspected = (count..2 * count).filter(|number| filter.may_have(&key(*number)));
        let suspected = suspected.count();
        assert!(suspected < count / 20, "{suspected} of {count}");
    }

    #[test]
    fn a_filter_that_was_full_suspects_everything() {
        let mut filter = KeyFilter::new(7);
        let keys_max = FIRST_KEYS * (GROWTH.pow(LAYERS_MAX) - 1) / (GROWTH - 1);
        for number in 0..keys_max {
            filter.add(&number.to_be_bytes());
        }
        assert!(filter.layers.is_empty(), "it keeps no memory");
        filter.add(b"more");
        assert!(filter.may_have(b"anything"));
    }

    /// Puts `k` with a lease: the metadata cache keeps no such keys. Its version then.
    fn put(writer: &mut Writer, index: u64) -> i64 {
        let mut txn = writer.begin();
        txn.begin_entry(Position { term: 1, index }).unwrap();
        if index == 1 {
            txn.grant_lease(7, 60).unwrap().unwrap();
        }
        txn.put("k".into(), "v".into(), 7, false).unwrap();
        txn.finish_command();
        let version = txn.get(&"k".into()).unwrap().unwrap().version;
        txn.commit().unwrap();
        version
    }

    #[test]
    fn a_live_key_is_found_by_who_made_it_and_by_the_next_writer() {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            engine: EngineOptions::small(),
            ..StoreOptions::default()
        };
        let mut writer = Writer::open(dir.path(), &options).unwrap();
        assert_eq!([1, 2].map(|index| put(&mut writer, index)), [1, 2]);
        writer.store().flush().unwrap();
        drop(writer);
        let mut writer = Writer::open(dir.path(), &options).unwrap();
        assert_eq!(put(&mut writer, 3), 3);
    }
}

//! Keys by number: a million operations on a few hundred keys need not compare text.

use crate::history::call::Range;
use rustc_hash::FxHashMap;

pub type KeyId = usize;

/// Every key that the recording names.
#[derive(Debug, Default)]
pub struct Keys<'a> {
    numbers: FxHashMap<&'a str, KeyId>,
    names: Vec<&'a str>,
    /// Numbers in the order of names; made once all are known.
    sorted: Vec<KeyId>,
}

impl<'a> Keys<'a> {
    pub fn intern(&mut self, name: &'a str) -> KeyId {
        if let Some(known) = self.numbers.get(name) {
            return *known;
        }
        let number = self.names.len();
        self.names.push(name);
        self.numbers.insert(name, number);
        number
    }

    pub fn sort(&mut self) {
        self.sorted = (0..self.names.len()).collect();
        let names = &self.names;
        self.sorted
            .sort_unstable_by_key(|number| names.get(*number));
    }

    pub fn find(&self, name: &str) -> Option<KeyId> {
        self.numbers.get(name).copied()
    }

    pub fn name(&self, key: KeyId) -> &'a str {
        self.names.get(key).copied().unwrap_or("")
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Keys of the range, by name.
    pub fn within<'r>(&'r self, range: &'r Range) -> impl Iterator<Item = KeyId> + 'r {
        let one = range.end.is_none();
        let alone = one.then(|| self.find(&range.key)).flatten();
        let first = self
            .sorted
            .partition_point(|number| self.name(*number) < range.key.as_str());
        let many = self.sorted.get(first..).unwrap_or_default().iter().copied();
        let many = many.take_while(move |number| !one && range.contains(self.name(*number)));
        alone.into_iter().chain(many)
    }
}

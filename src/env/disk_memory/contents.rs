//! The bytes of one file: as they are read, as they are on the disk, and what lies between.

use rand::Rng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::ops::Range;

/// What a disk writes whole or not at all, bytes.
const SECTOR: u64 = 512;
/// What is kept together in memory, bytes.
static ZEROS: [u8; 4096] = [0; 4096];
const PAGE: u64 = ZEROS.len() as u64;

/// Pages that were never anything but zeros are left out: the Raft log fills megabytes with them.
#[derive(Clone, Default)]
pub(super) struct Contents {
    pages: BTreeMap<u64, Vec<u8>>,
    length: u64,
}

impl Contents {
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// Fills `buffer` from `offset`; `None` if the file ends before.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Option<()> {
        let end = offset.checked_add(buffer.len() as u64)?;
        if end > self.length {
            return None;
        }
        for (at, range) in pieces(offset, buffer.len(), PAGE) {
            let part = buffer.get_mut(range)?;
            match self.pages.get(&(at / PAGE)) {
                Some(page) => part.copy_from_slice(page.get(within(at, part.len()))?),
                None => part.fill(0),
            }
        }
        Some(())
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut all = vec![0; usize::try_from(self.length).unwrap_or(0)];
        // Never longer than itself.
        self.read(&mut all, 0).unwrap_or_default();
        all
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write(offset, bytes) => self.write(*offset, bytes),
            Change::SetLen(length) => self.set_len(*length),
        }
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (at, range) in pieces(offset, bytes.len(), PAGE) {
            let part = bytes.get(range).unwrap_or_default();
            let number = at / PAGE;
            if !self.pages.contains_key(&number) && ZEROS.starts_with(part) {
                continue;
            }
            let page = self.pages.entry(number).or_insert_with(|| ZEROS.to_vec());
            if let Some(place) = page.get_mut(within(at, part.len())) {
                place.copy_from_slice(part);
            }
        }
        let end = offset.saturating_add(bytes.len() as u64);
        self.length = self.length.max(end);
    }

    pub(super) fn set_len(&mut self, length: u64) {
        if length < self.length {
            let beyond = self.pages.split_off(&(length / PAGE));
            // Of the page on the border the beginning stays.
            if let Some(mut page) = beyond
                .into_iter()
                .next()
                .filter(|(at, _)| *at == length / PAGE)
            {
                let kept = within(length, 0).start;
                page.1.iter_mut().skip(kept).for_each(|byte| *byte = 0);
                self.pages.insert(page.0, page.1);
            }
        }
        self.length = length;
    }
}

/// Cuts `length` bytes at `offset` of a file where it has a border every `unit` bytes: for each piece
/// its place in the file, and which of the bytes they are.
fn pieces(offset: u64, length: usize, unit: u64) -> impl Iterator<Item = (u64, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done >= length {
            return None;
        }
        let at = offset.saturating_add(done as u64);
        let to_border = usize::try_from(unit - at % unit).unwrap_or(usize::MAX);
        let from = done;
        done = done.saturating_add(to_border).min(length);
        Some((at, from..done))
    })
}

/// Where in its page `length` bytes are that begin at `at` of the file.
fn within(at: u64, length: usize) -> Range<usize> {
    let from = usize::try_from(at % PAGE).unwrap_or(0);
    from..from.saturating_add(length)
}

#[derive(Clone)]
pub(super) enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

#[derive(Clone, Default)]
pub(super) struct File {
    pub(super) now: Contents,
    pub(super) durable: Contents,
    /// Oldest first.
    pending: Vec<Change>,
    /// Handles that are open.
    pub(super) open: u64,
}

impl File {
    pub(super) fn change(&mut self, change: Change) {
        self.now.apply(&change);
        self.pending.push(change);
    }

    /// All that was written is durable.
    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            self.durable.apply(&change);
        }
    }

    /// What was written can still be read, and will never be durable.
    pub(super) fn fail_to_sync(&mut self) {
        self.pending.clear();
    }

    /// What a power cut leaves: of each write that was not synced the sectors that chance `keep`s.
    pub(super) fn after_cut(&self, keep: f64, random: &mut StdRng) -> Self {
        let mut bytes = self.durable.clone();
        for change in &self.pending {
            match change {
                Change::SetLen(_) => {
                    if random.random_bool(keep) {
                        bytes.apply(change);
                    }
                }
                Change::Write(offset, written) => {
                    for (at, range) in pieces(*offset, written.len(), SECTOR) {
                        if random.random_bool(keep) {
                            bytes.write(at, written.get(range).unwrap_or_default());
                        }
                    }
                }
            }
        }
        Self {
            now: bytes.clone(),
            durable: bytes,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn pages_are_as_good_as_bytes() {
        let mut random = StdRng::seed_from_u64(1);
        let (mut pages, mut plain) = (Contents::default(), Vec::new());
        for _ in 0..400 {
            let offset = random.random_range(0..20_000_usize);
            if random.random_bool(0.2) {
                pages.set_len(offset as u64);
                plain.resize(offset, 0);
            } else {
                let fill = if random.random_bool(0.5) {
                    0
                } else {
                    random.random()
                };
                let bytes = vec![fill; random.random_range(0..9000)];
                pages.write(offset as u64, &bytes);
                plain.resize(plain.len().max(offset + bytes.len()), 0);
                plain[offset..offset + bytes.len()].copy_from_slice(&bytes);
            }
            assert!(pages.bytes() == plain);
        }
        let mut beyond = [0; 2];
        assert!(pages.read(&mut beyond, pages.len() - 1).is_none());
        assert!(pages.read(&mut beyond, u64::MAX).is_none());
    }

    #[test]
    fn zeros_take_no_memory() {
        let mut pages = Contents::default();
        pages.write(0, &vec![0; 1 << 20]);
        assert_eq!((pages.len(), pages.pages.len()), (1 << 20, 0));
        pages.write(5000, b"x");
        assert_eq!(pages.pages.len(), 1);
    }
}

//! From the witnesses to the log.

use super::keys::KeyId;
use super::{Conflict, Log, Revision, Version};
use crate::history::call::{Act, Answer, Call, Done, Pair};
use crate::history::operation::Operation;
use crate::history::recording::Recording;
use crate::history::watch::{Event, Kind, Tidings, WatchStream};
use rustc_hash::FxHashSet;

/// Revision 1 is an empty store's.
const EMPTY: i64 = 1;

/// A witness who says all of a revision: its changes are a run of the gatherer's.
struct Claim {
    revision: i64,
    changes: std::ops::Range<usize>,
    operation: Option<usize>,
    told: Option<(usize, usize)>,
}

#[derive(Default)]
struct Gatherer<'a> {
    log: Log<'a>,
    changes: Vec<(KeyId, Version<'a>)>,
    claims: Vec<Claim>,
    /// Revisions that a watcher over everything was told to their end.
    told: FxHashSet<i64>,
}

impl<'a> Log<'a> {
    /// The log that a recording claims.
    pub fn gather(recording: &'a Recording) -> Self {
        let mut gatherer = Gatherer::default();
        for (number, operation) in recording.operations.iter().enumerate() {
            gatherer.operation(number, operation);
        }
        for (number, stream) in recording.watches.iter().enumerate() {
            gatherer.stream(number, stream);
        }
        for member in &recording.finale {
            gatherer.log.last = gatherer.log.last.max(member.revision);
        }
        gatherer.merge();
        if !gatherer.log.gaps.is_empty() {
            gatherer.fill(recording);
        }
        gatherer.log.keys.sort();
        gatherer.log
    }
}

impl<'a> Gatherer<'a> {
    fn operation(&mut self, number: usize, operation: &'a Operation) {
        let Some((header, answer)) = operation.answer() else {
            return;
        };
        self.log.last = self.log.last.max(header.revision);
        let start = self.changes.len();
        if let (Call::Txn(txn), Answer::Txn { succeeded, done }) = (&operation.call, answer) {
            let acts = if *succeeded {
                &txn.then
            } else {
                &txn.otherwise
            };
            for (act, done) in acts.iter().zip(done) {
                self.done(act, done, header.revision);
            }
        }
        if self.changes.len() > start {
            self.claims.push(Claim {
                revision: header.revision,
                changes: start..self.changes.len(),
                operation: Some(number),
                told: None,
            });
        }
    }

    fn done(&mut self, act: &'a Act, done: &'a Done, revision: i64) {
        match (act, done) {
            (Act::Put { key, value, lease }, Done::Put { previous }) => {
                let key = self.log.keys.intern(key);
                let before = previous.as_ref();
                let version = Version {
                    revision,
                    value: Some(value),
                    create_revision: before.map_or(revision, |before| before.create_revision),
                    version: before.map_or(0, |before| before.version) + 1,
                    lease: *lease,
                };
                self.changes.push((key, version));
            }
            (Act::Delete(_), Done::Deleted { previous }) => {
                for pair in previous {
                    let key = self.log.keys.intern(&pair.key);
                    self.changes.push((key, deleted(revision)));
                }
            }
            // A read; or an answer to another question, which the oracle holds against the member.
            _ => {}
        }
    }

    /// A watcher over everything says all of a revision once it was told a newer one, or once the
    /// last response is whole.
    fn stream(&mut self, number: usize, stream: &'a WatchStream) {
        let request = &stream.request;
        let everything = request.range.is_all() && !request.no_put && !request.no_delete;
        let mut open: Option<(i64, usize, usize)> = None;
        let mut whole = true;
        for (response, told) in stream.told.iter().enumerate() {
            let Tidings::Events { events, fragment } = &told.what else {
                continue;
            };
            whole = !fragment;
            for event in events {
                self.log.last = self.log.last.max(event.kv.mod_revision);
                if !everything {
                    continue;
                }
                let at = event.kv.mod_revision;
                if let Some((revision, start, first)) = open
                    && revision != at
                {
                    self.close(revision, start, (number, first));
                    open = None;
                }
                if open.is_none() {
                    open = Some((at, self.changes.len(), response));
                }
                let change = self.event(event);
                self.changes.push(change);
            }
        }
        if let Some((revision, start, first)) = open {
            if whole {
                self.close(revision, start, (number, first));
            } else {
                self.changes.truncate(start);
            }
        }
    }

    /// What the first such watcher says stands for all of them: the others are compared with it when
    /// their streams are judged.
    fn close(&mut self, revision: i64, start: usize, told: (usize, usize)) {
        if !self.told.insert(revision) {
            self.changes.truncate(start);
            return;
        }
        self.claims.push(Claim {
            revision,
            changes: start..self.changes.len(),
            operation: None,
            told: Some(told),
        });
    }

    fn event(&mut self, event: &'a Event) -> (KeyId, Version<'a>) {
        let key = self.log.keys.intern(&event.kv.key);
        match event.kind {
            Kind::Put => (key, stored(&event.kv)),
            Kind::Delete => (key, deleted(event.kv.mod_revision)),
        }
    }

    fn merge(&mut self) {
        let mut claims = std::mem::take(&mut self.claims);
        // The answer to the client first: it is the stronger witness.
        claims.sort_by_key(|claim| (claim.revision, claim.told.is_some()));
        self.log.versions.resize(self.log.keys.len(), Vec::new());
        let mut known = EMPTY;
        for same in claims.chunk_by(|one, other| one.revision == other.revision) {
            let Some((first, others)) = same.split_first() else {
                continue;
            };
            let start = self.log.changed.len();
            for other in others {
                self.compare(first, other);
            }
            // A key twice in one revision is a fault that the comparison has shown; the first counts.
            for at in first.changes.clone() {
                let Some((key, version)) = self.changes.get(at).copied() else {
                    continue;
                };
                if let Some(versions) = self.log.versions.get_mut(key)
                    && versions
                        .last()
                        .is_none_or(|last| last.revision < version.revision)
                {
                    versions.push(version);
                    self.log.changed.push(key);
                }
            }
            if first.revision > known + 1 {
                self.log.gaps.push((known + 1, first.revision - 1));
            }
            known = known.max(first.revision);
            self.log.revisions.push(Revision {
                revision: first.revision,
                changed: start..self.log.changed.len(),
                whole: true,
                operation: first.operation,
                told: same.iter().find_map(|claim| claim.told),
            });
        }
        if self.log.last > known {
            self.log.gaps.push((known + 1, self.log.last));
        }
    }

    fn of(&self, claim: &Claim) -> &[(KeyId, Version<'a>)] {
        let changes = self.changes.get(claim.changes.clone());
        changes.unwrap_or_default()
    }

    fn compare(&mut self, first: &Claim, other: &Claim) {
        let (mut changes, mut others) = (self.of(first), self.of(other));
        // Of several, the order is each witness's own.
        let mut sorted;
        if changes.len() > 1 {
            sorted = (changes.to_vec(), others.to_vec());
            sorted.0.sort_unstable_by_key(|(key, _)| *key);
            sorted.1.sort_unstable_by_key(|(key, _)| *key);
            sorted.1.dedup();
            (changes, others) = (&sorted.0, &sorted.1);
        }
        let revision = first.revision;
        let explanation = if first.operation.is_some() && other.operation.is_some() {
            format!("two acknowledged writes were both told revision {revision}")
        } else if changes == others {
            return;
        } else {
            format!(
                "the client was told that revision {revision} is {}, the watchers were told {}",
                self.in_words(changes),
                self.in_words(others)
            )
        };
        let operations = first.operation.into_iter().chain(other.operation);
        self.log.conflicts.push(Conflict {
            revision,
            operations: operations.collect(),
            told: first.told.or(other.told),
            explanation,
        });
    }

    fn in_words(&self, changes: &[(KeyId, Version<'a>)]) -> String {
        let words = changes.iter().take(8).map(|(key, version)| {
            let name = self.log.keys.name(*key);
            match version.value {
                Some(value) => format!(
                    "put {name}={value} (created {}, version {}, lease {:x})",
                    version.create_revision, version.version, version.lease
                ),
                None => format!("delete {name}"),
            }
        });
        words.collect::<Vec<String>>().join(", ")
    }

    /// Those who say a part, for revisions of which nobody says all.
    fn fill(&mut self, recording: &'a Recording) {
        let mut parts: Vec<(KeyId, Version<'a>)> = Vec::new();
        for operation in &recording.operations {
            if let Some((_, answer)) = operation.answer() {
                for pair in pairs(answer) {
                    self.part(pair, &mut parts);
                }
            }
        }
        for stream in &recording.watches {
            for (_, event) in stream.events() {
                if let Some(pair) = &event.previous {
                    self.part(pair, &mut parts);
                }
                if self
                    .log
                    .has_gap(event.kv.mod_revision, event.kv.mod_revision)
                {
                    parts.push(self.event(event));
                }
            }
        }
        for pair in recording.finale.iter().flat_map(|member| &member.state) {
            self.part(pair, &mut parts);
        }
        parts.sort_by_key(|(key, version)| (version.revision, *key));
        parts.dedup_by_key(|(key, version)| (version.revision, *key));
        self.log.versions.resize(self.log.keys.len(), Vec::new());
        for same in parts.chunk_by(|one, other| one.1.revision == other.1.revision) {
            let revision = same.first().map_or(0, |(_, version)| version.revision);
            for (key, version) in same {
                if let Some(versions) = self.log.versions.get_mut(*key) {
                    versions.push(*version);
                }
            }
            let start = self.log.changed.len();
            self.log.changed.extend(same.iter().map(|(key, _)| *key));
            self.log.revisions.push(Revision {
                revision,
                changed: start..self.log.changed.len(),
                ..Revision::default()
            });
        }
        self.log
            .revisions
            .sort_unstable_by_key(|entry| entry.revision);
        for versions in &mut self.log.versions {
            versions.sort_by_key(|version| version.revision);
        }
    }

    fn part(&mut self, pair: &'a Pair, parts: &mut Vec<(KeyId, Version<'a>)>) {
        if self.log.has_gap(pair.mod_revision, pair.mod_revision) {
            parts.push((self.log.keys.intern(&pair.key), stored(pair)));
        }
    }
}

fn stored(pair: &Pair) -> Version<'_> {
    Version {
        revision: pair.mod_revision,
        value: Some(&pair.value),
        create_revision: pair.create_revision,
        version: pair.version,
        lease: pair.lease,
    }
}

fn deleted(revision: i64) -> Version<'static> {
    Version {
        revision,
        value: None,
        create_revision: 0,
        version: 0,
        lease: 0,
    }
}

/// Every pair in an answer.
pub fn pairs(answer: &Answer) -> Vec<&Pair> {
    match answer {
        Answer::Range(found) => found.kvs.iter().collect(),
        Answer::Txn { done, .. } => done
            .iter()
            .flat_map(|done| match done {
                Done::Put { previous } => previous.iter().collect::<Vec<&Pair>>(),
                Done::Get(found) => found.kvs.iter().collect(),
                Done::Deleted { previous } => previous.iter().collect(),
            })
            .collect(),
        Answer::Lease { .. } | Answer::Revoked | Answer::Compacted => Vec::new(),
    }
}

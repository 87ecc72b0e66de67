//! The state machine as anyone would first write it: a full copy of the state per revision. It
//! shares no code with the real one but the words of commands and replies.

use bytes::Bytes;
use quorate::state_machine::command::{
    Command, Compare, CompareTarget, Operation, Put, Relation, Txn,
};
use quorate::state_machine::outcome::{
    OperationOutcome, OperationResult, Outcome, Refusal, Reply, TxnOutcome,
};
use quorate::types::{
    KeyRange, KeyValue, Lease, LeaseId, Position, RangeQuery, RangeResult, Revision, SortOrder,
    SortTarget,
};
use std::collections::BTreeMap;

type State = BTreeMap<Bytes, KeyValue>;

pub(crate) struct Model {
    /// By revision; 0 is not one.
    states: Vec<State>,
    pub(crate) compacted: Revision,
    pub(crate) leases: BTreeMap<LeaseId, Lease>,
    /// Of the entry that is applied.
    pub(crate) at: Position,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            states: vec![State::new(), State::new()],
            compacted: -1,
            leases: BTreeMap::new(),
            at: Position { term: 1, index: 0 },
        }
    }
}

/// A command at work.
struct Work<'m> {
    model: &'m Model,
    state: State,
    changes: usize,
}

fn at(revision: Revision) -> usize {
    usize::try_from(revision).unwrap()
}

impl Model {
    pub(crate) fn revision(&self) -> Revision {
        i64::try_from(self.states.len()).unwrap() - 1
    }

    fn latest(&self) -> &State {
        self.states.last().unwrap()
    }

    pub(crate) fn check(&self, revision: Revision) -> Result<(), Refusal> {
        if revision > self.revision() {
            Err(Refusal::FutureRevision)
        } else if revision > 0 && revision < self.compacted {
            Err(Refusal::Compacted)
        } else {
            Ok(())
        }
    }

    pub(crate) fn range(&self, query: &RangeQuery) -> Result<RangeResult, Refusal> {
        self.check(query.revision)?;
        let state = match query.revision {
            revision if revision > 0 => &self.states[at(revision)],
            _ => self.latest(),
        };
        Ok(range(state, query))
    }

    pub(crate) fn apply(&mut self, command: &Command) -> Reply {
        let mut work = Work {
            model: self,
            state: self.latest().clone(),
            changes: 0,
        };
        let mut compact_to = None;
        let mut leases = self.leases.clone();
        let result = match command {
            Command::Put(put) if self.lacks_lease(put) => Err(Refusal::LeaseNotFound),
            Command::Put(put) => work.put(put).map(|prev_kv| Outcome::Put { prev_kv }),
            Command::DeleteRange(delete) => {
                let (deleted, prev_kvs) = work.delete(&delete.range, delete.prev_kv);
                Ok(Outcome::DeleteRange { deleted, prev_kvs })
            }
            Command::Txn(txn) => work.txn(txn).map(Outcome::Txn),
            Command::Compact { revision } => {
                if *revision <= self.compacted {
                    Err(Refusal::Compacted)
                } else if *revision > self.revision() {
                    Err(Refusal::FutureRevision)
                } else {
                    compact_to = Some(*revision);
                    Ok(Outcome::Compacted)
                }
            }
            Command::PublishMember(_) => Ok(Outcome::Published),
            Command::LeaseGrant { id: 0, .. } => Err(Refusal::LeaseNotFound),
            Command::LeaseGrant { id, .. } if leases.contains_key(id) => Err(Refusal::LeaseExists),
            Command::LeaseGrant { id, ttl } => {
                let lease = Lease {
                    id: *id,
                    ttl: *ttl,
                    remaining: 0,
                    granted_at: self.at.index,
                };
                leases.insert(*id, lease);
                Ok(Outcome::LeaseGranted)
            }
            Command::LeaseRevoke { id, fence } => match leases.get(id) {
                None => Err(Refusal::LeaseNotFound),
                Some(lease)
                    if fence.is_some_and(|fence| {
                        (fence.term, fence.granted_at) != (self.at.term, lease.granted_at)
                    }) =>
                {
                    Err(Refusal::Fenced)
                }
                Some(_) => {
                    let doomed = |kv: &&KeyValue| kv.lease == *id;
                    work.changes += work.state.values().filter(doomed).count();
                    work.state.retain(|_, kv| kv.lease != *id);
                    leases.remove(id);
                    Ok(Outcome::LeaseRevoked { whole: true })
                }
            },
            Command::LeaseCheckpoint { term, .. } if *term != self.at.term => Err(Refusal::Fenced),
            Command::LeaseCheckpoint { marks, .. } => {
                for mark in marks {
                    if let Some(lease) = leases.get_mut(&mark.id)
                        && lease.granted_at == mark.granted_at
                    {
                        lease.remaining = mark.remaining.max(0).min(lease.ttl);
                    }
                }
                Ok(Outcome::LeaseCheckpointed)
            }
            other => panic!("not in the model: {other:?}"),
        };
        let Work { state, changes, .. } = work;
        if changes > 0 && result.is_ok() {
            self.states.push(state);
        }
        if let Some(revision) = compact_to {
            self.compacted = revision;
        }
        self.leases = leases;
        Reply {
            revision: self.revision(),
            result,
        }
    }
}

impl Model {
    fn lacks_lease(&self, put: &Put) -> bool {
        put.lease != 0 && !self.leases.contains_key(&put.lease)
    }

    /// The keys of a lease, as the latest state has them.
    pub(crate) fn keys_of_lease(&self, id: LeaseId) -> Vec<Bytes> {
        let attached = self.latest().values().filter(|kv| kv.lease == id);
        attached.map(|kv| kv.key.clone()).collect()
    }
}

impl Work<'_> {
    fn revision(&self) -> Revision {
        self.model.revision() + Revision::from(self.changes > 0)
    }

    fn put(&mut self, put: &Put) -> Result<Option<KeyValue>, Refusal> {
        let old = self.state.get(&put.key).cloned();
        if (put.ignore_value || put.ignore_lease) && old.is_none() {
            return Err(Refusal::KeyNotFound);
        }
        let revision = self.model.revision() + 1;
        let value = match &old {
            Some(old) if put.ignore_value => old.value.clone(),
            _ => put.value.clone(),
        };
        let new = KeyValue {
            key: put.key.clone(),
            create_revision: old.as_ref().map_or(revision, |old| old.create_revision),
            mod_revision: revision,
            version: old.as_ref().map_or(1, |old| old.version + 1),
            value,
            lease: match &old {
                Some(old) if put.ignore_lease => old.lease,
                _ => put.lease,
            },
        };
        self.state.insert(put.key.clone(), new);
        self.changes += 1;
        Ok(old.filter(|_| put.prev_kv))
    }

    fn delete(&mut self, range: &KeyRange, wanted: bool) -> (i64, Vec<KeyValue>) {
        let doomed: Vec<_> = self
            .state
            .values()
            .filter(|kv| range.contains(&kv.key))
            .cloned()
            .collect();
        for kv in &doomed {
            self.state.remove(&kv.key);
        }
        self.changes += doomed.len();
        let deleted = i64::try_from(doomed.len()).unwrap();
        (deleted, if wanted { doomed } else { Vec::new() })
    }

    fn txn(&mut self, txn: &Txn) -> Result<TxnOutcome, Refusal> {
        // Compares and checks see the state before; it is the model's latest throughout.
        let mut operations = Vec::new();
        flatten(self.model.latest(), txn, &mut operations);
        for operation in &operations {
            if let Operation::Put(put) = operation {
                let missing = !self.model.latest().contains_key(&put.key);
                if (put.ignore_value || put.ignore_lease) && missing {
                    return Err(Refusal::KeyNotFound);
                }
                if self.model.lacks_lease(put) {
                    return Err(Refusal::LeaseNotFound);
                }
            }
        }
        for operation in &operations {
            if let Operation::Range(query) = operation {
                self.model.check(query.revision)?;
            }
        }
        self.run(txn)
    }

    fn run(&mut self, txn: &Txn) -> Result<TxnOutcome, Refusal> {
        let succeeded = txn.compare.iter().all(|it| holds(self.model.latest(), it));
        let mut responses = Vec::new();
        for operation in if succeeded {
            &txn.success
        } else {
            &txn.failure
        } {
            let mut revision = None;
            let result = match operation {
                Operation::Put(put) => OperationResult::Put {
                    prev_kv: self.put(put)?,
                },
                Operation::DeleteRange(delete) => {
                    let (deleted, prev_kvs) = self.delete(&delete.range, delete.prev_kv);
                    OperationResult::DeleteRange { deleted, prev_kvs }
                }
                Operation::Range(query) => {
                    let old = (query.revision > 0 && query.revision <= self.model.revision())
                        .then(|| &self.model.states[at(query.revision)]);
                    OperationResult::Range(range(old.unwrap_or(&self.state), query))
                }
                Operation::Txn(txn) => {
                    revision = Some(0);
                    OperationResult::Txn(self.run(txn)?)
                }
            };
            let revision = revision.unwrap_or_else(|| self.revision());
            responses.push(OperationOutcome { revision, result });
        }
        Ok(TxnOutcome {
            succeeded,
            responses,
        })
    }
}

/// The operations of the chosen path, nested ones too.
fn flatten<'t>(state: &State, txn: &'t Txn, into: &mut Vec<&'t Operation>) {
    let succeeded = txn.compare.iter().all(|it| holds(state, it));
    for operation in if succeeded {
        &txn.success
    } else {
        &txn.failure
    } {
        match operation {
            Operation::Txn(txn) => flatten(state, txn, into),
            _ => into.push(operation),
        }
    }
}

fn holds(state: &State, compare: &Compare) -> bool {
    let pairs: Vec<_> = state
        .values()
        .filter(|kv| compare.range.contains(&kv.key))
        .collect();
    let relate = |ordering: std::cmp::Ordering| match compare.relation {
        Relation::Equal => ordering.is_eq(),
        Relation::NotEqual => ordering.is_ne(),
        Relation::Greater => ordering.is_gt(),
        Relation::Less => ordering.is_lt(),
    };
    let one = |kv: &KeyValue| match &compare.target {
        CompareTarget::Version(it) => relate(kv.version.cmp(it)),
        CompareTarget::Create(it) => relate(kv.create_revision.cmp(it)),
        CompareTarget::Mod(it) => relate(kv.mod_revision.cmp(it)),
        CompareTarget::Lease(it) => relate(kv.lease.cmp(it)),
        CompareTarget::Value(it) => relate(kv.value.cmp(it)),
    };
    if pairs.is_empty() {
        return !matches!(compare.target, CompareTarget::Value(_)) && one(&KeyValue::default());
    }
    pairs.into_iter().all(one)
}

fn range(state: &State, query: &RangeQuery) -> RangeResult {
    let mut kvs: Vec<_> = state
        .values()
        .filter(|kv| query.range.contains(&kv.key))
        .cloned()
        .collect();
    let count = i64::try_from(kvs.len()).unwrap();
    if query.count_only {
        return RangeResult {
            kvs: Vec::new(),
            more: false,
            count,
        };
    }
    let limit = usize::try_from(query.limit).unwrap_or(0);
    let filters = [
        query.min_mod_revision,
        query.max_mod_revision,
        query.min_create_revision,
        query.max_create_revision,
    ];
    let mut more_by_key = false;
    if query.sort_order == SortOrder::None && filters == [0; 4] && limit > 0 {
        more_by_key = kvs.len() > limit;
        kvs.truncate(limit + 1);
    }
    kvs.retain(|kv| {
        (filters[0] == 0 || kv.mod_revision >= filters[0])
            && (filters[1] == 0 || kv.mod_revision <= filters[1])
            && (filters[2] == 0 || kv.create_revision >= filters[2])
            && (filters[3] == 0 || kv.create_revision <= filters[3])
    });
    kvs.sort_by(|a, b| {
        let order = match query.sort_target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        };
        if query.sort_order == SortOrder::Descend {
            order.reverse()
        } else {
            order
        }
    });
    let more = limit > 0 && (more_by_key || kvs.len() > limit);
    if limit > 0 {
        kvs.truncate(limit);
    }
    if query.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    RangeResult { kvs, more, count }
}

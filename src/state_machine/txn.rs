//! Transactions (etcd `server/etcdserver/txn/txn.go`).
//!
//! 1. All compares of the whole tree, nested transactions included, look at the state before the
//!    transaction. The path is fixed before anything is written.
//! 2. A dry check of the path, against that same state: a revision that cannot be read, a lease or
//!    a key that a put needs and that is not there, refuses the whole.
//! 3. The operations run in order and see each other's changes; all changes share one revision.
//!
//! Where etcd panics because a check passed and the operation then fails (a put that keeps the
//! value of a key that the same transaction deleted), the whole is taken back and refused.

use super::apply::put_key;
use super::command::{Compare, CompareTarget, Operation, Relation, Txn};
use super::outcome::{OperationOutcome, OperationResult, Outcome, Refusal, Reply, TxnOutcome};
use crate::mvcc::range::check_revision_in_txn;
use crate::mvcc::row::Meta;
use crate::mvcc::state_cursor::Source;
use crate::mvcc::{Error, ReadView, WriteTxn, state_cursor};
use crate::types::{KeyRange, RangeEnd, RangeQuery, RangeResult};
use bytes::Bytes;

/// Inside: why the transaction ends early.
enum Stop {
    Refused(Refusal),
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

fn settle<T>(result: Result<T, Stop>) -> Result<Result<T, Refusal>, Error> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// State that compares can look at: a view, or the changes being collected.
trait Readable {
    /// Of the live version of a key, where its value does not matter.
    fn meta(&self, key: &Bytes) -> Result<Option<Meta>, Error>;

    fn visit(
        &self,
        range: &KeyRange,
        visit: &mut dyn FnMut(&Meta, &[u8]) -> bool,
    ) -> Result<(), Error>;
}

impl Readable for WriteTxn<'_> {
    fn meta(&self, key: &Bytes) -> Result<Option<Meta>, Error> {
        WriteTxn::meta(self, key)
    }

    fn visit(
        &self,
        range: &KeyRange,
        visit: &mut dyn FnMut(&Meta, &[u8]) -> bool,
    ) -> Result<(), Error> {
        WriteTxn::visit(self, range, visit)
    }
}

impl Readable for Source<'_> {
    fn meta(&self, key: &Bytes) -> Result<Option<Meta>, Error> {
        Ok(self.get(key)?.map(|(meta, _)| meta))
    }

    fn visit(
        &self,
        range: &KeyRange,
        mut visit: &mut dyn FnMut(&Meta, &[u8]) -> bool,
    ) -> Result<(), Error> {
        state_cursor::visit(*self, range, &mut visit)
    }
}

/// The branch that the compares chose, with the same for every nested transaction in it.
struct Path<'t> {
    succeeded: bool,
    operations: &'t [Operation],
    /// One per nested transaction among `operations`, in order.
    nested: Vec<Path<'t>>,
}

fn choose<'t>(state: &dyn Readable, txn: &'t Txn) -> Result<Path<'t>, Error> {
    let mut succeeded = true;
    for compare in &txn.compare {
        if !holds(state, compare)? {
            succeeded = false;
            break;
        }
    }
    let operations = if succeeded {
        &txn.success
    } else {
        &txn.failure
    };
    let mut nested = Vec::new();
    for operation in operations {
        if let Operation::Txn(txn) = operation {
            nested.push(choose(state, txn)?);
        }
    }
    Ok(Path {
        succeeded,
        operations,
        nested,
    })
}

/// Every key of the range must satisfy the compare; where there is none, numbers are 0 and a value
/// equals nothing, and differs from nothing.
fn holds(state: &dyn Readable, compare: &Compare) -> Result<bool, Error> {
    let is_number = !matches!(compare.target, CompareTarget::Value(_));
    if is_number && compare.range.end == RangeEnd::Single {
        let meta = state.meta(&compare.range.start)?;
        return Ok(satisfies(
            compare,
            meta.as_ref().map(|meta| (meta, &[][..])),
        ));
    }
    let mut found = false;
    let mut all = true;
    state.visit(&compare.range, &mut |meta, value| {
        found = true;
        all = satisfies(compare, Some((meta, value)));
        all
    })?;
    Ok(if found { all } else { satisfies(compare, None) })
}

fn satisfies(compare: &Compare, pair: Option<(&Meta, &[u8])>) -> bool {
    let number = |number: fn(&Meta) -> i64| pair.map_or(0, |(meta, _)| number(meta));
    let ordering = match &compare.target {
        CompareTarget::Version(wanted) => number(|meta| meta.version).cmp(wanted),
        CompareTarget::Create(wanted) => number(|meta| meta.create).cmp(wanted),
        CompareTarget::Mod(wanted) => number(|meta| meta.modified).cmp(wanted),
        CompareTarget::Lease(wanted) => number(|meta| meta.lease).cmp(wanted),
        CompareTarget::Value(wanted) => match pair {
            Some((_, value)) => value.cmp(wanted.as_ref()),
            None => return false,
        },
    };
    match compare.relation {
        Relation::Equal => ordering.is_eq(),
        Relation::NotEqual => ordering.is_ne(),
        Relation::Greater => ordering.is_gt(),
        Relation::Less => ordering.is_lt(),
    }
}

/// Carries out a transaction: all of it, or nothing and a refusal. What its ranges find is only read
/// if the reply is `awaited`.
pub(super) fn apply(
    txn: &mut WriteTxn<'_>,
    command: &Txn,
    awaited: bool,
) -> Result<Result<TxnOutcome, Refusal>, Error> {
    let path = choose(txn, command)?;
    if let Err(refusal) = settle(check(txn, &path))? {
        return Ok(Err(refusal));
    }
    txn.set_savepoint();
    let result = settle(run(txn, &path, awaited))?;
    if result.is_err() {
        txn.roll_back();
    }
    Ok(result)
}

/// The dry check: nothing is written before every operation of the path has passed. Puts come
/// first, as in etcd, which decides what is answered when several things are wrong.
fn check(txn: &WriteTxn<'_>, path: &Path<'_>) -> Result<(), Stop> {
    check_each(path, &|operation| {
        let Operation::Put(put) = operation else {
            return Ok(());
        };
        if (put.ignore_value || put.ignore_lease) && txn.get(&put.key)?.is_none() {
            return Err(Refusal::KeyNotFound.into());
        }
        if put.lease != 0 && !put.ignore_lease && txn.lease(put.lease)?.is_none() {
            return Err(Refusal::LeaseNotFound.into());
        }
        Ok(())
    })?;
    check_each(path, &|operation| {
        let Operation::Range(query) = operation else {
            return Ok(());
        };
        Ok(txn.check_revision_in_txn(query.revision)?)
    })
}

fn check_each(path: &Path<'_>, check: &dyn Fn(&Operation) -> Result<(), Stop>) -> Result<(), Stop> {
    let mut nested = path.nested.iter();
    for operation in path.operations {
        match operation {
            Operation::Txn(_) => nested
                .next()
                .map_or(Ok(()), |path| check_each(path, check))?,
            Operation::Range(_) | Operation::Put(_) | Operation::DeleteRange(_) => {
                check(operation)?;
            }
        }
    }
    Ok(())
}

fn run(txn: &mut WriteTxn<'_>, path: &Path<'_>, awaited: bool) -> Result<TxnOutcome, Stop> {
    let mut responses = Vec::with_capacity(path.operations.len());
    let mut nested = path.nested.iter();
    for operation in path.operations {
        let result = match operation {
            Operation::Range(query) if awaited => OperationResult::Range(txn.range(query)?),
            // The check has passed already, so a range refuses nothing and changes nothing.
            Operation::Range(_) => OperationResult::Range(RangeResult::default()),
            Operation::Put(put) => OperationResult::Put {
                prev_kv: put_key(txn, put.clone())??,
            },
            Operation::DeleteRange(delete) => {
                let (deleted, prev_kvs) = txn.delete_range(&delete.range, delete.prev_kv)??;
                OperationResult::DeleteRange { deleted, prev_kvs }
            }
            Operation::Txn(_) => match nested.next() {
                Some(path) => {
                    let result = OperationResult::Txn(run(txn, path, awaited)?);
                    // A nested transaction's own header is empty, as in etcd.
                    responses.push(OperationOutcome {
                        revision: 0,
                        result,
                    });
                    continue;
                }
                None => continue,
            },
        };
        responses.push(OperationOutcome {
            revision: txn.revision(),
            result,
        });
    }
    Ok(TxnOutcome {
        succeeded: path.succeeded,
        responses,
    })
}

/// Answers a transaction that holds nothing but ranges from one view. Anything else in it is a
/// mistake of the caller and answered as if it were not there.
pub fn read_only_txn(view: &ReadView<'_>, txn: &Txn) -> Result<Reply, Error> {
    let path = choose(&view.source(), txn)?;
    let ranges = || path.operations.iter().filter_map(as_range);
    let checks = ranges().try_for_each(|query| check_revision_in_txn(view.head(), query.revision));
    let revision = view.revision();
    if let Err(refusal) = checks {
        return Ok(Reply {
            revision,
            result: Err(refusal),
        });
    }
    let mut responses = Vec::new();
    for query in ranges() {
        match view.range(query)? {
            Ok(result) => {
                let result = OperationResult::Range(result);
                responses.push(OperationOutcome { revision, result });
            }
            Err(refusal) => {
                return Ok(Reply {
                    revision,
                    result: Err(refusal),
                });
            }
        }
    }
    let outcome = TxnOutcome {
        succeeded: path.succeeded,
        responses,
    };
    Ok(Reply {
        revision,
        result: Ok(Outcome::Txn(outcome)),
    })
}

fn as_range(operation: &Operation) -> Option<&RangeQuery> {
    match operation {
        Operation::Range(query) => Some(query),
        Operation::Put(_) | Operation::DeleteRange(_) | Operation::Txn(_) => None,
    }
}

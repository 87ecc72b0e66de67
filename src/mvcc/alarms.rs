//! What is wrong with which member, as the cluster agreed: raised and cleared by commands, kept as
//! rows of `meta`, and published with the data, so that a door knows them without asking.

use super::store::Store;
use super::write_txn::WriteTxn;
use super::{Error, hash::Emit};
use crate::storage::{Batch, Bounds, Family, Scan, View, keys};
use crate::types::NodeId;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlarmKind {
    /// A member ran out of space, of its quota's or of its disk's.
    NoSpace,
    /// A member holds other data than the rest.
    Corrupt,
}

impl AlarmKind {
    /// On disk and in the log: etcd's numbers.
    pub fn number(self) -> u8 {
        match self {
            Self::NoSpace => 1,
            Self::Corrupt => 2,
        }
    }

    /// The reverse of [`Self::number`].
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::NoSpace),
            2 => Some(Self::Corrupt),
            _ => None,
        }
    }

    /// etcd's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoSpace => "NOSPACE",
            Self::Corrupt => "CORRUPT",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alarm {
    pub kind: AlarmKind,
    /// 0 where the check that raised it could not tell which member it is.
    pub member: NodeId,
}

/// The alarms that are on, sorted and each once. Cheap to clone, and nearly always empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alarms(Arc<[Alarm]>);

impl Alarms {
    pub fn iter(&self) -> impl Iterator<Item = Alarm> {
        self.0.iter().copied()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any member has this one.
    pub fn any(&self, kind: AlarmKind) -> bool {
        self.0.iter().any(|alarm| alarm.kind == kind)
    }

    pub fn contains(&self, alarm: Alarm) -> bool {
        self.0.binary_search(&alarm).is_ok()
    }

    fn set(&mut self, alarm: Alarm, on: bool) {
        let others = self.iter().filter(|other| *other != alarm);
        let mut alarms: Vec<Alarm> = others.chain(on.then_some(alarm)).collect();
        alarms.sort_unstable();
        self.0 = alarms.into();
    }

    /// Writes what is not as `before`.
    pub(super) fn put_changes(&self, before: &Self, batch: &mut Batch<'_>) {
        for alarm in self.iter().filter(|alarm| !before.contains(*alarm)) {
            batch.put(Family::Meta, &row_key(alarm), &[]);
        }
        for alarm in before.iter().filter(|alarm| !self.contains(*alarm)) {
            batch.delete(Family::Meta, &row_key(alarm));
        }
    }

    pub(super) fn read(view: &View<'_>) -> Result<Self, Error> {
        let corrupt = || Error::Corrupt { what: "meta/alarm" };
        let bounds = Bounds {
            lower: keys::ALARM_PREFIX.to_vec(),
            upper: None,
        };
        let mut rows = view.cursor(Family::Meta, bounds, Scan::Short)?;
        let mut alarms = Vec::new();
        while let Some((key, _)) = rows.row() {
            let Some(alarm) = key.strip_prefix(keys::ALARM_PREFIX) else {
                break;
            };
            let (kind, member) = alarm.split_first().ok_or_else(corrupt)?;
            let member = member.try_into().map_err(|_| corrupt())?;
            alarms.push(Alarm {
                kind: AlarmKind::from_number(*kind).ok_or_else(corrupt)?,
                member: u64::from_be_bytes(member),
            });
            rows.advance()?;
        }
        // The kinds' order is their numbers', and so are the rows'.
        Ok(Self(alarms.into()))
    }

    pub(super) fn hash(&self, emit: &mut Emit<'_>) {
        for alarm in self.iter() {
            emit(b'a', &[&row_key(alarm)]);
        }
    }
}

fn row_key(alarm: Alarm) -> Vec<u8> {
    keys::alarm(alarm.kind.number(), alarm.member)
}

impl WriteTxn<'_> {
    /// The alarms as the command finds them: those of earlier entries of the batch included.
    pub fn alarms(&self) -> &Alarms {
        &self.changes.alarms
    }

    /// Raises or clears one. Answers it, unless there was nothing to clear.
    pub fn set_alarm(&mut self, alarm: Alarm, on: bool) -> Option<Alarm> {
        let was_on = self.changes.alarms.contains(alarm);
        if was_on != on {
            self.changes.alarms.set(alarm, on);
            self.note_change(&row_key(alarm), &[u8::from(on)]);
        }
        (was_on || on).then_some(alarm)
    }
}

impl Store {
    pub fn alarms(&self) -> Alarms {
        self.published().alarms.clone()
    }
}

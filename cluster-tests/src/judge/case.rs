//! What is put before the judges: the recording, and the log that it claims.

use super::log::Log;
use crate::history::operation::Operation;
use crate::history::recording::Recording;
use crate::history::timeline::Window;
use crate::workload::Workload;

/// A recording with what several judges need of it, made once.
#[derive(Debug)]
pub struct Case<'a> {
    pub recording: &'a Recording,
    pub log: Log<'a>,
}

impl<'a> Case<'a> {
    pub fn new(recording: &'a Recording) -> Self {
        Self {
            recording,
            log: Log::gather(recording),
        }
    }

    /// The operations of one workload, with their numbers in the recording.
    pub fn of(&self, workload: Workload) -> impl Iterator<Item = (usize, &'a Operation)> {
        let operations = self.recording.operations.iter().enumerate();
        operations.filter(move |(_, operation)| operation.workload == workload.name())
    }

    /// Whether it was asked for, or left something behind.
    pub fn ran(&self, workload: Workload) -> bool {
        let name = workload.name();
        let mut asked = self.recording.about.workloads.iter();
        asked.any(|asked| asked == name) || self.of(workload).next().is_some()
    }

    /// Faults that were carried out.
    pub fn windows(&self) -> impl Iterator<Item = &'a Window> {
        let windows = self.recording.windows.iter();
        windows.filter(|window| window.skipped.is_none())
    }

    pub fn operation(&self, number: usize) -> Option<&'a Operation> {
        self.recording.operations.get(number)
    }

    /// Puts numbers of operations in the order of invocation, each once.
    pub fn in_order(&self, mut numbers: Vec<usize>) -> Vec<usize> {
        numbers.sort_unstable_by_key(|number| {
            let operation = self.operation(*number);
            (operation.map(|operation| operation.invoked), *number)
        });
        numbers.dedup();
        numbers
    }
}

//! Which transaction comes before which, and whether that goes in a circle.
//!
//! Real time would be an edge from each answer to everything asked later, a square of them; instead the
//! answers stand in a chain by time, each transaction points to its own answer, and the last answer
//! before a transaction was asked points to it. A circle lies within a strongly connected component
//! (Tarjan's algorithm, without recursion); the shortest is found by breadth from its members.

use super::Transaction;
use std::collections::{BTreeMap, VecDeque};

/// Why one comes before the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    WriteWrite,
    WriteRead,
    ReadWrite,
    Time,
}

impl Edge {
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::WriteWrite => "appended just before",
            Self::WriteRead => "appended what was seen by",
            Self::ReadWrite => "did not see the append of",
            Self::Time => "was answered before the question of",
        }
    }
}

/// Transactions first, then one node for each answer by time.
pub(super) struct Graph {
    transactions: usize,
    next: Vec<Vec<(usize, Edge)>>,
    edges: usize,
}

/// Breadth is searched from so many members of a component.
const STARTS_MAX: usize = 500;

impl Graph {
    pub(super) fn new(
        transactions: &[Transaction<'_>],
        orders: &BTreeMap<&str, Vec<usize>>,
    ) -> Self {
        let mut graph = Self {
            transactions: transactions.len(),
            next: vec![Vec::new(); transactions.len()],
            edges: 0,
        };
        for order in orders.values() {
            for pair in order.windows(2) {
                if let [one, other] = pair {
                    graph.add(*one, *other, Edge::WriteWrite);
                }
            }
        }
        for (at, transaction) in transactions.iter().enumerate() {
            for access in &transaction.accesses {
                let (Some(saw), Some(order)) = (&access.saw, orders.get(access.list)) else {
                    continue;
                };
                // One without an answer says what it saw only if it was done.
                if transaction.answered.is_none() && !order.contains(&at) {
                    continue;
                }
                if let Some(last) = saw.len().checked_sub(1).and_then(|last| order.get(last)) {
                    graph.add(*last, at, Edge::WriteRead);
                }
                if let Some(next) = order.get(saw.len()) {
                    graph.add(at, *next, Edge::ReadWrite);
                }
            }
        }
        graph.time(transactions);
        graph
    }

    fn add(&mut self, one: usize, other: usize, edge: Edge) {
        if one == other {
            return;
        }
        self.edges += 1;
        if let Some(next) = self.next.get_mut(one) {
            next.push((other, edge));
        }
    }

    fn time(&mut self, transactions: &[Transaction<'_>]) {
        let mut answers: Vec<(u64, usize)> = transactions
            .iter()
            .enumerate()
            .filter_map(|(at, transaction)| Some((transaction.answered?, at)))
            .collect();
        answers.sort_unstable();
        let first = self.transactions;
        self.next.resize(first + answers.len(), Vec::new());
        for (place, (_, at)) in answers.iter().enumerate() {
            self.add(*at, first + place, Edge::Time);
            if place + 1 < answers.len() {
                self.add(first + place, first + place + 1, Edge::Time);
            }
        }
        for (at, transaction) in transactions.iter().enumerate() {
            let before = answers.partition_point(|(answered, _)| *answered < transaction.asked);
            if let Some(last) = before.checked_sub(1) {
                self.add(first + last, at, Edge::Time);
            }
        }
    }

    pub(super) fn edges(&self) -> usize {
        self.edges
    }

    fn next(&self, node: usize) -> &[(usize, Edge)] {
        self.next.get(node).map_or(&[], Vec::as_slice)
    }

    /// A shortest circle: each transaction with why it comes before the next one.
    pub(super) fn circle(&self) -> Option<Vec<(usize, Edge)>> {
        let components = self.components();
        let mut circles = components
            .iter()
            .filter(|component| component.len() > 1)
            .flat_map(|component| {
                let starts = component.iter().filter(|node| **node < self.transactions);
                starts
                    .take(STARTS_MAX)
                    .filter_map(|start| self.back_to(*start))
            })
            .collect::<Vec<_>>();
        circles.sort_by_key(Vec::len);
        circles.into_iter().next()
    }

    /// The shortest way from a transaction back to it.
    fn back_to(&self, start: usize) -> Option<Vec<(usize, Edge)>> {
        let mut from: BTreeMap<usize, (usize, Edge)> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for (next, edge) in self.next(node) {
                if *next == start {
                    return Some(self.way(start, node, *edge, &from));
                }
                if !from.contains_key(next) {
                    from.insert(*next, (node, *edge));
                    queue.push_back(*next);
                }
            }
        }
        None
    }

    fn way(
        &self,
        start: usize,
        last: usize,
        edge: Edge,
        from: &BTreeMap<usize, (usize, Edge)>,
    ) -> Vec<(usize, Edge)> {
        let mut way = vec![(last, edge)];
        let mut node = last;
        while node != start {
            let Some((before, edge)) = from.get(&node) else {
                break;
            };
            way.push((*before, *edge));
            node = *before;
        }
        way.reverse();
        // The chain of answers is only a way of saying time.
        way.retain(|(node, _)| *node < self.transactions);
        way
    }

    /// Tarjan's, with a stack of its own.
    fn components(&self) -> Vec<Vec<usize>> {
        let count = self.next.len();
        let mut index = vec![usize::MAX; count];
        let mut low = vec![0; count];
        let mut on_stack = vec![false; count];
        let (mut stack, mut components, mut counter) = (Vec::new(), Vec::new(), 0);
        for root in 0..count {
            if index.get(root).is_none_or(|index| *index != usize::MAX) {
                continue;
            }
            // (node, how many of its edges were followed)
            let mut work = vec![(root, 0)];
            while let Some((node, followed)) = work.pop() {
                if followed == 0 {
                    set(&mut index, node, counter);
                    set(&mut low, node, counter);
                    counter += 1;
                    stack.push(node);
                    set(&mut on_stack, node, true);
                }
                if let Some((next, _)) = self.next(node).get(followed) {
                    work.push((node, followed + 1));
                    if index.get(*next) == Some(&usize::MAX) {
                        work.push((*next, 0));
                    } else if on_stack.get(*next) == Some(&true) {
                        let least = of(&low, node).min(of(&index, *next));
                        set(&mut low, node, least);
                    }
                    continue;
                }
                if let Some((parent, _)) = work.last() {
                    let least = of(&low, *parent).min(of(&low, node));
                    set(&mut low, *parent, least);
                }
                if of(&low, node) == of(&index, node) {
                    let from = stack.iter().rposition(|one| *one == node).unwrap_or(0);
                    let component = stack.split_off(from);
                    for member in &component {
                        set(&mut on_stack, *member, false);
                    }
                    components.push(component);
                }
            }
        }
        components
    }
}

fn of(list: &[usize], at: usize) -> usize {
    list.get(at).copied().unwrap_or(0)
}

fn set<T>(list: &mut [T], at: usize, value: T) {
    if let Some(slot) = list.get_mut(at) {
        *slot = value;
    }
}

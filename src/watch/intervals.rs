//! Ranges of keys, and which of them contain a key: a balanced tree (AVL) ordered by start, in which
//! every node knows the furthest end below it.
//!
//! ```text
//!   [d, ∞)          furthest ∞      a search for "c" goes left only; it skips nothing that could
//!   /     \                         contain it, and everything that ends before
//!  [a, c)  [m, p)   c, p
//! ```

use bytes::Bytes;
use std::cmp::Ordering;

/// Where a range ends: before a key, or nowhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Before(Bytes),
    Nowhere,
}

impl End {
    fn is_behind(&self, key: &[u8]) -> bool {
        match self {
            Self::Before(end) => key < end.as_ref(),
            Self::Nowhere => true,
        }
    }
}

struct Node<T> {
    start: Bytes,
    end: End,
    value: T,
    /// The furthest end of this subtree.
    furthest: End,
    height: u8,
    left: Tree<T>,
    right: Tree<T>,
}

type Tree<T> = Option<Box<Node<T>>>;

/// One value a distinct range.
pub(super) struct Intervals<T> {
    root: Tree<T>,
}

impl<T> Default for Intervals<T> {
    fn default() -> Self {
        Self { root: None }
    }
}

impl<T> Intervals<T> {
    pub(super) fn get(&self, start: &[u8], end: &End) -> Option<&T> {
        let mut tree = &self.root;
        while let Some(node) = tree {
            tree = match node.order(start, end) {
                Ordering::Less => &node.left,
                Ordering::Greater => &node.right,
                Ordering::Equal => return Some(&node.value),
            };
        }
        None
    }

    pub(super) fn get_mut(&mut self, start: &[u8], end: &End) -> Option<&mut T> {
        let mut tree = &mut self.root;
        while let Some(node) = tree {
            tree = match node.order(start, end) {
                Ordering::Less => &mut node.left,
                Ordering::Greater => &mut node.right,
                Ordering::Equal => return Some(&mut node.value),
            };
        }
        None
    }

    /// Adds a range that is not there.
    pub(super) fn insert(&mut self, start: Bytes, end: End, value: T) {
        let node = Node {
            furthest: end.clone(),
            start,
            end,
            value,
            height: 1,
            left: None,
            right: None,
        };
        self.root = Some(insert(self.root.take(), Box::new(node)));
    }

    pub(super) fn remove(&mut self, start: &[u8], end: &End) -> Option<T> {
        let (rest, removed) = remove(self.root.take(), start, end);
        self.root = rest;
        removed.map(|node| node.value)
    }

    /// Visits every range that contains `key`.
    pub(super) fn visit(&self, key: &[u8], visit: &mut impl FnMut(&T)) {
        walk(&self.root, key, visit);
    }
}

fn walk<T>(tree: &Tree<T>, key: &[u8], visit: &mut impl FnMut(&T)) {
    let Some(node) = tree else { return };
    if !node.furthest.is_behind(key) {
        return;
    }
    walk(&node.left, key, visit);
    if node.start <= key {
        if node.end.is_behind(key) {
            visit(&node.value);
        }
        walk(&node.right, key, visit);
    }
}

impl<T> Node<T> {
    /// On which side of this node a range belongs.
    fn order(&self, start: &[u8], end: &End) -> Ordering {
        start
            .cmp(self.start.as_ref())
            .then_with(|| end.cmp(&self.end))
    }

    /// After a change of a child.
    fn refresh(&mut self) {
        let children = [&self.left, &self.right];
        let heights = children.map(height);
        self.height = 1 + heights[0].max(heights[1]);
        let below = children.into_iter().flatten().map(|child| &child.furthest);
        let furthest = below.chain([&self.end]).max();
        self.furthest = furthest.unwrap_or(&self.end).clone();
    }
}

fn height<T>(tree: &Tree<T>) -> u8 {
    tree.as_ref().map_or(0, |node| node.height)
}

fn insert<T>(tree: Tree<T>, new: Box<Node<T>>) -> Box<Node<T>> {
    let Some(mut node) = tree else { return new };
    if node.order(&new.start, &new.end) == Ordering::Less {
        node.left = Some(insert(node.left.take(), new));
    } else {
        node.right = Some(insert(node.right.take(), new));
    }
    balanced(node)
}

fn remove<T>(tree: Tree<T>, start: &[u8], end: &End) -> (Tree<T>, Option<Box<Node<T>>>) {
    let Some(mut node) = tree else {
        return (None, None);
    };
    let removed;
    match node.order(start, end) {
        Ordering::Less => (node.left, removed) = remove(node.left.take(), start, end),
        Ordering::Greater => (node.right, removed) = remove(node.right.take(), start, end),
        Ordering::Equal => {
            let rest = match (node.left.take(), node.right.take()) {
                (only, None) | (None, only) => only,
                (left, Some(right)) => {
                    let (mut first, right) = take_first(right);
                    (first.left, first.right) = (left, right);
                    Some(balanced(first))
                }
            };
            return (rest, Some(node));
        }
    }
    (Some(balanced(node)), removed)
}

/// The lowest node of a tree, and the tree without it.
fn take_first<T>(mut node: Box<Node<T>>) -> (Box<Node<T>>, Tree<T>) {
    match node.left.take() {
        None => {
            let rest = node.right.take();
            (node, rest)
        }
        Some(left) => {
            let (first, rest) = take_first(left);
            node.left = rest;
            (first, Some(balanced(node)))
        }
    }
}

/// A node whose subtrees are balanced and differ in height by two at most.
fn balanced<T>(mut node: Box<Node<T>>) -> Box<Node<T>> {
    node.refresh();
    let (left, right) = (height(&node.left), height(&node.right));
    if left > right + 1 {
        node.left = node.left.map(|child| match leans_right(&child) {
            true => turn_left(child),
            false => child,
        });
        turn_right(node)
    } else if right > left + 1 {
        node.right = node.right.map(|child| match leans_left(&child) {
            true => turn_right(child),
            false => child,
        });
        turn_left(node)
    } else {
        node
    }
}

fn leans_left<T>(node: &Node<T>) -> bool {
    height(&node.left) > height(&node.right)
}

fn leans_right<T>(node: &Node<T>) -> bool {
    height(&node.right) > height(&node.left)
}

/// The right child becomes the top.
fn turn_left<T>(mut node: Box<Node<T>>) -> Box<Node<T>> {
    let Some(mut top) = node.right.take() else {
        return node;
    };
    node.right = top.left.take();
    node.refresh();
    top.left = Some(node);
    top.refresh();
    top
}

/// The left child becomes the top.
fn turn_right<T>(mut node: Box<Node<T>>) -> Box<Node<T>> {
    let Some(mut top) = node.left.take() else {
        return node;
    };
    node.left = top.right.take();
    node.refresh();
    top.right = Some(node);
    top.refresh();
    top
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check<T>(tree: &Tree<T>) -> u8 {
        let Some(node) = tree else { return 0 };
        let (left, right) = (check(&node.left), check(&node.right));
        assert!(left.abs_diff(right) <= 1, "balanced");
        assert_eq!(node.height, 1 + left.max(right));
        let ends = [&node.left, &node.right].map(|child| child.as_ref().map(|it| &it.furthest));
        let furthest = ends.into_iter().flatten().chain([&node.end]).max();
        assert_eq!(Some(&node.furthest), furthest);
        node.height
    }

    fn key(number: u8) -> Bytes {
        Bytes::copy_from_slice(&[number])
    }

    proptest! {
        /// Beside a list of ranges, through insertions and removals.
        #[test]
        fn a_key_finds_exactly_the_ranges_that_contain_it(
            changes in proptest::collection::vec((any::<bool>(), 0u8..24, 0u8..28), 1..120)
        ) {
            let mut tree = Intervals::default();
            let mut list: Vec<(u8, End)> = Vec::new();
            for (add, start, end) in changes {
                let end = if end > 24 { End::Nowhere } else { End::Before(key(end)) };
                let at = list.iter().position(|it| *it == (start, end.clone()));
                prop_assert_eq!(tree.get(&key(start), &end).is_some(), at.is_some());
                match (add, at) {
                    (true, None) => {
                        tree.insert(key(start), end.clone(), (start, end.clone()));
                        list.push((start, end));
                    }
                    (false, Some(at)) => {
                        let removed = tree.remove(&key(start), &end);
                        prop_assert_eq!(removed, Some(list.swap_remove(at)));
                    }
                    (true, Some(_)) => {}
                    (false, None) => prop_assert_eq!(tree.remove(&key(start), &end), None),
                }
                check(&tree.root);
                for probe in 0..26 {
                    let mut found = Vec::new();
                    tree.visit(&key(probe), &mut |range| found.push(range.clone()));
                    let mut expected: Vec<_> = list
                        .iter()
                        .filter(|(start, end)| *start <= probe && end.is_behind(&[probe]))
                        .cloned()
                        .collect();
                    found.sort();
                    expected.sort();
                    prop_assert_eq!(found, expected);
                }
            }
        }
    }
}

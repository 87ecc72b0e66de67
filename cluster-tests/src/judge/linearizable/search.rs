//! The search: is there an order?
//!
//! Wing and Gong's algorithm with Lowe's memory, in the shape of porcupine's `checkSingle`. All calls
//! and returns are a list, by time. Walk it from the front: a call may be next in the order if the
//! object, in its present state, would have answered so; then it is lifted out with its return, and
//! the walk begins again at the front. A return whose call is still in the list means that this call
//! should have been placed by now: take back the last one and try what comes after it. The list is
//! empty of returns: everything that was answered has its place.
//!
//! Calls without an answer have no return in the list: they may be placed anywhere after they were
//! asked, or not at all. One that would change nothing is never placed. Of several that ask the same
//! (*twins*), the one that was asked first is placed first: wherever another may be, it may be too. And none
//! is placed right before a call that *hides* it, making the same of any state: the order works without.
//!
//! What makes it quick is remembering (which are placed, state): the same set in the same state leads
//! to nothing new. The set is kept as the exclusive or of one random number of 128 bits for each call
//! in it instead of as bits: a step then costs the same for a hundred calls and for a hundred
//! thousand. Two sets that collide would prune a branch wrongly; for a million remembered sets the odds
//! are below one in 10^26.

use rustc_hash::FxHashSet;

/// Of the object; what a number means is the model's.
pub type State = u32;

/// When a call was asked and when its answer was there; `u64::MAX`: never.
pub type Span = (u64, u64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Legal,
    /// The longest order that works, and the call that has no place after it.
    Illegal {
        longest: Vec<usize>,
        stuck: usize,
    },
    OverBudget,
}

/// Calls by number, and the model that judges them.
#[derive(Clone, Copy)]
pub struct Calls<'a> {
    pub spans: &'a [Span],
    /// Of a call without an answer: which one was asked before it that is the same. May be empty.
    pub twins: &'a [Option<usize>],
    /// Whether it makes the same of any state. May be empty.
    pub hides: &'a [bool],
    pub initial: State,
    /// The state after a call; none: it cannot be next in this one.
    pub apply: &'a dyn Fn(usize, State) -> Option<State>,
}

/// Searches an order that the model accepts. Every application takes one from `budget`.
pub fn search(calls: Calls<'_>, budget: &mut u64) -> Outcome {
    let mut best = None;
    match run(calls, budget, None, &mut best) {
        Verdict::Legal => Outcome::Legal,
        Verdict::OverBudget => Outcome::OverBudget,
        Verdict::Stuck(_) => {
            // The longest order is copied once, by walking the same way again: copying at every
            // improvement would cost the square of its length.
            let mut enough = u64::MAX;
            let (depth, stuck) = best.unwrap_or_default();
            let target = Some(depth);
            let longest = match run(calls, &mut enough, target, &mut None) {
                Verdict::Stuck(order) => order,
                Verdict::Legal | Verdict::OverBudget => Vec::new(),
            };
            Outcome::Illegal { longest, stuck }
        }
    }
}

enum Verdict {
    Legal,
    Stuck(Vec<usize>),
    OverBudget,
}

fn run(
    calls: Calls<'_>,
    budget: &mut u64,
    target: Option<usize>,
    best: &mut Option<(usize, usize)>,
) -> Verdict {
    let Calls {
        spans,
        twins,
        hides,
        initial,
        apply,
    } = calls;
    let mut list = List::new(spans);
    let mut state = initial;
    let mut placed = (0_u64, 0_u64);
    let mut seen: FxHashSet<(u64, u64, State)> = FxHashSet::default();
    let mut order: Vec<(usize, State)> = Vec::new();
    let mut is_placed = vec![false; spans.len()];
    let first_of_twins = |call: usize, is_placed: &[bool]| {
        let before = twins.get(call).copied().flatten();
        before.is_none_or(|twin| is_placed.get(twin).copied().unwrap_or(true))
    };
    let answered = |call: usize| spans.get(call).is_some_and(|span| span.1 != u64::MAX);
    let mut left = (0..spans.len()).filter(|call| answered(*call)).count();
    let total = left;
    let mut at = list.first();
    while left > 0 {
        let Some(node) = at else {
            // Cannot be: an answered call's return is still in the list.
            return Verdict::Stuck(Vec::new());
        };
        if let Node::Call(call) = list.node(node) {
            let is_hidden = |last: &(usize, State)| !answered(last.0);
            let hides = hides.get(call).copied().unwrap_or(false);
            if !first_of_twins(call, &is_placed) || (hides && order.last().is_some_and(is_hidden)) {
                at = list.after(node);
                continue;
            }
            if *budget == 0 {
                return Verdict::OverBudget;
            }
            *budget -= 1;
            let next = apply(call, state).filter(|next| *next != state || answered(call));
            if let Some(next) = next {
                let token = token(call);
                let with = (placed.0 ^ token.0, placed.1 ^ token.1);
                if seen.insert((with.0, with.1, next)) {
                    order.push((call, state));
                    state = next;
                    placed = with;
                    mark(&mut is_placed, call, true);
                    list.lift(call);
                    left -= usize::from(answered(call));
                    at = list.first();
                    continue;
                }
            }
            at = list.after(node);
            continue;
        }
        let Node::Return(stuck) = list.node(node) else {
            return Verdict::Stuck(Vec::new());
        };
        let depth = total - left;
        if best.is_none_or(|(most, _)| depth > most) {
            *best = Some((depth, stuck));
        }
        if target == Some(depth) {
            return Verdict::Stuck(order.into_iter().map(|(call, _)| call).collect());
        }
        let Some((call, before)) = order.pop() else {
            return Verdict::Stuck(Vec::new());
        };
        state = before;
        let token = token(call);
        placed = (placed.0 ^ token.0, placed.1 ^ token.1);
        left += usize::from(answered(call));
        mark(&mut is_placed, call, false);
        list.unlift(call);
        at = list.after(list.call(call));
    }
    Verdict::Legal
}

fn mark(is_placed: &mut [bool], call: usize, placed: bool) {
    if let Some(it) = is_placed.get_mut(call) {
        *it = placed;
    }
}

/// Two halves of a random number for each call; always the same, so that a judgement is.
fn token(call: usize) -> (u64, u64) {
    let number = call as u64 * 2;
    (scramble(number), scramble(number + 1))
}

/// `splitmix64`.
fn scramble(number: u64) -> u64 {
    let mut mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[derive(Clone, Copy)]
enum Node {
    Call(usize),
    Return(usize),
    End,
}

/// Calls and returns by time, doubly linked; node 0 is before the first and after the last.
struct List {
    nodes: Vec<Node>,
    next: Vec<usize>,
    before: Vec<usize>,
    /// By call: its node, and that of its return (0: none).
    places: Vec<(usize, usize)>,
}

impl List {
    fn new(spans: &[Span]) -> Self {
        // At the same moment a call comes before a return: they may have overlapped.
        let mut events: Vec<(u64, bool, usize)> = Vec::with_capacity(spans.len() * 2);
        for (call, (asked, answered)) in spans.iter().enumerate() {
            events.push((*asked, false, call));
            if *answered != u64::MAX {
                events.push(((*answered).max(*asked), true, call));
            }
        }
        events.sort_unstable();
        let mut nodes = vec![Node::End];
        let mut places = vec![(0, 0); spans.len()];
        for (_, is_return, call) in events {
            let place = nodes.len();
            if let Some(places) = places.get_mut(call) {
                if is_return {
                    places.1 = place;
                } else {
                    places.0 = place;
                }
            }
            nodes.push(if is_return {
                Node::Return(call)
            } else {
                Node::Call(call)
            });
        }
        let count = nodes.len();
        Self {
            nodes,
            next: (0..count).map(|node| (node + 1) % count).collect(),
            before: (0..count).map(|node| (node + count - 1) % count).collect(),
            places,
        }
    }

    fn node(&self, node: usize) -> Node {
        self.nodes.get(node).copied().unwrap_or(Node::End)
    }

    fn first(&self) -> Option<usize> {
        self.after(0)
    }

    fn after(&self, node: usize) -> Option<usize> {
        self.next.get(node).copied().filter(|next| *next != 0)
    }

    fn call(&self, call: usize) -> usize {
        self.places.get(call).map_or(0, |places| places.0)
    }

    fn lift(&mut self, call: usize) {
        let (asked, answered) = self.places.get(call).copied().unwrap_or_default();
        self.out(asked);
        if answered != 0 {
            self.out(answered);
        }
    }

    /// Undoes the last lift; each node still remembers its neighbours (Knuth's dancing links).
    fn unlift(&mut self, call: usize) {
        let (asked, answered) = self.places.get(call).copied().unwrap_or_default();
        if answered != 0 {
            self.back(answered);
        }
        self.back(asked);
    }

    fn out(&mut self, node: usize) {
        let (next, before) = self.neighbours(node);
        self.link(before, next);
    }

    fn back(&mut self, node: usize) {
        let (next, before) = self.neighbours(node);
        self.link(before, node);
        self.link(node, next);
    }

    fn neighbours(&self, node: usize) -> (usize, usize) {
        let next = self.next.get(node).copied().unwrap_or(0);
        (next, self.before.get(node).copied().unwrap_or(0))
    }

    fn link(&mut self, one: usize, other: usize) {
        if let Some(next) = self.next.get_mut(one) {
            *next = other;
        }
        if let Some(before) = self.before.get_mut(other) {
            *before = one;
        }
    }
}

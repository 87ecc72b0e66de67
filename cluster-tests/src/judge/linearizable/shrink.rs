//! Fewer operations that still have no order.
//!
//! Operations are left out in halves, quarters and so on down to one by one, and stay out while what is
//! left has no order either (Zeller's delta debugging). That alone would lie: without the write of what
//! a read shows, the read alone is "wrong". So a write may be left out only if, in any order of the whole
//! history, it could be taken out without anybody who is left noticing: nobody who is left saw its value
//! at a moment when it might have been the newest. Then, had the whole an order, the rest would have one;
//! and so what is shown proves that the whole has none. What a write says of the value before it binds
//! each write to the one before; so first that is forgotten, wherever the rest still has no order.

use super::search::{Calls, Outcome, Span, State, search};
use super::{ABSENT, Register, Step};

/// Steps of one search, and how many searches at most.
const TRY_BUDGET: u64 = 200_000;
const TRIES: usize = 3000;

/// The smallest set found that contains `stuck`, in the order of invocation.
pub fn shrink(register: &Register<'_>, stuck: usize) -> Vec<usize> {
    let end = register.spans.get(stuck).map_or(u64::MAX, |span| span.1);
    let mut kept: Vec<usize> = (0..register.steps.len())
        .filter(|step| register.spans.get(*step).is_some_and(|span| span.0 <= end))
        .collect();
    if !is_illegal(register, &register.steps, &kept) {
        kept = (0..register.steps.len()).collect();
    }
    let mut steps = register.steps.clone();
    let mut tries = 0;
    blindfold(register, &mut steps, &kept, &mut tries);
    let mut size = kept.len().div_ceil(2);
    while size > 0 {
        let mut from = 0;
        let mut shrank = false;
        while from < kept.len() && tries < TRIES {
            tries += 1;
            let to = (from + size).min(kept.len());
            let mut fewer = kept.clone();
            let out: Vec<usize> = fewer.drain(from..to).collect();
            let fine = !out.is_empty()
                && out
                    .iter()
                    .all(|step| goes_unnoticed(register, &steps, *step, &fewer))
                && is_illegal(register, &steps, &fewer);
            if fine {
                kept = fewer;
                shrank = true;
            } else {
                from = to;
            }
        }
        // A read that went may let its write go.
        if size > 1 || !shrank {
            size /= 2;
        }
    }
    kept
}

fn blindfold(register: &Register<'_>, steps: &mut Vec<Step>, kept: &[usize], tries: &mut usize) {
    let mut size = kept.len();
    while size > 0 && *tries < TRIES / 3 {
        for part in kept.chunks(size) {
            *tries += 1;
            let mut fewer = steps.clone();
            for at in part {
                if let Some(step) = fewer.get_mut(*at) {
                    *step = step.blindfolded();
                }
            }
            if fewer != *steps && is_illegal(register, &fewer, kept) {
                *steps = fewer;
            }
        }
        size /= 2;
    }
}

fn is_illegal(register: &Register<'_>, steps: &[Step], kept: &[usize]) -> bool {
    let spans: Vec<Span> = kept
        .iter()
        .filter_map(|step| register.spans.get(*step).copied())
        .collect();
    let apply = |call: usize, state: State| {
        let step = steps.get(*kept.get(call)?)?;
        step.apply(state, &register.values)
    };
    let calls = Calls {
        spans: &spans,
        twins: &[],
        hides: &[],
        initial: ABSENT,
        apply: &apply,
    };
    let mut budget = TRY_BUDGET;
    matches!(search(calls, &mut budget), Outcome::Illegal { .. })
}

/// Whether nobody in `rest` can have seen what `step` wrote.
fn goes_unnoticed(register: &Register<'_>, steps: &[Step], step: usize, rest: &[usize]) -> bool {
    let (Some(one), Some(span)) = (steps.get(step), register.spans.get(step)) else {
        return true;
    };
    one.written().all(|value| {
        // Whoever shows a value should be shown with somebody who wrote it, though the proof needs it not.
        let mut others = rest.iter().filter_map(|other| steps.get(*other));
        let origin = value == ABSENT || others.any(|other| other.written().any(|one| one == value));
        rest.iter().all(|other| {
            let seen = steps
                .get(*other)
                .is_some_and(|other| other.is_blind() || other.found() == Some(value));
            let when = register.spans.get(*other).copied().unwrap_or_default();
            !seen
                || origin && (when.1 < span.0 || is_overwritten(register, steps, rest, *span, when))
        })
    })
}

/// Whether some write of `rest` lies wholly between the two, whatever the order.
fn is_overwritten(
    register: &Register<'_>,
    steps: &[Step],
    rest: &[usize],
    write: Span,
    read: Span,
) -> bool {
    rest.iter().any(|other| {
        let span = register.spans.get(*other).copied().unwrap_or_default();
        let writes = steps.get(*other).is_some_and(always_writes);
        writes && write.1 < span.0 && span.1 < read.0
    })
}

fn always_writes(step: &Step) -> bool {
    step.written().next().is_some()
}

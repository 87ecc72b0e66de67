//! Which reads the doors' thread makes itself.

use crate::types::{RangeEnd, RangeQuery, SortOrder, SortTarget};

/// Pairs of a list that is read at once. Values may be of megabytes, so few.
const SHORT_LIST_PAIRS_MAX: i64 = 16;

/// Whether a query costs little however large the store and its history are. Such a read is made
/// where it arrives; every other one goes to the readers' thread, so that it keeps nobody else
/// from the doors, and no heartbeat from going out where the two share a thread.
pub(super) fn is_short(query: &RangeQuery) -> bool {
    if query.range.end == RangeEnd::Single {
        return true;
    }
    if query.revision > 0 {
        // The past is read by walking it, counts too.
        return false;
    }
    query.count_only || is_short_list(query)
}

/// A list that stops at its limit: nothing makes it look at more keys than it returns.
fn is_short_list(query: &RangeQuery) -> bool {
    let filters = [
        query.min_mod_revision,
        query.max_mod_revision,
        query.min_create_revision,
        query.max_create_revision,
    ];
    (1..=SHORT_LIST_PAIRS_MAX).contains(&query.limit)
        && query.sort_order != SortOrder::Descend
        && query.sort_target == SortTarget::Key
        && filters == [0; 4]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::KeyRange;

    fn list(change: impl FnOnce(&mut RangeQuery)) -> RangeQuery {
        let mut query = RangeQuery {
            limit: 1,
            ..RangeQuery::latest(KeyRange::from_wire("a".into(), "z".into()))
        };
        change(&mut query);
        query
    }

    #[test]
    fn a_read_is_short_if_nothing_makes_it_walk() {
        let short = [
            list(|_| {}),
            list(|query| query.limit = SHORT_LIST_PAIRS_MAX),
            list(|query| query.sort_order = SortOrder::Ascend),
            list(|query| (query.limit, query.count_only) = (0, true)),
            list(|query| {
                query.range = KeyRange::from_wire("a".into(), "".into());
                (query.limit, query.revision) = (0, 7);
            }),
        ];
        for query in short {
            assert!(is_short(&query), "{query:?}");
        }
        let long = [
            list(|query| query.limit = 0),
            list(|query| query.limit = -1),
            list(|query| query.limit = SHORT_LIST_PAIRS_MAX + 1),
            list(|query| query.sort_order = SortOrder::Descend),
            list(|query| query.sort_target = SortTarget::Mod),
            list(|query| query.min_mod_revision = 9),
            list(|query| query.max_mod_revision = 9),
            list(|query| query.min_create_revision = 9),
            list(|query| query.max_create_revision = 9),
            list(|query| query.revision = 7),
            list(|query| (query.revision, query.count_only) = (7, true)),
        ];
        for query in long {
            assert!(!is_short(&query), "{query:?}");
        }
    }
}

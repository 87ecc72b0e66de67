//! Whether members hold the same, and if not, which of them is wrong: the majority is right.

use crate::types::NodeId;
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Agreement {
    /// Nobody differs from anybody.
    Whole,
    /// More than half of all members hold the same, and these something else.
    Odd(Vec<NodeId>),
    /// Some differ, and no majority says who is wrong.
    Split,
}

/// Judges what was heard of some of `members` members.
pub(super) fn agreement(heard: &BTreeMap<NodeId, u64>, members: usize) -> Agreement {
    let mut holders: BTreeMap<u64, usize> = BTreeMap::new();
    for hash in heard.values() {
        *holders.entry(*hash).or_default() += 1;
    }
    if holders.len() <= 1 {
        return Agreement::Whole;
    }
    let Some((right, _)) = holders.iter().find(|(_, count)| **count > members / 2) else {
        return Agreement::Split;
    };
    let odd = heard.iter().filter(|(_, hash)| *hash != right);
    Agreement::Odd(odd.map(|(node, _)| *node).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_majority_of_all_members_is_right() {
        let judge = |hashes: &[u64], members| {
            let heard = (1..).zip(hashes.iter().copied()).collect();
            agreement(&heard, members)
        };
        assert_eq!(judge(&[], 3), Agreement::Whole);
        assert_eq!(judge(&[7], 3), Agreement::Whole);
        assert_eq!(judge(&[7, 7, 7], 3), Agreement::Whole);
        assert_eq!(judge(&[7, 7, 8], 3), Agreement::Odd(vec![3]));
        assert_eq!(judge(&[8, 7, 7], 3), Agreement::Odd(vec![1]));
        assert_eq!(judge(&[8, 7, 9, 7, 7], 5), Agreement::Odd(vec![1, 3]));
        // Of three one was not heard: each of the two may be right.
        assert_eq!(judge(&[7, 8], 3), Agreement::Split);
        assert_eq!(judge(&[7, 7, 8, 8], 4), Agreement::Split);
        assert_eq!(judge(&[7, 8, 9], 3), Agreement::Split);
    }
}

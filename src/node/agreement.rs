//! Whether members hold the same, and if not, which of them is wrong: the majority of voters is right.

use crate::types::NodeId;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Agreement {
    /// Nobody differs from anybody.
    Whole,
    /// More than half of the voters hold the same, and these something else.
    Odd(Vec<NodeId>),
    /// Some differ, and no majority says who is wrong.
    Split,
}

/// Judges what was heard of members. A learner may differ, and has no say.
pub(super) fn agreement(heard: &BTreeMap<NodeId, u64>, voters: &BTreeSet<NodeId>) -> Agreement {
    let mut supporters: BTreeMap<u64, usize> = BTreeMap::new();
    for (node, hash) in heard {
        *supporters.entry(*hash).or_default() += usize::from(voters.contains(node));
    }
    if supporters.len() <= 1 {
        return Agreement::Whole;
    }
    let is_majority = |count: usize| count > voters.len() / 2;
    let Some((right, _)) = supporters.iter().find(|(_, count)| is_majority(**count)) else {
        return Agreement::Split;
    };
    let odd = heard.iter().filter(|(_, hash)| *hash != right);
    Agreement::Odd(odd.map(|(node, _)| *node).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_majority_of_all_voters_is_right() {
        let judge = |hashes: &[u64], voters| {
            let heard = (1..).zip(hashes.iter().copied()).collect();
            agreement(&heard, &(1..=voters).collect())
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
        // The fourth is a learner: it may be named, and tips no scale.
        assert_eq!(judge(&[7, 7, 7, 8], 3), Agreement::Odd(vec![4]));
        assert_eq!(judge(&[7, 8, 8, 7], 3), Agreement::Odd(vec![1, 4]));
        assert_eq!(judge(&[8, 7, 9, 7], 3), Agreement::Split);
    }
}

//! Who plays which part: roles become nodes when a fault strikes.

use super::fault::Who;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

/// The parts of one fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cast {
    /// None: nobody led when it struck; the first of the others plays it.
    pub leader: Option<usize>,
    /// Everybody, the leader first, the others in an order of the seed's.
    order: Vec<usize>,
    /// Everybody, in an order of the seed's, whoever leads.
    drawn: Vec<usize>,
}

impl Cast {
    /// # Panics
    /// Without members there is nobody to cast.
    pub fn new(leader: Option<usize>, members: &[usize], random: &mut StdRng) -> Self {
        assert!(!members.is_empty(), "a cluster has members");
        let mut order: Vec<usize> = members.to_vec();
        order.shuffle(random);
        let drawn = order.clone();
        if let Some(leader) = leader {
            order.sort_by_key(|node| *node != leader);
        }
        Self {
            leader,
            order,
            drawn,
        }
    }

    /// The same, but these are no part of a majority while there are others for it.
    #[must_use]
    pub fn sparing(mut self, nodes: impl Fn(usize) -> bool) -> Self {
        self.drawn.sort_by_key(|node| nodes(*node));
        self
    }

    /// The first leads, the others are in this order.
    ///
    /// # Panics
    /// Without members there is nobody to cast.
    pub fn in_order(order: Vec<usize>) -> Self {
        assert!(!order.is_empty(), "a cluster has members");
        let leader = order.first().copied();
        Self {
            leader,
            drawn: order.clone(),
            order,
        }
    }

    pub fn members(&self) -> &[usize] {
        &self.order
    }

    /// The leader, or who stands for it.
    pub fn first(&self) -> usize {
        self.order.first().copied().unwrap_or(1)
    }

    /// All but the leader.
    pub fn others(&self) -> &[usize] {
        self.order.get(1..).unwrap_or_default()
    }

    /// The first of the others.
    pub fn follower(&self) -> usize {
        self.others()
            .first()
            .copied()
            .unwrap_or_else(|| self.first())
    }

    pub fn majority(&self) -> usize {
        self.order.len() / 2 + 1
    }

    /// A majority of chance's choice.
    pub fn quorum(&self) -> &[usize] {
        self.drawn.get(..self.majority()).unwrap_or_default()
    }

    /// All but [`Cast::quorum`].
    pub fn rest(&self) -> &[usize] {
        self.drawn.get(self.majority()..).unwrap_or_default()
    }

    /// The members that `who` means.
    pub fn who(&self, who: Who) -> Vec<usize> {
        match who {
            Who::Leader => vec![self.first()],
            Who::Follower => vec![self.follower()],
            // The order is the seed's, but the leader is first in it.
            Who::One => {
                let mut sorted = self.order.clone();
                sorted.sort_unstable();
                let at = self.follower() * 7 % sorted.len();
                sorted.get(at).copied().into_iter().collect()
            }
            Who::Majority => self.order.iter().copied().take(self.majority()).collect(),
            Who::All => self.order.clone(),
            Who::Rest => self.rest().to_vec(),
            Who::Node(node) => vec![node],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use std::collections::BTreeSet;

    #[test]
    fn who_may_fall_by_itself_is_not_relied_on() {
        let members: Vec<usize> = (1..=5).collect();
        for seed in 0..20 {
            let cast = Cast::new(Some(2), &members, &mut StdRng::seed_from_u64(seed));
            let cast = cast.sparing(|node| node == 3);
            assert!(cast.rest().contains(&3));
            assert_eq!(cast.quorum().len(), 3);
        }
    }

    #[test]
    fn a_quorum_is_anybodys_and_the_rest_are_the_others() {
        let members: Vec<usize> = (1..=5).collect();
        let mut without_leader = 0;
        for seed in 0..40 {
            let cast = Cast::new(Some(2), &members, &mut StdRng::seed_from_u64(seed));
            assert_eq!(cast.first(), 2);
            assert_eq!((cast.quorum().len(), cast.rest().len()), (3, 2));
            let all: BTreeSet<usize> = cast.quorum().iter().chain(cast.rest()).copied().collect();
            assert_eq!(all.len(), 5);
            without_leader += usize::from(!cast.quorum().contains(&2));
        }
        assert!((5..35).contains(&without_leader), "{without_leader} of 40");
    }
}

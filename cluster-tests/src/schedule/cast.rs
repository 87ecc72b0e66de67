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
}

impl Cast {
    /// # Panics
    /// Without members there is nobody to cast.
    pub fn new(leader: Option<usize>, members: &[usize], random: &mut StdRng) -> Self {
        assert!(!members.is_empty(), "a cluster has members");
        let mut order: Vec<usize> = members.to_vec();
        order.shuffle(random);
        if let Some(leader) = leader {
            order.sort_by_key(|node| *node != leader);
        }
        Self { leader, order }
    }

    /// The first leads, the others are in this order.
    ///
    /// # Panics
    /// Without members there is nobody to cast.
    pub fn in_order(order: Vec<usize>) -> Self {
        assert!(!order.is_empty(), "a cluster has members");
        let leader = order.first().copied();
        Self { leader, order }
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
            Who::Node(node) => vec![node],
        }
    }
}

//! Bytes over connections.

use super::Counter;
use std::sync::{Arc, OnceLock};

/// What went to somebody and came from there, over all connections.
#[derive(Debug, Default)]
pub struct Traffic {
    pub sent: Counter,
    pub received: Counter,
}

/// One connection's share. Whose it is may become known later: what went before is counted then.
#[derive(Debug, Default)]
pub struct ConnectionTraffic {
    owner: OnceLock<Arc<Traffic>>,
    unowned: Traffic,
}

impl ConnectionTraffic {
    pub fn of(owner: Arc<Traffic>) -> Self {
        Self {
            owner: OnceLock::from(owner),
            unowned: Traffic::default(),
        }
    }

    /// The first owner stays. Bytes that pass while this runs may be missed.
    pub fn belongs_to(&self, owner: impl FnOnce() -> Arc<Traffic>) {
        if self.owner.get().is_none() {
            let owner = self.owner.get_or_init(owner);
            owner.sent.add(self.unowned.sent.value());
            owner.received.add(self.unowned.received.value());
        }
    }

    fn traffic(&self) -> &Traffic {
        self.owner.get().map_or(&self.unowned, Arc::as_ref)
    }

    pub fn sent(&self, bytes: usize) {
        self.traffic().sent.add(bytes as u64);
    }

    pub fn received(&self, bytes: usize) {
        self.traffic().received.add(bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_before_the_owner_was_known_is_the_owners() {
        let owner = Arc::new(Traffic::default());
        let connection = ConnectionTraffic::default();
        connection.received(3);
        connection.belongs_to(|| owner.clone());
        connection.belongs_to(|| panic!("it has an owner"));
        connection.received(4);
        connection.sent(5);
        assert_eq!((owner.received.value(), owner.sent.value()), (7, 5));
    }
}

//! Leases: the right to send to one reader's card, for one unit. The actor grants it, and ends it by moving on; the card thread
//! asks before **each** APDU. That one comparison is what keeps two holders apart.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The giver's side: one per reader, owned by its actor.
#[derive(Debug, Default)]
pub(super) struct Leases {
    valid_epoch: Arc<AtomicU64>,
}

impl Leases {
    /// Grants the next lease. The one before is over from this moment.
    pub(super) fn grant(&mut self) -> Lease {
        let epoch = self.valid_epoch.fetch_add(1, Ordering::AcqRel) + 1;
        Lease { epoch, valid_epoch: Arc::clone(&self.valid_epoch) }
    }

    /// Ends the lease that is out, if any: its holder sends nothing more.
    pub(super) fn end(&mut self) {
        self.valid_epoch.fetch_add(1, Ordering::AcqRel);
    }
}

/// The holder's side. Travels with the unit to the card thread.
#[derive(Debug)]
pub(super) struct Lease {
    epoch: u64,
    valid_epoch: Arc<AtomicU64>,
}

impl Lease {
    /// Whether the holder may still send.
    pub(super) fn is_valid(&self) -> bool {
        self.valid_epoch.load(Ordering::Acquire) == self.epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_lease_is_valid_and_only_until_it_is_ended() {
        let mut leases = Leases::default();
        let first = leases.grant();
        assert!(first.is_valid());
        let second = leases.grant();
        assert!(!first.is_valid() && second.is_valid());
        leases.end();
        assert!(!second.is_valid());
    }
}

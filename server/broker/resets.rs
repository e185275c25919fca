//! The resets of a reader's card: their number, and one that a caller without a turn requests.

use cardbroker_core::slot::ResetKind;

use super::Broker;

impl Broker {
    /// The number of resets and changes so far of the card in the reader of this name; `None` without such a reader.
    pub fn card_resets(&self, reader: &str) -> Option<u64> {
        self.readers.routes.borrow().get(reader).map(|handle| handle.marks().resets())
    }

    /// Has the reader's card reset at the end of the turn in progress, before all waiting requests, unless it has been
    /// reset since it had `resets` resets. Needs no permission, like the end of a session with a reset. No effect
    /// without such a reader.
    pub fn reset_after_turn(&self, reader: &str, resets: u64, kind: ResetKind) {
        if let Some(handle) = self.readers.routes.borrow().get(reader) {
            handle.reset_after_turn(resets, kind);
        }
    }
}

//! The resets of a reader's card between turns, for callers without a turn.

use super::Broker;

impl Broker {
    /// The number of resets and changes so far of the card in the reader of this name; 0 without a reader.
    pub fn card_resets(&self, reader: &str) -> u64 {
        self.readers.routes.borrow().get(reader).map_or(0, |handle| handle.marks().resets())
    }

    /// Has the reader's card reset at the end of the turn in progress, before all waiting requests, unless it has been
    /// reset since it had `resets` resets. Needs no permission, like a session's end with a reset. No effect without
    /// such a reader.
    pub fn reset_after_turn(&self, reader: &str, resets: u64) {
        if let Some(handle) = self.readers.routes.borrow().get(reader) {
            handle.reset_after_turn(resets);
        }
    }
}

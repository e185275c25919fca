//! Marks of what has happened to a reader's card, for sessions that come back to it. The gate writes them, sessions
//! read them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The marks of one reader. They count in one run of the broker.
#[derive(Debug, Default)]
pub struct CardMarks {
    resets: AtomicU64,
    selection: AtomicU64,
    is_raised: AtomicBool,
}

impl CardMarks {
    /// The number of resets and changes of the card.
    pub fn resets(&self) -> u64 {
        self.resets.load(Ordering::Acquire)
    }

    /// A number that is another one after each command that may have changed the selection.
    pub fn selection(&self) -> u64 {
        self.selection.load(Ordering::Acquire)
    }

    /// Whether the card may hold security state since its last reset.
    pub fn is_raised(&self) -> bool {
        self.is_raised.load(Ordering::Acquire)
    }

    /// Records that the card was reset or replaced.
    pub(super) fn on_reset(&self) {
        self.resets.fetch_add(1, Ordering::AcqRel);
    }

    /// Records the state of the card.
    pub(super) fn record(&self, selection: u64, is_raised: bool) {
        self.selection.store(selection, Ordering::Release);
        self.is_raised.store(is_raised, Ordering::Release);
    }
}

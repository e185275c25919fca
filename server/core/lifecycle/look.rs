//! Looks: further attempts to take a card after a call of the broker's own has met none.
//!
//! The monitor alone is not enough then. pcsc-lite marks a reader empty when a reset fails, and compares what its next
//! poll finds with what the last one found: a card that was swapped between the two stays unseen until somebody calls.
//! Once a poll has found the reader empty (an event), the next card raises an event, too. Then no look is needed, and
//! none is made: pcsc-lite powers a card again when its poll finds it after a look.

use std::time::{Duration, Instant};

use super::{Own, SLOW_RETRY};

/// The wait before the first look; it doubles from look to look.
const FIRST_LOOK: Duration = Duration::from_millis(100);
/// The looks of one series: after 0.1, 0.3, 0.7 and 1.5 s. The slowest driver polls every 0.4 s; a card that comes
/// after the next poll raises an event.
const MAX_LOOKS: u32 = 4;

/// The next attempt to take a card from a reader that counts as empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// The time of the attempt.
    pub(super) at: Instant,
    /// The attempts of this series that found no card.
    made: u32,
    /// Whether the attempt is made for a waiting request, which then uses the card.
    pub(super) serves: bool,
}

impl Look {
    /// The first look of a series, after a call that met no card.
    pub(super) fn first(now: Instant) -> Self {
        Self { at: now + FIRST_LOOK, made: 0, serves: false }
    }

    /// The look after this one, which has found no card; `None` at the end of the series. It never ends while the
    /// monitor reports a card.
    pub(super) fn next(self, now: Instant, sees_card: bool) -> Option<Self> {
        let made = self.made.saturating_add(1);
        let pause = match made {
            0..MAX_LOOKS => FIRST_LOOK * (1 << made),
            _ if sees_card => SLOW_RETRY,
            _ => return None,
        };
        Some(Self { at: now + pause, made, serves: false })
    }

    /// Whether to try to take the card. If not, the monitor is right.
    pub(super) fn may_take(self, own: Own, holds: bool, demand: bool) -> bool {
        match own {
            Own::Always => true,
            Own::OnDemand => demand || holds && self.made < MAX_LOOKS,
            Own::Never => false,
        }
    }
}

//! When a turn ends between two calls of its handle: one that the handle keeps, one that rests, and one that has come
//! while the client was away.

use std::time::{Duration, Instant};

use super::{handles::ShareMode, rest};

/// The turns in a row that a client may miss. The last one ends its wait.
pub const MAX_MISSES: u32 = 3;

/// The use of a turn between two calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The handle is exclusive, or in a transaction.
    Kept {
        /// The share mode of the handle, on which the limits depend.
        share: ShareMode,
        /// The turn ends after so long without a call; `None` for never.
        idle: Option<Duration>,
        /// The turn ends after so long while others of the same isolation group wait.
        wanted: Duration,
    },
    /// The handle may come back.
    Resting {
        /// Whether the handle was told of a reset or a removal.
        has_news: bool,
    },
    /// The turn came while the client was away.
    Awaited {
        /// The number of turns that the client has missed before.
        misses: u32,
    },
}

/// A limit of a turn that a handle keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The time without a call. The card must be given back.
    Idle,
    /// The time while others wait, which share the card's security state.
    OwnGroup,
}

/// The reason for the end of a turn whose handle does not come back in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// The handle has kept the turn for longer than this limit allows.
    TooLong(Limit),
    /// The rest of the turn is over.
    Rested,
    /// The client has missed its turn.
    Missed {
        /// The number of turns that the client has missed in a row, this one included.
        misses: u32,
    },
}

/// The facts about a turn on which the end of a rest depends, besides the calls of its handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stakes {
    /// The time at which the turn began.
    pub began: Instant,
    /// Whether another caller waits for the reader.
    pub is_wanted: bool,
    /// Whether the end of the turn costs something, see [`rest::Rest`].
    pub is_costly: bool,
}

/// The time of a turn since the last call of its handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    phase: Phase,
    /// The end of the last call of the handle.
    since: Instant,
    /// Since when an answer or a chain has been open at the end of each call; `None` if the last one has left none.
    pair_since: Option<Instant>,
    /// Since when other programs have waited; `None` if none does. The broker has a limit of its own, at most as long,
    /// for those of other isolation groups.
    wanted_since: Option<Instant>,
}

impl Pause {
    /// The pause of a turn that has just begun.
    pub fn new(phase: Phase, is_wanted: bool, now: Instant) -> Self {
        Self { phase, since: now, pair_since: None, wanted_since: is_wanted.then_some(now) }
    }

    /// The use of the turn.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The number of waiting callers has changed.
    pub fn on_waiters(&mut self, is_wanted: bool, now: Instant) {
        self.wanted_since = is_wanted.then(|| self.wanted_since.unwrap_or(now));
    }

    /// A call of the handle has ended, which has left an answer or a chain open if `is_pair_open`.
    pub fn on_call_over(&mut self, phase: Phase, is_pair_open: bool, is_wanted: bool, now: Instant) {
        (self.phase, self.since) = (phase, now);
        self.pair_since = is_pair_open.then(|| self.pair_since.unwrap_or(now));
        self.on_waiters(is_wanted, now);
    }

    /// The time at which the turn ends unless the handle comes back before, and the reason. The time may have passed;
    /// `None` if the turn does not end by itself.
    pub fn deadline(&self, stakes: Stakes) -> Option<(Instant, Expiry)> {
        match self.phase {
            Phase::Kept { idle, wanted, .. } => {
                let idle = idle.map(|idle| (self.since + idle, Expiry::TooLong(Limit::Idle)));
                let wanted = self.wanted_end(wanted).map(|end| (end, Expiry::TooLong(Limit::OwnGroup)));
                idle.into_iter().chain(wanted).min_by_key(|(end, _)| *end)
            }
            Phase::Awaited { misses } => Some((self.since + rest::PICK_UP, Expiry::Missed { misses: misses + 1 })),
            Phase::Resting { has_news } => {
                let Stakes { began, is_wanted, is_costly } = stakes;
                let (since, pair_since) = (self.since, self.pair_since);
                let rest = rest::Rest { began, since, is_wanted, is_costly, pair_since, has_news };
                Some((rest.end(), Expiry::Rested))
            }
        }
    }

    /// The reason for which the turn is due to end; `None` if it goes on.
    pub fn expired(&self, stakes: Stakes, now: Instant) -> Option<Expiry> {
        self.deadline(stakes).filter(|(end, _)| *end <= now).map(|(_, expiry)| expiry)
    }

    /// An answer or a chain that is open is completed first.
    fn wanted_end(&self, wanted: Duration) -> Option<Instant> {
        let pair = self.pair_since.map(|opened| (self.since + rest::OPEN_PAIR).min(opened + rest::PAIRS));
        self.wanted_since.map(|since| pair.map_or(since + wanted, |pair| pair.max(since + wanted)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::properties::holds;

    const IDLE: Duration = Duration::from_secs(5);
    const WANTED: Duration = Duration::from_secs(2);
    const KEPT: Phase = Phase::Kept { share: ShareMode::Exclusive, idle: Some(IDLE), wanted: WANTED };
    const MOMENT: Duration = Duration::from_millis(10);

    fn stakes(began: Instant) -> Stakes {
        Stakes { began, is_wanted: false, is_costly: false }
    }

    #[test]
    fn a_kept_turn_ends_by_the_limit_that_comes_first() {
        let began = Instant::now();
        let idle = |since: Instant| Some((since + IDLE, Expiry::TooLong(Limit::Idle)));
        let own_group = |since: Instant| Some((since + WANTED, Expiry::TooLong(Limit::OwnGroup)));
        let mut pause = Pause::new(KEPT, false, began);
        assert_eq!(pause.deadline(stakes(began)), idle(began));
        let asked = began + MOMENT;
        pause.on_waiters(true, asked);
        assert_eq!(pause.deadline(stakes(began)), own_group(asked));
        pause.on_waiters(true, asked + MOMENT);
        pause.on_call_over(KEPT, false, true, asked + MOMENT);
        assert_eq!(pause.deadline(stakes(began)), own_group(asked), "further waiters and calls delay nothing");
        pause.on_waiters(false, asked + MOMENT);
        assert_eq!(pause.deadline(stakes(began)), idle(asked + MOMENT), "each call begins the idle time");
        pause.on_waiters(true, asked + MOMENT + IDLE);
        assert_eq!(pause.deadline(stakes(began)), idle(asked + MOMENT), "the waiters came late");
        let forever = Phase::Kept { share: ShareMode::Shared, idle: None, wanted: WANTED };
        assert_eq!(Pause::new(forever, false, began).deadline(stakes(began)), None);
    }

    #[test]
    fn an_open_answer_is_completed_before_a_kept_turn_ends() {
        let began = Instant::now();
        let mut pause = Pause::new(KEPT, true, began);
        let last = began + WANTED - MOMENT;
        pause.on_call_over(KEPT, true, true, last);
        let end = |pause: &Pause| pause.deadline(stakes(began)).map(|(end, _)| end);
        assert_eq!(end(&pause), Some(last + rest::OPEN_PAIR));
        let longest = last + rest::PAIRS;
        pause.on_call_over(KEPT, true, true, longest - MOMENT);
        assert_eq!(end(&pause), Some(longest), "a program may leave answers open all the time");
        pause.on_call_over(KEPT, false, true, longest - MOMENT);
        assert_eq!(end(&pause), Some(began + WANTED));
    }

    #[test]
    fn a_client_has_a_time_to_pick_up_its_turn() {
        let began = Instant::now();
        let pause = Pause::new(Phase::Awaited { misses: 1 }, true, began);
        let end = began + rest::PICK_UP;
        assert_eq!(pause.expired(stakes(began), end - Duration::from_nanos(1)), None);
        assert_eq!(pause.expired(stakes(began), end), Some(Expiry::Missed { misses: 2 }));
    }

    #[test]
    fn a_rest_ends_when_its_stakes_change() {
        let began = Instant::now();
        let resting = Phase::Resting { has_news: false };
        let mut pause = Pause::new(resting, false, began);
        let rests = |pause: &Pause, stakes: Stakes| {
            let (end, expiry) = pause.deadline(stakes)?;
            (expiry == Expiry::Rested).then(|| end - began)
        };
        let alone = stakes(began);
        assert_eq!(rests(&pause, alone), Some(rest::ALONE));
        let wanted = Stakes { is_wanted: true, ..alone };
        assert_eq!(rests(&pause, wanted), Some(Duration::ZERO));
        assert_eq!(rests(&pause, Stakes { is_costly: true, ..wanted }), Some(rest::GAP));
        pause.on_call_over(resting, true, true, began);
        assert_eq!(rests(&pause, wanted), Some(rest::OPEN_PAIR));
        pause.on_call_over(Phase::Resting { has_news: true }, false, true, began);
        assert_eq!(rests(&pause, wanted), Some(rest::RECONNECT));
    }

    #[test]
    fn no_calls_keep_a_wanted_turn_for_longer_than_its_limit_and_the_pairs() {
        // Most calls come before an open answer is given up, and leave one open themselves.
        let calls = vec((0..102_u64, proptest::bool::weighted(0.95)), 1..120);
        holds(2_000, calls, |calls| {
            let began = Instant::now();
            let (mut pause, mut now) = (Pause::new(KEPT, true, began), began);
            for (gap, is_pair_open) in calls {
                now += Duration::from_millis(gap);
                if pause.expired(stakes(began), now).is_some() {
                    break;
                }
                prop_assert!(now < began + WANTED + rest::PAIRS, "it goes on after {:?}", now - began);
                pause.on_call_over(KEPT, is_pair_open, true, now);
            }
            Ok(())
        });
    }
}

//! The plan of reloads: when configuration and tokens are read, and what follows from each outcome. Pure: the time is
//! an argument.
//!
//! New rules need a configuration without a mistake, and a tokens file without a malformed line. The tokens depend on
//! the tokens file alone, and on what its last readings have shown:
//!
//! ```text
//!            unusable               still unusable 1 s later
//!  Usable ─────────────► Doubtful ───────────────────────────► Unusable (no token is valid; read every 5 s)
//!    ▲  ▲                   │                                     │
//!    │  └── good, malformed ┘                                     │
//!    └────────────────────────────── good ────────────────────────┘
//! ```
//!
//! A reading that failed for a reason that may pass changes nothing, and is tried again after 5 s. After a minute of
//! such failures the file counts as unusable.

use std::{
    mem,
    time::{Duration, Instant},
};

/// The time until an unusable tokens file is judged: it may be about to be replaced.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// The time between further readings, while no token is valid or the reading fails.
const LATER_LOOKS: Duration = Duration::from_secs(5);

/// How long the reading may fail until the file counts as unusable.
const LONGEST_FAILURE: Duration = Duration::from_secs(60);

/// The result of reading the tokens file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokensRead {
    /// Every line of the file is valid.
    Good,
    /// The file can be read, and something in it is invalid.
    Malformed,
    /// The file is missing or unreadable, or has another owner, mode or kind.
    Unusable,
    /// The system failed to read it, for a reason that may pass.
    Failed,
}

impl TokensRead {
    /// Whether the rules that were read with it may be put in force.
    pub(super) fn admits_rules(self) -> bool {
        self != Self::Malformed
    }
}

/// The consequence of a reading for the tokens in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokensAction {
    /// Put the new tokens in force. `again`: none was valid before.
    Accept {
        /// Whether that ends a time in which no token was valid.
        again: bool,
    },
    /// Revoke the tokens that no readable line names, and refuse the others.
    Restrict,
    /// Revoke all tokens in force.
    RevokeAll,
    /// Keep the tokens, and warn.
    Warn,
    /// Keep the tokens: there is nothing new to say.
    Keep,
}

/// Whether a reading is due to a signal, which asks for the configuration too, or to the time, which asks for the
/// tokens alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The operator has asked for it.
    Signal,
    /// An earlier reading of the tokens file has asked for it.
    Time,
}

/// The readings so far, and the next one.
#[derive(Debug, Default)]
pub(super) struct Plan {
    tokens_file: TokensFile,
    /// Since when every reading has failed; `None` after one that did not.
    failing_since: Option<Instant>,
    /// Whether a signal came after the last reading began.
    signal: bool,
    /// The reading under way: its cause and its beginning.
    reading: Option<(Cause, Instant)>,
    /// When a reading is due without a signal.
    due: Option<Instant>,
}

/// The results of reading the tokens file.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum TokensFile {
    #[default]
    Usable,
    /// It was unusable, and a reading that begins at `until` or later decides.
    Doubtful { until: Instant },
    /// It was unusable again: no token is valid.
    Unusable,
}

impl Plan {
    /// Records that no token was valid at the start.
    pub(super) fn on_unusable_start(&mut self, now: Instant) {
        self.tokens_file = TokensFile::Unusable;
        self.due = Some(now + LATER_LOOKS);
    }

    /// Records that a signal asks for a reading.
    pub(super) fn on_signal(&mut self) {
        self.signal = true;
    }

    /// When a reading is due without a signal.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The cause of a reading that is due now; it then counts as begun. `None` if none is due or one is under way.
    pub(super) fn begin(&mut self, now: Instant) -> Option<Cause> {
        if self.reading.is_some() {
            return None;
        }
        let cause = match self.due {
            _ if mem::take(&mut self.signal) => Cause::Signal,
            Some(due) if due <= now => Cause::Time,
            _ => return None,
        };
        self.due = None;
        self.reading = Some((cause, now));
        Some(cause)
    }

    /// Whether the reading under way was asked for by a signal, and no signal came after it began.
    pub(super) fn answers_signals(&self) -> bool {
        !self.signal && matches!(self.reading, Some((Cause::Signal, _)))
    }

    /// Takes the outcome of the reading that has begun; `now` is its end.
    pub(super) fn on_read(&mut self, tokens: TokensRead, now: Instant) -> TokensAction {
        let (cause, began) = self.reading.take().unwrap_or((Cause::Time, now));
        // What stays as it was is said again to an operator only.
        let repeated = |action| if cause == Cause::Signal { action } else { TokensAction::Keep };
        let later = Some(now + LATER_LOOKS);
        let has_failed_before = self.failing_since.is_some();
        self.failing_since = (tokens == TokensRead::Failed).then(|| self.failing_since.unwrap_or(now));
        let tokens = match self.failing_since {
            Some(since) if now >= since + LONGEST_FAILURE => TokensRead::Unusable,
            _ => tokens,
        };
        let (tokens_file, due, action) = match (tokens, self.tokens_file) {
            (TokensRead::Good, before) => {
                (TokensFile::Usable, None, TokensAction::Accept { again: before == TokensFile::Unusable })
            }
            (TokensRead::Failed, before) if has_failed_before => (before, later, repeated(TokensAction::Warn)),
            (TokensRead::Failed, before) => (before, later, TokensAction::Warn),
            (TokensRead::Malformed, TokensFile::Unusable) => {
                (TokensFile::Unusable, later, repeated(TokensAction::Restrict))
            }
            (TokensRead::Malformed, _) => (TokensFile::Usable, None, TokensAction::Restrict),
            (TokensRead::Unusable, TokensFile::Usable) => {
                let until = now + SECOND_LOOK;
                (TokensFile::Doubtful { until }, Some(until), TokensAction::Keep)
            }
            (TokensRead::Unusable, before @ TokensFile::Doubtful { until }) if began < until => {
                (before, Some(until), TokensAction::Keep)
            }
            (TokensRead::Unusable, TokensFile::Doubtful { .. }) => {
                (TokensFile::Unusable, later, TokensAction::RevokeAll)
            }
            (TokensRead::Unusable, TokensFile::Unusable) => {
                (TokensFile::Unusable, later, repeated(TokensAction::RevokeAll))
            }
        };
        (self.tokens_file, self.due) = (tokens_file, due);
        action
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Cause::{Signal, Time},
        TokensAction::{Accept, Keep, Restrict, RevokeAll, Warn},
        TokensRead::{Failed, Good, Malformed, Unusable},
        *,
    };

    /// Readings in order: when one begins, by which cause, what it finds, what follows, and when the next is due.
    type Story = [(u64, Cause, TokensRead, TokensAction, Option<u64>)];

    /// Times are tenths of a second. A reading takes no time.
    fn tell(story: &Story) {
        let start = Instant::now();
        let at = |tenths: u64| start + Duration::from_millis(100 * tenths);
        let mut plan = Plan::default();
        for (step, (begins, cause, tokens, action, due)) in story.iter().enumerate() {
            if *cause == Signal {
                plan.on_signal();
            }
            assert_eq!(plan.begin(at(*begins)), Some(*cause), "{step} of {story:?}");
            assert_eq!(plan.begin(at(*begins)), None, "one reading at a time");
            assert_eq!(plan.on_read(*tokens, at(*begins)), *action, "{step} of {story:?}");
            assert_eq!(plan.due(), due.map(at), "{step} of {story:?}");
            let early = due.map_or(at(10_000), |due| at(due) - Duration::from_millis(1));
            assert_eq!(plan.begin(early), None, "{step} of {story:?}");
        }
    }

    #[test]
    fn each_outcome_has_its_consequence_in_each_state() {
        let again = Accept { again: true };
        let accept = Accept { again: false };
        // A usable file.
        for (found, action, due) in
            [(Good, accept, None), (Malformed, Restrict, None), (Unusable, Keep, Some(10)), (Failed, Warn, Some(50))]
        {
            tell(&[(0, Signal, found, action, due)]);
        }
        // A doubtful one, whose second look is due at 10.
        for (begins, cause, found, action, due) in [
            (10, Time, Good, accept, None),
            (10, Time, Malformed, Restrict, None),
            (10, Time, Unusable, RevokeAll, Some(60)),
            (10, Time, Failed, Warn, Some(60)),
            (3, Signal, Good, accept, None),
            (3, Signal, Malformed, Restrict, None),
            (3, Signal, Unusable, Keep, Some(10)),
            (3, Signal, Failed, Warn, Some(53)),
            (12, Signal, Unusable, RevokeAll, Some(62)),
        ] {
            tell(&[(0, Signal, Unusable, Keep, Some(10)), (begins, cause, found, action, due)]);
        }
        // An unusable one, which is due at 60.
        for (begins, cause, found, action, due) in [
            (60, Time, Good, again, None),
            (60, Time, Malformed, Keep, Some(110)),
            (60, Time, Unusable, Keep, Some(110)),
            (60, Time, Failed, Warn, Some(110)),
            (20, Signal, Good, again, None),
            (20, Signal, Malformed, Restrict, Some(70)),
            (20, Signal, Unusable, RevokeAll, Some(70)),
            (20, Signal, Failed, Warn, Some(70)),
        ] {
            let before = [(0, Signal, Unusable, Keep, Some(10)), (10, Time, Unusable, RevokeAll, Some(60))];
            tell(&[before[0], before[1], (begins, cause, found, action, due)]);
        }
    }

    #[test]
    fn signals_within_the_pause_neither_skip_nor_prolong_it() {
        let first = (0, Signal, Unusable, Keep, Some(10));
        let more = [2, 5, 9].map(|begins| (begins, Signal, Unusable, Keep, Some(10)));
        tell(&[first, more[0], more[1], more[2], (10, Time, Unusable, RevokeAll, Some(60))]);
    }

    #[test]
    fn a_failed_reading_forgets_nothing() {
        let first = (0, Signal, Unusable, Keep, Some(10));
        let failed = (10, Time, Failed, Warn, Some(60));
        tell(&[first, failed, (60, Time, Unusable, RevokeAll, Some(110)), (110, Time, Failed, Warn, Some(160))]);
        tell(&[first, failed, (60, Time, Failed, Keep, Some(110)), (70, Signal, Failed, Warn, Some(120))]);
        tell(&[first, failed, (60, Time, Good, Accept { again: false }, None)]);
        tell(&[(0, Signal, Failed, Warn, Some(50)), (50, Time, Malformed, Restrict, None)]);
    }

    #[test]
    fn a_file_that_fails_for_a_minute_counts_as_unusable() {
        let failing = |first: Cause, begins: u64, steps: u64| {
            let further = (1..steps).map(move |step| begins + 50 * step);
            let further = further.map(|begins| (begins, Time, Failed, Keep, Some(begins + 50)));
            [(begins, first, Failed, Warn, Some(begins + 50))].into_iter().chain(further).collect::<Vec<_>>()
        };
        let (doubtful, lost) = ((600, Time, Failed, Keep, Some(610)), (610, Time, Failed, RevokeAll, Some(660)));
        let still = (660, Time, Failed, Keep, Some(710));
        let good = (710, Time, Good, Accept { again: true }, None);
        let afresh = [(720, Signal, Failed, Warn, Some(770)), (770, Time, Good, Accept { again: false }, None)];
        tell(&[failing(Signal, 0, 12), vec![doubtful, lost, still, good], afresh.to_vec()].concat());
        // Another outcome ends the row.
        let unusable = [(600, Time, Unusable, Keep, Some(610)), (610, Time, Failed, Warn, Some(660))];
        tell(&[failing(Signal, 0, 12), unusable.to_vec(), vec![(660, Time, Failed, Keep, Some(710))]].concat());
        // Signals do not prolong it.
        let signals = (0..15).map(|step| (40 * step, Signal, Failed, Warn, Some(40 * step + 50)));
        tell(&[signals.collect(), vec![(600, Signal, Failed, Keep, Some(610)), lost]].concat());
    }

    #[test]
    fn a_malformed_tokens_file_alone_refuses_new_rules() {
        assert_eq!([Good, Malformed, Unusable, Failed].map(TokensRead::admits_rules), [true, false, true, true]);
    }

    #[test]
    fn after_a_start_without_tokens_the_file_is_read_until_it_is_usable() {
        let start = Instant::now();
        let at = |tenths: u64| start + Duration::from_millis(100 * tenths);
        let mut plan = Plan::default();
        plan.on_unusable_start(start);
        assert_eq!((plan.begin(at(49)), plan.begin(at(50))), (None, Some(Time)));
        assert_eq!(plan.on_read(Malformed, at(50)), Keep);
        assert_eq!((plan.begin(at(99)), plan.begin(at(100))), (None, Some(Time)));
        assert_eq!((plan.on_read(Good, at(100)), plan.due()), (Accept { again: true }, None));
    }

    #[test]
    fn a_slow_reading_counts_from_its_beginning() {
        let start = Instant::now();
        let at = |tenths: u64| start + Duration::from_millis(100 * tenths);
        let mut plan = Plan::default();
        plan.on_signal();
        assert_eq!(plan.begin(at(0)), Some(Signal));
        // This signal comes while the first reading is under way.
        plan.on_signal();
        assert!(!plan.answers_signals());
        assert_eq!(plan.on_read(Unusable, at(30)), Keep);
        assert_eq!(plan.begin(at(31)), Some(Signal));
        assert!(plan.answers_signals());
        assert_eq!(plan.on_read(Unusable, at(45)), Keep, "it looked within the second after the first look");
        assert_eq!(plan.begin(at(45)), Some(Time));
        assert!(!plan.answers_signals());
        assert_eq!(plan.on_read(Unusable, at(45)), RevokeAll);
    }
}

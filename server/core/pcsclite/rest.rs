//! How long a handle keeps a turn that it no longer needs. Programs make many short transactions for one operation, and
//! each of them would cost a reset or a lost selection if the turn ended with it.
//!
//! The schedule has a rule of its own for handles that rest ([`crate::turns::turn::Left::rests`]). It decides between
//! turns, and so for requests that wait. Here the session stays open while its handle is away, and the handle goes on
//! in it without a new request.

use std::time::{Duration, Instant};

/// The rest while others wait: programs begin the next transaction of an operation within 2 ms.
pub const GAP: Duration = Duration::from_millis(3);
/// The maximum time of a turn with its rests while others wait.
pub const BURST: Duration = Duration::from_millis(250);
/// The rest after an answer that offers more, or inside a command chain.
pub const OPEN_PAIR: Duration = Duration::from_millis(100);
/// The maximum time of rests with an answer or a chain open, while others wait: a card's longest file is read by then.
/// A program that never fetches its answers leaves them open all the time.
pub const PAIRS: Duration = Duration::from_secs(1);
/// The rest while nobody waits.
pub const ALONE: Duration = Duration::from_millis(100);
/// The rest after a turn began with bad news, within [`BURST`]: the program reconnects and begins again.
pub const RECONNECT: Duration = Duration::from_millis(100);
/// The time for a client to come back for a turn that has come while it was away.
pub const PICK_UP: Duration = Duration::from_millis(250);

/// A turn that its handle does not need now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// The time at which the turn began.
    pub began: Instant,
    /// The end of the last call of the handle.
    pub since: Instant,
    /// Whether another caller waits for the reader.
    pub is_wanted: bool,
    /// Whether the end of the turn costs something: security state was raised and a caller of another group waits, or
    /// the selection is another one than at the beginning.
    pub is_costly: bool,
    /// Since when each next command has completed a chain or an answer; `None` if this one does not.
    pub pair_since: Option<Instant>,
    /// Whether the handle was told of a reset or a removal in this turn, and has not reconnected yet.
    pub has_news: bool,
}

impl Rest {
    /// The end of the rest. It may have passed.
    pub fn end(&self) -> Instant {
        let pair_end = match self.pair_since {
            Some(_) if !self.is_wanted => Some(self.since + OPEN_PAIR),
            Some(opened) => Some((self.since + OPEN_PAIR).min(opened + PAIRS)).filter(|end| *end > self.since),
            None => None,
        };
        if let Some(end) = pair_end {
            return end;
        }
        match () {
            () if self.has_news => (self.since + RECONNECT).min(self.began + BURST),
            () if !self.is_wanted => self.since + ALONE,
            () if self.is_costly => (self.since + GAP).min(self.began + BURST),
            () => self.since,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_as_long_as_it_is_worth() {
        let began = Instant::now();
        let since = began + Duration::from_millis(10);
        let rest = Rest { began, since, is_wanted: true, is_costly: false, pair_since: None, has_news: false };
        let lasts = |rest: Rest| rest.end().saturating_duration_since(rest.since);
        assert_eq!(lasts(rest), Duration::ZERO, "nothing is lost");
        assert_eq!(lasts(Rest { is_costly: true, ..rest }), GAP);
        assert_eq!(lasts(Rest { is_wanted: false, ..rest }), ALONE);
        assert_eq!(lasts(Rest { pair_since: Some(since), ..rest }), OPEN_PAIR);
        let open = Rest { pair_since: Some(since), since: since + PAIRS - GAP, ..rest };
        assert_eq!(lasts(open), GAP, "answers are never fetched");
        assert_eq!(lasts(Rest { since: since + PAIRS, ..open }), Duration::ZERO);
        assert_eq!(lasts(Rest { is_wanted: false, since: since + PAIRS, ..open }), OPEN_PAIR);
        assert_eq!(lasts(Rest { has_news: true, ..rest }), RECONNECT);
        let late = Rest { is_costly: true, since: began + BURST + GAP, ..rest };
        assert_eq!(lasts(late), Duration::ZERO, "the burst is over");
    }
}

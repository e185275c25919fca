//! The callers of the model, and the faults that tests plant in it.

use std::time::Duration;

use crate::turns::request::Kind;

pub(in crate::turns::tests) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A caller, with the pattern of its requests and the effects of its turns.
#[derive(Debug, Clone)]
pub(in crate::turns::tests) struct Caller {
    pub(in crate::turns::tests) user: u8,
    /// The group's number within the user.
    pub(in crate::turns::tests) group: u8,
    pub(in crate::turns::tests) kind: Kind,
    /// The number of requests that wait or have the turn at the same time.
    pub(in crate::turns::tests) depth: usize,
    /// The time from an answer to the next request.
    pub(in crate::turns::tests) think: Duration,
    /// The time for which a turn uses the card.
    pub(in crate::turns::tests) length: Duration,
    pub(in crate::turns::tests) raises: bool,
    pub(in crate::turns::tests) rests: bool,
    pub(in crate::turns::tests) opens_pairs: bool,
    /// The maximum wait of a request for its turn.
    pub(in crate::turns::tests) wait: Duration,
    /// The time of the first request.
    pub(in crate::turns::tests) start: Duration,
    /// The number of requests, after which the caller ends. Its group ends with the last caller.
    pub(in crate::turns::tests) count: usize,
    pub(in crate::turns::tests) share: u32,
}

/// A caller whose turns raise, and which always sends the next request almost at once.
pub(in crate::turns::tests) fn caller(user: u8, length: Duration) -> Caller {
    Caller {
        user,
        group: 0,
        kind: Kind::Unit,
        depth: 1,
        think: Duration::from_micros(200),
        length,
        raises: true,
        rests: false,
        opens_pairs: false,
        wait: Duration::from_secs(3600),
        start: Duration::ZERO,
        count: usize::MAX,
        share: 1,
    }
}

/// A planted fault. The comments describe its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::turns::tests) enum Fault {
    /// The beginning of the visit moves to the end of each turn.
    RestartedQuantum,
    /// All debts are dropped before each decision.
    ForgottenDebt,
    /// The card lingers although no request waits.
    LingerForNobody,
    /// The end of a group is not reported to the schedule.
    ForgottenEnd,
    /// The schedule sees a deadline of an hour for each request.
    HiddenDeadline,
    /// Waiters of the holder's own group count as contention.
    OwnContention,
    /// The running cycle is forgotten.
    ForgottenCycle,
    /// The next request of the visit waits although the card is free.
    Idleness,
}

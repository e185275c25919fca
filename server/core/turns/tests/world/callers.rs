//! Who asks in the model world, and the faults that are planted in it.

use std::time::Duration;

use crate::turns::request::Kind;

pub(in crate::turns::tests) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A caller: how it asks, and what its turns do.
#[derive(Debug, Clone)]
pub(in crate::turns::tests) struct Caller {
    pub(in crate::turns::tests) user: u8,
    /// Within the user.
    pub(in crate::turns::tests) group: u8,
    pub(in crate::turns::tests) kind: Kind,
    /// Requests that it keeps waiting or under way.
    pub(in crate::turns::tests) depth: usize,
    /// From an answer to the next request.
    pub(in crate::turns::tests) think: Duration,
    /// How long a turn uses the card.
    pub(in crate::turns::tests) length: Duration,
    pub(in crate::turns::tests) raises: bool,
    pub(in crate::turns::tests) rests: bool,
    pub(in crate::turns::tests) opens_pairs: bool,
    /// How long a request waits for its turn.
    pub(in crate::turns::tests) wait: Duration,
    /// When it first asks.
    pub(in crate::turns::tests) start: Duration,
    /// How often it asks; then it ends, and its group with its last caller.
    pub(in crate::turns::tests) count: usize,
    pub(in crate::turns::tests) share: u32,
}

/// A caller that raises, asks again at once, for ever.
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

/// A fault that is planted; the comments say what is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::turns::tests) enum Fault {
    /// t0 is moved to the end of each turn.
    RestartedQuantum,
    /// All debts are dropped before each decision.
    ForgottenDebt,
    /// The card lingers although nobody waits.
    LingerForNobody,
    /// The schedule is not told of a group's end.
    ForgottenEnd,
    /// The schedule believes that requests wait for an hour.
    HiddenDeadline,
    /// Waiters of the holder's own group count as contention.
    OwnContention,
    /// The running cycle is forgotten.
    ForgottenCycle,
    /// What would come next in the visit waits for the quantum's end.
    Idleness,
}

//! What a caller may see of the turns at a reader: its own waiting requests, and since when the turn is held. Pure.

use std::time::Instant;

/// What a turn is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnKind {
    /// One unit.
    Unit,
    /// A session.
    Session,
}

/// Who has the turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// What for.
    pub kind: TurnKind,
    /// When the turn came.
    pub since: Instant,
    /// Whether it is the caller that asks.
    pub is_caller: bool,
}

/// A request that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter {
    /// What for.
    pub kind: TurnKind,
    /// How many turns come before its own, the one under way included, if nobody gives up and nobody new comes.
    pub turns_ahead: usize,
    /// When it came.
    pub since: Instant,
    /// When it is refused with `QUEUE_TIMEOUT`.
    pub deadline: Instant,
}

/// What one caller may see of the turns at one reader.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turns {
    /// Who has the turn, if anyone has: the broker itself has none while it takes, resets or releases the card for
    /// nobody.
    pub holder: Option<Holder>,
    /// The caller's own requests that wait, in the order of their turns.
    pub waiting: Vec<Waiter>,
}

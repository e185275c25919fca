//! A caller's view of the turns at a reader: its own waiting requests, and the holder of the turn.

use std::time::Instant;

/// The kind of work in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnKind {
    /// One unit of a `Transmit` call.
    Unit,
    /// A session of any number of messages.
    Session,
}

/// The holder of the turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The kind of the holder's work.
    pub kind: TurnKind,
    /// The beginning of its turn.
    pub since: Instant,
    /// Whether the holder is the requesting caller.
    pub is_caller: bool,
}

/// A waiting request of the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter {
    /// The kind of work for its turn.
    pub kind: TurnKind,
    /// The estimated number `n` of turns before its own, including the current one. The estimate is exact if every
    /// visit is one turn and no request arrives or leaves. Otherwise at most 2 (n + 1) times the turns of a visit come
    /// first.
    pub turns_ahead: usize,
    /// When the reader received the request.
    pub since: Instant,
    /// The end of its wait. The request is then refused with `QUEUE_TIMEOUT`.
    pub deadline: Instant,
}

/// One caller's view of the turns at one reader.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turns {
    /// The holder of the turn, if there is one. The broker itself is no holder while it takes, resets or releases the
    /// card without a request.
    pub holder: Option<Holder>,
    /// The caller's own waiting requests, in the order of their turns.
    pub waiting: Vec<Waiter>,
}

//! One request for a turn, as the rule of turns needs it: numbers and facts, no payload.

use std::{hash::Hash, time::Instant};

/// A small id of a user, a caller or a group. A group that is created again under the same key has a new id.
pub trait Id: Copy + Eq + Hash + Ord {}

impl<T: Copy + Eq + Hash + Ord> Id for T {}

/// The number of a request, unique at its reader. Later requests of one caller have greater numbers.
pub type RequestNumber = u64;

/// The kind of work in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One unit, whose end is the end of the turn.
    Unit,
    /// A session, or the transaction of a PC/SC handle: a lease that the holder ends.
    Session,
    /// One command of a PC/SC handle outside a transaction. After the command the handle rests: its turn stays open
    /// until another turn begins.
    Command,
}

/// A request that waits for its turn. The rule is fair between users; callers are a user's processes or connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<U, C, G> {
    /// The request's number at its reader.
    pub number: RequestNumber,
    /// The user. A caller never changes its user.
    pub user: U,
    /// The caller. Its requests keep their order.
    pub caller: C,
    /// The isolation group, which belongs to one user.
    pub group: G,
    /// The kind of work in the turn.
    pub kind: Kind,
    /// Whether the request itself requires a reset before its commands.
    pub demands_reset: bool,
    /// The visits of the user in each round, 1–100, from the policy rule that allows the request. Other values are
    /// clamped; the value of the user's latest request applies.
    pub share: u32,
    /// The time at which the reader received the request.
    pub arrived: Instant,
    /// The time at which the request expires. For a request with a wait of zero, the time of its arrival.
    pub deadline: Instant,
}

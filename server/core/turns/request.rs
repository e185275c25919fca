//! One request for a turn, as the rule of turns sees it: numbers and facts, no payload.

use std::{hash::Hash, time::Instant};

/// What a user, a caller or a group is named by: a small id. The ids of two groups that follow each other under the
/// same key differ.
pub trait Id: Copy + Eq + Hash + Ord {}

impl<T: Copy + Eq + Hash + Ord> Id for T {}

/// Names one request among all of a reader. Chosen by the actor, growing from request to request of one caller.
pub type RequestNumber = u64;

/// What the turn is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One unit.
    Unit,
    /// A session, or the transaction of a PC/SC handle: a lease, whose holder ends it.
    Session,
    /// One command of a PC/SC handle outside a transaction. The turn stays open after it (the handle rests) until
    /// another turn begins.
    Command,
}

/// A request that waits for its turn. Users are the unit of fairness; callers are a user's processes or connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<U, C, G> {
    /// Names the request.
    pub number: RequestNumber,
    /// The user. A caller never changes its user.
    pub user: U,
    /// The caller. Its requests keep their order.
    pub caller: C,
    /// The isolation group, which belongs to one user.
    pub group: G,
    /// What the turn is wanted for.
    pub kind: Kind,
    /// Whether the request itself asks for a reset before its commands.
    pub demands_reset: bool,
    /// How many visits the user gets in each round, 1–100, from the rule that admits the user. Values outside are
    /// clamped; the latest request's value holds.
    pub share: u32,
    /// When the request expires. For a request that waits for no time, the moment it came.
    pub deadline: Instant,
}

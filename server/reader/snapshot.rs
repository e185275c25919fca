//! One reader at one moment, as an operator sees it: holder, waiters, driver call, incidents and counters. The actor
//! answers a query with it.

use std::{sync::Arc, time::Instant};

use cardbroker_core::{
    journal::{Counters, Incident, Origin, Progress},
    turns::{lease::LeaseNumber, waiting::TurnKind},
};

/// The maximum number of waiters in a snapshot.
pub const MAX_WAITERS: usize = 64;

/// One reader at one moment.
#[derive(Debug, Clone)]
pub struct ReaderSnapshot {
    /// When the reader's state began.
    pub state_since: Instant,
    /// The turn in progress, if there is one.
    pub holder: Option<HolderSnapshot>,
    /// The call of the driver that the card thread is in.
    pub call: Option<DriverCall>,
    /// The first [`MAX_WAITERS`] waiting requests, in the estimated order of their turns.
    pub waiters: Vec<WaiterSnapshot>,
    /// The number of all waiting requests.
    pub waiter_count: usize,
    /// The last incidents, the latest first.
    pub incidents: Vec<Incident>,
    /// The counters of this run.
    pub counters: Counters,
}

/// The turn in progress, with its request.
#[derive(Debug, Clone)]
pub struct HolderSnapshot {
    /// The lease; `None` while the card is prepared for the turn or put in order after it.
    pub lease: Option<LeaseNumber>,
    /// Whether it is a unit or a session.
    pub kind: TurnKind,
    /// The request that has the turn.
    pub origin: Arc<Origin>,
    /// The beginning of the turn.
    pub began: Instant,
    /// The arrival of the request.
    pub arrived: Instant,
    /// Since when no command has run; `None` while one runs.
    pub idle_since: Option<Instant>,
    /// The commands of the turn so far.
    pub progress: Progress,
    /// The number of commands of the unit; 0 for a session.
    pub commands: usize,
    /// The operator who has released the turn, if any has.
    pub released_by: Option<Arc<Origin>>,
}

/// A call of the driver that has not returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriverCall {
    /// When the call of the driver began.
    pub began: Instant,
    /// Whether the broker has given it up.
    pub is_overdue: bool,
}

/// A request that waits for its turn.
#[derive(Debug, Clone)]
pub struct WaiterSnapshot {
    /// The request that waits for a turn.
    pub origin: Arc<Origin>,
    /// Whether it is a unit or a session.
    pub kind: TurnKind,
    /// When the reader's handle received it.
    pub arrived: Instant,
    /// When it gives up waiting.
    pub deadline: Instant,
}

/// An operator's request to end a turn.
#[derive(Debug, Clone)]
pub struct Release {
    /// The lease that the operator saw. Another one is not released.
    pub lease: LeaseNumber,
    /// The operator who ends the turn.
    pub by: Arc<Origin>,
    /// The operator's words, printable; may be empty.
    pub reason: Arc<str>,
}

/// The effect of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// The turn ends before its next command.
    Ended,
    /// The turn ends when this call of the driver returns.
    Pending(DriverCall),
}

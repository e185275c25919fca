//! The kinds of records that are counted, their windows, and the records of their counts.

use std::{hash::Hash, sync::Arc, time::Duration};

use cardbroker_core::{
    caller::Principal,
    error::{Cause, Failure},
    policy::rule::Operation,
};
use tracing::{info, warn};

use super::{
    SessionRecord, TARGET,
    coalesce::{Coalescer, Count},
};

/// The records of one kind about commands and sessions that are written singly, before they are counted. Programs that
/// behave have fewer in the time of a window.
const SINGLES: u64 = 30;

/// Each event has its own windows, so that callers without a credential cannot use up the windows of denials.
#[derive(Debug)]
pub(super) struct Windows {
    pub(super) denials: Coalescer<Denial>,
    pub(super) credentials: Coalescer<Credential>,
    pub(super) refusals: Coalescer<Refusal>,
    pub(super) sessions: Coalescer<Session>,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            denials: Coalescer::default(),
            credentials: Coalescer::default(),
            refusals: Coalescer::with_singles(SINGLES),
            sessions: Coalescer::with_singles(SINGLES),
        }
    }
}

/// The counts of the windows that have ended.
pub(super) struct Counts {
    denials: Vec<Count<Denial>>,
    credentials: Vec<Count<Credential>>,
    refusals: Vec<Count<Refusal>>,
    sessions: Vec<Count<Session>>,
}

/// The kind of a denial: denials with equal fields are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Denial {
    pub(super) principal: Principal,
    /// The id of the reader.
    pub(super) reader: String,
    pub(super) operation: Operation,
    /// The name of the rule that denied it.
    pub(super) rule: Arc<str>,
}

/// The kind of a refused credential. It does not contain the client's address: on loopback a client can choose among 16
/// million addresses and could use up all windows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Credential {
    pub(super) problem: String,
}

/// The kind of a command that the PIN guard has refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Refusal {
    pub(super) principal: Principal,
    /// The id of the reader.
    pub(super) reader: String,
    pub(super) reason: &'static str,
}

/// The kind of an event of a session: its name, and how it has ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Session {
    pub(super) event: &'static str,
    pub(super) principal: Principal,
    /// The id of the reader.
    pub(super) reader: String,
    /// The state of the card, after a normal end.
    pub(super) card: Option<&'static str>,
    /// The reason and the cause of the broker.
    pub(super) reason: Option<&'static str>,
    pub(super) cause: Option<&'static str>,
}

/// A kind of records that the trail counts.
pub(super) trait Kind {
    /// The value of the field `event`.
    const EVENT: &'static str;

    /// Writes the record of a count of `repeated` records in `seconds`.
    fn emit(&self, repeated: u64, seconds: u64);
}

impl Windows {
    /// The end of the next window; `None` if none is open.
    pub(super) fn next_end(&self) -> Option<std::time::Instant> {
        let ends =
            [self.denials.next_end(), self.credentials.next_end(), self.refusals.next_end(), self.sessions.next_end()];
        ends.into_iter().flatten().min()
    }

    /// Ends the windows that are due.
    pub(super) fn end_windows(&mut self, now: std::time::Instant) -> Counts {
        Counts {
            denials: self.denials.end_windows(now),
            credentials: self.credentials.end_windows(now),
            refusals: self.refusals.end_windows(now),
            sessions: self.sessions.end_windows(now),
        }
    }

    /// Ends all windows for good.
    pub(super) fn close(&mut self, now: std::time::Instant) -> Counts {
        Counts {
            denials: self.denials.close(now),
            credentials: self.credentials.close(now),
            refusals: self.refusals.close(now),
            sessions: self.sessions.close(now),
        }
    }
}

impl Counts {
    /// Writes a record of each count.
    pub(super) fn emit(&self) {
        self.denials.iter().for_each(emit);
        self.credentials.iter().for_each(emit);
        self.refusals.iter().for_each(emit);
        self.sessions.iter().for_each(emit);
    }
}

fn emit<K: Kind>(count: &Count<K>) {
    let (repeated, seconds) = (count.repeated, seconds(count.time));
    match &count.kind {
        Some(kind) => kind.emit(repeated, seconds),
        None => {
            warn!(target: TARGET, event = K::EVENT, repeated, seconds, "records of further kinds, counted together")
        }
    }
}

impl Kind for Denial {
    const EVENT: &'static str = "denied";

    fn emit(&self, repeated: u64, seconds: u64) {
        let Self { principal, reader, operation, rule } = self;
        let (reader, operation, rule) = (&**reader, operation.as_str(), &**rule);
        warn!(target: TARGET, event = Self::EVENT, %principal, reader, operation, rule, repeated, seconds);
    }
}

impl Kind for Credential {
    const EVENT: &'static str = "unauthenticated";

    fn emit(&self, repeated: u64, seconds: u64) {
        warn!(target: TARGET, event = Self::EVENT, problem = %self.problem, repeated, seconds);
    }
}

impl Kind for Refusal {
    const EVENT: &'static str = "refused";

    fn emit(&self, repeated: u64, seconds: u64) {
        let Self { principal, reader, reason } = self;
        warn!(target: TARGET, event = Self::EVENT, %principal, reader = &**reader, reason, repeated, seconds);
    }
}

impl Session {
    /// The kind of this event of a session at `reader`.
    pub(super) fn new(principal: Principal, reader: &str, record: SessionRecord<'_>) -> Self {
        let (event, card, failure) = match record {
            SessionRecord::HandleConnected => ("handle_connected", None, None),
            SessionRecord::Began => ("session_began", None, None),
            SessionRecord::Ended { left } => ("session_ended", Some(if left { "left" } else { "reset" }), None),
            SessionRecord::EndedByBroker(failure) => ("session_ended_by_broker", None, Some(failure)),
        };
        let (reason, cause) = (failure.map(|failure| failure.reason.as_str()), failure.and_then(Failure::cause));
        Self { event, principal, reader: reader.into(), card, reason, cause: cause.map(Cause::as_str) }
    }
}

impl Kind for Session {
    const EVENT: &'static str = "session";

    fn emit(&self, repeated: u64, seconds: u64) {
        let Self { event, principal, reader, card, reason, cause } = self;
        info!(target: TARGET, event, %principal, reader = &**reader, card, reason, cause, repeated, seconds);
    }
}

/// Rounds to whole seconds, at least one.
fn seconds(time: Duration) -> u64 {
    (time + Duration::from_millis(500)).as_secs().max(1)
}

//! The audit trail: structured records about the use of cards, for the operator: caller, reader, operation and outcome,
//! never a byte of an APDU. The target of all records is `cardbroker::audit`; `log.level` can switch it on and off.
//!
//! Records of one kind that callers cause are coalesced, see [`AuditTrail`]; those of the operator are written singly.

mod coalesce;
mod kinds;
#[cfg(test)]
pub(crate) mod records;
mod trail;

use cardbroker_core::{caller::Principal, error::Failure, journal::Origin};
use tracing::{error, info, warn};

pub use self::trail::{AuditCounts, AuditTrail};

/// The target of all audit records.
pub const TARGET: &str = "cardbroker::audit";

/// The reader in the record of a denial that holds at every reader.
pub const ANY_READER: &str = "*";

/// The events of a caller's sessions that are recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SessionRecords {
    /// Each beginning and each end.
    #[default]
    Each,
    /// A beginning after a turn of another caller, and the ends by the broker: for programs with many short turns.
    Changes,
}

/// An event in the life of a session.
#[derive(Debug, Clone, Copy)]
pub enum SessionRecord<'a> {
    /// A PC/SC program has connected a handle, for any number of sessions.
    HandleConnected,
    /// The session has received its turn.
    Began,
    /// Its holder has ended it or has disconnected.
    Ended {
        /// Whether the card keeps its state. Otherwise it is reset.
        left: bool,
    },
    /// The broker has ended it, or the card or the reader has failed.
    EndedByBroker(&'a Failure),
}

/// Records that new rules are in force.
pub fn reloaded(rules: usize) {
    info!(target: TARGET, event = "policy_reloaded", rules);
}

/// Records that new rules were refused and the old ones stay in force, for a mistake in them or in the tokens file.
pub fn reload_refused(problem: &dyn std::error::Error) {
    warn!(target: TARGET, event = "policy_reload_refused", problem = %problem);
}

/// Records that a malformed tokens file was refused, and that only tokens of its readable lines stay valid.
pub fn tokens_refused(problem: &dyn std::error::Error) {
    warn!(target: TARGET, event = "tokens_refused", problem = %problem);
}

/// Records that tokens are valid again, because their file can be used.
pub fn tokens_usable() {
    info!(target: TARGET, event = "tokens_usable");
}

/// Records that the tokens file cannot be used, and no token is valid.
pub fn tokens_unusable(problem: &dyn std::error::Error) {
    error!(target: TARGET, event = "tokens_unusable", problem = %problem);
}

/// Records that an operator sees the data of harmless commands from now on. `readers` are ids, or `all`.
pub fn data_trace_began(operator: &Origin, readers: &str) {
    data_trace("data_trace_began", operator, readers);
}

/// Records that an operator no longer sees the data of commands.
pub fn data_trace_ended(operator: &Origin, readers: &str) {
    data_trace("data_trace_ended", operator, readers);
}

fn data_trace(event: &'static str, operator: &Origin, readers: &str) {
    let (principal, pid, executable, traceparent) = record_fields(operator);
    warn!(target: TARGET, event, %principal, pid, executable, traceparent, readers);
}

/// The fields of a request in a record: the principal, the process if it is known, and the trace context.
fn record_fields(origin: &Origin) -> (Principal, Option<u32>, Option<String>, Option<&str>) {
    let caller = &origin.caller;
    let executable = caller.executable.as_deref().map(|path| path.to_string_lossy().into_owned());
    (caller.principal(), caller.pid, executable, origin.traceparent.as_deref())
}

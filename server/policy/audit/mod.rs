//! The audit trail: structured records about the use of cards, for the operator: caller, reader, operation and outcome,
//! never a byte of an APDU. The target of all records is `cardbroker::audit`; `log.level` can switch it on and off.
//!
//! Denials and refused credentials of one kind are coalesced, see [`AuditTrail`]; every other record is written singly.

mod coalesce;
mod trail;

use cardbroker_core::{
    caller::{Caller, Principal},
    error::{Cause, Failure},
};
use tracing::{error, info, warn};

pub use self::trail::{AuditCounts, AuditTrail};

/// The target of all audit records.
pub const TARGET: &str = "cardbroker::audit";

/// An event in the life of a session.
#[derive(Debug, Clone, Copy)]
pub enum SessionRecord<'a> {
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

/// Records that the PIN guard has refused a command.
pub fn pin_kept_from_card(caller: &Caller, reader: &str, failure: &Failure) {
    let (principal, pid, executable) = who(caller);
    warn!(target: TARGET, event = "refused", %principal, pid, executable, reader, reason = failure.reason.as_str());
}

/// Records that a session began or ended.
pub fn session(caller: &Caller, reader: &str, event: SessionRecord<'_>) {
    let (principal, pid, executable) = who(caller);
    match event {
        SessionRecord::Began => info!(target: TARGET, event = "session_began", %principal, pid, executable, reader),
        SessionRecord::Ended { left } => {
            let card = if left { "left" } else { "reset" };
            info!(target: TARGET, event = "session_ended", %principal, pid, executable, reader, card);
        }
        SessionRecord::EndedByBroker(failure) => {
            let (reason, cause) = (failure.reason.as_str(), failure.cause().map(Cause::as_str));
            let event = "session_ended_by_broker";
            warn!(target: TARGET, event, %principal, pid, executable, reader, reason, cause);
        }
    }
}

/// Records that new rules are in force.
pub fn reloaded(rules: usize) {
    info!(target: TARGET, event = "policy_reloaded", rules);
}

/// Records that new rules were refused and the old ones stay in force.
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

/// The fields of a caller in a record: the principal, and the process if it is known.
fn who(caller: &Caller) -> (Principal, Option<u32>, Option<String>) {
    let executable = caller.executable.as_deref().map(|path| path.to_string_lossy().into_owned());
    (caller.principal(), caller.pid, executable)
}

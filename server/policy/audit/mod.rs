//! The audit trail: structured records for an operator who must account for the use of cards: caller, reader, operation
//! and outcome; never a byte of an APDU. Their target is `cardbroker::audit`, which `log.level` can turn off or keep.
//!
//! Denials and refused credentials of one kind are coalesced, see [`AuditTrail`]; all other records stand alone.

mod coalesce;
mod trail;

use std::fmt::Debug;

use cardbroker_core::{
    caller::{Caller, Principal},
    error::Failure,
};
use tracing::{info, warn};

pub use self::trail::{AuditCounts, AuditTrail};

/// The target of all audit records.
pub const TARGET: &str = "cardbroker::audit";

/// What happens to a session.
#[derive(Debug, Clone, Copy)]
pub enum SessionRecord<'a> {
    /// It has its turn.
    Began,
    /// Its holder has ended it or is gone; the card is reset, or left as it is.
    Ended {
        /// Whether the card is left as it is.
        left: bool,
    },
    /// The broker has ended it, or the card or the reader failed.
    EndedByBroker(&'a Failure),
}

/// Records that a command was kept from the card to save tries of a PIN.
pub fn pin_kept_from_card(caller: &Caller, reader: &str, failure: &Failure) {
    let (principal, pid, executable) = who(caller);
    warn!(target: TARGET, event = "refused", %principal, pid, executable, reader, reason = word(failure.reason));
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
            let (reason, cause) = (word(failure.reason), failure.cause.map(word));
            warn!(target: TARGET, event = "session_ended_by_broker", %principal, pid, executable, reader, reason, cause);
        }
    }
}

/// Records that new rules are in force.
pub fn reloaded(rules: usize) {
    info!(target: TARGET, event = "policy_reloaded", rules);
}

/// Records that new rules were refused, and the old ones stay.
pub fn reload_refused(problem: &dyn std::error::Error) {
    warn!(target: TARGET, event = "policy_reload_refused", problem = %problem);
}

/// A reason or a cause as the contract and the clients spell it: PIN_KNOWN_WRONG.
pub fn word(reason: impl Debug) -> String {
    let name = format!("{reason:?}");
    let spelled = name.char_indices().flat_map(|(index, letter)| {
        let gap = (index > 0 && letter.is_ascii_uppercase()).then_some('_');
        gap.into_iter().chain([letter.to_ascii_uppercase()])
    });
    spelled.collect()
}

/// The caller in a record: the principal, which policy has judged, and the process, as far as it is known.
fn who(caller: &Caller) -> (Principal, Option<u32>, Option<String>) {
    let executable = caller.executable.as_deref().map(|path| path.to_string_lossy().into_owned());
    (caller.principal(), caller.pid, executable)
}

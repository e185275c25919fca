//! `GetBroker`: the identity and limits of the broker, and the caller as the broker knows it.

use cardbroker_core::turns::quantum::Quantum;
use cardbroker_proto::{
    MAX_COMMANDS, MAX_MESSAGE_BYTES,
    v1::{BrokerLimits, CallerInfo, GetBrokerResponse},
};

use super::convert::{to_i32, to_i64};
use crate::broker::{About, CallerKind};

/// The optional features of the contract that this broker implements.
const CAPABILITIES: [&str; 1] = ["allow_known_wrong"];

/// Returns the response to one caller.
pub(super) fn response(about: About) -> GetBrokerResponse {
    let limits = BrokerLimits {
        max_message_bytes: to_i32(MAX_MESSAGE_BYTES),
        max_commands: to_i32(MAX_COMMANDS),
        max_session_messages: to_i32(about.limits.max_pipelined),
        max_waiting_per_caller: to_i32(about.limits.max_waiting_per_caller),
        max_waiting_per_reader: to_i32(about.limits.max_waiting_per_reader),
        max_outcomes_per_user: to_i32(about.limits.max_outcomes_per_user),
        outcome_lifetime: about.limits.outcome_lifetime.try_into().ok(),
        max_contended_lease: about.limits.max_contended_lease.try_into().ok(),
        turn_quantum: match about.limits.turn_quantum {
            Quantum::Auto => None,
            Quantum::Fixed(quantum) => quantum.try_into().ok(),
        },
        max_contended_unit: about.limits.max_contended_unit.try_into().ok(),
    };
    let caller = CallerInfo {
        principal: about.caller.principal.to_string(),
        process_id: about.caller.pid.and_then(|pid| i32::try_from(pid).ok()),
        connection: to_i64(about.caller.connection),
        is_connection: about.caller.kind == CallerKind::Connection,
        group: about.caller.group.map_or(0, to_i64),
    };
    GetBrokerResponse {
        version: about.version.to_owned(),
        epoch: about.epoch.to_string(),
        start_time: Some(about.started.into()),
        capabilities: CAPABILITIES.map(str::to_owned).to_vec(),
        limits: Some(limits),
        caller: Some(caller),
    }
}

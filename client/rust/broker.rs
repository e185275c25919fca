//! The broker's description of itself and of the caller.

use std::time::{Duration, SystemTime};

use cardbroker_proto::v1::{self, GetBrokerResponse};

use crate::response::{count, duration, time};

/// The broker, and its view of the caller; from [`Client::broker`](crate::Client::broker).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Broker {
    /// The broker's version (Semantic Versioning): `0.1.0`.
    pub version: String,
    /// Names this run of the broker. A new epoch means that the broker was restarted and all kept outcomes are gone.
    pub epoch: String,
    /// The beginning of this run; `None` if it is missing or out of range.
    pub start_time: Option<SystemTime>,
    /// The optional features of the contract that the broker implements, such as `control`. May hold unknown values.
    pub capabilities: Vec<String>,
    /// The limits that apply to the caller.
    pub limits: BrokerLimits,
    /// The caller, as the broker sees it.
    pub caller: Caller,
}

/// The broker's limits; some of them are configured.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerLimits {
    /// The maximum size of a request, and of a response, in bytes.
    pub max_message_bytes: u32,
    /// The maximum number of commands in a unit.
    pub max_commands: u32,
    /// The maximum number of unanswered messages in a session.
    pub max_session_messages: u32,
    /// The maximum number of the caller's requests that may wait at one reader.
    pub max_waiting_per_caller: u32,
    /// The maximum number of requests that may wait at one reader, of all callers together.
    pub max_waiting_per_reader: u32,
    /// The maximum number of outcomes that are kept for the user under a request id.
    pub max_outcomes_per_user: u32,
    /// How long an outcome is kept.
    pub outcome_lifetime: Duration,
    /// How long a session may hold the card while callers of other groups wait.
    pub max_contended_lease: Duration,
    /// The maximum time of a visit: consecutive turns of one group where that saves a reset. `None`: one and a half
    /// times the duration of the reader's resets, at most 0.5 s.
    pub turn_quantum: Option<Duration>,
    /// How long a unit may use the card while callers of other groups wait; less while several users wait.
    pub max_contended_unit: Duration,
}

/// A caller as the broker sees it. Turns and isolation depend on these fields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caller {
    /// The principal that is responsible for the caller's requests: `user 1000` (on Windows with the SID,
    /// `user S-1-5-21-…`), `token build-7`. For people.
    pub principal: String,
    /// The caller's process id, as reported by the operating system. `None` if it is unknown or cannot be determined:
    /// then the connection is the caller.
    pub process_id: Option<i32>,
    /// The number of the connection, counted from 1 in this run of the broker.
    pub connection: i64,
    /// Whether the connection is the caller: then calls on other connections, even of the same process, belong to other
    /// callers.
    pub is_connection: bool,
    /// The number of this call's isolation group, counted from 1 in this run of the broker. 0: the call is a group of
    /// its own.
    pub group: i64,
}

impl From<GetBrokerResponse> for Broker {
    fn from(wire: GetBrokerResponse) -> Self {
        Self {
            version: wire.version,
            epoch: wire.epoch,
            start_time: time(wire.start_time),
            capabilities: wire.capabilities,
            limits: wire.limits.unwrap_or_default().into(),
            caller: wire.caller.unwrap_or_default().into(),
        }
    }
}

impl From<v1::BrokerLimits> for BrokerLimits {
    fn from(wire: v1::BrokerLimits) -> Self {
        Self {
            max_message_bytes: count(wire.max_message_bytes),
            max_commands: count(wire.max_commands),
            max_session_messages: count(wire.max_session_messages),
            max_waiting_per_caller: count(wire.max_waiting_per_caller),
            max_waiting_per_reader: count(wire.max_waiting_per_reader),
            max_outcomes_per_user: count(wire.max_outcomes_per_user),
            outcome_lifetime: duration(wire.outcome_lifetime),
            max_contended_lease: duration(wire.max_contended_lease),
            turn_quantum: wire.turn_quantum.map(|quantum| duration(Some(quantum))),
            max_contended_unit: duration(wire.max_contended_unit),
        }
    }
}

impl From<v1::CallerInfo> for Caller {
    fn from(wire: v1::CallerInfo) -> Self {
        Self {
            principal: wire.principal,
            process_id: wire.process_id,
            connection: wire.connection,
            is_connection: wire.is_connection,
            group: wire.group,
        }
    }
}

//! The broker's version, features and limits, and its view of this program.

use std::{
    ffi::{CString, c_char},
    mem::MaybeUninit,
    ptr,
};

use cardbroker_client as client;
use client::{BrokerLimits, Delivery};

use crate::{
    border::{address, c_text, call, emptied, flag, give, nanoseconds, value},
    client::Client,
    error::Error,
    turn_watch::unix_time,
};

/// The largest request, and the largest response, in bytes.
pub const CARDBROKER_LIMIT_MESSAGE_BYTES: i32 = 1;
/// The largest number of commands in a unit.
pub const CARDBROKER_LIMIT_COMMANDS: i32 = 2;
/// The largest number of unanswered messages in a session.
pub const CARDBROKER_LIMIT_SESSION_MESSAGES: i32 = 3;
/// The largest number of this program's requests that may wait at one reader.
pub const CARDBROKER_LIMIT_WAITING_PER_CALLER: i32 = 4;
/// The largest number of requests of all callers that may wait at one reader.
pub const CARDBROKER_LIMIT_WAITING_PER_READER: i32 = 5;
/// The largest number of outcomes that the broker stores for the user.
pub const CARDBROKER_LIMIT_OUTCOMES_PER_USER: i32 = 6;
/// The time for which the broker stores an outcome, in nanoseconds.
pub const CARDBROKER_LIMIT_OUTCOME_LIFETIME_NS: i32 = 7;
/// The longest lease of a session while callers of other groups wait, in nanoseconds.
pub const CARDBROKER_LIMIT_CONTENDED_LEASE_NS: i32 = 8;
/// The longest visit, in nanoseconds; -1: one and a half times the duration of the reader's resets,
/// at most 0.5 s.
pub const CARDBROKER_LIMIT_TURN_QUANTUM_NS: i32 = 9;
/// The longest time of a unit on the card while callers of other groups wait, in nanoseconds.
pub const CARDBROKER_LIMIT_CONTENDED_UNIT_NS: i32 = 10;

/// The broker's description of itself and of this program. Its texts live as long as it.
pub struct Broker {
    broker: client::Broker,
    version: CString,
    epoch: CString,
    principal: CString,
    capabilities: Vec<CString>,
}

fn limit(limits: &BrokerLimits, number: i32) -> i64 {
    let time = |time| i64::try_from(nanoseconds(time)).unwrap_or(i64::MAX);
    match number {
        CARDBROKER_LIMIT_MESSAGE_BYTES => limits.max_message_bytes.into(),
        CARDBROKER_LIMIT_COMMANDS => limits.max_commands.into(),
        CARDBROKER_LIMIT_SESSION_MESSAGES => limits.max_session_messages.into(),
        CARDBROKER_LIMIT_WAITING_PER_CALLER => limits.max_waiting_per_caller.into(),
        CARDBROKER_LIMIT_WAITING_PER_READER => limits.max_waiting_per_reader.into(),
        CARDBROKER_LIMIT_OUTCOMES_PER_USER => limits.max_outcomes_per_user.into(),
        CARDBROKER_LIMIT_OUTCOME_LIFETIME_NS => time(limits.outcome_lifetime),
        CARDBROKER_LIMIT_CONTENDED_LEASE_NS => time(limits.max_contended_lease),
        CARDBROKER_LIMIT_TURN_QUANTUM_NS => limits.turn_quantum.map_or(-1, time),
        CARDBROKER_LIMIT_CONTENDED_UNIT_NS => time(limits.max_contended_unit),
        _ => -1,
    }
}

/// Asks the broker about itself and this program, and joins the isolation group. With a connection it
/// takes at most 10 s. Stores the answer in *broker, or NULL.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_client_broker(
    client: Option<&Client>,
    broker: Option<&mut MaybeUninit<*mut Broker>>,
    error: Option<&mut MaybeUninit<*mut Error>>,
) -> i32 {
    call(error, || {
        let answered = emptied(broker, "broker")?;
        let broker = Client::run(client, Delivery::NotSent, async |client| client.broker().await)?;
        let (version, epoch) = (c_text(&*broker.version), c_text(&*broker.epoch));
        let principal = c_text(&*broker.caller.principal);
        let capabilities = broker.capabilities.iter().map(|word| c_text(&**word)).collect();
        give(answered, Broker { broker, version, epoch, principal, capabilities });
        Ok(())
    })
}

/// The broker's version (Semantic Versioning).
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_broker_version(broker: Option<&Broker>) -> *const c_char {
    value(ptr::null(), || address(broker.map(|broker| &broker.version)))
}

/// Identifies this run of the broker; a new value means a restart without the stored outcomes.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_broker_epoch(broker: Option<&Broker>) -> *const c_char {
    value(ptr::null(), || address(broker.map(|broker| &broker.epoch)))
}

/// The start of this run, in nanoseconds since 1970; 0 if it is unknown.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_broker_start_time_ns(broker: Option<&Broker>) -> i64 {
    value(0, || broker.map_or(0, |broker| unix_time(broker.broker.start_time)))
}

/// A word for an optional feature of the contract that the broker has; NULL if there is none with
/// this index.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_broker_capability(broker: Option<&Broker>, index: usize) -> *const c_char {
    value(ptr::null(), || address(broker.and_then(|broker| broker.capabilities.get(index))))
}

/// A limit for this program (CARDBROKER_LIMIT_...); -1 for none.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_broker_limit(broker: Option<&Broker>, number: i32) -> i64 {
    value(-1, || broker.map_or(-1, |broker| limit(&broker.broker.limits, number)))
}

/// The user or the token of this program: user 1000, token build-7. For people.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_broker_caller_principal(broker: Option<&Broker>) -> *const c_char {
    value(ptr::null(), || address(broker.map(|broker| &broker.principal)))
}

/// The process id of this program from the operating system; -1 if the broker does not know it.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_broker_caller_process_id(broker: Option<&Broker>) -> i32 {
    value(-1, || broker.and_then(|broker| broker.broker.caller.process_id).unwrap_or(-1))
}

/// The number of this program's connection, from 1 in each run of the broker.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_broker_caller_connection(broker: Option<&Broker>) -> i64 {
    value(0, || broker.map_or(0, |broker| broker.broker.caller.connection))
}

/// Whether the connection is the caller: other connections, even of this process, are other callers.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_broker_caller_is_connection(broker: Option<&Broker>) -> i32 {
    flag(|| broker.is_some_and(|broker| broker.broker.caller.is_connection))
}

/// The number of this program's isolation group, from 1 in each run of the broker. 0: each call is a
/// group of its own.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_broker_caller_group(broker: Option<&Broker>) -> i64 {
    value(0, || broker.map_or(0, |broker| broker.broker.caller.group))
}

/// Frees the description. NULL is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_broker_free(broker: Option<Box<Broker>>) {
    value((), || drop(broker));
}

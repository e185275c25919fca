//! Errors for C: the code, the message, whether a command may have run, and all other details.

use std::{
    ffi::{CString, c_char},
    ptr,
    time::Duration,
};

use crate::{
    answers::Answers,
    border::{address, flag, nanoseconds, value},
    constants::CARDBROKER_DELIVERY_UNSPECIFIED,
};

/// No broker answers, or this user may not open its socket or cannot trust it. Nothing was sent.
pub const CARDBROKER_ERROR_KIND_NOT_RUNNING: i32 = 1;
/// The request is invalid; this library refused it before it sent anything.
pub const CARDBROKER_ERROR_KIND_INVALID: i32 = 2;
/// The broker refused or failed, or its answer did not arrive.
pub const CARDBROKER_ERROR_KIND_FAILED: i32 = 3;
/// The unit ended before its last command was answered: see cardbroker_error_partial.
pub const CARDBROKER_ERROR_KIND_STOPPED: i32 = 4;
/// A handle was used in a child process that is a fork of the process that made it. Nothing was sent.
pub const CARDBROKER_ERROR_KIND_FORKED: i32 = 5;
/// This program has ended the session, or stopped the client, before the call or during it.
pub const CARDBROKER_ERROR_KIND_CLOSED: i32 = 6;
/// A defect of this library, or the system refused what it needs.
pub const CARDBROKER_ERROR_KIND_INTERNAL: i32 = 7;

/// A failure. Its texts contain no APDU byte. They live as long as the error.
pub struct Error {
    pub(crate) kind: i32,
    pub(crate) code: i32,
    pub(crate) reason: i32,
    pub(crate) reason_name: CString,
    pub(crate) delivery: i32,
    pub(crate) message: CString,
    pub(crate) is_permanent: bool,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) rule: CString,
    pub(crate) cause: i32,
    pub(crate) reader: CString,
    pub(crate) tries_left: Option<u8>,
    /// Field and description of each.
    pub(crate) violations: Vec<(CString, CString)>,
    pub(crate) stop: Option<(usize, Answers)>,
}

/// The code (CARDBROKER_CODE_…), which the failed function has returned too. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_error_code(error: Option<&Error>) -> i32 {
    value(0, || error.map_or(0, |error| error.code))
}

/// The problem and the next step, for people, in one line of UTF-8. NULL for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_error_message(error: Option<&Error>) -> *const c_char {
    value(ptr::null(), || address(error.map(|error| &error.message)))
}

/// Whether a command without an answer may have run (CARDBROKER_DELIVERY_…). NOT_SENT: a repeat is safe. UNKNOWN: check
/// the card's state before a repeat. EXECUTED: the command ran and its answer is lost. Of a stopped unit it concerns
/// the command at cardbroker_error_index.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_error_delivery(error: Option<&Error>) -> i32 {
    value(CARDBROKER_DELIVERY_UNSPECIFIED, || error.map_or(CARDBROKER_DELIVERY_UNSPECIFIED, |error| error.delivery))
}

/// Returns the kind of the failure (CARDBROKER_ERROR_KIND_…). 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_error_kind(error: Option<&Error>) -> i32 {
    value(0, || error.map_or(0, |error| error.kind))
}

/// The broker's reason (CARDBROKER_ERROR_REASON_…); 0 without one. A reason newer than this library keeps its number if
/// the broker sent one.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_error_reason(error: Option<&Error>) -> i32 {
    value(0, || error.map_or(0, |error| error.reason))
}

/// The reason's short name, such as NO_CARD; empty without one.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_error_reason_name(error: Option<&Error>) -> *const c_char {
    value(ptr::null(), || address(error.map(|error| &error.reason_name)))
}

/// Whether every repeat of the same request fails again.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_error_is_permanent(error: Option<&Error>) -> i32 {
    flag(|| error.is_some_and(|error| error.is_permanent))
}

/// The pause before a retry in nanoseconds; -1 if a pause does not help.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_error_retry_after_ns(error: Option<&Error>) -> i64 {
    value(-1, || {
        let pause = error.and_then(|error| error.retry_after);
        pause.map_or(-1, |pause| i64::try_from(nanoseconds(pause)).unwrap_or(i64::MAX))
    })
}

/// The name of the policy rule that denies the request; empty if no rule does.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_error_rule(error: Option<&Error>) -> *const c_char {
    value(ptr::null(), || address(error.map(|error| &error.rule)))
}

/// Why the broker has revoked the session (CARDBROKER_REVOCATION_CAUSE_…); 0 if it has not.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_error_cause(error: Option<&Error>) -> i32 {
    value(0, || error.map_or(0, |error| error.cause))
}

/// The reader concerned, readers/{id}; empty if there is none.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_error_reader(error: Option<&Error>) -> *const c_char {
    value(ptr::null(), || address(error.map(|error| &error.reader)))
}

/// The number of tries that the card has left for a PIN that the broker withholds, 1-255, with PIN_KNOWN_WRONG and
/// PIN_LAST_TRY; -1 if it is unknown, and for other errors.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_error_tries_left(error: Option<&Error>) -> i32 {
    value(-1, || error.and_then(|error| error.tries_left).map_or(-1, i32::from))
}

/// The number of the request's fields that break a rule of the contract.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_error_violation_count(error: Option<&Error>) -> usize {
    value(0, || error.map_or(0, |error| error.violations.len()))
}

/// The path of such a field, such as commands[3].apdu.bytes; NULL if there is none with this index.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_error_violation_field(error: Option<&Error>, index: usize) -> *const c_char {
    value(ptr::null(), || address(error.and_then(|error| error.violations.get(index)).map(|(field, _)| field)))
}

/// The broken rule, for people; NULL if there is none with this index.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_error_violation_description(error: Option<&Error>, index: usize) -> *const c_char {
    value(ptr::null(), || {
        address(error.and_then(|error| error.violations.get(index)).map(|(_, description)| description))
    })
}

/// Of a stopped unit: the index of the first command without a complete answer. 0 for other errors.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_error_index(error: Option<&Error>) -> usize {
    value(0, || error.and_then(|error| error.stop.as_ref()).map_or(0, |(index, _)| *index))
}

/// Of a stopped unit: the answers before the stop, which live as long as the error. NULL for other errors.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_error_partial(error: Option<&Error>) -> Option<&Answers> {
    value(None, || error?.stop.as_ref().map(|(_, answers)| answers))
}

/// Frees an error. NULL is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_error_free(error: Option<Box<Error>>) {
    value((), || drop(error));
}

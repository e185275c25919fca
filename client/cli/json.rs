//! The shapes of the JSON output: units are part of the names, numbers are integers except in traces, bytes are
//! upper-case hexadecimal, absent is `null`.

use std::{
    io::{self, Write},
    time::Duration,
};

use cardbroker_client::{
    CardProtocol, CommandResult, Delivery, Error, Failure, FieldViolation, Reader, ReaderState, ResultKind,
    RevocationCause, Session, StatusWordSource, Stop, Transmitted, diagnostics, hex, status_word,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A caller, in the state and in a trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Caller {
    pub(crate) principal: String,
    pub(crate) user_name: Option<String>,
    pub(crate) process_id: Option<i32>,
    pub(crate) program: Option<String>,
    pub(crate) connection: i64,
    pub(crate) group: i64,
    pub(crate) via_sshd: bool,
}

impl From<&diagnostics::Caller> for Caller {
    fn from(caller: &diagnostics::Caller) -> Self {
        Self {
            principal: caller.principal.clone(),
            user_name: filled(&caller.user_name).map(str::to_owned),
            process_id: caller.process_id,
            program: filled(&caller.program).map(str::to_owned),
            connection: caller.connection,
            group: caller.group,
            via_sshd: caller.via_sshd,
        }
    }
}

/// Writes one value as JSON on one line.
pub(crate) fn write_line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}

pub(crate) fn reader(reader: &Reader) -> Value {
    json!({
        "name": reader.name,
        "display_name": reader.display_name,
        "state": state(reader),
        "atr": filled(&hex::format(&reader.atr)),
        "active_protocol": protocol(reader.active_protocol),
        "insertion_id": filled(&reader.insertion_id),
        "insertion_count": reader.insertion_count,
    })
}

pub(crate) fn unit(reader: &str, transmitted: &Transmitted, stop: Option<&Stop>) -> Value {
    json!({
        "reader": reader,
        "results": results(transmitted),
        "stopped": stop.map(stopped),
        "insertion_id": transmitted.insertion_id,
        "state_tag": transmitted.state_tag,
        "queue_duration_us": microseconds(transmitted.queue_duration),
        "card_duration_us": microseconds(transmitted.card_duration),
        "was_reset": transmitted.was_reset,
        "replayed": transmitted.replayed,
    })
}

pub(crate) fn session_opened(reader: &str, session: &Session) -> Value {
    json!({
        "event": "opened",
        "reader": reader,
        "insertion_id": session.insertion_id(),
        "state_tag": session.state_tag(),
        "atr": filled(&hex::format(session.atr())),
        "queue_duration_us": microseconds(session.queue_duration()),
        "was_reset": session.was_reset(),
    })
}

pub(crate) fn session_transmitted(transmitted: &Transmitted, stop: Option<&Stop>) -> Value {
    json!({
        "event": "transmitted",
        "results": results(transmitted),
        "stopped": stop.map(stopped),
        "card_duration_us": microseconds(transmitted.card_duration),
    })
}

pub(crate) fn session_reset(atr: &[u8]) -> Value {
    json!({ "event": "reset_done", "atr": filled(&hex::format(atr)) })
}

fn stopped(stop: &Stop) -> Value {
    let mut stopped = failure(&stop.failure, &stop.failure.message);
    stopped["index"] = stop.index.into();
    stopped
}

fn results(transmitted: &Transmitted) -> Vec<Value> {
    transmitted.results.iter().map(result).collect()
}

fn result(result: &CommandResult) -> Value {
    let has_status_word = matches!(result.kind, ResultKind::Apdu | ResultKind::PinPad);
    json!({
        "data": hex::format(&result.data),
        "status_word": has_status_word.then(|| format!("{:04X}", result.status_word)),
        "meaning": status_word::meaning(result.status_word).filter(|_| has_status_word),
        "status_word_source": match result.status_word_source {
            StatusWordSource::Unspecified => None,
            StatusWordSource::Command => Some("COMMAND"),
            StatusWordSource::CorrectedCommand => Some("CORRECTED_COMMAND"),
            StatusWordSource::GetResponse => Some("GET_RESPONSE"),
        },
        "get_response_count": result.get_response_count,
        "card_duration_us": microseconds(result.card_duration),
    })
}

/// An error with all fields that the broker reported; without `error` it is the command line's own.
pub(crate) fn error(error: Option<&Error>, delivery: Delivery, message: &str) -> Value {
    let mut told = match error.and_then(Error::failure) {
        Some(told) => failure(told, message),
        None => json!({ "reason": null, "message": message }),
    };
    told["delivery"] = delivery.short_name().into();
    json!({ "error": told })
}

fn failure(failure: &Failure, message: &str) -> Value {
    let violation =
        |violation: &FieldViolation| json!({ "field": violation.field, "description": violation.description });
    json!({
        "reason": failure.reason_name(),
        "delivery": failure.delivery.short_name(),
        "code": failure.code_number,
        "message": message,
        "retry_after_ms": failure.retry_after.map(whole_milliseconds),
        "rule": failure.rule,
        "cause": failure.cause.map(cause).or_else(|| failure.unknown_cause.map(|number| number.to_string())),
        "field_violations": failure.field_violations.iter().map(violation).collect::<Vec<_>>(),
        "reader": failure.reader,
        "tries_left": failure.tries_left,
    })
}

fn cause(cause: RevocationCause) -> String {
    cause.as_str_name().trim_start_matches("REVOCATION_CAUSE_").to_owned()
}

/// The state's name in the contract without its prefix, or the number of an unknown one.
pub(crate) fn state(reader: &Reader) -> String {
    match ReaderState::try_from(reader.state) {
        Ok(state) => state.as_str_name().trim_start_matches("READER_STATE_").to_owned(),
        Err(_) => reader.state.to_string(),
    }
}

/// `T0`, `T1` or `RAW`, or the number of an unknown one.
pub(crate) fn protocol(number: i32) -> Option<String> {
    match CardProtocol::try_from(number) {
        Ok(CardProtocol::Unspecified) => None,
        Ok(protocol) => Some(protocol.as_str_name().trim_start_matches("CARD_PROTOCOL_").to_owned()),
        Err(_) => Some(number.to_string()),
    }
}

/// The text, or `None` if it is empty.
pub(crate) fn filled(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// The duration of a measurement, in microseconds, rounded down.
pub(crate) fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A duration that somebody has chosen, or a sum, in milliseconds, rounded down.
pub(crate) fn whole_milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The milliseconds of a trace, in steps of a microsecond.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

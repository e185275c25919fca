//! The shapes of the JSON output: units are part of the names, bytes are upper-case hexadecimal, absent is `null`.

use std::{
    io::{self, Write},
    time::Duration,
};

use cardbroker_client::{
    CardProtocol, CommandResult, Delivery, Error, Reader, ReaderState, Session, StatusWordSource, Stop, Transmitted,
    hex, status_word,
};
use serde::Serialize;
use serde_json::{Value, json};

/// Writes one value as one line.
pub(crate) fn write_line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}

pub(crate) fn reader(reader: &Reader) -> Value {
    json!({
        "name": reader.name,
        "display_name": reader.display_name,
        "state": state(reader.state()),
        "atr": filled(&hex::format(&reader.atr)),
        "active_protocol": protocol(reader.active_protocol()),
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
        "queue_duration_ms": milliseconds(transmitted.queue_duration),
        "card_duration_ms": milliseconds(transmitted.card_duration),
        "reset_before_unit": transmitted.reset_before_unit,
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
        "queue_duration_ms": milliseconds(session.queue_duration()),
        "reset_before_session": session.reset_before_session(),
    })
}

pub(crate) fn session_transmitted(transmitted: &Transmitted, stop: Option<&Stop>) -> Value {
    json!({
        "event": "transmitted",
        "results": results(transmitted),
        "stopped": stop.map(stopped),
        "card_duration_ms": milliseconds(transmitted.card_duration),
    })
}

pub(crate) fn session_reset(atr: &[u8]) -> Value {
    json!({ "event": "reset_done", "atr": filled(&hex::format(atr)) })
}

fn stopped(stop: &Stop) -> Value {
    json!({
        "index": stop.index,
        "reason": stop.reason.map(|reason| reason.short_name()),
        "delivery": stop.delivery.short_name(),
        "message": stop.message,
    })
}

fn results(transmitted: &Transmitted) -> Vec<Value> {
    transmitted.results.iter().map(result).collect()
}

fn result(result: &CommandResult) -> Value {
    json!({
        "data": hex::format(&result.data),
        "status_word": format!("{:04X}", result.status_word),
        "meaning": status_word::meaning(result.status_word),
        "status_word_source": match result.status_word_source {
            StatusWordSource::Unspecified => None,
            StatusWordSource::Command => Some("COMMAND"),
            StatusWordSource::CorrectedCommand => Some("CORRECTED_COMMAND"),
            StatusWordSource::GetResponse => Some("GET_RESPONSE"),
        },
        "get_response_count": result.get_response_count,
    })
}

/// An error with its place in the scheme of things; without `error` it is the command line's own.
pub(crate) fn error(error: Option<&Error>, delivery: Delivery, message: &str) -> Value {
    let failure = match error {
        Some(Error::Failed(failure)) => Some(failure),
        _ => None,
    };
    json!({ "error": {
        "reason": error.and_then(Error::reason).map(|reason| reason.short_name()),
        "delivery": delivery.short_name(),
        "message": message,
        "reader": failure.and_then(|failure| failure.reader.as_deref()),
        "retry_after_ms": error.and_then(Error::retry_after).map(milliseconds),
    }})
}

/// The state's name in the contract, without its prefix.
pub(crate) fn state(state: ReaderState) -> &'static str {
    let name = state.as_str_name();
    name.strip_prefix("READER_STATE_").unwrap_or(name)
}

/// `T0`, `T1` or `RAW`.
pub(crate) fn protocol(protocol: CardProtocol) -> Option<&'static str> {
    match protocol {
        CardProtocol::Unspecified => None,
        other => other.as_str_name().strip_prefix("CARD_PROTOCOL_"),
    }
}

fn filled(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

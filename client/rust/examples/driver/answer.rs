//! The client's results, in the JSON mapping of protobuf.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::STANDARD};
use cardbroker_client::{
    Broker, CardProtocol, CommandResult, Error, Failure, Reader, ReaderState, ResultKind, Session, StatusWordSource,
    Transmitted, WaitingTurn,
};
use humantime::{format_rfc3339_nanos, format_rfc3339_seconds};
use serde_json::{Value, json};

/// An answer to a line that the driver itself cannot use.
pub(crate) fn malformed(mistake: &str) -> Value {
    json!({ "error": { "kind": "invalid", "permanent": true, "failure": { "message": mistake } } })
}

/// An error; `response` converts the results before a stop.
pub(crate) fn error(error: &Error, response: fn(&Transmitted) -> Value) -> Value {
    let mut told = json!({
        "kind": match error {
            Error::NotRunning { .. } => "not_running",
            Error::Stopped { .. } => "stopped",
            Error::Failed(_) => "failed",
            _ => "invalid",
        },
        "permanent": error.is_permanent(),
        "failure": match error.failure() {
            Some(told) => failure(told),
            None => json!({ "delivery": error.delivery().as_str_name(), "message": error.to_string() }),
        },
    });
    if let Error::Stopped { stop, partial } = error {
        told["index"] = stop.index.into();
        told["response"] = response(partial);
    }
    json!({ "error": told })
}

fn failure(failure: &Failure) -> Value {
    let mut told = json!({
        "delivery": failure.delivery.as_str_name(),
        "code": failure.code_number,
        "message": failure.message,
        "field_violations": failure.field_violations.iter().map(|violation| json!({
            "field": violation.field, "description": violation.description,
        })).collect::<Vec<_>>(),
    });
    if let Some(reason) = failure.reason {
        told["reason"] = reason.as_str_name().into();
    } else if let Some(unknown) = &failure.unknown_reason {
        told["reason"] = unknown.parse::<i32>().map_or_else(|_| format!("ERROR_REASON_{unknown}").into(), Value::from);
    }
    if let Some(pause) = failure.retry_after {
        told["retry_after"] = duration(pause);
    }
    if let Some(rule) = &failure.rule {
        told["rule"] = rule.as_str().into();
    }
    if let Some(reader) = &failure.reader {
        told["reader"] = reader.as_str().into();
    }
    if let Some(tries) = failure.tries_left {
        told["tries_left"] = tries.into();
    }
    if let Some(cause) = failure.cause {
        told["cause"] = cause.as_str_name().into();
    } else if let Some(unknown) = failure.unknown_cause {
        told["cause"] = unknown.into();
    }
    told
}

pub(crate) fn broker(broker: &Broker) -> Value {
    let (limits, caller) = (&broker.limits, &broker.caller);
    let mut told = json!({
        "version": broker.version,
        "epoch": broker.epoch,
        "start_time": time(broker.start_time),
        "capabilities": broker.capabilities,
        "limits": {
            "max_message_bytes": limits.max_message_bytes,
            "max_commands": limits.max_commands,
            "max_session_messages": limits.max_session_messages,
            "max_waiting_per_caller": limits.max_waiting_per_caller,
            "max_waiting_per_reader": limits.max_waiting_per_reader,
            "max_outcomes_per_user": limits.max_outcomes_per_user,
            "outcome_lifetime": duration(limits.outcome_lifetime),
            "max_contended_lease": duration(limits.max_contended_lease),
            "max_contended_unit": duration(limits.max_contended_unit),
        },
        "caller": {
            "principal": caller.principal,
            "connection": caller.connection.to_string(),
            "is_connection": caller.is_connection,
            "group": caller.group.to_string(),
        },
    });
    if let Some(quantum) = limits.turn_quantum {
        told["limits"]["turn_quantum"] = duration(quantum);
    }
    if let Some(process_id) = caller.process_id {
        told["caller"]["process_id"] = process_id.into();
    }
    told
}

pub(crate) fn reader(reader: &Reader) -> Value {
    let state = ReaderState::try_from(reader.state).map(|state| state.as_str_name().into());
    let protocol = CardProtocol::try_from(reader.active_protocol).map(|protocol| protocol.as_str_name().into());
    json!({
        "name": reader.name,
        "display_name": reader.display_name,
        "state": state.unwrap_or_else(|_| Value::from(reader.state)),
        "atr": STANDARD.encode(&reader.atr),
        "active_protocol": protocol.unwrap_or_else(|_| Value::from(reader.active_protocol)),
        "insertion_id": reader.insertion_id,
        "insertion_count": reader.insertion_count.to_string(),
    })
}

pub(crate) fn readers<'a>(readers: impl IntoIterator<Item = &'a Reader>) -> Value {
    json!({ "readers": readers.into_iter().map(reader).collect::<Vec<_>>() })
}

pub(crate) fn waiting(waiting: &[WaitingTurn]) -> Value {
    let turn = |turn: &WaitingTurn| {
        let mut told = json!({
            "reader": turn.reader,
            "is_session": turn.is_session,
            "turns_ahead_count": turn.turns_ahead,
            "arrive_time": time(turn.arrive_time),
            "deadline_time": time(turn.deadline_time),
        });
        if let Some(holder) = &turn.holder {
            told["holder"] = json!({
                "is_own": holder.is_own, "is_session": holder.is_session, "begin_time": time(holder.begin_time),
            });
        }
        told
    };
    json!({ "waiting": waiting.iter().map(turn).collect::<Vec<_>>() })
}

pub(crate) fn transmitted(transmitted: &Transmitted) -> Value {
    let mut told = session_transmitted(transmitted);
    told["insertion_id"] = transmitted.insertion_id.as_str().into();
    told["state_tag"] = transmitted.state_tag.as_str().into();
    told["queue_duration"] = duration(transmitted.queue_duration);
    told["was_reset"] = transmitted.was_reset.into();
    told["replayed"] = transmitted.replayed.into();
    told
}

pub(crate) fn session_transmitted(transmitted: &Transmitted) -> Value {
    json!({
        "results": transmitted.results.iter().map(result).collect::<Vec<_>>(),
        "card_duration": duration(transmitted.card_duration),
    })
}

fn result(result: &CommandResult) -> Value {
    let data = STANDARD.encode(&result.data[..]);
    let mut told = match result.kind {
        ResultKind::Apdu => json!({ "apdu": {
            "data": data,
            "status_word": result.status_word,
            "status_word_source": match (result.status_word_source, result.status_word_source_number) {
                (StatusWordSource::Unspecified, number) => Value::from(number),
                (known, _) => known.as_str_name().into(),
            },
            "get_response_count": result.get_response_count,
        }}),
        ResultKind::Control => json!({ "control": { "data": data } }),
        ResultKind::Attribute => json!({ "attribute": { "value": data } }),
        ResultKind::PinPad => json!({ "pin_pad": { "status_word": result.status_word } }),
        _ => json!({}),
    };
    told["card_duration"] = duration(result.card_duration);
    told
}

pub(crate) fn opened(session: &Session) -> Value {
    json!({
        "insertion_id": session.insertion_id(),
        "state_tag": session.state_tag(),
        "atr": STANDARD.encode(session.atr()),
        "queue_duration": duration(session.queue_duration()),
        "was_reset": session.was_reset(),
    })
}

pub(crate) fn reset_done(atr: &[u8]) -> Value {
    json!({ "atr": STANDARD.encode(atr) })
}

/// `"1s"`, `"1.500s"`, or with 6 or 9 digits.
fn duration(duration: Duration) -> Value {
    let (seconds, nanoseconds) = (duration.as_secs(), duration.subsec_nanos());
    let text = match nanoseconds {
        0 => format!("{seconds}s"),
        milli if milli % 1_000_000 == 0 => format!("{seconds}.{:03}s", milli / 1_000_000),
        micro if micro % 1000 == 0 => format!("{seconds}.{:06}s", micro / 1000),
        nano => format!("{seconds}.{nano:09}s"),
    };
    text.into()
}

/// RFC 3339; null for a time that is missing or cannot be written.
fn time(time: Option<SystemTime>) -> Value {
    let year_10000 = Duration::from_secs(253_402_300_800);
    let Some(time) = time else { return Value::Null };
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) if since < year_10000 && since.subsec_nanos() == 0 => format_rfc3339_seconds(time).to_string().into(),
        Ok(since) if since < year_10000 => format_rfc3339_nanos(time).to_string().into(),
        _ => Value::Null,
    }
}

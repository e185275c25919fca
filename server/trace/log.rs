//! The trace in the log, at the level of headers: no line has data of a command or of its response.

use std::time::Duration;

use cardbroker_core::{
    error::Reason,
    journal::{CommandEnd, CommandFacts, Event, EventKind},
};
use tracing::trace;

/// The log target of the trace, with all lines at level `trace`.
pub const TARGET: &str = "cardbroker::apdu";

/// Writes a line about an event, with the fields that all events have.
macro_rules! line {
    ($reader:ident, $number:ident, $event:ident, $text:literal $(, $($field:tt)*)?) => {{
        let caller = $event.origin.as_ref().map(|origin| tracing::field::display(&origin.caller));
        let lease = $event.lease.map(|lease| lease.0);
        let traceparent = $event.origin.as_ref().and_then(|origin| origin.traceparent.as_deref());
        trace!(
            target: TARGET, parent: None,
            reader = $reader, number = $number, caller, lease, traceparent, $($($field)*,)? $text
        );
    }};
}

/// Writes the line of an event at a reader.
pub(super) fn write(reader: &str, number: u64, event: &Event) {
    match &event.kind {
        EventKind::TurnBegan { is_session, commands, waited } => {
            let waited_ms = milliseconds(*waited);
            line!(reader, number, event, "turn began", is_session, commands, waited_ms);
        }
        EventKind::TurnEnded { end, held } => {
            let (outcome, held_ms) = (end.as_str(), milliseconds(*held));
            line!(reader, number, event, "turn ended", outcome, held_ms);
        }
        EventKind::Command(command) => {
            let CommandFacts { index, is_continuation, class, end, view, .. } = command;
            let header = view.header.map(hex::encode_upper);
            let application = view.application.map(|application| hex::encode_upper(application.bytes()));
            let (expected_length, status_word) = (view.expected_length, view.word.map(|word| word.text(false)));
            let (class, failed) = (class.as_str(), *end == CommandEnd::Failed);
            let (took_us, is_masked) = (microseconds(view.duration), view.hides_data);
            line!(
                reader,
                number,
                event,
                "command",
                index,
                is_continuation,
                class,
                header,
                expected_length,
                application,
                status_word,
                failed,
                took_us,
                is_masked
            );
        }
        EventKind::Reset { kind, answered, took } => {
            let (failed, took_us) = (!answered, microseconds(*took));
            line!(reader, number, event, "reset", ?kind, failed, took_us);
        }
        EventKind::Inserted { insertion_id, atr, protocol } => {
            // Historical bytes may identify a person's card.
            let (insertion, atr_bytes) = (&**insertion_id, atr.len());
            let protocol = protocol.map(tracing::field::debug);
            line!(reader, number, event, "card inserted", insertion, atr_bytes, protocol);
        }
        EventKind::Removed => line!(reader, number, event, "card removed"),
        EventKind::Denied { operation, rule } => {
            let (operation, rule) = (operation.as_str(), &**rule);
            line!(reader, number, event, "denied", operation, rule);
        }
        EventKind::NotServed { reason } => {
            let reason = reason.map_or("cancelled", Reason::as_str);
            line!(reader, number, event, "not served", reason);
        }
        EventKind::Released { .. } => {}
    }
}

/// A time in milliseconds, rounded down, as a field of a log line.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A time in microseconds, rounded down, as a field of a log line.
pub(crate) fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

//! The lines of a recorded trace: one JSON object for each event, with stable keys.
//!
//! Bytes are upper-case hexadecimal, durations milliseconds, times RFC 3339 with microseconds; absent is `null`. A
//! reader of the file must ignore keys and events that it does not know.

use cardbroker_client::{
    Reader,
    diagnostics::{self, CardInserted, CommandEvent, Event, TraceEvent},
    hex,
};
use serde::{Deserialize, Serialize};

use crate::{
    clock::rfc3339_micros,
    json::{self, Caller, milliseconds},
    words::{command_class, reason},
};

/// The version of the format. Another number means that known keys have other meanings.
pub(super) const VERSION: u32 = 1;

/// One line of the file: an event, the beginning, or a gap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Line {
    /// The first line: the format and the traced broker.
    TraceBegan { version: u32, time: Option<String>, epoch: String },
    /// The card in a reader when the trace began. Only in a trace with data, for a replay of it.
    CardPresent { time: Option<String>, reader: String, insertion_id: String, atr: String, protocol: Option<String> },
    /// Events are missing here, because the recorder was too slow.
    Missed { missed_count: u64 },
    TurnBegan {
        #[serde(flatten)]
        at: At,
        is_session: bool,
        command_count: i32,
        waited_ms: f64,
    },
    TurnEnded {
        #[serde(flatten)]
        at: At,
        reason: Option<String>,
        is_abandoned: bool,
        held_ms: f64,
    },
    Command {
        #[serde(flatten)]
        at: At,
        #[serde(flatten)]
        command: Exchange,
    },
    Reset {
        #[serde(flatten)]
        at: At,
        is_cold: bool,
        failed: bool,
        duration_ms: f64,
    },
    CardInserted {
        #[serde(flatten)]
        at: At,
        insertion_id: String,
        atr: String,
        protocol: Option<String>,
    },
    CardRemoved {
        #[serde(flatten)]
        at: At,
    },
    Denial {
        #[serde(flatten)]
        at: At,
        operation: String,
        rule: Option<String>,
    },
    NotServed {
        #[serde(flatten)]
        at: At,
        reason: Option<String>,
    },
    /// An event of a kind that this program does not know.
    #[serde(other)]
    Unknown,
}

/// The fields that all events have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct At {
    pub(super) time: Option<String>,
    pub(super) reader: String,
    pub(super) number: i64,
    pub(super) is_recorded: bool,
    pub(super) caller: Option<Caller>,
    pub(super) lease: Option<String>,
    pub(super) traceparent: Option<String>,
}

/// A command and its answer, as far as the trace shows them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Exchange {
    pub(super) index: i32,
    pub(super) is_continuation: bool,
    pub(super) command_class: String,
    pub(super) header: Option<String>,
    pub(super) expected_length: Option<i32>,
    pub(super) application: Option<String>,
    pub(super) status_word: Option<String>,
    pub(super) failed: bool,
    pub(super) duration_ms: f64,
    pub(super) is_masked: bool,
    pub(super) command: Option<String>,
    pub(super) response: Option<String>,
}

impl From<&TraceEvent> for Line {
    fn from(event: &TraceEvent) -> Self {
        let at = At::from(event);
        match &event.event {
            Some(Event::TurnBegan(turn)) => Self::TurnBegan {
                at,
                is_session: turn.is_session,
                command_count: turn.command_count,
                waited_ms: milliseconds(diagnostics::duration(turn.waited)),
            },
            Some(Event::TurnEnded(turn)) => Self::TurnEnded {
                at,
                reason: reason(turn.reason),
                is_abandoned: turn.is_abandoned,
                held_ms: milliseconds(diagnostics::duration(turn.held)),
            },
            Some(Event::Command(command)) => Self::Command { at, command: command.into() },
            Some(Event::Reset(reset)) => Self::Reset {
                at,
                is_cold: reset.is_cold,
                failed: reset.failed,
                duration_ms: milliseconds(diagnostics::duration(reset.duration)),
            },
            Some(Event::CardInserted(card)) => Self::inserted(at, card),
            Some(Event::CardRemoved(_)) => Self::CardRemoved { at },
            Some(Event::Denial(denial)) => {
                Self::Denial { at, operation: denial.operation.clone(), rule: filled(&denial.rule) }
            }
            Some(Event::NotServed(refused)) => Self::NotServed { at, reason: reason(refused.reason) },
            None => Self::Unknown,
        }
    }
}

impl Line {
    fn inserted(at: At, card: &CardInserted) -> Self {
        let (insertion_id, atr) = (card.insertion_id.clone(), hex::format(&card.atr));
        Self::CardInserted { at, insertion_id, atr, protocol: json::protocol(card.protocol) }
    }

    /// The line of the card in this reader; `None` if there is no card.
    pub(super) fn present(time: Option<String>, reader: &Reader) -> Option<Self> {
        let atr = filled(&hex::format(&reader.atr))?;
        let (name, insertion_id) = (reader.name.clone(), reader.insertion_id.clone());
        Some(Self::CardPresent {
            time,
            reader: name,
            insertion_id,
            atr,
            protocol: json::protocol(reader.active_protocol),
        })
    }
}

impl From<&TraceEvent> for At {
    fn from(event: &TraceEvent) -> Self {
        Self {
            time: diagnostics::time(event.time).and_then(rfc3339_micros),
            reader: event.reader.clone(),
            number: event.number,
            is_recorded: event.is_recorded,
            caller: event.caller.as_ref().map(Caller::from),
            lease: filled(&event.lease),
            traceparent: filled(&event.traceparent),
        }
    }
}

impl From<&CommandEvent> for Exchange {
    fn from(command: &CommandEvent) -> Self {
        let bytes = |bytes: &[u8]| filled(&hex::format(bytes));
        Self {
            index: command.index,
            is_continuation: command.is_continuation,
            command_class: command_class(command.command_class),
            header: bytes(&command.header),
            expected_length: command.expected_length,
            application: bytes(&command.application),
            status_word: filled(&command.status_word),
            failed: command.failed,
            duration_ms: milliseconds(diagnostics::duration(command.duration)),
            is_masked: command.is_masked,
            command: bytes(&command.command),
            response: bytes(&command.response),
        }
    }
}

fn filled(text: &str) -> Option<String> {
    json::filled(text).map(str::to_owned)
}

//! What comes back from a unit: the answers, and where it stopped if it did.

use std::time::{Duration, SystemTime};

use cardbroker_proto::v1::{self, TransmitResponse, UnitStop, command_result::Outcome};

use crate::{ApduBytes, Error, Failure, StatusWordSource};

/// What a unit answered, and how it ran.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Transmitted {
    /// The answers, in the order of the commands.
    pub results: Vec<CommandResult>,
    /// The insertion that the unit ran on; within a session the one that it was opened on.
    pub insertion_id: String,
    /// The card's state after the unit, for [`crate::Transmit::if_state_tag`]. Empty within a session, where nobody
    /// else can change it.
    pub state_tag: String,
    /// How long the unit waited for its turn. Zero within a session.
    pub queue_duration: Duration,
    /// How long the card worked on it.
    pub card_duration: Duration,
    /// Whether the card was reset between the unit before and this one, or at the start of this one. Always false
    /// within a session.
    pub was_reset: bool,
    /// Whether this is the kept outcome of an earlier unit with the same request id.
    pub replayed: bool,
}

/// The answer to one command.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CommandResult {
    /// Which of the actions was answered.
    pub kind: ResultKind,
    /// The card's response data without the status word, the answer to a control code, or the value of an attribute.
    pub data: ApduBytes,
    /// SW1 and SW2: 0x9000 is normal processing. 0 for control codes and attributes, which have none.
    pub status_word: u16,
    /// Which of the exchanges that an APDU took gave the status word. Unspecified for other actions.
    pub status_word_source: StatusWordSource,
    /// The number of `status_word_source`, also where the name is not known.
    pub status_word_source_number: i32,
    /// How many GET RESPONSEs were sent for an APDU, 0–256.
    pub get_response_count: u32,
    /// How long the card and its reader worked on the command.
    pub card_duration: Duration,
}

/// Which action a result answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResultKind {
    /// An APDU.
    Apdu,
    /// A control code.
    Control,
    /// An attribute that was read or set.
    Attribute,
    /// A PIN that was typed at the reader.
    PinPad,
    /// An action that this client does not know.
    Unknown,
}

/// Where and why a unit ended before its last command was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stop {
    /// The first command, counted from 0, that has no complete answer.
    pub index: usize,
    /// Why. Its delivery concerns the command at `index`.
    pub failure: Failure,
}

impl Transmitted {
    pub(crate) fn or_stopped(mut response: TransmitResponse) -> Result<Self, Error> {
        let stopped = response.stopped.take();
        let transmitted = Self::from(response);
        match stopped {
            None => Ok(transmitted),
            Some(stop) => Err(Error::Stopped { stop: Box::new(stop.into()), partial: Box::new(transmitted) }),
        }
    }
}

impl From<TransmitResponse> for Transmitted {
    fn from(response: TransmitResponse) -> Self {
        Self {
            results: response.results.into_iter().map(CommandResult::from).collect(),
            insertion_id: response.insertion_id,
            state_tag: response.state_tag,
            queue_duration: duration(response.queue_duration),
            card_duration: duration(response.card_duration),
            was_reset: response.was_reset,
            replayed: response.replayed,
        }
    }
}

impl From<v1::CommandResult> for CommandResult {
    fn from(result: v1::CommandResult) -> Self {
        let of = |kind, data: Vec<u8>, status_word| Self {
            kind,
            data: data.into(),
            status_word: u16::try_from(status_word).unwrap_or_default(),
            status_word_source: StatusWordSource::Unspecified,
            status_word_source_number: 0,
            get_response_count: 0,
            card_duration: duration(result.card_duration),
        };
        match result.outcome {
            Some(Outcome::Apdu(apdu)) => Self {
                status_word_source: apdu.status_word_source(),
                status_word_source_number: apdu.status_word_source,
                get_response_count: count(apdu.get_response_count),
                ..of(ResultKind::Apdu, apdu.data, apdu.status_word)
            },
            Some(Outcome::Control(control)) => of(ResultKind::Control, control.data, 0),
            Some(Outcome::Attribute(attribute)) => of(ResultKind::Attribute, attribute.value, 0),
            Some(Outcome::PinPad(pin_pad)) => of(ResultKind::PinPad, Vec::new(), pin_pad.status_word),
            None => of(ResultKind::Unknown, Vec::new(), 0),
        }
    }
}

impl From<UnitStop> for Stop {
    fn from(stop: UnitStop) -> Self {
        let index = usize::try_from(stop.index).unwrap_or_default();
        Self { index, failure: stop.failure.unwrap_or_default().into() }
    }
}

/// A count that a broker has told, where a negative one makes no sense.
pub(crate) fn count(told: i32) -> u32 {
    u32::try_from(told).unwrap_or_default()
}

pub(crate) fn duration(told: Option<prost_types::Duration>) -> Duration {
    told.map(positive).unwrap_or_default()
}

pub(crate) fn positive(told: prost_types::Duration) -> Duration {
    told.try_into().unwrap_or_default()
}

pub(crate) fn time(told: Option<prost_types::Timestamp>) -> Option<SystemTime> {
    told.and_then(|time| time.try_into().ok())
}

/// A duration as it is sent; the contract's longest one is 24 h.
pub(crate) fn to_wire(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).unwrap_or(prost_types::Duration { seconds: i64::MAX, nanos: 0 })
}

//! The results of a unit: the answers, and the stop if there was one.

use std::time::{Duration, SystemTime};

use cardbroker_proto::v1::{self, TransmitResponse, UnitStop, command_result::Outcome};
use tonic::Code;

use crate::{ApduBytes, Delivery, Error, Failure, StatusWordSource};

/// The outcome of a unit: the answers, and how it ran.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Transmitted {
    /// The answers, in the order of the commands.
    pub results: Vec<CommandResult>,
    /// The insertion that the unit ran on; within a session the one that it was opened on.
    pub insertion_id: String,
    /// The card's state after the unit, for [`crate::Transmit::if_state_tag`]. Empty within a session, where no other
    /// caller can change it.
    pub state_tag: String,
    /// How long the unit waited for its turn. Zero within a session.
    pub queue_duration: Duration,
    /// How long the card worked on the unit.
    pub card_duration: Duration,
    /// Whether the card was reset between the previous unit and this one, or at the start of this one. Always false
    /// within a session.
    pub was_reset: bool,
    /// Whether this is the kept outcome of an earlier unit with the same request id.
    pub replayed: bool,
}

/// The result of one command.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CommandResult {
    /// The kind of action that was answered.
    pub kind: ResultKind,
    /// The card's response data without the status word, the answer to a control code, or the value of an attribute.
    pub data: ApduBytes,
    /// SW1 and SW2: 0x9000 is normal processing. 0 for control codes and attributes, which have no status word.
    pub status_word: u16,
    /// The exchange that gave the status word: an APDU may take several. Unspecified for other actions.
    pub status_word_source: StatusWordSource,
    /// The number of `status_word_source`, even if its name is unknown.
    pub status_word_source_number: i32,
    /// The number of GET RESPONSEs that were sent for an APDU, 0–256.
    pub get_response_count: u32,
    /// How long the card and its reader worked on the command.
    pub card_duration: Duration,
}

/// The kind of action that a result belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResultKind {
    /// The card's answer to an APDU.
    Apdu,
    /// The answer to a control code.
    Control,
    /// The answer to reading or setting an attribute.
    Attribute,
    /// The card's answer to a PIN that was typed at the reader.
    PinPad,
    /// An action that this client does not know.
    Unknown,
}

/// The premature end of a unit: the command without a complete answer, and the failure.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stop {
    /// The index of the first command without a complete answer, counted from 0.
    pub index: usize,
    /// The failure. Its delivery concerns the command at `index`.
    pub failure: Failure,
}

impl Transmitted {
    pub(crate) fn or_stopped(mut response: TransmitResponse) -> Result<Self, Error> {
        let stopped = response.stopped.take();
        let transmitted = Self::try_from(response)?;
        match stopped {
            None => Ok(transmitted),
            Some(stop) => Err(Error::Stopped { stop: Box::new(stop.into()), partial: Box::new(transmitted) }),
        }
    }
}

impl TryFrom<TransmitResponse> for Transmitted {
    type Error = Error;

    fn try_from(response: TransmitResponse) -> Result<Self, Error> {
        Ok(Self {
            results: response.results.into_iter().map(CommandResult::try_from).collect::<Result<_, _>>()?,
            insertion_id: response.insertion_id,
            state_tag: response.state_tag,
            queue_duration: duration(response.queue_duration),
            card_duration: duration(response.card_duration),
            was_reset: response.was_reset,
            replayed: response.replayed,
        })
    }
}

impl TryFrom<v1::CommandResult> for CommandResult {
    type Error = Error;

    fn try_from(result: v1::CommandResult) -> Result<Self, Error> {
        let of = |kind, data: Vec<u8>, status_word| Self {
            kind,
            data: data.into(),
            status_word,
            status_word_source: StatusWordSource::Unspecified,
            status_word_source_number: 0,
            get_response_count: 0,
            card_duration: duration(result.card_duration),
        };
        Ok(match result.outcome {
            Some(Outcome::Apdu(apdu)) => Self {
                status_word_source: apdu.status_word_source(),
                status_word_source_number: apdu.status_word_source,
                get_response_count: count(apdu.get_response_count),
                ..of(ResultKind::Apdu, apdu.data, status_word(apdu.status_word)?)
            },
            Some(Outcome::Control(control)) => of(ResultKind::Control, control.data, 0),
            Some(Outcome::Attribute(attribute)) => of(ResultKind::Attribute, attribute.value, 0),
            Some(Outcome::PinPad(pin_pad)) => of(ResultKind::PinPad, Vec::new(), status_word(pin_pad.status_word)?),
            None => of(ResultKind::Unknown, Vec::new(), 0),
        })
    }
}

/// # Errors
/// [`Error::Failed`], unknown, for a number of more than 16 bits: the card's answer is unknown.
fn status_word(wire: i32) -> Result<u16, Error> {
    u16::try_from(wire).map_err(|_| {
        let message = format!("the broker sent the invalid status word {wire}");
        Failure::own(None, Delivery::Unknown, Code::Internal, message).into()
    })
}

impl From<UnitStop> for Stop {
    fn from(stop: UnitStop) -> Self {
        let index = usize::try_from(stop.index).unwrap_or_default();
        Self { index, failure: stop.failure.unwrap_or_default().into() }
    }
}

/// A count from the broker; a negative one counts as 0.
pub(crate) fn count(wire: i32) -> u32 {
    u32::try_from(wire).unwrap_or_default()
}

/// The duration of a message; zero if it is absent, negative or out of range.
pub fn duration(wire: Option<impl TryInto<Duration>>) -> Duration {
    wire.map(positive).unwrap_or_default()
}

pub(crate) fn positive(wire: impl TryInto<Duration>) -> Duration {
    wire.try_into().unwrap_or_default()
}

/// The time of a message; `None` if it is absent or out of range.
pub fn time(wire: Option<impl TryInto<SystemTime>>) -> Option<SystemTime> {
    wire.and_then(|time| time.try_into().ok())
}

/// Converts a duration; the contract's longest one is 24 h.
pub(crate) fn to_wire(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).unwrap_or(prost_types::Duration { seconds: i64::MAX, nanos: 0 })
}

#[cfg(test)]
mod tests {
    use cardbroker_proto::v1::{ApduResult, PinPadResult};

    use super::*;

    #[test]
    fn a_status_word_has_16_bits() {
        let answered = |outcome| {
            let result = v1::CommandResult { outcome: Some(outcome), ..v1::CommandResult::default() };
            let response = TransmitResponse { results: vec![result], ..TransmitResponse::default() };
            Transmitted::or_stopped(response).map(|transmitted| transmitted.results[0].status_word)
        };
        let apdu = |status_word| answered(Outcome::Apdu(ApduResult { status_word, ..ApduResult::default() }));
        assert_eq!((apdu(0xFFFF).unwrap(), apdu(0).unwrap()), (0xFFFF, 0));
        let pin_pad = answered(Outcome::PinPad(PinPadResult { status_word: 0x1_9000 }));
        for wrong in [apdu(0x1_9000), apdu(-1), pin_pad] {
            let error = wrong.unwrap_err();
            assert_eq!((error.delivery(), error.failure().unwrap().code), (Delivery::Unknown, Code::Internal));
        }
    }
}

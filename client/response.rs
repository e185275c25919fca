//! What comes back from a unit: the answers, and where it stopped if it did.

use std::time::Duration;

use cardbroker_proto::v1::{self, SessionFailure, TransmitResponse, UnitStop};

use tonic::Code;

use crate::{ApduBytes, Delivery, Error, ErrorReason, Failure, StatusWordSource};

/// What a unit answered, and how it ran.
#[derive(Debug, Clone)]
pub struct Transmitted {
    /// The answers, in the order of the commands.
    pub results: Vec<CommandResult>,
    /// The insertion that the unit ran on; within a session the one that it was opened on.
    pub insertion_id: String,
    /// The card's state after the unit, for [`crate::Transmit::if_state_tag`]. Empty within a session, where nobody else
    /// can change it.
    pub state_tag: String,
    /// How long the unit waited for its turn. Zero within a session.
    pub queue_duration: Duration,
    /// How long the card worked on it.
    pub card_duration: Duration,
    /// Whether the card was reset since the unit before. Always false within a session.
    pub reset_before_unit: bool,
    /// Whether this is the kept outcome of an earlier unit with the same request id.
    pub replayed: bool,
}

/// The answer to one command.
#[derive(Debug, Clone)]
pub struct CommandResult {
    /// The response data, without the status word.
    pub data: ApduBytes,
    /// SW1 and SW2: 0x9000 is normal processing.
    pub status_word: u16,
    /// Which of the exchanges that the command took gave the status word.
    pub status_word_source: StatusWordSource,
    /// How many GET RESPONSEs were sent for the command, 0–256.
    pub get_response_count: u32,
}

/// Why a unit ended before its last command was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The first command, counted from 0, that has no complete answer.
    pub index: usize,
    /// Why; `None` if newer than this client.
    pub reason: Option<ErrorReason>,
    /// Whether the command at `index` may have reached the card.
    pub delivery: Delivery,
    /// Why, for people: one line.
    pub message: String,
}

impl Transmitted {
    pub(crate) fn or_stopped(mut response: TransmitResponse) -> Result<Self, Error> {
        let stopped = response.stopped.take();
        let transmitted = Self::from(response);
        match stopped {
            None => Ok(transmitted),
            Some(stop) => Err(Error::Stopped { stop: stop.into(), partial: Box::new(transmitted) }),
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
            reset_before_unit: response.reset_before_unit,
            replayed: response.replayed,
        }
    }
}

impl From<v1::CommandResult> for CommandResult {
    fn from(result: v1::CommandResult) -> Self {
        let status_word_source = result.status_word_source();
        Self {
            data: result.data.into(),
            status_word: result.status_word as u16,
            status_word_source,
            get_response_count: result.get_response_count,
        }
    }
}

impl From<UnitStop> for Stop {
    fn from(stop: UnitStop) -> Self {
        Self {
            index: stop.index as usize,
            reason: reason(stop.reason),
            delivery: delivery(stop.delivery()),
            message: stop.message,
        }
    }
}

impl From<SessionFailure> for Error {
    fn from(failure: SessionFailure) -> Self {
        let reason = reason(failure.reason);
        Failure {
            reason,
            delivery: delivery(failure.delivery()),
            code: reason.map_or(Code::Unknown, code),
            message: failure.message,
            retry_after: None,
            reader: None,
            field: None,
        }
        .into()
    }
}

fn reason(number: i32) -> Option<ErrorReason> {
    ErrorReason::try_from(number).ok().filter(|reason| *reason != ErrorReason::Unspecified)
}

fn delivery(told: Delivery) -> Delivery {
    match told {
        Delivery::NotSent => Delivery::NotSent,
        Delivery::Unknown | Delivery::Unspecified => Delivery::Unknown,
    }
}

/// The gRPC code that the contract gives to a reason, for within a session no code is told.
fn code(reason: ErrorReason) -> Code {
    use ErrorReason::*;
    match reason {
        InvalidRequest | UnsupportedLength | RequestIdReused => Code::InvalidArgument,
        ReaderNotFound => Code::NotFound,
        ReaderGone | CardMute | HeldElsewhere | ReaderUnresponsive | PcscUnavailable | CardRemoved | ResetFailed
        | ShuttingDown => Code::Unavailable,
        ReaderNotOwned | NoCard | PinKnownWrong | PinLastTry => Code::FailedPrecondition,
        QueueTimeout | DeadlineNear => Code::DeadlineExceeded,
        QueueFull | OutcomesFull | ResponseTooLarge => Code::ResourceExhausted,
        InsertionChanged | StateChanged | StatusWord | CardLost | CardReset | LeaseEnded | LeaseRevoked
        | PrecedingFailed => Code::Aborted,
        Denied => Code::PermissionDenied,
        Unauthenticated => Code::Unauthenticated,
        NotImplemented => Code::Unimplemented,
        Internal => Code::Internal,
        Unspecified => Code::Unknown,
    }
}

pub(crate) fn duration(duration: Option<prost_types::Duration>) -> Duration {
    duration.and_then(|duration| duration.try_into().ok()).unwrap_or_default()
}

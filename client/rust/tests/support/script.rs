//! Parts of a scripted session: the broker's messages.

use cardbroker_proto::{
    codes,
    v1::{
        Command, CommandResult, Delivery, ErrorReason, Failure, OpenSessionRequest, OpenSessionResponse, SessionFailed,
        SessionHeartbeat, SessionOpened, SessionQueuePosition, SessionResetDone, SessionTransmitted, SessionWaiters,
        StatusDetails, UnitStop, open_session_request::Request, open_session_response::Response,
    },
};
use prost::Message;
use prost_types::Any;
use tonic::Status;

use super::{apdu, result};

pub(crate) type Say = Result<OpenSessionResponse, Status>;

/// Opens at once and answers every command with 9000 and its own first two bytes.
pub(crate) fn agreeable(request: &OpenSessionRequest) -> Vec<Say> {
    match request.request.as_ref().unwrap() {
        Request::Open(_) => vec![opened()],
        Request::Transmit(transmit) => {
            let answer = |command: &Command| result(&apdu(command).bytes[..2], 0x9000);
            vec![transmitted(transmit.id, transmit.commands.iter().map(answer).collect())]
        }
        Request::Reset(reset) => vec![reset_done(reset.id)],
        Request::Heartbeat(_) => Vec::new(),
    }
}

/// The id of a message that runs commands.
pub(crate) fn transmit_id(request: &OpenSessionRequest) -> Option<i64> {
    match request.request.as_ref().unwrap() {
        Request::Transmit(transmit) => Some(transmit.id),
        _ => None,
    }
}

fn say(response: Response) -> Say {
    Ok(OpenSessionResponse { response: Some(response) })
}

pub(crate) fn turns_ahead(count: i32) -> Say {
    say(Response::QueuePosition(SessionQueuePosition { turns_ahead_count: count }))
}

pub(crate) fn opened() -> Say {
    let (insertion_id, state_tag) = ("first".into(), "tag".into());
    say(Response::Opened(SessionOpened { insertion_id, state_tag, atr: vec![0x3B, 0x80], ..SessionOpened::default() }))
}

pub(crate) fn transmitted(id: i64, results: Vec<CommandResult>) -> Say {
    say(Response::Transmitted(SessionTransmitted { id, results, ..SessionTransmitted::default() }))
}

/// A failure of the contract, complete with its code.
pub(crate) fn failure(reason: ErrorReason, delivery: Delivery, message: &str) -> Failure {
    Failure {
        reason: reason.into(),
        delivery: delivery.into(),
        message: message.into(),
        code: codes::code(reason, delivery) as i32,
        ..Failure::default()
    }
}

/// The failure as the status of a call.
pub(crate) fn refusal(reason: ErrorReason, delivery: Delivery, message: &str) -> Status {
    status(failure(reason, delivery, message))
}

/// The status of a call that ended with this failure.
pub(crate) fn status(failure: Failure) -> Status {
    let value = failure.encode_to_vec();
    let any = Any { type_url: "type.googleapis.com/cardbroker.v1.Failure".into(), value };
    let (code, message) = (failure.code.into(), failure.message.clone());
    let details = StatusDetails { code: failure.code, message: failure.message, details: vec![any] };
    Status::with_details(code, message, details.encode_to_vec().into())
}

/// Stopped at the first command, but with one result: a GET RESPONSE failed.
pub(crate) fn stopped(id: i64, delivery: Delivery) -> Say {
    let failure = failure(ErrorReason::CardLost, delivery, "the exchange failed");
    let stopped = Some(UnitStop { index: 0, failure: Some(failure) });
    let results = vec![result(&[0xAB], 0x6110)];
    say(Response::Transmitted(SessionTransmitted { id, results, stopped, ..SessionTransmitted::default() }))
}

pub(crate) fn reset_done(id: i64) -> Say {
    say(Response::ResetDone(SessionResetDone { id, atr: vec![0x3B, 0x81] }))
}

pub(crate) fn failed(id: i64, reason: ErrorReason) -> Say {
    let failure = Some(failure(reason, Delivery::NotSent, "why it failed"));
    say(Response::Failed(SessionFailed { id, failure }))
}

pub(crate) fn heartbeat() -> Say {
    say(Response::Heartbeat(SessionHeartbeat::default()))
}

pub(crate) fn waiters(count: i32) -> Say {
    say(Response::Waiters(SessionWaiters { caller_count: count }))
}

/// The end of the lease, by the broker.
pub(crate) fn end(reason: ErrorReason) -> Say {
    Err(refusal(reason, Delivery::NotSent, "why it ended"))
}

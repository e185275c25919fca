//! What a broker says in a session: the pieces that tests put together.

use cardbroker_proto::{
    reason::{DELIVERY_TRAILER, REASON_TRAILER},
    v1::{
        CommandResult, Delivery, ErrorReason, OpenSessionRequest, OpenSessionResponse, SessionFailure, SessionOpened,
        SessionQueuePosition, SessionResetDone, SessionTransmitted, SessionWaiters, UnitStop,
        open_session_request::Request, open_session_response::Response,
    },
};
use tonic::{Code, Status};

use crate::broker::result;

pub(crate) type Say = Result<OpenSessionResponse, Status>;

/// Opens at once and answers every command with 9000 and its own first two bytes.
pub(crate) fn agreeable(request: &OpenSessionRequest) -> Vec<Say> {
    match request.request.as_ref().unwrap() {
        Request::Open(_) => vec![opened()],
        Request::Transmit(transmit) => {
            let answer = |command: &cardbroker_proto::v1::Command| result(&command.apdu[..2], 0x9000);
            vec![transmitted(transmit.id, transmit.commands.iter().map(answer).collect())]
        }
        Request::Reset(reset) => vec![reset_done(reset.id)],
    }
}

/// The id of a message that runs commands.
pub(crate) fn transmit_id(request: &OpenSessionRequest) -> Option<u64> {
    match request.request.as_ref().unwrap() {
        Request::Transmit(transmit) => Some(transmit.id),
        _ => None,
    }
}

fn say(response: Response) -> Say {
    Ok(OpenSessionResponse { response: Some(response) })
}

pub(crate) fn turns_ahead(count: u32) -> Say {
    say(Response::QueuePosition(SessionQueuePosition { turns_ahead_count: count }))
}

pub(crate) fn opened() -> Say {
    let (insertion_id, state_tag) = ("first".into(), "tag".into());
    say(Response::Opened(SessionOpened { insertion_id, state_tag, atr: vec![0x3B, 0x80], ..SessionOpened::default() }))
}

pub(crate) fn transmitted(id: u64, results: Vec<CommandResult>) -> Say {
    say(Response::Transmitted(SessionTransmitted { id, results, ..SessionTransmitted::default() }))
}

/// With one result, and stopped at the first command all the same: a GET RESPONSE failed.
pub(crate) fn stopped(id: u64, delivery: Delivery) -> Say {
    let (reason, delivery) = (ErrorReason::CardLost.into(), delivery.into());
    let stopped = Some(UnitStop { index: 0, reason, delivery, message: "the exchange failed".into() });
    let results = vec![result(&[0xAB], 0x6110)];
    say(Response::Transmitted(SessionTransmitted { id, results, stopped, ..SessionTransmitted::default() }))
}

pub(crate) fn reset_done(id: u64) -> Say {
    say(Response::ResetDone(SessionResetDone { id, atr: vec![0x3B, 0x81] }))
}

pub(crate) fn failure(id: u64, reason: ErrorReason) -> Say {
    let (reason, delivery) = (reason.into(), Delivery::NotSent.into());
    say(Response::Failure(SessionFailure { id, reason, delivery, message: "why it failed".into() }))
}

pub(crate) fn waiters(count: u32) -> Say {
    say(Response::Waiters(SessionWaiters { caller_count: count }))
}

pub(crate) fn end(code: Code, reason: ErrorReason, delivery: Delivery) -> Say {
    let mut status = Status::new(code, "why it ended");
    status.metadata_mut().insert(REASON_TRAILER, reason.short_name().parse().unwrap());
    status.metadata_mut().insert(DELIVERY_TRAILER, delivery.short_name().parse().unwrap());
    Err(status)
}

//! Conversion of a session's messages from and to the contract's types.

use cardbroker_core::{error::Failure, slot::ResetKind, turns::turn::Disposition};
use cardbroker_proto::v1::{
    CardReset, SessionFailed, SessionOpen, SessionOpened, SessionResetDone, SessionTransmitted, SessionWaiters,
    open_session_response::Response,
};

use crate::{
    grpc::{
        convert::{disposition, duration_in, results, to_i32, turn_request, unit_stop},
        status::wire_failure,
    },
    policy::audit::SessionRecords,
    reader::{
        pipeline::{Answer, Delivered},
        session::{DEFAULT_IDLE, IDLE_RANGE, Session, SessionRequest},
    },
};

/// Converts the first message.
///
/// # Errors
/// [`Reason::InvalidRequest`](cardbroker_core::error::Reason::InvalidRequest) naming the field.
pub(super) fn session_request(open: SessionOpen) -> Result<SessionRequest, Failure> {
    let idle_timeout = open.idle_timeout.map_or(Ok(DEFAULT_IDLE), |given| {
        duration_in(given, IDLE_RANGE, "open.idle_timeout", "out of range: 0.1 s – 60 s")
    })?;
    let turn = turn_request("open.turn", open.turn)?;
    let disposition = disposition("open.disposition", open.disposition, Disposition::Reset)?;
    Ok(SessionRequest { turn, idle_timeout, disposition, records: SessionRecords::Each })
}

/// Converts the kind of a reset.
///
/// # Errors
/// The field is neither WARM nor COLD.
pub(super) fn reset_kind(reset: i32) -> Result<ResetKind, Failure> {
    match CardReset::try_from(reset) {
        Ok(CardReset::Warm) => Ok(ResetKind::Warm),
        Ok(CardReset::Cold) => Ok(ResetKind::Cold),
        _ => Err(Failure::invalid("reset.reset", "must be WARM or COLD")),
    }
}

/// Returns the answer to the first message.
pub(super) fn opened(session: &Session) -> SessionOpened {
    let turn = session.turn();
    SessionOpened {
        insertion_id: turn.insertion_id.clone(),
        state_tag: turn.state_tag.clone(),
        atr: session.atr().to_vec(),
        queue_duration: session.queue_duration().try_into().ok(),
        was_reset: turn.reset,
    }
}

/// Returns an answer, or a number of waiters, as a message to the client.
pub(super) fn response(delivered: Delivered, reader: &str) -> Response {
    let (id, answer) = match delivered {
        Delivered::Answer(id, answer) => (id, answer),
        Delivered::Waiters(callers) => {
            return Response::Waiters(SessionWaiters { caller_count: to_i32(callers) });
        }
    };
    match answer {
        Answer::Unit(outcome) => Response::Transmitted(SessionTransmitted {
            id,
            results: results(outcome.results),
            stopped: outcome.stopped.map(|stop| unit_stop(&stop, reader)),
            card_duration: outcome.card_duration.try_into().ok(),
        }),
        Answer::Reset(card) => Response::ResetDone(SessionResetDone { id, atr: card.atr }),
        Answer::Failed(failure) => {
            Response::Failed(SessionFailed { id, failure: Some(wire_failure(&failure, Some(reader))) })
        }
    }
}

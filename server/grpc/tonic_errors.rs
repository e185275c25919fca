//! What tonic refuses by itself before the edge sees it, said in the contract's way: every error has a reason and a delivery.

use cardbroker_core::error::{Failure, Reason};
use cardbroker_proto::reason::REASON_TRAILER;
use http::Response;
use tonic::{Code, Status, body::Body};

use super::status::to_status;

/// The message about a request that is longer than `MAX_MESSAGE_BYTES`.
pub(super) const TOO_LONG: &str = "the request is longer than 1 MiB: send fewer commands in one unit";

/// The message about a request that cannot be decoded.
pub(super) const NO_MESSAGE: &str = "the request is no message of the contract";

/// Adds the contract's reason and delivery to errors that tonic itself produced. All other responses pass through unchanged.
///
/// A message that was never decoded has reached no card, but a client that finds no reason must take its fate for unknown.
pub(super) fn explain(response: Response<Body>) -> Response<Body> {
    // An answer with messages has its status behind them.
    let status = Status::from_header_map(response.headers()).filter(|status| status.code() != Code::Ok);
    match status {
        Some(status) if !response.headers().contains_key(REASON_TRAILER) => {
            to_status(&refusal(status.code()), None).into_http()
        }
        _ => response,
    }
}

fn refusal(code: Code) -> Failure {
    // tonic's own message may tell what it found where it expected something else: bytes of a command.
    let (reason, message) = match code {
        Code::OutOfRange => (Reason::InvalidRequest, TOO_LONG),
        Code::Unimplemented => (Reason::NotImplemented, "this version of the broker has no such method or encoding"),
        _ => (Reason::InvalidRequest, NO_MESSAGE),
    };
    Failure::not_sent(reason, message)
}

//! Errors that tonic itself produces before the edge sees the request, with the contract's reason and delivery.

use cardbroker_core::error::{Failure, Reason};
use cardbroker_proto::reason::REASON_TRAILER;
use http::Response;
use tonic::{Code, Status, body::Body};

use super::status::to_status;

/// The message of the failure for a request longer than `MAX_MESSAGE_BYTES`.
pub(super) const TOO_LONG: &str = "the request is longer than 1 MiB: send fewer commands in one unit";

/// The message of the failure for a request that cannot be decoded.
pub(super) const NO_MESSAGE: &str = "the request cannot be decoded: check it against the contract";

/// Adds the contract's reason and delivery to errors that tonic itself produced. All other responses pass through
/// unchanged.
///
/// A message that was not decoded has not reached a card, but without a reason a client must assume an unknown
/// delivery.
pub(super) fn explain(response: Response<Body>) -> Response<Body> {
    // A response with messages has its status in the trailers.
    let status = Status::from_header_map(response.headers()).filter(|status| status.code() != Code::Ok);
    match status {
        Some(status) if !response.headers().contains_key(REASON_TRAILER) => {
            to_status(&refusal(status.code()), None).into_http()
        }
        _ => response,
    }
}

fn refusal(code: Code) -> Failure {
    // tonic's own message may quote bytes of the request, which may be a command.
    let (reason, message) = match code {
        Code::OutOfRange => (Reason::InvalidRequest, TOO_LONG),
        Code::Unimplemented => (Reason::NotImplemented, "this version of the broker has no such method or encoding"),
        _ => (Reason::InvalidRequest, NO_MESSAGE),
    };
    Failure::not_sent(reason, message)
}

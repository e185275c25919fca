//! The one place where a failure becomes a gRPC status: code, ErrorInfo, RetryInfo, BadRequest and the plain trailers.

use std::{collections::HashMap, time::Duration};

use cardbroker_proto::{
    reason::{DELIVERY_TRAILER, ERROR_DOMAIN, REASON_TRAILER},
    v1,
};
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};
use tonic_types::{ErrorDetails, StatusExt};

use crate::error::{Delivery, Failure, Reason};

/// What no reader's name exceeds. A longer one is not repeated: details go with the headers, which the client limits.
const MAX_READER_NAME_BYTES: usize = 256;
/// When to try again after something that passes within a moment.
const SOON: Duration = Duration::from_millis(200);
/// When to try again after something that a person or another program has to mend.
const LATER: Duration = Duration::from_secs(2);

/// The status of a failure; `reader` is the one that the request names.
pub(super) fn to_status(failure: &Failure, reader: Option<&str>) -> Status {
    let (code, retry) = code_and_retry(failure.reason);
    let reason = wire_reason(failure.reason).short_name();
    let delivery = failure.delivery.as_str();

    let mut metadata = HashMap::from([("delivery".to_owned(), delivery.to_owned())]);
    let is_named = |reader: &&str| failure.reason != Reason::InvalidRequest && reader.len() <= MAX_READER_NAME_BYTES;
    if let Some(reader) = reader.filter(is_named) {
        metadata.insert("reader".into(), reader.into());
    }
    if let Some(rule) = &failure.rule {
        metadata.insert("rule".into(), rule.to_string());
    }
    let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, metadata);
    if let Some(retry) = retry {
        details.set_retry_info(Some(retry));
    }
    if let Some(field) = &failure.field {
        details.add_bad_request_violation(field, &*failure.message);
    }

    let mut trailers = MetadataMap::new();
    trailers.insert(REASON_TRAILER, MetadataValue::from_static(reason));
    trailers.insert(DELIVERY_TRAILER, MetadataValue::from_static(delivery));
    let message = match &failure.field {
        Some(field) => format!("{field}: {}", failure.message),
        None => failure.message.to_string(),
    };
    Status::with_error_details_and_metadata(code, message, details, trailers)
}

/// The code of a reason and, where waiting helps, how long.
fn code_and_retry(reason: Reason) -> (Code, Option<Duration>) {
    match reason {
        Reason::InvalidRequest | Reason::UnsupportedLength | Reason::RequestIdReused => (Code::InvalidArgument, None),
        Reason::ReaderNotFound => (Code::NotFound, None),
        Reason::ReaderNotOwned | Reason::NoCard => (Code::FailedPrecondition, None),
        Reason::ReaderGone | Reason::CardRemoved => (Code::Unavailable, None),
        Reason::PcscUnavailable | Reason::ResetFailed => (Code::Unavailable, Some(SOON)),
        Reason::CardMute | Reason::HeldElsewhere | Reason::ReaderUnresponsive | Reason::ShuttingDown => {
            (Code::Unavailable, Some(LATER))
        }
        Reason::QueueTimeout | Reason::DeadlineNear => (Code::DeadlineExceeded, None),
        Reason::QueueFull => (Code::ResourceExhausted, Some(SOON)),
        Reason::OutcomesFull => (Code::ResourceExhausted, Some(LATER)),
        Reason::ResponseTooLarge => (Code::ResourceExhausted, None),
        Reason::InsertionChanged
        | Reason::StateChanged
        | Reason::CardLost
        | Reason::CardReset
        | Reason::StatusWord
        | Reason::LeaseEnded
        | Reason::LeaseRevoked
        | Reason::PrecedingFailed => (Code::Aborted, None),
        Reason::Denied => (Code::PermissionDenied, None),
        Reason::PinKnownWrong | Reason::PinLastTry => (Code::FailedPrecondition, None),
        Reason::Unauthenticated => (Code::Unauthenticated, None),
        Reason::NotImplemented => (Code::Unimplemented, None),
        Reason::Internal => (Code::Internal, None),
        Reason::OverBudget => (Code::ResourceExhausted, Some(SOON)),
        Reason::UnitTooLong | Reason::ResponseLost => (Code::Aborted, None),
    }
}

/// The contract's name of a reason.
pub(super) fn wire_reason(reason: Reason) -> v1::ErrorReason {
    use v1::ErrorReason as Wire;
    match reason {
        Reason::InvalidRequest => Wire::InvalidRequest,
        Reason::ReaderNotFound => Wire::ReaderNotFound,
        Reason::ReaderGone => Wire::ReaderGone,
        Reason::ReaderNotOwned => Wire::ReaderNotOwned,
        Reason::NoCard => Wire::NoCard,
        Reason::CardMute => Wire::CardMute,
        Reason::HeldElsewhere => Wire::HeldElsewhere,
        Reason::ReaderUnresponsive => Wire::ReaderUnresponsive,
        Reason::PcscUnavailable => Wire::PcscUnavailable,
        Reason::QueueTimeout => Wire::QueueTimeout,
        Reason::DeadlineNear => Wire::DeadlineNear,
        Reason::QueueFull => Wire::QueueFull,
        Reason::InsertionChanged => Wire::InsertionChanged,
        Reason::StateChanged => Wire::StateChanged,
        Reason::CardRemoved => Wire::CardRemoved,
        Reason::CardLost => Wire::CardLost,
        Reason::CardReset => Wire::CardReset,
        Reason::ResetFailed => Wire::ResetFailed,
        Reason::UnsupportedLength => Wire::UnsupportedLength,
        Reason::ResponseTooLarge => Wire::ResponseTooLarge,
        Reason::StatusWord => Wire::StatusWord,
        Reason::LeaseEnded => Wire::LeaseEnded,
        Reason::LeaseRevoked => Wire::LeaseRevoked,
        Reason::PrecedingFailed => Wire::PrecedingFailed,
        Reason::Denied => Wire::Denied,
        Reason::PinKnownWrong => Wire::PinKnownWrong,
        Reason::PinLastTry => Wire::PinLastTry,
        Reason::Unauthenticated => Wire::Unauthenticated,
        Reason::ShuttingDown => Wire::ShuttingDown,
        Reason::OutcomesFull => Wire::OutcomesFull,
        Reason::RequestIdReused => Wire::RequestIdReused,
        Reason::NotImplemented => Wire::NotImplemented,
        Reason::Internal | Reason::OverBudget | Reason::UnitTooLong | Reason::ResponseLost => Wire::Internal,
    }
}

/// The contract's name of a delivery.
pub(super) fn wire_delivery(delivery: Delivery) -> v1::Delivery {
    match delivery {
        Delivery::NotSent => v1::Delivery::NotSent,
        Delivery::Unknown | Delivery::Executed => v1::Delivery::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_everything_twice_for_clients_that_decode_no_details() {
        let failure = Failure::unknown(Reason::PcscUnavailable, "down");
        let status = to_status(&failure, Some("readers/x"));
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "down"));

        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((&*info.reason, &*info.domain), ("PCSC_UNAVAILABLE", "cardbroker"));
        assert_eq!((&*info.metadata["delivery"], &*info.metadata["reader"]), ("unknown", "readers/x"));
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(SOON));

        assert_eq!(status.metadata().get("cardbroker-reason").unwrap(), "PCSC_UNAVAILABLE");
        assert_eq!(status.metadata().get("cardbroker-delivery").unwrap(), "unknown");
    }

    #[test]
    fn malformed_input_names_the_field() {
        let status = to_status(&Failure::invalid("commands[3].apdu", "too short"), Some("readers/x"));
        let details = status.get_error_details();
        let violation = &details.bad_request().unwrap().field_violations[0];
        assert_eq!((&*violation.field, &*violation.description), ("commands[3].apdu", "too short"));
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "commands[3].apdu: too short"));
    }

    #[test]
    fn the_delivery_has_one_spelling() {
        for delivery in [Delivery::NotSent, Delivery::Unknown] {
            assert_eq!(wire_delivery(delivery).short_name(), delivery.as_str());
        }
    }
}

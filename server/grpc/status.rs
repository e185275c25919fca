//! Converts a failure to the contract's `Failure`, and that to a gRPC status with details and trailers.

use std::collections::HashMap;

use cardbroker_core::error::{Cause, Delivery, Failure, Reason};
use cardbroker_proto::{
    codes::{code, retry_after},
    reason::{DELIVERY_TRAILER, ERROR_DOMAIN, REASON_TRAILER},
    v1,
};
use prost::Message;
use prost_types::Any;
use tonic::{
    Status,
    metadata::{MetadataMap, MetadataValue},
};
use tonic_types::pb;

/// Maximum bytes of a failure's message. Details are sent as headers, which clients limit.
const MAX_TEXT_BYTES: usize = 512;

/// Maximum bytes of a reader's name in a failure.
const MAX_READER_NAME_BYTES: usize = 256;

/// Returns a failure in the contract's type; `reader` is the request's reader.
pub(super) fn wire_failure(failure: &Failure, reader: Option<&str>) -> v1::Failure {
    let (reason, delivery) = (wire_reason(failure.reason), wire_delivery(failure.delivery));
    let names_none = matches!(failure.reason, Reason::InvalidRequest | Reason::ReaderNotFound);
    let is_named = |reader: &&str| !names_none && reader.len() <= MAX_READER_NAME_BYTES;
    let description = shortened(&failure.message);
    let message = match failure.field() {
        Some(field) => shortened(&format!("{field}: {description}")),
        None => description.clone(),
    };
    let violation = |field: &str| v1::FieldViolation { field: field.to_owned(), description };
    v1::Failure {
        reason: reason.into(),
        delivery: delivery.into(),
        message,
        code: code(reason, delivery).into(),
        retry_after: retry_after(reason, delivery).and_then(|pause| pause.try_into().ok()),
        rule: failure.rule().unwrap_or_default().to_owned(),
        cause: failure.cause().map_or(v1::RevocationCause::Unspecified, wire_cause).into(),
        field_violations: failure.field().map(violation).into_iter().collect(),
        reader: reader.filter(is_named).unwrap_or_default().to_owned(),
        tries_left: failure.tries().map(i32::from),
    }
}

/// Returns the status of a failure; `reader` is the request's reader.
pub(super) fn to_status(failure: &Failure, reader: Option<&str>) -> Status {
    let wire = wire_failure(failure, reader);
    let (reason, delivery) = (failure.reason.as_str(), failure.delivery.as_str());
    let mut trailers = MetadataMap::new();
    trailers.insert(REASON_TRAILER, MetadataValue::from_static(reason));
    trailers.insert(DELIVERY_TRAILER, MetadataValue::from_static(delivery));
    let (code, message) = (wire.code.into(), wire.message.clone());
    let details = pb::Status { code: wire.code, message: message.clone(), details: details(wire, reason, delivery) };
    Status::with_details_and_metadata(code, message, details.encode_to_vec().into(), trailers)
}

/// Returns the details of a status: the contract's own, and the same for clients that know only the googleapis types.
fn details(failure: v1::Failure, reason: &str, delivery: &str) -> Vec<Any> {
    let mut metadata = HashMap::from([("delivery".to_owned(), delivery.to_owned())]);
    let named = [("reader", &failure.reader), ("rule", &failure.rule)];
    let named = named.into_iter().filter(|(_, value)| !value.is_empty());
    metadata.extend(named.map(|(key, value)| (key.to_owned(), value.clone())));
    let info = pb::ErrorInfo { reason: reason.to_owned(), domain: ERROR_DOMAIN.to_owned(), metadata };
    let retry = failure.retry_after.map(|pause| {
        let retry = pb::RetryInfo { retry_delay: Some(pause) };
        any("google.rpc.RetryInfo", &retry)
    });
    let violations = failure.field_violations.iter().map(|violation| pb::bad_request::FieldViolation {
        field: violation.field.clone(),
        description: violation.description.clone(),
        ..Default::default()
    });
    let bad_request = pb::BadRequest { field_violations: violations.collect() };
    let bad_request = (!failure.field_violations.is_empty()).then(|| any("google.rpc.BadRequest", &bad_request));
    let ours = any("cardbroker.v1.Failure", &failure);
    [Some(ours), Some(any("google.rpc.ErrorInfo", &info)), retry, bad_request].into_iter().flatten().collect()
}

fn any(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

/// Cuts a text to [`MAX_TEXT_BYTES`], at the end of a character.
fn shortened(text: &str) -> String {
    if text.len() <= MAX_TEXT_BYTES {
        return text.to_owned();
    }
    const ELLIPSIS: &str = "…";
    let end = (0..=MAX_TEXT_BYTES - ELLIPSIS.len()).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text[..end].to_owned() + ELLIPSIS
}

fn wire_cause(cause: Cause) -> v1::RevocationCause {
    match cause {
        Cause::Idle => v1::RevocationCause::Idle,
        Cause::TooLong => v1::RevocationCause::TooLong,
        Cause::RulesChanged => v1::RevocationCause::RulesChanged,
        Cause::Released => v1::RevocationCause::Released,
    }
}

/// Returns the contract's value for a reason.
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
        Reason::Internal => Wire::Internal,
        Reason::OverBudget => Wire::OverBudget,
        Reason::UnitTooLong => Wire::UnitTooLong,
        Reason::ResponseLost => Wire::ResponseLost,
        Reason::ProtocolMismatch => Wire::ProtocolMismatch,
        Reason::ConfigurationRefused => Wire::ConfigurationRefused,
    }
}

/// Returns the contract's value for a delivery.
fn wire_delivery(delivery: Delivery) -> v1::Delivery {
    match delivery {
        Delivery::NotSent => v1::Delivery::NotSent,
        Delivery::Unknown => v1::Delivery::Unknown,
        Delivery::Executed => v1::Delivery::Executed,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tonic::Code;
    use tonic_types::StatusExt;

    use super::*;

    fn failure_in(status: &Status) -> v1::Failure {
        let details = v1::StatusDetails::decode(status.details()).unwrap();
        assert_eq!((details.code, &*details.message), (status.code().into(), status.message()));
        let ours = details.details.iter().find(|any| any.type_url == "type.googleapis.com/cardbroker.v1.Failure");
        v1::Failure::decode(&*ours.unwrap().value).unwrap()
    }

    #[test]
    fn a_status_is_complete_for_clients_without_details() {
        let failure = Failure::not_sent(Reason::PcscUnavailable, "down");
        let status = to_status(&failure, Some("readers/x"));
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "down"));

        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((&*info.reason, &*info.domain), ("PCSC_UNAVAILABLE", "cardbroker"));
        assert_eq!((&*info.metadata["delivery"], &*info.metadata["reader"]), ("not_sent", "readers/x"));
        let ours = failure_in(&status);
        assert_eq!(
            (ours.reason(), ours.delivery(), &*ours.reader),
            (v1::ErrorReason::PcscUnavailable, v1::Delivery::NotSent, "readers/x")
        );
        let pause = details.retry_info().unwrap().retry_delay;
        assert!(pause.is_some() && pause == ours.retry_after.and_then(|pause| pause.try_into().ok()));

        assert_eq!(status.metadata().get("cardbroker-reason").unwrap(), "PCSC_UNAVAILABLE");
        assert_eq!(status.metadata().get("cardbroker-delivery").unwrap(), "not_sent");
    }

    #[test]
    fn commands_that_may_have_run_are_data_loss_without_retry() {
        for failure in
            [Failure::unknown(Reason::PcscUnavailable, "down"), Failure::executed(Reason::ResponseLost, "gone")]
        {
            let status = to_status(&failure, None);
            assert_eq!(status.code(), Code::DataLoss);
            assert!(status.get_error_details().retry_info().is_none());
            assert_eq!(failure_in(&status).retry_after, None);
        }
    }

    #[test]
    fn malformed_input_names_the_field() {
        let status = to_status(&Failure::invalid("commands[3].apdu.bytes", "too short"), Some("readers/x"));
        let details = status.get_error_details();
        let violation = &details.bad_request().unwrap().field_violations[0];
        assert_eq!((&*violation.field, &*violation.description), ("commands[3].apdu.bytes", "too short"));
        let ours = failure_in(&status);
        assert_eq!((&*ours.field_violations[0].field, &*ours.reader), ("commands[3].apdu.bytes", ""));
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "commands[3].apdu.bytes: too short"));
    }

    #[test]
    fn a_rule_and_a_cause_are_named() {
        let denied = failure_in(&to_status(&Failure::denied("no contractors".into(), "denied"), None));
        assert_eq!(denied.rule, "no contractors");
        let revoked = failure_in(&to_status(&Failure::revoked(Cause::Idle, "idled"), None));
        assert_eq!((revoked.cause(), revoked.reason()), (v1::RevocationCause::Idle, v1::ErrorReason::LeaseRevoked));
    }

    #[test]
    fn a_withheld_pin_has_the_number_of_tries_if_it_is_known() {
        for (failure, tries_left) in [
            (Failure::known_wrong(Some(255), "m"), Some(255)),
            (Failure::known_wrong(None, "m"), None),
            (Failure::last_try("m"), Some(1)),
            (Failure::not_sent(Reason::PinLastTry, "a chain"), None),
        ] {
            assert_eq!(failure_in(&to_status(&failure, None)).tries_left, tries_left, "{failure:?}");
        }
    }

    #[test]
    fn the_longest_details_fit_into_four_kibibytes() {
        let long = "€".repeat(4_000);
        for failure in
            [Failure::invalid("f".repeat(100), long.clone()), Failure::revoked_by_rule("r".repeat(64).into(), long)]
        {
            let status = to_status(&failure, Some(&"x".repeat(MAX_READER_NAME_BYTES)));
            assert!(status.details().len() <= 4_096, "{}", status.details().len());
            assert!(status.message().len() <= MAX_TEXT_BYTES && status.message().ends_with('…'));
        }
    }

    /// Every reason of the core, in no order.
    const REASONS: &[Reason] = &[
        Reason::InvalidRequest,
        Reason::ReaderNotFound,
        Reason::ReaderGone,
        Reason::ReaderNotOwned,
        Reason::NoCard,
        Reason::CardMute,
        Reason::HeldElsewhere,
        Reason::ReaderUnresponsive,
        Reason::PcscUnavailable,
        Reason::QueueTimeout,
        Reason::DeadlineNear,
        Reason::QueueFull,
        Reason::InsertionChanged,
        Reason::StateChanged,
        Reason::CardRemoved,
        Reason::CardLost,
        Reason::CardReset,
        Reason::ResetFailed,
        Reason::UnsupportedLength,
        Reason::ResponseTooLarge,
        Reason::StatusWord,
        Reason::LeaseEnded,
        Reason::LeaseRevoked,
        Reason::PrecedingFailed,
        Reason::Denied,
        Reason::PinKnownWrong,
        Reason::PinLastTry,
        Reason::Unauthenticated,
        Reason::ShuttingDown,
        Reason::OutcomesFull,
        Reason::RequestIdReused,
        Reason::NotImplemented,
        Reason::Internal,
        Reason::OverBudget,
        Reason::UnitTooLong,
        Reason::ResponseLost,
        Reason::ProtocolMismatch,
        Reason::ConfigurationRefused,
    ];

    #[test]
    fn reasons_and_causes_have_the_names_of_the_contract() {
        for reason in REASONS {
            assert_eq!(wire_reason(*reason).short_name(), reason.as_str());
        }
        let named: HashSet<_> = REASONS.iter().map(|reason| wire_reason(*reason)).collect();
        let in_contract = (1..1_000).filter_map(|number| v1::ErrorReason::try_from(number).ok());
        assert_eq!(named, in_contract.collect(), "the list has every reason of the contract");
        for cause in [Cause::Idle, Cause::TooLong, Cause::RulesChanged, Cause::Released] {
            assert_eq!(wire_cause(cause).as_str_name(), format!("REVOCATION_CAUSE_{}", cause.as_str()));
        }
    }

    #[test]
    fn the_delivery_has_one_spelling() {
        for delivery in [Delivery::NotSent, Delivery::Unknown, Delivery::Executed] {
            assert_eq!(wire_delivery(delivery).short_name(), delivery.as_str());
        }
    }
}

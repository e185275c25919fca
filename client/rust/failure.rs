//! One failure as reported by the broker, read from a status, from a stopped unit, or from a message of a session.

use std::time::Duration;

use cardbroker_proto::{
    reason::{DELIVERY_TRAILER, ERROR_DOMAIN, REASON_TRAILER},
    v1::{self, StatusDetails},
};
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    Delivery, ErrorReason, FieldViolation, RevocationCause,
    error::{foreign_code, foreign_message},
    response::positive,
};

/// The full name of the contract's message `Failure`.
const FAILURE: &str = "cardbroker.v1.Failure";

/// A failure: its reason, and whether a command may have reached the card. Its texts contain no APDU byte.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The broker's reason; `None` if the broker gave none, or one that this client does not know.
    pub reason: Option<ErrorReason>,
    /// The number or the name of a reason that this client does not know. Decide by `code` and `delivery`.
    pub unknown_reason: Option<String>,
    /// Whether a command may have reached the card: `NotSent`, `Unknown` or `Executed`, never `Unspecified`.
    pub delivery: Delivery,
    /// The gRPC code that the failure has, or would have as the status of a call.
    pub code: Code,
    /// The number of `code`, even if its name is unknown.
    pub code_number: i32,
    /// A message for people: what happened and what to do next, on one line.
    pub message: String,
    /// How long to wait before a retry. Present only where nothing was sent and waiting helps.
    pub retry_after: Option<Duration>,
    /// The name of the policy's rule that denies the request.
    pub rule: Option<String>,
    /// Why the broker has revoked the session, with LEASE_REVOKED.
    pub cause: Option<RevocationCause>,
    /// The number of a cause that this client does not know.
    pub unknown_cause: Option<i32>,
    /// The fields of the request that violate a rule of the contract, with INVALID_REQUEST.
    pub field_violations: Vec<FieldViolation>,
    /// The name of the reader concerned: `readers/{id}`.
    pub reader: Option<String>,
    /// The number of tries that the card has left for the PIN, 1–255, as far as the broker knows. With PIN_KNOWN_WRONG
    /// and PIN_LAST_TRY only.
    pub tries_left: Option<u8>,
    /// Whether the status carries nothing from the broker: no failure, no ErrorInfo, no trailer.
    pub(crate) is_foreign: bool,
}

impl Failure {
    /// A failure that this program detected itself.
    pub(crate) fn own(reason: Option<ErrorReason>, delivery: Delivery, code: Code, message: impl Into<String>) -> Self {
        Self {
            reason,
            unknown_reason: None,
            delivery,
            code,
            code_number: code as i32,
            message: message.into(),
            retry_after: None,
            rule: None,
            cause: None,
            unknown_cause: None,
            field_violations: Vec::new(),
            reader: None,
            tries_left: None,
            is_foreign: false,
        }
    }

    /// The short name of the reason (`QUEUE_TIMEOUT`), or the number or name of one that this client does not know.
    pub fn reason_name(&self) -> Option<&str> {
        self.reason.map(ErrorReason::short_name).or(self.unknown_reason.as_deref())
    }

    /// Whether a repeat of the same request cannot succeed.
    pub fn is_permanent(&self) -> bool {
        matches!(
            self.code,
            Code::InvalidArgument
                | Code::NotFound
                | Code::PermissionDenied
                | Code::Unauthenticated
                | Code::Unimplemented
        )
    }

    /// The failure of a call that ended with `status`. `otherwise` is the delivery if the broker has given none.
    pub(crate) fn of_status(status: &Status, otherwise: Delivery) -> Self {
        match failure_detail(status) {
            Some(failure) => Self::of_wire(failure, Some(status)),
            None => Self::of_plain_status(status, otherwise),
        }
    }

    fn of_wire(wire: v1::Failure, status: Option<&Status>) -> Self {
        let known = ErrorReason::try_from(wire.reason).ok();
        let cause = RevocationCause::try_from(wire.cause).ok();
        let delivery = at_most_known(wire.delivery());
        let code_number = match (wire.code, status) {
            (0, Some(status)) => status.code() as i32,
            (0, None) => Code::Unknown as i32,
            (code, _) => code,
        };
        let message = match status {
            Some(status) if wire.message.is_empty() => status.message().to_owned(),
            _ => wire.message,
        };
        Self {
            reason: known.filter(|reason| *reason != ErrorReason::Unspecified),
            unknown_reason: known.is_none().then(|| wire.reason.to_string()),
            retry_after: wire.retry_after.map(positive),
            rule: filled(wire.rule),
            cause: cause.filter(|cause| *cause != RevocationCause::Unspecified),
            unknown_cause: cause.is_none().then_some(wire.cause),
            field_violations: wire.field_violations,
            reader: filled(wire.reader),
            tries_left: wire.tries_left.and_then(|tries| tries.try_into().ok()),
            code_number,
            ..Self::own(None, delivery, Code::from_i32(code_number), message)
        }
    }

    /// Reads google.rpc.ErrorInfo and the plain trailers, whose content may differ in an older or a newer broker.
    fn of_plain_status(status: &Status, otherwise: Delivery) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == ERROR_DOMAIN);
        let trailer = |name| status.metadata().get(name).and_then(|value| value.to_str().ok());
        let metadata = |key: &str| info.and_then(|info| info.metadata.get(key)).map(String::as_str);

        let name = info.map(|info| info.reason.as_str()).or_else(|| trailer(REASON_TRAILER));
        let reason = name.and_then(ErrorReason::from_short_name);
        let delivery = metadata("delivery").or_else(|| trailer(DELIVERY_TRAILER));
        let message = match name.or(delivery) {
            Some(_) => status.message().to_owned(),
            None => foreign_message(status),
        };
        let is_foreign = name.is_none() && delivery.is_none();
        // A reason without a delivery comes from the broker, too: the delivery is unknown.
        let delivery = match (delivery, name) {
            (Some(delivery), _) => Delivery::from_short_name(delivery),
            (None, Some(_)) => Delivery::Unknown,
            (None, None) => otherwise,
        };
        let violations = details.bad_request().map(|request| request.field_violations.as_slice()).unwrap_or_default();
        let violation = |violation: &tonic_types::FieldViolation| FieldViolation {
            field: violation.field.clone(),
            description: violation.description.clone(),
        };
        Self {
            unknown_reason: name.filter(|_| reason.is_none()).map(str::to_owned),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            rule: metadata("rule").map(str::to_owned),
            field_violations: violations.iter().map(violation).collect(),
            reader: metadata("reader").map(str::to_owned),
            is_foreign,
            ..Self::own(reason, delivery, foreign_code(status), message)
        }
    }
}

impl From<v1::Failure> for Failure {
    fn from(wire: v1::Failure) -> Self {
        Self::of_wire(wire, None)
    }
}

/// The broker's `Failure` among the details of a status.
fn failure_detail(status: &Status) -> Option<v1::Failure> {
    let details = StatusDetails::decode(status.details()).ok()?.details;
    let failure = details.into_iter().find(|any| any.type_url.rsplit('/').next() == Some(FAILURE))?;
    v1::Failure::decode(&failure.value[..]).ok()
}

/// An unknown delivery may be any of them.
fn at_most_known(delivery: Delivery) -> Delivery {
    match delivery {
        Delivery::NotSent | Delivery::Executed => delivery,
        Delivery::Unspecified | Delivery::Unknown => Delivery::Unknown,
    }
}

fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use prost_types::Any;
    use tonic_types::ErrorDetails;

    use super::*;

    fn status(failure: &v1::Failure) -> Status {
        let value = failure.encode_to_vec();
        let any = Any { type_url: "type.googleapis.com/cardbroker.v1.Failure".into(), value };
        let details = StatusDetails { details: vec![any], ..StatusDetails::default() };
        Status::with_details(Code::DataLoss, "as the status says", details.encode_to_vec().into())
    }

    #[test]
    fn a_failure_in_the_details_is_read_completely() {
        let told = v1::Failure {
            reason: ErrorReason::LeaseRevoked.into(),
            delivery: Delivery::NotSent.into(),
            code: Code::Aborted as i32,
            message: "others wait".into(),
            retry_after: Some(prost_types::Duration { seconds: 2, nanos: 0 }),
            rule: "night".into(),
            cause: RevocationCause::Idle.into(),
            field_violations: vec![FieldViolation { field: "id".into(), description: "not greater".into() }],
            reader: "readers/x".into(),
            tries_left: Some(2),
        };
        let failure = Failure::of_status(&status(&told), Delivery::Unknown);
        assert_eq!((failure.reason, failure.cause), (Some(ErrorReason::LeaseRevoked), Some(RevocationCause::Idle)));
        assert_eq!((failure.delivery, failure.code), (Delivery::NotSent, Code::Aborted));
        assert_eq!(failure.retry_after, Some(Duration::from_secs(2)));
        assert_eq!((failure.message.as_str(), failure.rule.as_deref()), ("others wait", Some("night")));
        assert_eq!((failure.field_violations[0].field.as_str(), failure.reader.as_deref()), ("id", Some("readers/x")));
        assert_eq!(failure.tries_left, Some(2));
        assert_eq!(Failure { code: failure.code, ..told.into() }, failure, "the same in a session or a stop");
    }

    #[test]
    fn a_number_of_tries_is_kept_if_it_is_one() {
        for (told, tries_left) in
            [(None, None), (Some(0), Some(0)), (Some(255), Some(255)), (Some(256), None), (Some(-1), None)]
        {
            let failure = Failure::from(v1::Failure { tries_left: told, ..v1::Failure::default() });
            assert_eq!(failure.tries_left, tries_left, "{told:?}");
        }
    }

    #[test]
    fn values_of_a_newer_contract_are_kept_as_numbers() {
        let told = v1::Failure { reason: 999, delivery: 99, cause: 98, code: 97, ..v1::Failure::default() };
        let failure = Failure::of_status(&status(&told), Delivery::NotSent);
        assert_eq!((failure.reason, failure.reason_name()), (None, Some("999")));
        assert_eq!((failure.cause, failure.unknown_cause), (None, Some(98)));
        assert_eq!((failure.delivery, failure.code, failure.code_number), (Delivery::Unknown, Code::Unknown, 97));
        assert_eq!(failure.message, "as the status says");
    }

    #[test]
    fn without_a_code_the_status_code_or_unknown_counts() {
        let told = v1::Failure {
            reason: ErrorReason::HeldElsewhere.into(),
            delivery: Delivery::NotSent.into(),
            ..v1::Failure::default()
        };
        assert_eq!(Failure::of_status(&status(&told), Delivery::Unknown).code, Code::DataLoss);
        assert_eq!(Failure::from(told).code, Code::Unknown);
    }

    #[test]
    fn error_info_replaces_a_missing_failure() {
        let mut details = ErrorDetails::with_retry_info(Some(Duration::from_secs(2)));
        let metadata = [("delivery", "not_sent"), ("reader", "readers/x"), ("rule", "night")];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
        details.set_error_info("HELD_ELSEWHERE", ERROR_DOMAIN, HashMap::from(metadata));
        details.add_bad_request_violation("commands[0]", "why");
        let status = Status::with_error_details(Code::Unavailable, "held", details);
        let failure = Failure::of_status(&status, Delivery::Unknown);
        assert_eq!((failure.reason, failure.delivery), (Some(ErrorReason::HeldElsewhere), Delivery::NotSent));
        assert_eq!((failure.reader.as_deref(), failure.rule.as_deref()), (Some("readers/x"), Some("night")));
        assert_eq!(failure.retry_after, Some(Duration::from_secs(2)));
        assert_eq!((failure.message.as_str(), failure.field_violations.len()), ("held", 1));
    }

    #[test]
    fn plain_trailers_replace_missing_details() {
        let mut status = Status::failed_precondition("the reader burns");
        status.metadata_mut().insert(REASON_TRAILER, "CARD_ON_FIRE".parse().unwrap());
        status.metadata_mut().insert(DELIVERY_TRAILER, "executed".parse().unwrap());
        let failure = Failure::of_status(&status, Delivery::Unknown);
        assert_eq!((failure.reason, failure.reason_name()), (None, Some("CARD_ON_FIRE")));
        assert_eq!((failure.delivery, failure.message.as_str()), (Delivery::Executed, "the reader burns"));
    }

    #[test]
    fn without_details_from_the_broker_the_delivery_is_unknown() {
        for code in [Code::DeadlineExceeded, Code::Cancelled, Code::Unavailable, Code::Unknown, Code::Internal] {
            let status = Status::new(code, "");
            assert_eq!(Failure::of_status(&status, Delivery::Unknown).delivery, Delivery::Unknown);
        }
    }
}

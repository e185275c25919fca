//! PC/SC's error codes in the broker's terms.

use cardbroker_core::slot::{ServiceError, SlotError};
use pcsc::Error;

/// Translates an error of a call on a slot. Every code without a case is `Lost`: the command may have run.
pub(super) fn slot_error(error: Error) -> SlotError {
    match error {
        Error::NoSmartcard => SlotError::NoCard,
        Error::RemovedCard => SlotError::CardRemoved,
        Error::ResetCard => SlotError::CardReset,
        Error::SharingViolation => SlotError::Held,
        Error::ProtoMismatch => SlotError::ProtocolMismatch,
        Error::InvalidHandle | Error::InvalidParameter => SlotError::StaleHandle,
        Error::UnresponsiveCard | Error::UnpoweredCard | Error::UnsupportedCard => SlotError::Mute(error.to_string()),
        Error::UnknownReader | Error::ReaderUnavailable => SlotError::ReaderGone,
        Error::NoService | Error::ServiceStopped | Error::SecurityViolation | Error::NoAccess => {
            SlotError::Service(service_error(error))
        }
        _ => SlotError::Lost(error.to_string()),
    }
}

/// Translates an error of the service itself.
pub(super) fn service_error(error: Error) -> ServiceError {
    match error {
        Error::SecurityViolation | Error::NoAccess => ServiceError::Denied(error.to_string()),
        _ => ServiceError::Down(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use cardbroker_core::error::Delivery;

    use super::*;

    #[test]
    fn errors_before_the_card_differ_from_those_that_may_come_after_it() {
        let not_sent = [
            Error::ResetCard,
            Error::RemovedCard,
            Error::NoSmartcard,
            Error::ProtoMismatch,
            Error::InvalidHandle,
            Error::InvalidParameter,
            Error::SharingViolation,
        ];
        let unknown = [
            Error::NotTransacted,
            Error::CommError,
            Error::InsufficientBuffer,
            Error::NoService,
            Error::ServiceStopped,
            Error::UnresponsiveCard,
            Error::ReaderUnavailable,
            Error::InternalError,
            Error::InvalidValue,
            Error::Timeout,
        ];
        for error in not_sent {
            assert_eq!(slot_error(error).delivery(), Delivery::NotSent, "{error}");
        }
        for error in unknown {
            assert_eq!(slot_error(error).delivery(), Delivery::Unknown, "{error}");
        }
    }

    #[test]
    fn a_denial_by_policy_says_which_rule_to_add() {
        let denial = slot_error(Error::SecurityViolation).to_string();
        assert!(denial.contains("org.debian.pcsc-lite.access_card") && denial.contains("polkit"), "{denial}");
    }
}

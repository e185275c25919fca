//! Conversion of PC/SC's error codes to the broker's errors.

use cardbroker_core::slot::{ServiceError, SlotError};
use pcsc::Error;

/// Converts an error of a call on a slot. Every code without a case is `Lost`: the command may have run.
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

/// Converts an error of the service itself.
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
    fn errors_before_and_after_delivery_are_distinguished() {
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
    fn a_polkit_denial_names_the_missing_actions() {
        let denial = slot_error(Error::SecurityViolation).to_string();
        assert!(denial.contains("org.debian.pcsc-lite.access_card") && denial.contains("polkit"), "{denial}");
    }
}

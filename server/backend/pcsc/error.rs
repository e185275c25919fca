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
        Error::NoService
        | Error::ServiceStopped
        | Error::SystemCancelled
        | Error::Shutdown
        | Error::SecurityViolation
        | Error::NoAccess => SlotError::Service(service_error(error)),
        _ => SlotError::Lost(error.to_string()),
    }
}

/// The moment of a removal that a transmission reports by the code of an empty reader or of a removed card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RemovalCode {
    /// Before the command was sent: the call has only checked the state of the card.
    BeforeSending,
    /// Before the command was sent, or while it ran.
    Unclear,
}

impl Default for RemovalCode {
    /// The moment on this system. pcsc-lite, the PC/SC of Linux, checks the card before it calls the driver, and has
    /// other codes for a failure of the driver; no other system promises that.
    fn default() -> Self {
        if cfg!(target_os = "linux") { Self::BeforeSending } else { Self::Unclear }
    }
}

/// Converts an error of a transmission, where the codes of a removal mean `removal`.
pub(super) fn transmit_error(error: Error, removal: RemovalCode) -> SlotError {
    match slot_error(error) {
        SlotError::NoCard | SlotError::CardRemoved if removal == RemovalCode::Unclear => SlotError::RemovedInFlight,
        error => error,
    }
}

/// Converts an error of the service itself. Only the listed codes mean that it does not run or was restarted; Windows
/// also stops it with its last reader. There a code that is none of PC/SC's means the same: a context of a service that
/// was restarted is an unknown handle of the system (`ERROR_INVALID_HANDLE`, 6).
pub(super) fn service_error(error: Error) -> ServiceError {
    match error {
        Error::SecurityViolation | Error::NoAccess => ServiceError::Denied(error.to_string()),
        Error::NoService
        | Error::ServiceStopped
        | Error::SystemCancelled
        | Error::CommError
        | Error::InvalidHandle
        | Error::Shutdown => ServiceError::Down(error.to_string()),
        Error::UnknownError if cfg!(windows) => ServiceError::Down(error.to_string()),
        _ => ServiceError::Refused(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use cardbroker_core::{error::Delivery, pcsc_words::HERE};

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
            Error::SystemCancelled,
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
    fn only_pcsc_lite_has_codes_for_a_removal_before_sending() {
        for error in [Error::RemovedCard, Error::NoSmartcard] {
            assert_eq!(transmit_error(error, RemovalCode::BeforeSending), slot_error(error));
            assert_eq!(transmit_error(error, RemovalCode::Unclear), SlotError::RemovedInFlight);
        }
        assert_eq!(SlotError::RemovedInFlight.delivery(), Delivery::Unknown);
        for error in [Error::ResetCard, Error::NotTransacted] {
            assert_eq!(transmit_error(error, RemovalCode::Unclear), slot_error(error));
        }
        assert_eq!(RemovalCode::default() == RemovalCode::BeforeSending, cfg!(target_os = "linux"));
    }

    #[test]
    fn a_mistake_of_the_broker_is_not_told_as_a_service_that_does_not_run() {
        let down = [
            Error::NoService,
            Error::ServiceStopped,
            Error::SystemCancelled,
            Error::CommError,
            Error::InvalidHandle,
            Error::Shutdown,
        ];
        let refused = [
            Error::InvalidParameter,
            Error::InvalidValue,
            Error::InvalidTarget,
            Error::InsufficientBuffer,
            Error::UnsupportedFeature,
            Error::InternalError,
            Error::NoMemory,
            Error::Timeout,
        ];
        let asks = |error| service_error(error).to_string().contains(HERE.is_it_running);
        assert!(down.into_iter().all(asks) && !refused.into_iter().any(asks));
        assert_eq!(asks(Error::UnknownError), cfg!(windows));
        for error in refused {
            let told = service_error(error).to_string();
            assert!(
                matches!(service_error(error), ServiceError::Refused(_)) && told.contains(&error.to_string()),
                "{told}"
            );
        }
    }

    #[test]
    fn a_denial_names_its_remedy() {
        let denial = slot_error(Error::SecurityViolation).to_string();
        assert!(denial.contains(HERE.admit), "{denial}");
    }
}

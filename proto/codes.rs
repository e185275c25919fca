//! The gRPC code of each failure, and when a retry may help: one table for server, clients and documents.
//! `proto/conformance/codes.json` is the same table as JSON.

use std::time::Duration;

use tonic::Code;

use crate::v1::{Delivery, ErrorReason};

/// The pause before a retry if the cause passes within a moment.
const SOON: Duration = Duration::from_millis(200);

/// The pause before a retry if a person or another program has to act.
const LATER: Duration = Duration::from_secs(2);

/// Returns the gRPC code of a failure. DATA_LOSS says that a command may have run, and is used for nothing else: no
/// library or proxy repeats it.
pub fn code(reason: ErrorReason, delivery: Delivery) -> Code {
    match delivery {
        Delivery::NotSent => code_if_not_sent(reason),
        Delivery::Unspecified | Delivery::Unknown | Delivery::Executed => Code::DataLoss,
    }
}

/// Returns how long to wait before a retry; `None` if a retry does not help or may run a command twice.
pub fn retry_after(reason: ErrorReason, delivery: Delivery) -> Option<Duration> {
    use ErrorReason::*;
    match reason {
        _ if delivery != Delivery::NotSent => None,
        PcscUnavailable | ResetFailed | QueueFull | OverBudget => Some(SOON),
        HeldElsewhere | ReaderUnresponsive | ShuttingDown | OutcomesFull => Some(LATER),
        _ => None,
    }
}

fn code_if_not_sent(reason: ErrorReason) -> Code {
    use ErrorReason::*;
    match reason {
        InvalidRequest | UnsupportedLength | RequestIdReused => Code::InvalidArgument,
        ReaderNotFound => Code::NotFound,
        Denied => Code::PermissionDenied,
        Unauthenticated => Code::Unauthenticated,
        NotImplemented => Code::Unimplemented,
        HeldElsewhere | ReaderUnresponsive | PcscUnavailable | ResetFailed | ShuttingDown => Code::Unavailable,
        QueueFull | OutcomesFull | OverBudget => Code::ResourceExhausted,
        QueueTimeout | DeadlineNear => Code::DeadlineExceeded,
        // A person or the caller must act. CARD_REMOVED as UNAVAILABLE would let a retry policy present a PIN to the
        // next person's card.
        NoCard | CardRemoved | ReaderGone | CardMute | ProtocolMismatch | ReaderNotOwned | PinKnownWrong
        | PinLastTry | StatusWord | ResponseTooLarge | ConfigurationRefused => Code::FailedPrecondition,
        // The caller must start the sequence again.
        InsertionChanged | StateChanged | CardReset | CardLost | LeaseEnded | LeaseRevoked | PrecedingFailed
        | UnitTooLong => Code::Aborted,
        // RESPONSE_LOST is never NOT_SENT.
        Unspecified | ResponseLost | Internal => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_may_have_run_are_data_loss_without_retry() {
        for reason in ErrorReason::all() {
            for delivery in [Delivery::Unspecified, Delivery::Unknown, Delivery::Executed] {
                assert_eq!(
                    (code(reason, delivery), retry_after(reason, delivery)),
                    (Code::DataLoss, None),
                    "{reason:?}"
                );
            }
            assert_ne!(code(reason, Delivery::NotSent), Code::DataLoss, "{reason:?}");
        }
    }

    #[test]
    fn codes_that_libraries_retry_come_with_a_time() {
        for reason in ErrorReason::all() {
            let code = code(reason, Delivery::NotSent);
            let retried = matches!(code, Code::Unavailable | Code::ResourceExhausted);
            assert_eq!(retry_after(reason, Delivery::NotSent).is_some(), retried, "{reason:?} {code:?}");
        }
    }
}

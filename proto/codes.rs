//! Which gRPC code a failure has, and when a retry may help: the one table that server, clients and documents share. The same as JSON is in
//! `proto/conformance/codes.json`.

use std::time::Duration;

use tonic::Code;

use crate::v1::{Delivery, ErrorReason};

/// When to try again after something that passes within a moment.
const SOON: Duration = Duration::from_millis(200);

/// When to try again after something that a person or another program has to change.
const LATER: Duration = Duration::from_secs(2);

/// Returns the gRPC code of a failure. DATA_LOSS says that a command may have run, and is used for nothing else: no library or proxy
/// repeats it.
pub fn code(reason: ErrorReason, delivery: Delivery) -> Code {
    match delivery {
        Delivery::NotSent => code_if_not_sent(reason),
        Delivery::Unspecified | Delivery::Unknown | Delivery::Executed => Code::DataLoss,
    }
}

/// Returns how long to wait before a retry; `None` where a retry is no help or may run a command twice.
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
        // A person or the caller must act. CARD_REMOVED as UNAVAILABLE would let a retry policy present a PIN to the next person's card.
        NoCard | CardRemoved | ReaderGone | CardMute | ProtocolMismatch | ReaderNotOwned | PinKnownWrong
        | PinLastTry | StatusWord | ResponseTooLarge => Code::FailedPrecondition,
        // The sequence must be started again.
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
    fn whatever_may_have_run_is_data_loss_and_never_retried() {
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

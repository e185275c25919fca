//! The result codes of PC/SC, with the numbers of pcsc-lite, and the code for each failure of the broker.

use std::fmt;

use crate::error::{Delivery, Failure, Reason};

/// A result code of PC/SC. Displayed in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub u32);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

#[allow(missing_docs, reason = "the names and meanings are those of PC/SC, without SCARD_E_, SCARD_W_ and SCARD_F_")]
impl Code {
    pub const SUCCESS: Self = Self(0);
    pub const INTERNAL_ERROR: Self = Self(0x8010_0001);
    pub const CANCELLED: Self = Self(0x8010_0002);
    pub const INVALID_HANDLE: Self = Self(0x8010_0003);
    pub const INVALID_PARAMETER: Self = Self(0x8010_0004);
    pub const NO_MEMORY: Self = Self(0x8010_0006);
    pub const INSUFFICIENT_BUFFER: Self = Self(0x8010_0008);
    pub const UNKNOWN_READER: Self = Self(0x8010_0009);
    pub const SHARING_VIOLATION: Self = Self(0x8010_000B);
    pub const NO_SMARTCARD: Self = Self(0x8010_000C);
    pub const PROTO_MISMATCH: Self = Self(0x8010_000F);
    pub const INVALID_VALUE: Self = Self(0x8010_0011);
    pub const COMM_ERROR: Self = Self(0x8010_0013);
    pub const NOT_TRANSACTED: Self = Self(0x8010_0016);
    pub const READER_UNAVAILABLE: Self = Self(0x8010_0017);
    pub const SERVICE_STOPPED: Self = Self(0x8010_001E);
    /// It has another number on Windows, 0x80100022.
    pub const UNSUPPORTED_FEATURE: Self = Self(0x8010_001F);
    pub const UNRESPONSIVE_CARD: Self = Self(0x8010_0066);
    pub const UNPOWERED_CARD: Self = Self(0x8010_0067);
    pub const RESET_CARD: Self = Self(0x8010_0068);
    pub const REMOVED_CARD: Self = Self(0x8010_0069);
    pub const SECURITY_VIOLATION: Self = Self(0x8010_006A);
    pub const WRONG_CHV: Self = Self(0x8010_006B);

    /// Whether the call has succeeded.
    pub fn is_success(self) -> bool {
        self == Self::SUCCESS
    }

    /// Whether the call was refused for the caller's fault: malformed, without permission, or beyond a limit.
    pub fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::INVALID_HANDLE
                | Self::INVALID_PARAMETER
                | Self::INVALID_VALUE
                | Self::NO_MEMORY
                | Self::UNKNOWN_READER
                | Self::SECURITY_VIOLATION
        )
    }
}

impl From<&Failure> for Code {
    /// The code on which PC/SC programs take the right action. A command that may have run without an answer
    /// is [`Code::NOT_TRANSACTED`], after which clients reconnect: with the code of a removal or a reset they would
    /// take it for a command that was not sent, and repeat it.
    fn from(failure: &Failure) -> Self {
        match failure.reason {
            Reason::CardMute | Reason::ResetFailed => Self::UNRESPONSIVE_CARD,
            _ if failure.delivery != Delivery::NotSent => Self::NOT_TRANSACTED,
            Reason::NoCard => Self::NO_SMARTCARD,
            Reason::CardRemoved | Reason::InsertionChanged => Self::REMOVED_CARD,
            Reason::CardReset
            | Reason::LeaseEnded
            | Reason::LeaseRevoked
            | Reason::StateChanged
            | Reason::PrecedingFailed
            | Reason::UnitTooLong => Self::RESET_CARD,
            Reason::ProtocolMismatch | Reason::UnsupportedLength => Self::PROTO_MISMATCH,
            Reason::Denied | Reason::PinLastTry | Reason::Unauthenticated => Self::SECURITY_VIOLATION,
            Reason::PinKnownWrong => Self::WRONG_CHV,
            Reason::ReaderNotFound => Self::UNKNOWN_READER,
            Reason::ReaderGone | Reason::ReaderUnresponsive | Reason::PcscUnavailable | Reason::ReaderNotOwned => {
                Self::READER_UNAVAILABLE
            }
            Reason::ShuttingDown => Self::SERVICE_STOPPED,
            Reason::InvalidRequest => Self::INVALID_PARAMETER,
            Reason::NotImplemented => Self::UNSUPPORTED_FEATURE,
            Reason::HeldElsewhere | Reason::QueueFull | Reason::QueueTimeout | Reason::DeadlineNear => {
                Self::SHARING_VIOLATION
            }
            // None of them keeps a command of the door from the card.
            Reason::CardLost
            | Reason::ResponseTooLarge
            | Reason::ResponseLost
            | Reason::StatusWord
            | Reason::OutcomesFull
            | Reason::RequestIdReused
            | Reason::OverBudget
            | Reason::ConfigurationRefused
            | Reason::Internal => Self::INTERNAL_ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_the_code_that_programs_act_on() {
        let not_sent = |reason| Code::from(&Failure::not_sent(reason, "m"));
        for (reason, code) in [
            (Reason::NoCard, 0x8010_000C),
            (Reason::CardRemoved, 0x8010_0069),
            (Reason::LeaseRevoked, 0x8010_0068),
            (Reason::CardMute, 0x8010_0066),
            (Reason::HeldElsewhere, 0x8010_000B),
            (Reason::PcscUnavailable, 0x8010_0017),
            (Reason::Denied, 0x8010_006A),
            (Reason::NotImplemented, 0x8010_001F),
        ] {
            assert_eq!(not_sent(reason), Code(code), "{reason:?}");
        }
        for reason in [Reason::CardLost, Reason::CardRemoved, Reason::LeaseRevoked, Reason::ReaderGone] {
            assert_eq!(Code::from(&Failure::unknown(reason, "m")), Code::NOT_TRANSACTED, "{reason:?}");
        }
        assert_eq!(Code::from(&Failure::executed(Reason::ResponseLost, "m")), Code::NOT_TRANSACTED);
    }
}

//! The failures of requests: a closed list of reasons, each with the delivery of the command.

use std::{borrow::Cow, fmt, sync::Arc};

/// Whether a command may have reached the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The command has not reached the card, so a retry is safe.
    NotSent,
    /// The card may have run it.
    Unknown,
    /// The card has run it, and its response is missing. The commands after it did not reach the card.
    Executed,
}

impl Delivery {
    /// The name in messages and in metadata.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::Unknown => "unknown",
            Self::Executed => "executed",
        }
    }
}

/// The reasons for a failure; the contract (`error.proto`) states the client's next step for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "every variant is documented, with code and remedy, under the same name in error.proto")]
pub enum Reason {
    InvalidRequest,
    ReaderNotFound,
    ReaderGone,
    ReaderNotOwned,
    NoCard,
    CardMute,
    HeldElsewhere,
    ReaderUnresponsive,
    PcscUnavailable,
    QueueTimeout,
    DeadlineNear,
    QueueFull,
    InsertionChanged,
    StateChanged,
    CardRemoved,
    CardLost,
    CardReset,
    ResetFailed,
    UnsupportedLength,
    ResponseTooLarge,
    StatusWord,
    LeaseEnded,
    LeaseRevoked,
    PrecedingFailed,
    Denied,
    PinKnownWrong,
    PinLastTry,
    Unauthenticated,
    ShuttingDown,
    OutcomesFull,
    RequestIdReused,
    NotImplemented,
    Internal,
    OverBudget,
    UnitTooLong,
    ResponseLost,
    ProtocolMismatch,
    ConfigurationRefused,
}

impl Reason {
    /// The name in the contract, in log lines and in metadata.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::ReaderNotFound => "READER_NOT_FOUND",
            Self::ReaderGone => "READER_GONE",
            Self::ReaderNotOwned => "READER_NOT_OWNED",
            Self::NoCard => "NO_CARD",
            Self::CardMute => "CARD_MUTE",
            Self::HeldElsewhere => "HELD_ELSEWHERE",
            Self::ReaderUnresponsive => "READER_UNRESPONSIVE",
            Self::PcscUnavailable => "PCSC_UNAVAILABLE",
            Self::QueueTimeout => "QUEUE_TIMEOUT",
            Self::DeadlineNear => "DEADLINE_NEAR",
            Self::QueueFull => "QUEUE_FULL",
            Self::InsertionChanged => "INSERTION_CHANGED",
            Self::StateChanged => "STATE_CHANGED",
            Self::CardRemoved => "CARD_REMOVED",
            Self::CardLost => "CARD_LOST",
            Self::CardReset => "CARD_RESET",
            Self::ResetFailed => "RESET_FAILED",
            Self::UnsupportedLength => "UNSUPPORTED_LENGTH",
            Self::ResponseTooLarge => "RESPONSE_TOO_LARGE",
            Self::StatusWord => "STATUS_WORD",
            Self::LeaseEnded => "LEASE_ENDED",
            Self::LeaseRevoked => "LEASE_REVOKED",
            Self::PrecedingFailed => "PRECEDING_FAILED",
            Self::Denied => "DENIED",
            Self::PinKnownWrong => "PIN_KNOWN_WRONG",
            Self::PinLastTry => "PIN_LAST_TRY",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::OutcomesFull => "OUTCOMES_FULL",
            Self::RequestIdReused => "REQUEST_ID_REUSED",
            Self::NotImplemented => "NOT_IMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::OverBudget => "OVER_BUDGET",
            Self::UnitTooLong => "UNIT_TOO_LONG",
            Self::ResponseLost => "RESPONSE_LOST",
            Self::ProtocolMismatch => "PROTOCOL_MISMATCH",
            Self::ConfigurationRefused => "CONFIGURATION_REFUSED",
        }
    }
}

/// Why the broker ended a session, with [`Reason::LeaseRevoked`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The session was idle while other callers waited.
    Idle,
    /// The session held the card for too long while other callers waited.
    TooLong,
    /// Reloaded policy rules forbid the session.
    RulesChanged,
    /// An operator has released the reader.
    Released,
}

impl Cause {
    /// The name in the contract and in log lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "IDLE",
            Self::TooLong => "TOO_LONG",
            Self::RulesChanged => "RULES_CHANGED",
            Self::Released => "RELEASED",
        }
    }
}

/// A failed request, or the early end of a unit. It contains no APDU byte, so it may be logged and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The reason, for programs. Together with the delivery it determines the status code.
    pub reason: Reason,
    /// Whether the command that failed may have reached the card.
    pub delivery: Delivery,
    /// For people, one line: what happened and what to do next. Programs decide by the other fields alone.
    pub message: Cow<'static, str>,
    /// Private, so that only the constructors pair it with a reason.
    detail: Detail,
}

/// The one detail that a reason has.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Detail {
    None,
    /// The field of the request that is at fault (`commands[3].apdu`), for [`Reason::InvalidRequest`].
    Field(String),
    /// The rule that forbids the request, for [`Reason::Denied`].
    Rule(Arc<str>),
    /// Why the session was ended, for [`Reason::LeaseRevoked`].
    Cause(Cause),
    /// The rule that forbids the session now: [`Cause::RulesChanged`], for [`Reason::LeaseRevoked`].
    NewRule(Arc<str>),
    /// The number of tries that the card has left for the PIN, for [`Reason::PinKnownWrong`] and
    /// [`Reason::PinLastTry`].
    Tries(u8),
}

impl Failure {
    /// Returns a failure from before the card received anything.
    pub fn not_sent(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(reason, Delivery::NotSent, message)
    }

    /// Returns a failure after which the command may have run.
    pub fn unknown(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(reason, Delivery::Unknown, message)
    }

    /// Returns a failure after the command has run, without its response.
    pub fn executed(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(reason, Delivery::Executed, message)
    }

    /// Returns the failure of a session that the broker has ended.
    pub fn revoked(cause: Cause, message: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: Detail::Cause(cause), ..Self::not_sent(Reason::LeaseRevoked, message) }
    }

    /// The broker has ended the session because the rule of that name forbids it now: [`Cause::RulesChanged`].
    pub fn revoked_by_rule(rule: Arc<str>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: Detail::NewRule(rule), ..Self::not_sent(Reason::LeaseRevoked, message) }
    }

    /// Returns the failure of a command with a PIN that the card has rejected before. `tries`: the card's remaining
    /// tries of the PIN, if they are known.
    pub fn known_wrong(tries: Option<u8>, message: impl Into<Cow<'static, str>>) -> Self {
        let detail = tries.map_or(Detail::None, Detail::Tries);
        Self { detail, ..Self::not_sent(Reason::PinKnownWrong, message) }
    }

    /// Returns the failure of a command that would use up the last try of a PIN without permission.
    pub fn last_try(message: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: Detail::Tries(1), ..Self::not_sent(Reason::PinLastTry, message) }
    }

    /// Returns a failure that has no field, rule, cause or number of tries.
    pub fn new(reason: Reason, delivery: Delivery, message: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, delivery, message: message.into(), detail: Detail::None }
    }

    /// Returns the same failure with the delivery changed: the command did not reach the card.
    pub fn into_not_sent(self) -> Self {
        Self { delivery: Delivery::NotSent, ..self }
    }

    /// Returns the same failure with the delivery changed: the command ran, and its response is missing.
    pub fn into_executed(self) -> Self {
        Self { delivery: Delivery::Executed, ..self }
    }

    /// Returns the failure of a request that the named rule denied.
    pub fn denied(rule: Arc<str>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: Detail::Rule(rule), ..Self::not_sent(Reason::Denied, message) }
    }

    /// Returns the failure of a request that breaks a rule of the contract in `field`.
    pub fn invalid(field: impl Into<String>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: Detail::Field(field.into()), ..Self::not_sent(Reason::InvalidRequest, message) }
    }

    /// The same failure with another message.
    pub fn with_message(self, message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), ..self }
    }

    /// The field of the request that is at fault.
    pub fn field(&self) -> Option<&str> {
        match &self.detail {
            Detail::Field(field) => Some(field),
            _ => None,
        }
    }

    /// The rule that forbids the request, or the session from now on.
    pub fn rule(&self) -> Option<&str> {
        match &self.detail {
            Detail::Rule(rule) | Detail::NewRule(rule) => Some(rule),
            _ => None,
        }
    }

    /// The card's remaining tries of the PIN that was not sent, 1 or more, if they are known.
    pub fn tries(&self) -> Option<u8> {
        match self.detail {
            Detail::Tries(tries) => Some(tries),
            _ => None,
        }
    }

    /// Why the broker has ended the session.
    pub fn cause(&self) -> Option<Cause> {
        match self.detail {
            Detail::Cause(cause) => Some(cause),
            Detail::NewRule(_) => Some(Cause::RulesChanged),
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_constructor_pairs_its_detail_with_its_reason() {
        for (failure, reason, field, rule, cause, tries) in [
            (Failure::invalid("id", "m"), Reason::InvalidRequest, Some("id"), None, None, None),
            (Failure::denied("night".into(), "m"), Reason::Denied, None, Some("night"), None, None),
            (Failure::revoked(Cause::Idle, "m"), Reason::LeaseRevoked, None, None, Some(Cause::Idle), None),
            (
                Failure::revoked_by_rule("night".into(), "m"),
                Reason::LeaseRevoked,
                None,
                Some("night"),
                Some(Cause::RulesChanged),
                None,
            ),
            (Failure::known_wrong(Some(2), "m"), Reason::PinKnownWrong, None, None, None, Some(2)),
            (Failure::known_wrong(None, "m"), Reason::PinKnownWrong, None, None, None, None),
            (Failure::last_try("m"), Reason::PinLastTry, None, None, None, Some(1)),
            (Failure::unknown(Reason::CardLost, "m"), Reason::CardLost, None, None, None, None),
        ] {
            for failure in [failure.clone().into_executed().with_message("n"), failure.into_not_sent()] {
                let details = (failure.reason, failure.field(), failure.rule(), failure.cause(), failure.tries());
                assert_eq!(details, (reason, field, rule, cause, tries));
            }
        }
    }
}

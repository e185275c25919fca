//! What can go wrong, as types: every error says whether a command may have reached the card.

use std::{error::Error as StdError, io, time::Duration};

use cardbroker_proto::reason::{DELIVERY_TRAILER, ERROR_DOMAIN, REASON_TRAILER};
use tonic::{Code, ConnectError, Status, TimeoutExpired};
use tonic_types::StatusExt;

use crate::{Delivery, Endpoint, EndpointError, ErrorReason, Stop, TokenFileError, Transmitted};

/// A request that did not do all that was asked. Holds no APDU byte in its texts.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text that should say where the broker is does not.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The token that the broker's TCP port asks for cannot be read.
    #[error(transparent)]
    TokenFile(#[from] TokenFileError),
    /// Nobody answers at the endpoint, or this user may not open it. Nothing was sent.
    #[error("{}", not_running(endpoint, *kind))]
    NotRunning {
        /// Where the broker was sought.
        endpoint: Endpoint,
        /// What the operating system says.
        kind: io::ErrorKind,
    },
    /// The broker refused or failed, or its answer did not arrive. No answer of a card is known.
    #[error("{}", .0.message)]
    Failed(Box<Failure>),
    /// The unit ended before its last command was answered.
    #[error("stopped at command {}: {}", stop.index + 1, stop.message)]
    Stopped {
        /// Where and why.
        stop: Stop,
        /// What was answered until then.
        partial: Box<Transmitted>,
    },
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The broker's reason; `None` if the failure is not the broker's word (its answer did not arrive) or newer than
    /// this client.
    pub reason: Option<ErrorReason>,
    /// Whether a command may have reached the card.
    pub delivery: Delivery,
    /// The gRPC code.
    pub code: Code,
    /// What happened, for people: one line.
    pub message: String,
    /// When to try again, if that helps.
    pub retry_after: Option<Duration>,
    /// The reader concerned: `readers/{id}`.
    pub reader: Option<String>,
    /// The field of the request that is at fault (`commands[3].apdu`).
    pub field: Option<String>,
}

impl Error {
    /// The broker's reason, if it gave one.
    pub fn reason(&self) -> Option<ErrorReason> {
        match self {
            Self::Failed(failure) => failure.reason,
            Self::Stopped { stop, .. } => stop.reason,
            Self::Endpoint(_) | Self::TokenFile(_) | Self::NotRunning { .. } => None,
        }
    }

    /// Whether a command may have run that has no answer: the first one, or with [`Error::Stopped`] the one at
    /// `stop.index`.
    pub fn delivery(&self) -> Delivery {
        match self {
            Self::Failed(failure) => failure.delivery,
            Self::Stopped { stop, .. } => stop.delivery,
            Self::Endpoint(_) | Self::TokenFile(_) | Self::NotRunning { .. } => Delivery::NotSent,
        }
    }

    /// When to try again, if that helps.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Failed(failure) => failure.retry_after,
            _ => None,
        }
    }

    /// Whether the same request will fail again however often it is repeated.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Endpoint(_) | Self::TokenFile(_) => true,
            Self::Failed(failure) => matches!(
                failure.code,
                Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented
            ),
            Self::NotRunning { .. } | Self::Stopped { .. } => false,
        }
    }

    /// The failure of a call that carries commands: without the broker's word they may have run.
    pub(crate) fn of_commands(endpoint: &Endpoint, status: &Status) -> Self {
        Self::from_status(endpoint, status)
    }

    /// The failure of a call that carries none.
    pub(crate) fn of_query(endpoint: &Endpoint, status: &Status) -> Self {
        Self::from_status(endpoint, status).not_sent()
    }

    /// The same failure, told to somebody whose commands did not leave this program.
    pub(crate) fn not_sent(self) -> Self {
        match self {
            Self::Failed(failure) => Failure { delivery: Delivery::NotSent, ..*failure }.into(),
            other => other,
        }
    }

    fn from_status(endpoint: &Endpoint, status: &Status) -> Self {
        match connect_failure(status) {
            Some(kind) => Self::NotRunning { endpoint: endpoint.clone(), kind },
            None => Self::of_status(status),
        }
    }

    /// The failure of a connection that was there.
    pub(crate) fn of_status(status: &Status) -> Self {
        Failure::from_status(status).into()
    }

    /// The call outlived its deadline.
    pub(crate) fn deadline_passed() -> Self {
        Self::of_status(&Status::deadline_exceeded(""))
    }

    /// A request that breaks a rule of the contract, noticed before it was sent.
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Failure {
            reason: Some(ErrorReason::InvalidRequest),
            delivery: Delivery::NotSent,
            code: Code::InvalidArgument,
            message: message.into(),
            retry_after: None,
            reader: None,
            field: Some(field.into()),
        }
        .into()
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

impl Failure {
    fn from_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == ERROR_DOMAIN);
        let trailer = |name| status.metadata().get(name).and_then(|value| value.to_str().ok());
        let told = |key: &str| info.and_then(|info| info.metadata.get(key)).map(String::as_str);

        let reason = info.map(|info| info.reason.as_str()).or_else(|| trailer(REASON_TRAILER));
        let delivery = told("delivery").or_else(|| trailer(DELIVERY_TRAILER));
        let violation = details.bad_request().and_then(|request| request.field_violations.first());
        Self {
            reason: reason.and_then(ErrorReason::from_short_name),
            delivery: delivery.map_or_else(|| delivery_without_word(status.code()), Delivery::from_short_name),
            code: status.code(),
            message: match reason.or(delivery) {
                Some(_) => status.message().to_owned(),
                None => message_without_word(status),
            },
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            reader: told("reader").map(str::to_owned),
            field: violation.map(|violation| violation.field.clone()),
        }
    }
}

/// Without the broker's word anything may have happened, except where no broker is: UNIMPLEMENTED comes before any
/// handler.
fn delivery_without_word(code: Code) -> Delivery {
    match code {
        Code::Unimplemented => Delivery::NotSent,
        _ => Delivery::Unknown,
    }
}

fn message_without_word(status: &Status) -> String {
    // tonic calls the end of a deadline CANCELLED.
    if status.code() == Code::DeadlineExceeded || chain(status).any(|error| error.is::<TimeoutExpired>()) {
        return "the call's deadline passed without an answer".to_owned();
    }
    match status.code() {
        Code::Unimplemented => "what answers at the endpoint is no Cardbroker, or an older one".to_owned(),
        Code::Unavailable | Code::Unknown => format!("the connection to the broker was lost ({})", status.message()),
        code => format!("{code} ({})", status.message()),
    }
}

fn not_running(endpoint: &Endpoint, kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::PermissionDenied => format!("no permission to open {endpoint}"),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => format!("no broker at {endpoint}"),
        kind => format!("no broker at {endpoint} ({kind})"),
    }
}

/// What the operating system said when there was no connection to send anything on.
pub(crate) fn connect_failure(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    let connecting = chain(error).any(|error| error.is::<ConnectError>());
    let kind =
        chain(error).find_map(|error| error.downcast_ref::<io::Error>()).map_or(io::ErrorKind::Other, io::Error::kind);
    connecting.then_some(kind)
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn details_give_reason_delivery_reader_and_pause() {
        let mut details = ErrorDetails::with_retry_info(Some(Duration::from_secs(2)));
        let metadata = HashMap::from([
            ("delivery".to_owned(), "not_sent".to_owned()),
            ("reader".to_owned(), "readers/x".to_owned()),
        ]);
        details.set_error_info("HELD_ELSEWHERE", ERROR_DOMAIN, metadata);
        let failure = Failure::from_status(&Status::with_error_details(Code::Unavailable, "held", details));
        assert_eq!(failure.reason, Some(ErrorReason::HeldElsewhere));
        assert_eq!(failure.delivery, Delivery::NotSent);
        assert_eq!(failure.reader.as_deref(), Some("readers/x"));
        assert_eq!(failure.retry_after, Some(Duration::from_secs(2)));
        assert_eq!(failure.message, "held");
    }

    #[test]
    fn plain_trailers_do_where_details_are_missing() {
        let mut status = Status::failed_precondition("the reader is empty");
        status.metadata_mut().insert(REASON_TRAILER, "NO_CARD".parse().unwrap());
        status.metadata_mut().insert(DELIVERY_TRAILER, "not_sent".parse().unwrap());
        let failure = Failure::from_status(&status);
        assert_eq!((failure.reason, failure.delivery), (Some(ErrorReason::NoCard), Delivery::NotSent));
    }

    #[test]
    fn a_reason_of_a_newer_broker_keeps_its_delivery_and_message() {
        let metadata = HashMap::from([("delivery".to_owned(), "not_sent".to_owned())]);
        let details = ErrorDetails::with_error_info("CARD_ON_FIRE", ERROR_DOMAIN, metadata);
        let failure = Failure::from_status(&Status::with_error_details(Code::Aborted, "it burns", details));
        assert_eq!((failure.reason, failure.delivery), (None, Delivery::NotSent));
        assert_eq!(failure.message, "it burns");
    }

    #[test]
    fn without_the_brokers_word_the_fate_is_unknown() {
        for code in [Code::DeadlineExceeded, Code::Cancelled, Code::Unavailable, Code::Unknown, Code::Internal] {
            assert_eq!(Failure::from_status(&Status::new(code, "")).delivery, Delivery::Unknown);
        }
    }
}

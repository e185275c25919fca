//! The client's errors: each one says whether a command may have reached the card.

use std::{error::Error as StdError, io, time::Duration};

use cardbroker_local::discovery::Finding;
use tonic::{Code, ConnectError, Status, TimeoutExpired};

use crate::{
    Delivery, Endpoint, EndpointError, ErrorReason, Failure, FieldViolation, Stop, TokenFileError, Transmitted,
};

/// A failed or incomplete request. Its texts contain no APDU byte.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The endpoint in the environment is malformed.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The token for the broker's TCP port cannot be read.
    #[error(transparent)]
    TokenFile(#[from] TokenFileError),
    /// No broker answers, or this user may not open its socket or cannot trust it, or another program answers in its
    /// place. Nothing was sent.
    #[error("{}", not_running(tried))]
    NotRunning {
        /// The named endpoint, or the default places in their order up to the one that ended the search.
        tried: Vec<Tried>,
    },
    /// The request violates a rule of the contract, or names no reader or several. Refused before anything was sent.
    #[error("{}", .0.message)]
    Invalid(Box<Failure>),
    /// The broker refused or failed, or its answer did not arrive. No answer of a card is known.
    #[error("{}", .0.message)]
    Failed(Box<Failure>),
    /// The unit ended before its last command was answered.
    #[error("stopped at command {}: {}", stop.index + 1, stop.failure.message)]
    Stopped {
        /// The command without a complete answer, and the failure.
        stop: Box<Stop>,
        /// The results of the commands before it.
        partial: Box<Transmitted>,
    },
}

/// A place at which a client looked for the broker in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The endpoint, named or of a default place.
    pub endpoint: Endpoint,
    /// Why there is no connection to it.
    pub finding: Finding,
}

impl From<Tried> for Error {
    fn from(tried: Tried) -> Self {
        Self::NotRunning { tried: vec![tried] }
    }
}

impl Error {
    /// The last finding of the search for a broker; `None` unless the error is [`Error::NotRunning`].
    pub fn finding(&self) -> Option<&Finding> {
        match self {
            Self::NotRunning { tried } => tried.last().map(|tried| &tried.finding),
            _ => None,
        }
    }

    /// The failure in full; `None` if the request did not reach a broker, except with [`Error::Invalid`].
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Invalid(failure) | Self::Failed(failure) => Some(failure),
            Self::Stopped { stop, .. } => Some(&stop.failure),
            Self::Endpoint(_) | Self::TokenFile(_) | Self::NotRunning { .. } => None,
        }
    }

    /// The reason; `None` if there is none, or if this client does not know it ([`Failure::unknown_reason`]).
    pub fn reason(&self) -> Option<ErrorReason> {
        self.failure()?.reason
    }

    /// Whether a command without an answer may have run: the first one, or with [`Error::Stopped`] the one at
    /// `stop.index`.
    pub fn delivery(&self) -> Delivery {
        self.failure().map_or(Delivery::NotSent, |failure| failure.delivery)
    }

    /// How long to wait before a retry; `None` if waiting does not help.
    pub fn retry_after(&self) -> Option<Duration> {
        self.failure()?.retry_after
    }

    /// The number of tries that the card has left for a PIN that the broker did not send to it; `None` if it is unknown
    /// or the failure is another one. See [`Failure::tries_left`].
    pub fn tries_left(&self) -> Option<u8> {
        self.failure()?.tries_left
    }

    /// The fields of the request that violate a rule of the contract.
    pub fn field_violations(&self) -> &[FieldViolation] {
        self.failure().map(|failure| failure.field_violations.as_slice()).unwrap_or_default()
    }

    /// Whether a repeat of the same request cannot succeed.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Endpoint(_) | Self::TokenFile(_) => true,
            Self::NotRunning { .. } => false,
            Self::Invalid(failure) | Self::Failed(failure) => failure.is_permanent(),
            Self::Stopped { stop, .. } => stop.failure.is_permanent(),
        }
    }

    /// The failure of a call with commands: without a delivery from the broker they may have run.
    pub(crate) fn of_commands(endpoint: &Endpoint, status: &Status) -> Self {
        Self::of_call(endpoint, status, Delivery::Unknown)
    }

    /// The failure of a call without commands: nothing was sent to a card.
    pub(crate) fn of_query(endpoint: &Endpoint, status: &Status) -> Self {
        Self::of_call(endpoint, status, Delivery::NotSent)
    }

    /// The same failure for commands that did not leave this program.
    pub(crate) fn not_sent(self) -> Self {
        match self {
            Self::Failed(failure) => Failure { delivery: Delivery::NotSent, ..*failure }.into(),
            other => other,
        }
    }

    fn of_call(endpoint: &Endpoint, status: &Status, otherwise: Delivery) -> Self {
        match connect_failure(status) {
            Some(finding) => Tried { endpoint: endpoint.clone(), finding }.into(),
            None => Failure::of_status(status, otherwise).into(),
        }
    }

    /// The failure of a call on an established connection.
    pub(crate) fn of_status(status: &Status) -> Self {
        Failure::of_status(status, Delivery::Unknown).into()
    }

    /// The call outlived its deadline.
    pub(crate) fn deadline_passed() -> Self {
        Self::of_status(&Status::deadline_exceeded(""))
    }

    /// The failure of a request that violates a rule of the contract, noticed before it was sent.
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        let (field, message) = (field.into(), message.into());
        let violation = FieldViolation { field, description: message.clone() };
        let reason = Some(ErrorReason::InvalidRequest);
        Self::Invalid(Box::new(Failure {
            field_violations: vec![violation],
            ..Failure::own(reason, Delivery::NotSent, Code::InvalidArgument, message)
        }))
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

/// The message for a status that does not come from the broker itself.
pub(crate) fn foreign_message(status: &Status) -> String {
    match foreign_code(status) {
        Code::DeadlineExceeded => "the call's deadline passed without an answer".to_owned(),
        Code::Unimplemented => "the server at the endpoint is not cardbrokerd, or an older version".to_owned(),
        Code::Unavailable | Code::Unknown => format!("the connection to the broker was lost ({})", status.message()),
        code => format!("{code} ({})", status.message()),
    }
}

/// The code of such a status. tonic calls the end of a deadline CANCELLED.
pub(crate) fn foreign_code(status: &Status) -> Code {
    match chain(status).any(|error| error.is::<TimeoutExpired>()) {
        true => Code::DeadlineExceeded,
        false => status.code(),
    }
}

fn not_running(tried: &[Tried]) -> String {
    match tried.last() {
        Some(Tried { endpoint, finding: Finding::Forbidden(owner) }) => {
            format!("no permission to open {endpoint}{owner}")
        }
        Some(Tried { endpoint, finding: Finding::Untrusted(distrust) }) => {
            format!("{endpoint} is not trusted: {distrust}")
        }
        Some(Tried { endpoint: endpoint @ Endpoint::Auto, finding: Finding::OtherProgram }) => format!(
            "the port of {endpoint} is not that of the broker of the endpoint file: it has another certificate or no \
             TLS; nothing was sent to it"
        ),
        Some(Tried { endpoint, finding: finding @ Finding::Malformed { .. } }) => format!("{endpoint}: {finding}"),
        Some(Tried { endpoint, finding: Finding::OtherProgram }) => format!(
            "{endpoint} is not the broker of the token file: it has another certificate or no TLS; nothing was sent to \
             it"
        ),
        Some(Tried { endpoint, finding: finding @ Finding::TooLong }) => format!("no broker at {endpoint}: {finding}"),
        _ => {
            let place = |Tried { endpoint, finding }: &Tried| format!("{endpoint} ({finding})");
            format!("no broker at {}", tried.iter().map(place).collect::<Vec<_>>().join(" or "))
        }
    }
}

/// Why there was no connection to send anything on; `None` if there was one.
pub(crate) fn connect_failure(error: &(dyn StdError + 'static)) -> Option<Finding> {
    let connecting = chain(error).any(|error| error.is::<ConnectError>());
    let finding = chain(error).find_map(|error| error.downcast_ref::<io::Error>()).map(|error| {
        let found = error.get_ref().and_then(|inner| inner.downcast_ref::<Finding>()).cloned();
        found.unwrap_or_else(|| Finding::of(error, None))
    });
    connecting.then(|| finding.unwrap_or(Finding::Failed(io::ErrorKind::Other)))
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

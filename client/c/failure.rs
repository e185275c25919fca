//! How the client's errors, and those of this library itself, become errors for C.

use std::ffi::{CStr, CString};

use cardbroker_client as client;
use client::{Delivery, ErrorReason, Failure, RevocationCause};

use crate::{
    answers::Answers,
    border::c_text,
    constants::{
        CARDBROKER_CODE_CANCELLED, CARDBROKER_CODE_DATA_LOSS, CARDBROKER_CODE_FAILED_PRECONDITION,
        CARDBROKER_CODE_INTERNAL, CARDBROKER_CODE_INVALID_ARGUMENT, CARDBROKER_CODE_UNAVAILABLE,
        CARDBROKER_CODE_UNKNOWN,
    },
    error::{
        CARDBROKER_ERROR_KIND_CLOSED, CARDBROKER_ERROR_KIND_FAILED, CARDBROKER_ERROR_KIND_FORKED,
        CARDBROKER_ERROR_KIND_INTERNAL, CARDBROKER_ERROR_KIND_INVALID, CARDBROKER_ERROR_KIND_NOT_RUNNING,
        CARDBROKER_ERROR_KIND_STOPPED, Error,
    },
};

impl Error {
    fn own(kind: i32, code: i32, delivery: Delivery, message: impl Into<Vec<u8>>) -> Box<Self> {
        Box::new(Self {
            kind,
            code,
            reason: 0,
            reason_name: CString::default(),
            delivery: delivery.into(),
            message: c_text(message),
            is_permanent: false,
            retry_after: None,
            rule: CString::default(),
            cause: 0,
            reader: CString::default(),
            tries_left: None,
            violations: Vec::new(),
            stop: None,
        })
    }

    /// An argument that no call can accept.
    pub(crate) fn invalid(message: impl Into<Vec<u8>>) -> Box<Self> {
        let own =
            Self::own(CARDBROKER_ERROR_KIND_INVALID, CARDBROKER_CODE_INVALID_ARGUMENT, Delivery::NotSent, message);
        Box::new(Self {
            reason: ErrorReason::InvalidRequest.into(),
            reason_name: c_text(ErrorReason::InvalidRequest.short_name()),
            is_permanent: true,
            ..*own
        })
    }

    /// A defect of this library, noticed at the border.
    pub(crate) fn panicked() -> Box<Self> {
        let message = "the library panicked: a defect of cardbroker, please report it";
        Self::own(CARDBROKER_ERROR_KIND_INTERNAL, CARDBROKER_CODE_INTERNAL, Delivery::Unknown, message)
    }

    /// A handle of the process `pid` in a fork of it.
    pub(crate) fn forked(pid: u32) -> Box<Self> {
        let message = format!("the handle belongs to process {pid}: after a fork the child must connect by itself");
        let own =
            Self::own(CARDBROKER_ERROR_KIND_FORKED, CARDBROKER_CODE_FAILED_PRECONDITION, Delivery::NotSent, message);
        Box::new(Self { is_permanent: true, ..*own })
    }

    /// A call that begins after this program has ended the session.
    pub(crate) fn closed() -> Box<Self> {
        let message = "this program has ended the session";
        Self::own(CARDBROKER_ERROR_KIND_CLOSED, CARDBROKER_CODE_CANCELLED, Delivery::NotSent, message)
    }

    /// A call in progress when this program aborts the session.
    pub(crate) fn aborted() -> Box<Self> {
        let message = "this program aborted the session during the call";
        Self::own(CARDBROKER_ERROR_KIND_CLOSED, CARDBROKER_CODE_DATA_LOSS, Delivery::Unknown, message)
    }

    /// A call on a client that this program has stopped.
    pub(crate) fn stopped(delivery: Delivery) -> Box<Self> {
        let message = "this program has stopped the client";
        Self::own(CARDBROKER_ERROR_KIND_CLOSED, CARDBROKER_CODE_CANCELLED, delivery, message)
    }

    /// The system has refused a thread.
    pub(crate) fn without_thread(error: &std::io::Error) -> Box<Self> {
        let message = format!("the system refuses a thread: {error}");
        Self::own(CARDBROKER_ERROR_KIND_INTERNAL, CARDBROKER_CODE_INTERNAL, Delivery::NotSent, message)
    }

    /// An error of a later client: it says nothing about the delivery that this library understands.
    fn of_unknown_kind(message: String) -> Box<Self> {
        Self::own(CARDBROKER_ERROR_KIND_FAILED, CARDBROKER_CODE_UNKNOWN, Delivery::Unknown, message)
    }

    pub(crate) fn code(&self) -> i32 {
        self.code
    }

    /// The message, as C gets it.
    pub(crate) fn message(&self) -> &CStr {
        &self.message
    }
}

impl From<client::Error> for Box<Error> {
    fn from(error: client::Error) -> Self {
        let message = error.to_string();
        match error {
            client::Error::Endpoint(_) | client::Error::TokenFile(_) => Error::invalid(message),
            client::Error::Invalid(failure) => of_failure(CARDBROKER_ERROR_KIND_INVALID, *failure, message),
            client::Error::Failed(failure) => of_failure(CARDBROKER_ERROR_KIND_FAILED, *failure, message),
            client::Error::Stopped { stop, partial } => {
                let message = stop.failure.message.clone();
                let error = of_failure(CARDBROKER_ERROR_KIND_STOPPED, stop.failure, message);
                Box::new(Error { stop: Some((stop.index, Answers::of(*partial))), ..*error })
            }
            client::Error::NotRunning { .. } => {
                let kind = CARDBROKER_ERROR_KIND_NOT_RUNNING;
                Error::own(kind, CARDBROKER_CODE_UNAVAILABLE, Delivery::NotSent, message)
            }
            _ => Error::of_unknown_kind(message),
        }
    }
}

fn of_failure(kind: i32, failure: Failure, message: String) -> Box<Error> {
    let unknown_number = failure.unknown_reason.as_ref().and_then(|reason| reason.parse().ok());
    Box::new(Error {
        reason: failure.reason.map(ErrorReason::into).or(unknown_number).unwrap_or_default(),
        reason_name: c_text(failure.reason_name().unwrap_or_default()),
        is_permanent: failure.is_permanent(),
        retry_after: failure.retry_after,
        rule: c_text(failure.rule.unwrap_or_default()),
        cause: failure.cause.map(RevocationCause::into).or(failure.unknown_cause).unwrap_or_default(),
        reader: c_text(failure.reader.unwrap_or_default()),
        tries_left: failure.tries_left,
        violations: failure
            .field_violations
            .into_iter()
            .map(|violation| (c_text(violation.field), c_text(violation.description)))
            .collect(),
        ..*Error::own(kind, failure.code_number, failure.delivery, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_endpoint_is_an_invalid_request() {
        let error = "here".parse::<client::Endpoint>().map_err(client::Error::from).unwrap_err();
        let error = Box::<Error>::from(error);
        assert_eq!((error.kind, error.code), (CARDBROKER_ERROR_KIND_INVALID, CARDBROKER_CODE_INVALID_ARGUMENT));
        assert_eq!((error.reason_name.as_c_str(), error.is_permanent), (c"INVALID_REQUEST", true));
        assert!(error.message.to_str().unwrap().starts_with("\"here\" is not an endpoint"));
    }

    #[test]
    fn an_error_of_an_unknown_kind_allows_no_repeat() {
        let error = Error::of_unknown_kind("new".into());
        assert_eq!((error.kind, error.code), (CARDBROKER_ERROR_KIND_FAILED, CARDBROKER_CODE_UNKNOWN));
        assert_eq!(error.delivery, i32::from(Delivery::Unknown));
    }

    #[test]
    fn a_missing_broker_was_sent_nothing() {
        let error = Box::<Error>::from(client::Error::NotRunning { tried: Vec::new() });
        assert_eq!((error.kind, error.code), (CARDBROKER_ERROR_KIND_NOT_RUNNING, CARDBROKER_CODE_UNAVAILABLE));
        assert_eq!((error.delivery, error.is_permanent), (i32::from(Delivery::NotSent), false));
    }
}

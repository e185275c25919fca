//! The reason why a call of a program has no result: a code for the program, or the end of its connection.

use cardbroker_core::{error::Failure, pcsclite::code::Code};

use super::input::Ended;

/// A call without a result.
#[derive(Debug)]
pub(super) enum Unserved {
    /// The program gets this code, and the conversation goes on.
    Refused(Code),
    /// The conversation is over. There is no answer.
    Ended(Ended),
}

impl From<Code> for Unserved {
    fn from(code: Code) -> Self {
        Self::Refused(code)
    }
}

impl From<Failure> for Unserved {
    fn from(failure: Failure) -> Self {
        Self::Refused(Code::from(&failure))
    }
}

impl From<Ended> for Unserved {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

/// The result of a call, or the code in its place, for callers that go on after a refusal.
///
/// # Errors
/// The end of the conversation.
pub(super) fn answered<T>(result: Result<T, Unserved>) -> Result<Result<T, Code>, Ended> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Unserved::Refused(code)) => Ok(Err(code)),
        Err(Unserved::Ended(ended)) => Err(ended),
    }
}

//! The ends of the command line: exit codes, and errors as one line that says what to do next.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use cardbroker_client::{Delivery, Distrust, Endpoint, Error, ErrorReason, Finding, Tried, status_word};

use super::{json, printable};

/// The exit codes, as `--help` explains them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The command did everything that it was to do.
    Done = 0,
    /// The broker refused or failed (also: missing or wrong token), or Ctrl-C came first; no command was sent.
    Refused = 1,
    /// The command line or the request is malformed, or the token file cannot be used. clap ends with the same code.
    Usage = 2,
    /// No broker, or the connection was lost before a command was sent.
    NoBroker = 3,
    /// No such reader, or no card in it; no command was sent.
    NoCard = 4,
    /// The unit stopped early; the commands without an answer were not sent.
    Stopped = 5,
    /// A command ran, or may have run, and its answer is missing.
    Unknown = 6,
    /// The turn did not come in time; no command was sent.
    QueueTimeout = 7,
    /// `doctor` has found a problem.
    Problem = 8,
    /// A command was answered with another status word than expected; those after it were not sent.
    Unexpected = 9,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An answer with another status word than expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unexpected {
    /// The index of the command, counted from 0.
    pub(crate) index: usize,
    pub(crate) status_word: u16,
    /// The expected status words, as they are written.
    pub(crate) expected: String,
}

/// Why the command line failed; decides the exit code and the message.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error of the client library.
    Broker(Error),
    /// An error of a call for operators, and the permission that the call needs.
    Operator { error: Error, needed: &'static str },
    /// There was nothing to do, or the person has decided against it.
    Undone(String),
    /// A failure that was reported when it happened, by its exit code.
    Reported(Exit),
    /// Malformed input, or a file that cannot be used.
    Usage(String),
    /// No reader, or several, fit the name given.
    Reader(String),
    /// Another answer than the one that was expected.
    Unexpected(Unexpected),
    /// Ctrl-C or SIGTERM, with or without a command sent to the card.
    Interrupted(Delivery),
    /// The output could not be written.
    Output(io::Error),
    /// The answer of a card could not be written.
    Answer(io::Error),
    /// A script was ended before its last line.
    ScriptEnded,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Broker(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl Failure {
    /// An error of a call for operators that needs this permission.
    pub(crate) fn operator(error: Error, needed: &'static str) -> Self {
        Self::Operator { error, needed }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            // The reader of the pipe has closed it and needs no more output.
            Self::Output(error) | Self::Answer(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Answer(_) => Exit::Unknown,
            Self::ScriptEnded => Exit::Stopped,
            Self::Output(_) | Self::Undone(_) => Exit::Refused,
            Self::Reported(exit) => *exit,
            Self::Usage(_) => Exit::Usage,
            Self::Reader(_) => Exit::NoCard,
            Self::Unexpected(_) => Exit::Unexpected,
            Self::Interrupted(Delivery::NotSent) => Exit::Refused,
            Self::Interrupted(_) => Exit::Unknown,
            Self::Broker(error) | Self::Operator { error, .. } => exit_of(error),
        }
    }

    /// Writes one line, or one JSON object.
    pub(crate) fn report(&self, json: bool, err: &mut dyn Write) {
        let is_silent = match self {
            Self::Output(error) | Self::Answer(error) => error.kind() == io::ErrorKind::BrokenPipe,
            Self::Reported(_) => true,
            _ => false,
        };
        if is_silent {
            return;
        }
        // If stderr is closed, only the exit code is left to report the failure.
        let _ = match (json, self) {
            (true, Self::Broker(error) | Self::Operator { error, .. }) => {
                json::write_line(err, &json::error(Some(error), error.delivery(), &self.message()))
            }
            (true, Self::Interrupted(delivery)) => {
                json::write_line(err, &json::error(None, *delivery, &self.message()))
            }
            (true, Self::Unexpected(_) | Self::Answer(_)) => {
                json::write_line(err, &json::error(None, Delivery::Executed, &self.message()))
            }
            (true, _) => json::write_line(err, &json::error(None, Delivery::NotSent, &self.message())),
            (false, _) => writeln!(err, "cardbroker: {}", self.message()),
        };
    }

    fn message(&self) -> String {
        match self {
            Self::Reported(_) => String::new(),
            Self::Usage(message) | Self::Reader(message) | Self::Undone(message) => printable(message),
            Self::Unexpected(Unexpected { index, status_word, expected }) => {
                let number = index + 1;
                let meaning = status_word::meaning(*status_word).map(|told| format!(" ({told})")).unwrap_or_default();
                format!("command {number} was answered {status_word:04X}{meaning}; expected {expected}")
            }
            Self::Output(error) => format!("the output cannot be written: {error}"),
            Self::Answer(error) => format!("a command ran, and the card's answer cannot be written: {error}"),
            Self::ScriptEnded => "interrupted; the rest of the script was not sent".to_owned(),
            Self::Interrupted(Delivery::NotSent) => "interrupted; nothing was sent".to_owned(),
            Self::Interrupted(_) => format!("interrupted{CHECK}"),
            Self::Broker(error) => printable(&format!("{error}{}", advice(error))),
            Self::Operator { error, needed } => printable(&format!("{error}{}", operators_advice(error, needed))),
        }
    }
}

fn exit_of(error: &Error) -> Exit {
    if error.delivery() != Delivery::NotSent {
        return Exit::Unknown;
    }
    match error {
        Error::Endpoint(_) | Error::TokenFile(_) | Error::Invalid(_) => Exit::Usage,
        Error::NotRunning { .. } => Exit::NoBroker,
        Error::Stopped { .. } => Exit::Stopped,
        _ => match error.reason() {
            Some(ErrorReason::InvalidRequest) => Exit::Usage,
            Some(
                ErrorReason::ReaderNotFound | ErrorReason::ReaderGone | ErrorReason::NoCard | ErrorReason::CardRemoved,
            ) => Exit::NoCard,
            Some(ErrorReason::QueueTimeout) => Exit::QueueTimeout,
            Some(_) => Exit::Refused,
            None if error.failure().is_some_and(|failure| failure.unknown_reason.is_some()) => Exit::Refused,
            None => Exit::NoBroker,
        },
    }
}

const CHECK: &str = "; the command may have run: check the card's state before you send it again";
const RAN: &str = "; the command ran, its answer is lost: check the card's state before you send it again";

/// The next step for the user, where the error's own message does not say it.
fn advice(error: &Error) -> String {
    match error {
        Error::NotRunning { tried } => tried.last().map(next_step).unwrap_or_default().to_owned(),
        Error::TokenFile(file) if file.kind == Some(io::ErrorKind::NotFound) => {
            ": make one with \"cardbroker token new NAME --out FILE\"".to_owned()
        }
        _ if error.reason() == Some(ErrorReason::Unauthenticated) => {
            ": pass the file with your token in --token-file or CARDBROKER_TOKEN_FILE; the broker's operator makes one \
             with \"cardbroker token new\""
                .to_owned()
        }
        _ if error.reason() == Some(ErrorReason::PinKnownWrong) => match error.tries_left() {
            Some(1) => " (1 try left)".to_owned(),
            Some(tries) => format!(" ({tries} tries left)"),
            None => String::new(),
        },
        _ if error.delivery() == Delivery::Executed => RAN.to_owned(),
        _ if error.delivery() != Delivery::NotSent => CHECK.to_owned(),
        _ => error
            .retry_after()
            .map(|pause| format!(" (try again in {})", humantime::format_duration(pause)))
            .unwrap_or_default(),
    }
}

/// The next step for an operator.
fn operators_advice(error: &Error, needed: &str) -> String {
    match error.reason() {
        Some(ErrorReason::Denied | ErrorReason::ReaderNotFound) => format!(
            ": this needs the permission {needed}, which a rule must grant by name (without rules only the broker's \
             own user and root have it); ask \"cardbroker policy check\", or try as that user"
        ),
        Some(ErrorReason::ConfigurationRefused) => ": the old rules stay in force".to_owned(),
        _ => advice(error),
    }
}

/// The next step after the finding that ended the search for a broker.
fn next_step(Tried { endpoint, finding }: &Tried) -> &'static str {
    match finding {
        Finding::Missing | Finding::Refused(_) => {
            ": start it with \"cardbrokerd\", or give its address with --endpoint"
        }
        Finding::Forbidden(_) if matches!(endpoint, Endpoint::Pipe(_)) => {
            ": give this user access by the broker's listen.pipe_group"
        }
        Finding::Forbidden(_) => ": give this user access by the broker's listen.socket_group or listen.socket_mode",
        Finding::Untrusted(Distrust::NotOwn(..)) => {
            ": set XDG_RUNTIME_DIR to this user's own folder, unset it, or give the broker's address with --endpoint"
        }
        Finding::Untrusted(_) => {
            ": another user could be there; correct that, or give the broker's address with --endpoint to trust it"
        }
        Finding::NoEndpointFile(_) | Finding::Ended { .. } => {
            ": start it with \"cardbrokerd --tcp auto\", or give its address with --endpoint"
        }
        Finding::Malformed { .. } => ": remove the file and start the broker again",
        Finding::OtherProgram if *endpoint == Endpoint::Auto => ": start the broker again",
        Finding::OtherProgram => ": check the port, or make a new token file with \"cardbroker token new\"",
        Finding::TooLong => ": start the broker with a shorter --socket",
        _ => ": see the broker's log, or give its address with --endpoint",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        let mut err = Vec::new();
        failure.report(false, &mut err);
        assert_eq!((failure.exit(), err.len()), (Exit::Done, 0));
    }

    #[test]
    fn no_broker_says_how_to_get_one() {
        let message = |finding| {
            let tried = vec![Tried { endpoint: "unix:/run/x.sock".parse().unwrap(), finding }];
            let failure = Failure::from(Error::NotRunning { tried });
            assert_eq!(failure.exit(), Exit::NoBroker);
            failure.message()
        };
        let expected = "no broker at unix:/run/x.sock (no such file): start it with \"cardbrokerd\", or give its \
                        address with --endpoint";
        assert_eq!(message(Finding::Missing), expected);
        for finding in [
            Finding::TooLong,
            Finding::OtherProgram,
            Finding::Failed(io::ErrorKind::TimedOut),
            Finding::Failed(io::ErrorKind::Other),
        ] {
            assert!(!message(finding.clone()).contains("start it"), "{finding:?}");
        }
    }
}

//! Attempts after the first: while a broker starts, and after a connection was lost. When they are safe, and how soon.

use std::{io, time::Duration};

use tokio::time::{Instant, sleep};
use tonic::Code;

use crate::{Delivery, Error, Failure};

const REPEATS: u32 = 3;

const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// How long to wait before the next attempt to reach a broker that was not there.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// How long to ask again for a broker that does not answer yet.
pub(crate) struct ConnectRetry {
    end: Option<Instant>,
}

impl ConnectRetry {
    /// Starts now. A time that is too long to count has no end.
    pub(crate) fn of(time: Duration) -> Self {
        Self { end: Instant::now().checked_add(time) }
    }

    /// Pauses before another attempt; returns false if there is to be none, because the time is over or because waiting
    /// does not help.
    pub(crate) async fn pause(&self, error: &Error) -> bool {
        let may_start = matches!(error, Error::NotRunning { kind, .. } if is_passing(*kind));
        if !may_start || self.end.is_some_and(|end| Instant::now() + RETRY_INTERVAL > end) {
            return false;
        }
        sleep(RETRY_INTERVAL).await;
        true
    }
}

/// Whether a broker that starts or restarts may be the cause of a failure to connect.
fn is_passing(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::TimedOut
    )
}

/// An id that nobody has used before and nobody can guess: 128 random bits.
///
/// # Errors
/// [`Error::Failed`], not sent, if the system has no random numbers.
pub(crate) fn fresh_id() -> Result<Vec<u8>, Error> {
    let mut id = vec![0; 16];
    match getrandom::fill(&mut id) {
        Ok(()) => Ok(id),
        Err(error) => {
            let message = format!("no random numbers: {error}");
            Err(Failure::own(None, Delivery::NotSent, Code::Internal, message).into())
        }
    }
}

/// Whether the connection broke before the broker's word came.
pub(crate) fn is_lost(error: &Error) -> bool {
    match error {
        Error::Failed(failure) => {
            let broken = matches!(failure.code, Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled);
            broken && failure.is_without_word
        }
        _ => false,
    }
}

/// How long to pause before each repeat: twice as long each time, half fixed and half random, so that many clients do
/// not come back at the same moment.
pub(crate) fn pauses() -> impl Iterator<Item = Duration> {
    (0..REPEATS).map(|repeat| FIRST_PAUSE.mul_f64(f64::from(1 << repeat) * (0.5 + fastrand::f64() / 2.0)))
}

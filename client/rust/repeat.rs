//! Retries while a broker starts, and repeats after a lost connection: when they are safe, and how soon.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::Code;

use crate::{Delivery, Error, Failure, Finding};

const REPEATS: u32 = 3;

const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The pause before the next attempt to reach a broker that was not there.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// The retries while a broker does not answer yet, and the time for them.
pub(crate) struct ConnectRetry {
    end: Option<Instant>,
}

impl ConnectRetry {
    /// Starts now. A time too long to represent has no end.
    pub(crate) fn of(time: Duration) -> Self {
        Self { end: Instant::now().checked_add(time) }
    }

    /// Pauses before another attempt; returns false if there is none, because the time is over or waiting does not
    /// help.
    pub(crate) async fn pause(&self, error: &Error) -> bool {
        let may_start = error.finding().is_some_and(Finding::is_passing);
        if !may_start || self.end.is_some_and(|end| Instant::now() + RETRY_INTERVAL > end) {
            return false;
        }
        sleep(RETRY_INTERVAL).await;
        true
    }
}

/// Makes an unpredictable id: 128 random bits.
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

/// Whether the connection broke before anything from the broker arrived.
pub(crate) fn is_lost(error: &Error) -> bool {
    match error {
        Error::Failed(failure) => {
            let broken = matches!(failure.code, Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled);
            broken && failure.is_foreign
        }
        _ => false,
    }
}

/// The pauses before the repeats: each twice as long as the one before, half fixed and half random, so that many
/// clients do not come back at the same moment.
pub(crate) fn pauses() -> impl Iterator<Item = Duration> {
    (0..REPEATS).map(|repeat| FIRST_PAUSE.mul_f64(f64::from(1 << repeat) * (0.5 + fastrand::f64() / 2.0)))
}

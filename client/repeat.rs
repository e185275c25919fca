//! Repeats of a unit whose connection was lost: under which id, after what, and how soon.

use std::time::Duration;

use tonic::{Code, Status};

use crate::{Delivery, Error};

const REPEATS: u32 = 3;

const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// An id that nobody has used before and nobody can guess: 128 random bits.
///
/// # Errors
/// [`Error::Failed`], not sent, if the system has no random numbers.
pub(crate) fn fresh_id() -> Result<Vec<u8>, Error> {
    let mut id = vec![0; 16];
    match getrandom::fill(&mut id) {
        Ok(()) => Ok(id),
        Err(error) => Err(Error::of_status(&Status::internal(format!("no random numbers: {error}"))).not_sent()),
    }
}

/// Whether the connection broke before the broker's word came.
pub(crate) fn is_lost(error: &Error) -> bool {
    match error {
        Error::Failed(failure) => {
            let broken = matches!(failure.code, Code::Unavailable | Code::Unknown | Code::Internal);
            broken && failure.reason.is_none() && failure.delivery == Delivery::Unknown
        }
        _ => false,
    }
}

/// How long to pause before each repeat: twice as long each time, half fixed and half random, so that many clients do
/// not come back at the same moment.
pub(crate) fn pauses() -> impl Iterator<Item = Duration> {
    (0..REPEATS).map(|repeat| FIRST_PAUSE.mul_f64(f64::from(1 << repeat) * (0.5 + fastrand::f64() / 2.0)))
}

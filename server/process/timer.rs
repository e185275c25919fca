//! A timer that may have no time.

use std::{future::pending, time::Instant};

use tokio::time::sleep_until;

/// Waits until `time`; for ever without one.
pub(crate) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => pending().await,
    }
}

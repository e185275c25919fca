//! The clock that all processes of the machine share.

use rustix::time::{ClockId, clock_gettime};

/// The time now, in ns since some moment that is the same for all processes.
pub(crate) fn now() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

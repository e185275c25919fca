//! The monitor thread: waits in the card stack's own call and reports the state of all slots to the registry.

use std::{thread, time::Duration};

use cardbroker_core::slot::{ServiceError, SlotStatus};
use tokio::sync::mpsc;

use crate::backend::Monitor;

/// The maximum wait of a monitor without returning. Changes and the end of the registry wake it earlier; long, because
/// each return wakes the processor of an idle machine.
const POLL_TIMEOUT: Duration = Duration::from_secs(120);
/// The pause before the second attempt to reach a card stack that is down; it doubles from attempt to attempt. On
/// Windows the stack is down while no reader is plugged in.
const FIRST_DOWN_RETRY: Duration = Duration::from_millis(200);
/// The longest pause between two of these attempts.
const LAST_DOWN_RETRY: Duration = Duration::from_secs(2);

/// All slots as of one poll, or the error of the card stack.
pub(super) type SlotSnapshot = Result<Vec<SlotStatus>, ServiceError>;

/// The main loop of the monitor thread. Returns when the registry has ended.
pub(super) fn watch_slots(mut monitor: Box<dyn Monitor>, snapshots: &mpsc::Sender<SlotSnapshot>) {
    let mut last = None;
    let mut failures = 0_u32;
    while !snapshots.is_closed() {
        let snapshot = monitor.wait(POLL_TIMEOUT);
        failures = if snapshot.is_err() { failures.saturating_add(1) } else { 0 };
        if last.as_ref() != Some(&snapshot) {
            last = Some(snapshot.clone());
            if snapshots.blocking_send(snapshot).is_err() {
                return;
            }
        }
        thread::sleep(pause_after(failures));
    }
}

/// The pause after so many failed attempts in a row.
fn pause_after(failures: u32) -> Duration {
    match failures.checked_sub(1) {
        Some(earlier) => FIRST_DOWN_RETRY.saturating_mul(1 << earlier.min(16)).min(LAST_DOWN_RETRY),
        None => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_that_stays_down_is_tried_at_most_every_two_seconds() {
        let pauses = [0, 1, 2, 3, 4, 5, 6, u32::MAX].map(|failures| pause_after(failures).as_millis());
        assert_eq!(pauses, [0, 200, 400, 800, 1600, 2000, 2000, 2000]);
    }
}

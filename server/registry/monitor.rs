//! The monitor thread: waits in the card stack's own call and reports the state of all slots to the registry.

use std::{thread, time::Duration};

use cardbroker_core::slot::{ServiceError, SlotStatus};
use tokio::sync::mpsc;

use crate::backend::Monitor;

/// The maximum wait of a monitor without returning. Changes and the end of the registry wake it earlier; long, because
/// each return wakes the processor of an idle machine.
const POLL_TIMEOUT: Duration = Duration::from_secs(120);
/// The pause between two attempts to reach a card stack that is down.
const DOWN_RETRY: Duration = Duration::from_millis(200);

/// All slots as of one poll, or the error of the card stack.
pub(super) type SlotSnapshot = Result<Vec<SlotStatus>, ServiceError>;

/// The main loop of the monitor thread. Returns when the registry has ended.
pub(super) fn watch_slots(mut monitor: Box<dyn Monitor>, snapshots: &mpsc::Sender<SlotSnapshot>) {
    let mut last = None;
    while !snapshots.is_closed() {
        let snapshot = monitor.wait(POLL_TIMEOUT);
        let is_down = snapshot.is_err();
        if last.as_ref() != Some(&snapshot) {
            last = Some(snapshot.clone());
            if snapshots.blocking_send(snapshot).is_err() {
                return;
            }
        }
        if is_down {
            thread::sleep(DOWN_RETRY);
        }
    }
}

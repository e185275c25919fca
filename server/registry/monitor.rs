//! The monitor thread: waits in the card stack's own call and tells the registry what is in the readers.

use std::{thread, time::Duration};

use cardbroker_core::slot::{ServiceError, SlotStatus};
use tokio::sync::mpsc;

use crate::backend::Monitor;

/// The longest that a monitor looks without returning.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);
/// The wait between two tries to reach a card stack that is down.
const DOWN_RETRY: Duration = Duration::from_millis(200);

/// All slots as one look found them, or why the card stack could not be asked.
pub(super) type SlotSnapshot = Result<Vec<SlotStatus>, ServiceError>;

/// The life of the monitor thread: it ends when nobody listens any more.
pub(super) fn watch_slots(mut monitor: Box<dyn Monitor>, snapshots: &mpsc::Sender<SlotSnapshot>) {
    let mut last = None;
    while !snapshots.is_closed() {
        let snapshot = monitor.wait(LOOK_TIMEOUT);
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

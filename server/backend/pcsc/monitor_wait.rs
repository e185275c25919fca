//! The monitor's long wait for events, and the reasons to end it before its time.
//!
//! pcsc-lite's library keeps one copy of all readers' states for the whole process. A slot that reads a status may
//! overwrite a state that the monitor has just received but not compared yet; the monitor would then wait on, although
//! something has changed. So a read ends the long wait, and short waits follow for as long as there are reads.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pcsc::Context;

/// Shared by the monitor and all slots.
#[derive(Default)]
pub(super) struct MonitorWait(Mutex<State>);

#[derive(Default)]
struct State {
    /// The monitor's context during its long wait.
    long_wait: Option<Context>,
    /// Whether a slot has read a status since the monitor last wanted to begin a long wait.
    was_read: bool,
    /// Whether the monitor must return.
    is_woken: bool,
}

impl MonitorWait {
    /// Begins a long wait of the monitor; `false` if it must be a short one.
    pub(super) fn begin_long(&self, context: &Context) -> bool {
        let mut state = self.lock();
        let is_quiet = !std::mem::take(&mut state.was_read) && !state.is_woken;
        state.long_wait = is_quiet.then(|| context.clone());
        is_quiet
    }

    /// The wait of the monitor is over, a long or a short one.
    pub(super) fn end(&self) {
        self.lock().long_wait = None;
    }

    /// A slot is about to read a status.
    pub(super) fn before_status_read(&self) {
        let mut state = self.lock();
        state.was_read = true;
        cancel(state);
    }

    /// Makes the monitor return: from a long wait at once, from a short one at its end.
    pub(super) fn wake(&self) {
        let mut state = self.lock();
        state.is_woken = true;
        cancel(state);
    }

    /// Whether the monitor must return now. Clears the wish.
    pub(super) fn take_wake(&self) -> bool {
        std::mem::take(&mut self.lock().is_woken)
    }

    /// Every change is a single assignment, so a panic elsewhere leaves the state consistent.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the long wait, if there is one. The call goes to the service, so the lock is released first.
fn cancel(state: MutexGuard<'_, State>) {
    let waiting = state.long_wait.clone();
    drop(state);
    // It fails only if the service has stopped, which ends the wait too.
    let _ = waiting.map(|context| context.cancel());
}

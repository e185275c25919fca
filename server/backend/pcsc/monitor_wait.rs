//! The monitor's long wait for events, and the reasons to end it before its time.
//!
//! pcsc-lite's library keeps one copy of all readers' states for the whole process. A slot that reads a status may
//! overwrite a state that the monitor has just received but not compared yet; the monitor would then wait on, although
//! something has changed. So a read ends the long wait, and short waits follow for as long as there are reads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shared by the monitor and all slots.
#[derive(Default)]
pub(super) struct MonitorWait(Mutex<State>);

#[derive(Default)]
struct State {
    /// Cancels the monitor's long wait while there is one.
    long_wait: Option<Arc<dyn Fn() + Send + Sync>>,
    /// Whether a slot has begun or ended a read of a status since the monitor last wanted to begin a long wait.
    was_read: bool,
    /// Whether the monitor must return.
    is_woken: bool,
}

/// A slot's read of a status, until it is dropped.
pub(super) struct StatusRead<'a>(&'a MonitorWait);

impl Drop for StatusRead<'_> {
    fn drop(&mut self) {
        self.0.note_read();
    }
}

impl MonitorWait {
    /// Begins a long wait of the monitor, which `cancel` ends; `false` if it must be a short one.
    pub(super) fn begin_long(&self, cancel: impl Fn() + Send + Sync + 'static) -> bool {
        let mut state = self.lock();
        let is_quiet = !std::mem::take(&mut state.was_read) && !state.is_woken;
        state.long_wait = is_quiet.then(|| Arc::new(cancel) as _);
        is_quiet
    }

    /// Ends the wait of the monitor, a long or a short one.
    pub(super) fn end(&self) {
        self.lock().long_wait = None;
    }

    /// Begins a slot's read of a status. The result must live until the status is read.
    ///
    /// The read ends the long wait at its beginning, and again at its end: a cancellation before the service knows of
    /// the wait has no effect, and the read may overwrite a state that arrives after that.
    pub(super) fn status_read(&self) -> StatusRead<'_> {
        self.note_read();
        StatusRead(self)
    }

    /// Makes the monitor return: from a long wait at once, from a short one at its end.
    pub(super) fn wake(&self) {
        let mut state = self.lock();
        state.is_woken = true;
        cancel(state);
    }

    /// Returns whether the monitor must return now, and resets that.
    pub(super) fn take_wake(&self) -> bool {
        std::mem::take(&mut self.lock().is_woken)
    }

    fn note_read(&self) {
        let mut state = self.lock();
        state.was_read = true;
        cancel(state);
    }

    /// Every change is a single assignment, so a panic elsewhere leaves the state consistent.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the long wait, if there is one. The call goes to the service, so the lock is released first.
fn cancel(state: MutexGuard<'_, State>) {
    let long_wait = state.long_wait.clone();
    drop(state);
    if let Some(cancel) = long_wait {
        cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Begins a long wait. Returns how often it has been cancelled so far; `None` if it must be a short one.
    fn begin_long(wait: &MonitorWait) -> Option<impl Fn() -> usize + use<>> {
        let cancelled = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&cancelled);
        let is_long = wait.begin_long(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        is_long.then_some(move || cancelled.load(Ordering::Relaxed))
    }

    #[test]
    fn a_read_ends_a_long_wait_at_its_beginning_and_at_its_end() {
        let wait = MonitorWait::default();
        let cancelled = begin_long(&wait).unwrap();
        let read = wait.status_read();
        assert_eq!(cancelled(), 1);
        drop(read);
        assert_eq!(cancelled(), 2, "the service knew of no wait the first time");
        wait.end();
        assert!(begin_long(&wait).is_none() && begin_long(&wait).is_some());
    }

    #[test]
    fn a_read_that_began_before_a_long_wait_ends_it_and_delays_the_next() {
        let wait = MonitorWait::default();
        let read = wait.status_read();
        assert!(begin_long(&wait).is_none());
        let cancelled = begin_long(&wait).unwrap();
        drop(read);
        assert_eq!(cancelled(), 1);
        wait.end();
        assert!(begin_long(&wait).is_none() && begin_long(&wait).is_some());
    }

    #[test]
    fn a_wake_ends_a_long_wait_and_is_taken_once() {
        let wait = MonitorWait::default();
        let cancelled = begin_long(&wait).unwrap();
        wait.wake();
        wait.end();
        assert!(cancelled() == 1 && begin_long(&wait).is_none());
        assert_eq!([wait.take_wake(), wait.take_wake()], [true, false]);
        wait.wake();
        assert_eq!(cancelled(), 1, "the wait is over");
    }
}

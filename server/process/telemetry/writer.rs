//! The thread that writes the log, and the queue before it: logging never waits for the reader of the log.

use std::{
    io::{self, Write},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError},
    thread,
    time::Duration,
};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use super::{
    lanes::{CAPACITY, Entry, Lane, Lanes},
    sink::Sink,
};
use crate::policy::audit;

/// The maximum wait for the waiting lines at the end of the process.
pub(super) const FLUSH_TIME: Duration = Duration::from_secs(1);

/// The maximum wait, after that, for the count of the lost lines.
const LAST_COUNT_TIME: Duration = Duration::from_millis(100);

/// The pause after a failed write: the disk is full, or the reader has closed the pipe.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// The number of attempts of a panicking thread to add its record, and the pause between them.
const PANIC_TRIES: u32 = 10;
const PANIC_RETRY_TIME: Duration = Duration::from_millis(1);

/// A handle to the log. Clones write to the same log.
#[derive(Clone)]
pub(super) struct Log(Arc<Shared>);

/// Shared by the log's clones and its thread.
struct Shared {
    /// Locked briefly, never during a write.
    state: Mutex<State>,
    /// Notified when the first line arrives in empty lanes, and to end a pause.
    filled: Condvar,
    /// Notified when all lines are written, and when a write has failed.
    written: Condvar,
}

struct State {
    lanes: Lanes,
    /// Whether the thread is writing a batch.
    is_writing: bool,
    /// Whether the last write failed. The thread pauses until it is cleared, or for [`FAILURE_PAUSE`].
    is_failing: bool,
}

/// Puts each record into one lane.
pub(super) struct LaneWriter<'a> {
    log: &'a Log,
    lane: Lane,
}

/// Delays the end of the process, for a short time, until its log is written. Must live as long as the process logs.
#[must_use = "lines that wait are lost at the end of the process"]
pub struct FlushGuard(Log);

/// A batch during its write. Dropping it counts the rest as lost, also when the thread panics.
struct Batch<'a> {
    log: &'a Log,
    unwritten: Vec<(Lane, Entry)>,
}

impl Log {
    /// Starts the thread that writes to `sink`. The thread ends with the process.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub(super) fn start(mut sink: impl Sink + Send + 'static) -> io::Result<Self> {
        let state = State { lanes: Lanes::new(CAPACITY), is_writing: false, is_failing: false };
        let log = Self(Arc::new(Shared { state: state.into(), filled: Condvar::new(), written: Condvar::new() }));
        let writer = log.clone();
        thread::Builder::new().name("log".into()).spawn(move || {
            loop {
                // A panic loses one batch, which is counted, and not the log. The panic hook has logged it.
                let _ = catch_unwind(AssertUnwindSafe(|| writer.write_to(&mut sink)));
            }
        })?;
        Ok(log)
    }

    /// Returns the guard that writes the rest at the end.
    pub(super) fn flush_guard(&self) -> FlushGuard {
        FlushGuard(self.clone())
    }

    /// The number of lines that were lost so far.
    pub(super) fn lost_lines(&self) -> u64 {
        self.lock().lanes.lost_lines()
    }

    /// Adds a line, with its line break.
    pub(super) fn push(&self, lane: Lane, line: &[u8]) {
        self.push_locked(self.lock(), lane, line);
    }

    /// Adds a line from the panic hook, whose own thread may hold the lock: then the line is lost after a moment.
    pub(super) fn push_from_panic(&self, lane: Lane, line: &[u8]) {
        for _ in 0..PANIC_TRIES {
            let state = match self.0.state.try_lock() {
                Ok(state) => state,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    thread::sleep(PANIC_RETRY_TIME);
                    continue;
                }
            };
            return self.push_locked(state, lane, line);
        }
    }

    fn push_locked(&self, mut state: MutexGuard<'_, State>, lane: Lane, line: &[u8]) {
        let was_empty = state.lanes.is_empty();
        state.lanes.push(lane, line);
        drop(state);
        if was_empty {
            self.0.filled.notify_one();
        }
    }

    fn write_to(&self, sink: &mut impl Sink) -> ! {
        loop {
            let mut batch = self.next_batch();
            let written = sink.write(&batch.unwritten);
            batch.unwritten.drain(..written);
        }
    }

    /// Waits for the next batch; after a failed write, first for the end of the pause.
    fn next_batch(&self) -> Batch<'_> {
        let mut state = self.lock();
        if state.lanes.is_empty() || state.is_failing {
            self.0.written.notify_all();
        }
        let paused = self.0.filled.wait_timeout_while(state, FAILURE_PAUSE, |state| state.is_failing);
        state = paused.unwrap_or_else(PoisonError::into_inner).0;
        let waited = self.0.filled.wait_while(state, |state| state.lanes.is_empty());
        state = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        Batch { log: self, unwritten: state.lanes.take() }
    }

    /// Waits until all lines are written, at most for `limit` and only while writes succeed. Ends a pause. Returns
    /// whether all lines are written.
    fn wait_until_written(&self, limit: Duration) -> bool {
        let mut state = self.lock();
        state.is_failing = false;
        self.0.filled.notify_all();
        let waits = |state: &mut State| !state.is_failing && (state.is_writing || !state.lanes.is_empty());
        let waited = self.0.written.wait_timeout_while(state, limit, waits);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.is_writing && state.lanes.is_empty()
    }

    /// Every change is a single call, so a panic elsewhere leaves the state consistent.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let mut state = self.log.lock();
        state.is_writing = false;
        state.is_failing = !self.unwritten.is_empty();
        state.lanes.on_write_failed(&mem::take(&mut self.unwritten));
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = LaneWriter<'a>;

    fn make_writer(&'a self) -> LaneWriter<'a> {
        LaneWriter { log: self, lane: Lane::Ordinary }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> LaneWriter<'a> {
        let lane = if metadata.target() == audit::TARGET { Lane::Audit } else { Lane::Ordinary };
        LaneWriter { log: self, lane }
    }
}

impl Write for LaneWriter<'_> {
    /// Accepts one whole record: the formatter writes each by a single call.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        self.log.push(self.lane, record);
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for FlushGuard {
    fn drop(&mut self) {
        if !self.0.wait_until_written(FLUSH_TIME) {
            // A slow reader gets at least the count.
            self.0.lock().lanes.drop_lines();
            self.0.wait_until_written(LAST_COUNT_TIME);
        }
    }
}

#[cfg(test)]
mod tests;

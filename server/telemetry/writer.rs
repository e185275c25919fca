//! The thread that writes the log, and the queue in front of it: whoever logs never waits for whoever reads.

use std::{
    io::{self, ErrorKind, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use super::{
    lanes::{CAPACITY, Entry, Lane, Lanes},
    record,
};
use crate::{audit, config::LogFormat};

/// How long the end of the process waits until the waiting lines are written.
pub(super) const FLUSH_TIME: Duration = Duration::from_secs(1);

/// How long it waits, after that, until the count of those that were not is written.
const LAST_COUNT_TIME: Duration = Duration::from_millis(100);

/// When a write is tried again where another program has made standard error non-blocking.
const RETRY_TIME: Duration = Duration::from_millis(20);

/// The way into the log. Clones lead into the same one.
#[derive(Clone)]
pub(super) struct Log(Arc<Shared>);

/// What whoever logs and the thread share.
struct Shared {
    /// Held for moments only, never while something is written.
    state: Mutex<State>,
    /// Told when something waits after nothing did.
    filled: Condvar,
    /// Told when all is written.
    written: Condvar,
}

struct State {
    lanes: Lanes,
    /// Whether the thread is writing a batch.
    is_writing: bool,
}

/// Takes one record into one lane.
pub(super) struct LaneWriter<'a> {
    log: &'a Log,
    lane: Lane,
}

/// Keeps the process until its log is written, for a short time at most. Lives as long as the process logs.
#[must_use = "lines that wait are lost at the end of the process"]
pub struct FlushGuard(Log);

impl Log {
    /// Starts the thread that writes to `sink`. It ends with the process.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub(super) fn start(sink: impl Write + Send + 'static, format: LogFormat) -> io::Result<Self> {
        let state = Mutex::new(State { lanes: Lanes::new(CAPACITY), is_writing: false });
        let log = Self(Arc::new(Shared { state, filled: Condvar::new(), written: Condvar::new() }));
        let writer = log.clone();
        thread::Builder::new().name("log".into()).spawn(move || writer.write_on(sink, format))?;
        Ok(log)
    }

    /// The guard that writes the rest at the end.
    pub(super) fn flush_guard(&self) -> FlushGuard {
        FlushGuard(self.clone())
    }

    /// Adds a line, with its end.
    pub(super) fn push(&self, lane: Lane, line: &[u8]) {
        let mut state = self.lock();
        let was_empty = state.lanes.is_empty();
        state.lanes.push(lane, line);
        drop(state);
        if was_empty {
            self.0.filled.notify_one();
        }
    }

    fn write_on(&self, mut sink: impl Write, format: LogFormat) -> ! {
        loop {
            let batch = self.next_batch();
            let mut bytes = Vec::new();
            for (lane, entry) in &batch {
                match entry {
                    Entry::Line(line) => bytes.extend_from_slice(line),
                    Entry::Gap(lines) => bytes.extend_from_slice(record::gap(format, *lane, *lines).as_bytes()),
                }
            }
            let outcome = write(&mut sink, &bytes);
            let mut state = self.lock();
            state.is_writing = false;
            // Whoever read may have gone, or the disk be full. Should that change, the next line comes with a count.
            if outcome.is_err() {
                state.lanes.failed(&batch);
            }
        }
    }

    /// Waits for the next batch.
    fn next_batch(&self) -> Vec<(Lane, Entry)> {
        let mut state = self.lock();
        if state.lanes.is_empty() {
            self.0.written.notify_all();
        }
        let waited = self.0.filled.wait_while(state, |state| state.lanes.is_empty());
        state = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        state.lanes.take()
    }

    /// Waits until all is written, at most so long; returns whether it is.
    fn wait_until_written(&self, limit: Duration) -> bool {
        let waits = |state: &mut State| state.is_writing || !state.lanes.is_empty();
        let waited = self.0.written.wait_timeout_while(self.lock(), limit, waits);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Every change is a single call, so a panic elsewhere leaves the state whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes all bytes, however long that takes.
fn write(sink: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match sink.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY_TIME),
            Err(error) => return Err(error),
        }
    }
    Ok(())
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
    /// Takes one whole record: that is how the formatter writes.
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
            // A reader that is slow gets the count at least.
            self.0.lock().lanes.abandon();
            self.0.wait_until_written(LAST_COUNT_TIME);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, PipeReader, Read, pipe},
        sync::mpsc,
        time::Instant,
    };

    use super::*;

    /// A log into a pipe, and its other end.
    fn piped() -> (Log, BufReader<PipeReader>) {
        let (reader, writer) = pipe().unwrap();
        (Log::start(writer, LogFormat::Text).unwrap(), BufReader::new(reader))
    }

    fn flood(log: &Log) -> usize {
        let line = [&[b'x'; 99][..], b"\n"].concat();
        let lines = 5 * CAPACITY / line.len();
        (0..lines).for_each(|_| log.push(Lane::Ordinary, &line));
        lines
    }

    #[test]
    fn whoever_logs_does_not_wait_for_whoever_reads_and_every_gap_is_told() {
        let (log, reader) = piped();
        let pushed = flood(&log);
        log.push(Lane::Audit, b"audit\n");
        let (found, read) = mpsc::channel();
        thread::spawn(move || reader.lines().try_for_each(|line| found.send(line.unwrap())));
        let (mut lines, mut lost, mut place) = (0, 0, None);
        while lines + lost < pushed + 1 {
            let line = read.recv_timeout(20 * FLUSH_TIME).expect("all lines and gaps are told");
            match line.split_once("lines were lost lane=\"ordinary\" lines=") {
                Some((_, count)) => lost += count.parse::<usize>().unwrap(),
                None if line == "audit" => (lines, place) = (lines + 1, Some(lines)),
                None => {
                    assert_eq!(line.len(), 99, "{line:?}");
                    lines += 1;
                }
            }
        }
        // Only what the pipe and one batch held was before it.
        assert!(place.is_some_and(|place| place < (80 << 10) / 100), "{place:?}");
        assert!(lost > pushed / 2, "{lost} of {pushed}");
        assert!(log.wait_until_written(FLUSH_TIME));
    }

    #[test]
    fn the_end_waits_for_a_reader_and_not_for_one_that_is_stuck() {
        let (log, mut reader) = piped();
        flood(&log);
        let begin = Instant::now();
        drop(log.flush_guard());
        let stuck = begin.elapsed();
        assert!(stuck >= FLUSH_TIME && stuck < 2 * FLUSH_TIME, "{stuck:?}");

        thread::spawn(move || reader.read_to_end(&mut Vec::new()));
        log.push(Lane::Audit, b"audit\n");
        drop(log.flush_guard());
        assert!(log.lock().lanes.is_empty() && !log.lock().is_writing);
    }

    #[test]
    fn a_log_whose_reader_has_gone_holds_nobody_up() {
        let (log, reader) = piped();
        drop(reader);
        flood(&log);
        assert!(log.wait_until_written(20 * FLUSH_TIME));
    }
}

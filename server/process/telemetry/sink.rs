//! The sink of the log. A stream gets whole lines, also after failed writes.

use std::{
    io::{ErrorKind, Write},
    thread,
    time::Duration,
};

use super::{
    lanes::{Entry, Lane},
    record,
};
use crate::config::LogFormat;

/// The interval of retries while another program has made standard error non-blocking.
const RETRY_TIME: Duration = Duration::from_millis(20);

/// The destination of the log's batches, called in the log's own thread.
pub(super) trait Sink {
    /// Writes a batch, without a time limit. Returns the number of completely written entries, counted from the first.
    fn write(&mut self, batch: &[(Lane, Entry)]) -> usize;
}

/// A stream of lines: standard error.
pub(super) struct Stream<W> {
    sink: W,
    format: LogFormat,
    /// Whether a failed write has left a line without its line break.
    is_torn: bool,
}

impl<W> Stream<W> {
    pub(super) fn new(sink: W, format: LogFormat) -> Self {
        Self { sink, format, is_torn: false }
    }
}

impl<W: Write> Sink for Stream<W> {
    fn write(&mut self, batch: &[(Lane, Entry)]) -> usize {
        let mut bytes = Vec::new();
        // Ends a torn line, so that the next one starts on a new line.
        bytes.extend(self.is_torn.then_some(b'\n'));
        let begin = bytes.len();
        let mut ends = Vec::with_capacity(batch.len());
        for (lane, entry) in batch {
            bytes.extend_from_slice(&record::bytes(self.format, *lane, entry));
            ends.push(bytes.len());
        }
        let written = write(&mut self.sink, &bytes);
        if written > 0 {
            self.is_torn = written != begin && !ends.contains(&written);
        }
        ends.iter().filter(|end| **end <= written).count()
    }
}

/// Writes all bytes, without a time limit. Returns the number of written bytes: fewer if it fails.
fn write(sink: &mut impl Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match sink.write(rest) {
            Ok(0) => break,
            Ok(more) => written += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY_TIME),
            Err(_) => break,
        }
    }
    written
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    /// A disk: accepts bytes while it has room, and can be freed.
    #[derive(Clone, Default)]
    pub(crate) struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (written, room) = &mut *self.0.lock().unwrap();
            if *room == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            let taken = bytes.len().min(*room);
            *room -= taken;
            written.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Disk {
        pub(crate) fn with_room(room: usize) -> Self {
            Self(Arc::new(Mutex::new((Vec::new(), room))))
        }

        pub(crate) fn set_room(&self, room: usize) {
            self.0.lock().unwrap().1 = room;
        }

        pub(crate) fn lines(&self) -> Vec<String> {
            String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap().lines().map(str::to_owned).collect()
        }
    }

    #[test]
    fn torn_line_is_ended_and_only_unwritten_lines_are_lost() {
        let disk = Disk::with_room(7);
        let mut sink = Stream::new(disk.clone(), LogFormat::Json);
        let line = |text: &[u8]| (Lane::Audit, Entry::Line(text.into()));
        let batch = [line(b"[1]\n"), line(b"[2]\n"), line(b"[3]\n")];
        assert_eq!(sink.write(&batch), 1);
        assert_eq!(sink.write(&batch[2..]), 0, "the disk is full");
        disk.set_room(1);
        assert_eq!(sink.write(&batch[2..]), 0, "it has room for the end of the torn line alone");
        disk.set_room(100);
        assert_eq!(sink.write(&batch[2..]), 1);
        assert_eq!(disk.lines(), ["[1]", "[2]", "[3]"]);
        disk.set_room(2);
        assert_eq!(sink.write(&batch), 0);
        disk.set_room(100);
        assert_eq!(sink.write(&batch[1..]), 2);
        assert_eq!(disk.lines()[3..], ["[1", "[2]", "[3]"]);
    }
}

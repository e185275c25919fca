//! Tests of the log with a stuck, a slow, a full and a faulty sink.

use std::{
    io::{BufRead, BufReader, PipeReader, Read, pipe},
    sync::mpsc,
    time::Instant,
};

use super::{
    super::sink::{Stream, tests::Disk},
    *,
};
use crate::config::LogFormat;

/// The maximum wait for an event.
const LONGEST: Duration = Duration::from_secs(30);

/// Creates a log that writes into a pipe. Returns it with the pipe's other end.
fn piped() -> (Log, BufReader<PipeReader>) {
    let (reader, writer) = pipe().unwrap();
    (Log::start(Stream::new(writer, LogFormat::Text)).unwrap(), BufReader::new(reader))
}

fn flood(log: &Log) -> usize {
    let line = [&[b'x'; 99][..], b"\n"].concat();
    let lines = 5 * CAPACITY / line.len();
    (0..lines).for_each(|_| log.push(Lane::Ordinary, &line));
    lines
}

#[test]
fn a_stuck_reader_blocks_no_thread_and_gaps_are_counted() {
    let (log, reader) = piped();
    let pushed = flood(&log);
    log.push(Lane::Audit, b"audit\n");
    let (found, read) = mpsc::channel();
    thread::spawn(move || reader.lines().try_for_each(|line| found.send(line.unwrap())));
    let (mut lines, mut lost, mut place) = (0, 0, None);
    while lines + lost < pushed + 1 {
        let line = read.recv_timeout(LONGEST).expect("all lines and gaps come");
        match line.split_once("lines were lost lane=\"ordinary\" lines=") {
            Some((_, count)) => lost += count.parse::<usize>().unwrap(),
            None if line == "audit" => (lines, place) = (lines + 1, Some(lines)),
            None => {
                assert_eq!(line.len(), 99, "{line:?}");
                lines += 1;
            }
        }
    }
    // Only the lines in the pipe and in one batch were written before it.
    assert!(place.is_some_and(|place| place < (80 << 10) / 100), "{place:?}");
    assert!(lost > pushed / 2, "{lost} of {pushed}");
    assert!(log.wait_until_written(FLUSH_TIME));
}

#[test]
fn the_end_waits_only_for_a_reader_that_reads() {
    let (log, mut reader) = piped();
    flood(&log);
    let begin = Instant::now();
    drop(log.flush_guard());
    assert!(begin.elapsed() >= FLUSH_TIME, "{:?}", begin.elapsed());

    thread::spawn(move || reader.read_to_end(&mut Vec::new()));
    log.push(Lane::Audit, b"audit\n");
    drop(log.flush_guard());
    assert!(log.lock().lanes.is_empty() && !log.lock().is_writing);
}

#[test]
fn the_end_does_not_wait_after_the_reader_has_closed() {
    let (log, reader) = piped();
    drop(reader);
    flood(&log);
    let begin = Instant::now();
    assert!(!log.wait_until_written(2 * LONGEST));
    assert!(begin.elapsed() < LONGEST, "{:?}", begin.elapsed());
    drop(log.flush_guard());
}

#[test]
fn a_freed_disk_gets_the_count_without_another_line() {
    let disk = Disk::with_room(0);
    let log = Log::start(Stream::new(disk.clone(), LogFormat::Json)).unwrap();
    log.push(Lane::Ordinary, b"{}\n");
    assert!(!log.wait_until_written(FLUSH_TIME), "the disk is full");
    disk.set_room(1 << 20);
    let begin = Instant::now();
    while !log.lock().lanes.is_empty() || log.lock().is_writing {
        assert!(begin.elapsed() < LONGEST);
        thread::sleep(Duration::from_millis(20));
    }
    let lines = disk.lines();
    assert!(lines.len() == 1 && lines[0].contains("\"lane\":\"ordinary\",\"lines\":1"), "{lines:?}");
}

#[test]
fn the_current_batch_of_a_panicking_thread_is_counted() {
    struct Faulty(Disk);
    impl Write for Faulty {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            assert_ne!(bytes, b"fault\n");
            self.0.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let disk = Disk::with_room(1 << 20);
    let log = Log::start(Stream::new(Faulty(disk.clone()), LogFormat::Text)).unwrap();
    log.push(Lane::Audit, b"fault\n");
    let begin = Instant::now();
    while disk.lines().is_empty() {
        assert!(begin.elapsed() < LONGEST);
        thread::sleep(Duration::from_millis(20));
    }
    assert!(disk.lines()[0].ends_with("lines were lost lane=\"audit\" lines=1"), "{:?}", disk.lines());
    assert!(log.wait_until_written(FLUSH_TIME));
}

#[test]
fn a_panic_while_the_log_is_locked_does_not_hang() {
    let (log, mut reader) = piped();
    let state = log.lock();
    log.push_from_panic(Lane::Audit, b"given up\n");
    drop(state);
    log.push_from_panic(Lane::Audit, b"logged\n");
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "logged\n");
}

//! `cardbroker session` with a person at a terminal.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use cardbroker_client::ErrorReason;
use cardbroker_proto::ENDPOINT_VARIABLE;

use crate::support::{
    FakeBroker,
    script::{agreeable, end, failed, opened, transmit_id, turns_ahead, waiters},
};

/// A session on a terminal that the program `script` makes.
struct Person {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    seen: Vec<u8>,
}

impl Person {
    fn at(broker: &FakeBroker) -> Self {
        // Some shells stay beside their child, and then answer Ctrl-C with an exit code of their own.
        let program = format!("exec {} session desk", env!("CARGO_BIN_EXE_cardbroker"));
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &program, "/dev/null"])
            .env(ENDPOINT_VARIABLE, broker.endpoint().to_string())
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, stdin, stdout, seen: Vec::new() }
    }

    fn sees(&mut self, until: u8) -> &mut Self {
        self.stdout.read_until(until, &mut self.seen).unwrap();
        self
    }

    fn types(&mut self, text: &str) -> &mut Self {
        self.stdin.write_all(text.as_bytes()).unwrap();
        self
    }

    /// Types a line at the prompt. The input is echoed; the echo ends with the line.
    fn enters(&mut self, line: &str) -> &mut Self {
        self.sees(b'>').types(line).types("\r").sees(b'\n')
    }

    fn has_seen(mut self) -> (String, Option<i32>) {
        self.stdout.read_to_end(&mut self.seen).unwrap();
        (String::from_utf8(self.seen).unwrap(), self.child.wait().unwrap().code())
    }
}

#[test]
fn the_prompt_returns_after_a_mistake_with_a_plain_message() {
    let broker = FakeBroker::with_sessions(|request| match transmit_id(request) {
        Some(1) => [vec![waiters(2)], agreeable(request)].concat(),
        Some(2) => vec![failed(2, ErrorReason::Denied)],
        _ => agreeable(request),
    });
    let mut person = Person::at(&broker);
    for line in ["00A4040C", "00A4", "00B0000002", "help", "reset", "00CA0000", "quit"] {
        person.enters(line);
    }
    let (seen, code) = person.has_seen();
    for expected in [
        "readers/desk, ATR 3B80",
        "00A4 9000  done",
        "(2 callers wait) desk> ",
        "cardbroker: 2 bytes; an APDU has 4 to 65544",
        "cardbroker: why it failed",
        "reset the card (warm)",
        "reset, ATR 3B81",
        "00CA 9000  done",
    ] {
        assert!(seen.contains(expected), "{expected} is not in {seen}");
    }
    assert_eq!(code, Some(0));
    assert_eq!(broker.record().half_closed, [true]);
}

#[test]
fn ctrl_d_and_ctrl_c_at_the_prompt_half_close() {
    for key in ["\x04", "\x03"] {
        let broker = FakeBroker::answering(b"");
        let mut person = Person::at(&broker);
        person.sees(b'>').types(key);
        assert_eq!(person.has_seen().1, Some(0));
        assert_eq!(broker.record().half_closed, [true]);
    }
}

#[test]
fn a_waiting_person_sees_the_queue_and_may_give_up() {
    let broker = FakeBroker::with_sessions(|_| vec![turns_ahead(3)]);
    let mut person = Person::at(&broker);
    person.sees(b'\n').types("\x03");
    let (seen, code) = person.has_seen();
    assert!(seen.contains("3 turns ahead") && seen.contains("interrupted; nothing was sent"), "{seen}");
    assert_eq!(code, Some(1));
}

#[test]
fn a_prompt_ends_with_its_session() {
    let broker = FakeBroker::with_sessions(|request| match transmit_id(request) {
        Some(_) => vec![end(ErrorReason::LeaseRevoked)],
        None => vec![opened()],
    });
    let mut person = Person::at(&broker);
    person.enters("00A4040C");
    let (seen, code) = person.has_seen();
    assert!(seen.contains("cardbroker: why it ended"), "{seen}");
    assert_eq!(code, Some(1));
}

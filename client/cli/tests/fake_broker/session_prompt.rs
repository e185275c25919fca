//! A person at a terminal: `cardbroker session`, a request that waits, and the question of `cardbroker release`.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use cardbroker_client::ErrorReason;
use cardbroker_proto::{
    ENDPOINT_VARIABLE,
    v1::{OpenSessionRequest, open_session_request::Request},
};

use crate::{
    command_line::{code, err, run},
    support::{
        FakeBroker, apdu,
        script::{agreeable, end, failed, opened, transmit_id, turns_ahead, waiters},
    },
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
        Self::runs(broker, "session desk")
    }

    fn runs(broker: &FakeBroker, arguments: &str) -> Self {
        // Some shells stay beside their child, and then answer Ctrl-C with an exit code of their own.
        let program = format!("exec {} {arguments}", env!("CARGO_BIN_EXE_cardbroker"));
        // A program that waits for ever is ended.
        let mut child = Command::new("timeout")
            .args(["20", "script"])
            .args(["--quiet", "--return", "--command", &program, "/dev/null"])
            .env(ENDPOINT_VARIABLE, broker.endpoint().to_string())
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
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

    fn sees_text(&mut self, text: &str) -> &mut Self {
        while !String::from_utf8_lossy(&self.seen).contains(text) {
            let mut byte = [0];
            let read = self.stdout.read_exact(&mut byte);
            assert!(read.is_ok(), "{text:?} is not in {:?}", String::from_utf8_lossy(&self.seen));
            self.seen.extend(byte);
        }
        self
    }

    /// Waits for a text after all that was seen before.
    fn sees_next(&mut self, text: &str) -> &mut Self {
        let seen = std::mem::take(&mut self.seen);
        self.sees_text(text);
        self.seen.splice(0..0, seen);
        self
    }

    fn types(&mut self, text: &str) -> &mut Self {
        self.stdin.write_all(text.as_bytes()).unwrap();
        self
    }

    /// Types a line at the prompt. The input is echoed; the echo ends with the line.
    fn enters(&mut self, line: &str) -> &mut Self {
        self.sees_next("desk> ").types(line).types("\r").sees(b'\n')
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
        "> 00 A4 04 0C  \x1b[1mSELECT\x1b[0m\r\n< \x1b[32m9000\x1b[0m  done, 2 bytes\r\n",
        "(2 wait; at most 30 s left) desk> ",
        "cardbroker: 2 bytes; an APDU has 4 to 65544",
        "cardbroker: why it failed",
        "reset the card (warm)",
        "reset, ATR 3B81",
        "\x1b[1mGET DATA 0000\x1b[0m",
    ] {
        assert!(seen.contains(expected), "{expected} is not in {seen}");
    }
    assert_eq!(code, Some(0));
    assert_eq!(broker.record().half_closed, [true]);
}

#[test]
fn a_pin_is_typed_without_being_shown_or_kept() {
    let broker = FakeBroker::with_sessions(agreeable);
    let mut person = Person::at(&broker);
    person.sees_next("desk> ").types("select piv\r").sees_next("desk> ");
    person.types("pin\r").sees_next("PIN 80 (not shown): ");
    // What is cut from a PIN (Ctrl-U) cannot be pasted at the prompt (Ctrl-Y).
    person.types("97531\x15654321\r").sees_next("VERIFY reference 80").sees_next("desk> ").types("\x19\r");
    // A PIN on the line itself is shown, but does not come back: the line before it does.
    person.sees_next("desk> ").types("0020008006 363534333231\r").sees_next("VERIFY reference 80").sees_next("desk> ");
    person.types("\x1b[A\r").sees_next("PIN 80 (not shown): ").types("\r");
    person.sees_next("desk> ").types("quit\r");
    let (seen, code) = person.has_seen();
    assert!(!seen.contains("654321") && !seen.contains("97531"), "{seen}");
    assert_eq!(code, Some(0));
    let record = broker.record();
    let sent: Vec<_> = record.session_requests.iter().filter_map(bytes).collect();
    let padded = [0x00, 0x20, 0x00, 0x80, 8, b'6', b'5', b'4', b'3', b'2', b'1', 0xFF, 0xFF];
    assert_eq!((sent.len(), &sent[1][..]), (3, &padded[..]));
}

/// The command in a message of a session.
fn bytes(request: &OpenSessionRequest) -> Option<Vec<u8>> {
    match &request.request {
        Some(Request::Transmit(transmit)) => Some(apdu(&transmit.commands[0]).bytes.to_vec()),
        _ => None,
    }
}

#[test]
fn tab_completes_words_and_applications() {
    let broker = FakeBroker::with_sessions(agreeable);
    let mut person = Person::at(&broker);
    person.sees(b'>').types("sel\topenp\t\r").sees_text("SELECT OpenPGP");
    person.sees(b'>').types("quit\r");
    assert_eq!(person.has_seen().1, Some(0));
}

#[test]
fn a_prompt_ends_well_at_a_signal() {
    let broker = FakeBroker::with_sessions(agreeable);
    let mut person = Person::at(&broker);
    person.sees(b'>');
    let program = program_of(person.child.id());
    Command::new("kill").args(["-TERM", &program]).status().unwrap();
    assert_eq!(person.has_seen().1, Some(0));
}

/// The process id of the program below `timeout` and `script`.
fn program_of(process: u32) -> String {
    let mut process = process.to_string();
    loop {
        let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
        match children.split_whitespace().next() {
            Some(child) => process = child.to_owned(),
            None => return process,
        }
    }
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
    person.sees(b'd').types("\x03");
    let (seen, code) = person.has_seen();
    assert!(seen.contains("3 turns ahead") && seen.contains("interrupted; nothing was sent"), "{seen}");
    assert_eq!(code, Some(1));
}

#[test]
fn a_waiting_unit_says_behind_whom() {
    let broker = FakeBroker::start(|_| None);
    let mut person = Person::runs(&broker, "transmit desk 00A4040C");
    person.sees_text("has the card since ").types("\x03");
    let (seen, _) = person.has_seen();
    let expected = "\r\x1b[K2 turns ahead; another caller's session has the card since ";
    assert!(seen.contains(expected), "{seen}");
}

#[test]
fn a_waiting_program_that_is_no_person_is_silent() {
    let broker = FakeBroker::start(|_| None);
    let output = run(&broker, &["transmit", "desk", "00A4040C", "--timeout", "1500ms"]);
    assert!(err(&output).starts_with("cardbroker: the call's deadline passed"), "{:?}", err(&output));
    assert_eq!((err(&output).lines().count(), code(&output)), (1, 6));
}

#[test]
fn a_prompt_announces_waiters_and_the_revocation() {
    let broker = FakeBroker::with_sessions(agreeable);
    let mut person = Person::at(&broker);
    person.sees(b'>');
    for (count, announced) in [(2, "2 wait; at most 30 s left\r\n"), (0, "nobody waits any more\r\n")] {
        broker.say_in_session(waiters(count));
        person.sees_text(announced);
    }
    broker.say_in_session(end(ErrorReason::LeaseRevoked));
    person.sees_text("why it ended; press Enter").types("00B00000\r");
    person.sees_text("that line was not sent").sees_text("open the session again? [y/N] ").types("y\r");
    person.sees(b'\n').enters("quit");
    let (_, code) = person.has_seen();
    assert_eq!((code, broker.record().half_closed.len()), (Some(0), 2));
    let requests = broker.record().session_requests.clone();
    assert_eq!((requests.len(), &requests[0]), (2, &requests[1]), "the same session was opened again");
}

#[test]
fn a_prompt_ends_with_its_session() {
    let broker = FakeBroker::with_sessions(|request| match transmit_id(request) {
        Some(_) => vec![end(ErrorReason::LeaseRevoked)],
        None => vec![opened()],
    });
    let mut person = Person::at(&broker);
    person.enters("00A4040C").sees_text("again? [y/N] ").types("n\r");
    let (seen, code) = person.has_seen();
    assert_eq!(seen.matches("cardbroker: why it ended").count(), 1, "{seen}");
    assert_eq!(code, Some(1));
}

#[test]
fn a_release_asks_and_only_yes_ends_the_turn() {
    for (answer, told, expected, releases) in [("n", "nothing was released", 1, 0), ("y", "\nreleased", 0, 1)] {
        let broker = FakeBroker::answering(b"");
        let mut person = Person::runs(&broker, "release desk");
        person.sees_text("End this turn? [y/N] ").types(answer).types("\r");
        let (seen, code) = person.has_seen();
        assert!(seen.contains("is held by process 4711 (says \"scdaemon\") of user 1000"), "{seen}");
        assert!(seen.contains(told), "{seen}");
        assert_eq!((code, broker.operations().releases.len()), (Some(expected), releases));
    }
}

#[test]
fn a_watched_status_is_drawn_in_place_on_a_terminal() {
    let broker = FakeBroker::answering(b"");
    let mut person = Person::runs(&broker, "status --watch desk");
    person.sees_text("\x1b[J\x1b[H\x1b[33m●\x1b[0m readers/desk\x1b[K\r\n").types("\x03");
    assert_eq!(person.has_seen().1, Some(0));
}

//! Ctrl-C, SIGTERM and closed pipes: every command ends with its documented exit code.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use cardbroker_proto::v1::open_session_request::Request;

use crate::{
    command_line::cardbroker,
    support::{FakeBroker, script::opened},
};

/// The longest time that a command may take to end.
const LIMIT: Duration = Duration::from_secs(20);

fn signal(child: &Child, name: &str) {
    Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
}

/// The exit code of a program that ends by itself.
fn end(mut child: Child) -> (Option<i32>, String) {
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > LIMIT {
            child.kill().unwrap();
            panic!("the program did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut err = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut err).unwrap();
    }
    (child.wait().unwrap().code(), err)
}

#[test]
fn a_signal_during_a_unit_leaves_its_outcome_unknown() {
    for name in ["-INT", "-TERM"] {
        let broker = FakeBroker::start(|_| None);
        let child = cardbroker(&broker, &["transmit", "desk", "00A4040C"]).stderr(Stdio::piped()).spawn().unwrap();
        while broker.record().transmits.is_empty() {
            std::thread::sleep(Duration::from_millis(2));
        }
        signal(&child, name);
        let (code, err) = end(child);
        assert_eq!((code, err.starts_with("cardbroker: interrupted; the command may have run")), (Some(6), true));
    }
}

#[test]
fn a_signal_during_a_probe_leaves_its_outcome_unknown() {
    let broker = FakeBroker::start(|_| None);
    let child = cardbroker(&broker, &["card", "desk", "--probe"]).stderr(Stdio::piped()).spawn().unwrap();
    let begin = Instant::now();
    while broker.record().transmits.is_empty() {
        assert!(begin.elapsed() < LIMIT, "no probe");
        std::thread::sleep(Duration::from_millis(2));
    }
    signal(&child, "-INT");
    let (code, err) = end(child);
    assert_eq!((code, err.starts_with("cardbroker: interrupted; the command may have run")), (Some(6), true), "{err}");
}

#[test]
fn a_script_that_is_ended_early_is_code_5() {
    let broker = FakeBroker::answering(b"");
    let mut child = cardbroker(&broker, &["session", "desk"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut script = child.stdin.take().unwrap();
    script.write_all(b"00A4040C\n").unwrap();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    signal(&child, "-TERM");
    let (code, err) = end(child);
    assert_eq!((code, &*err), (Some(5), "cardbroker: interrupted; the rest of the script was not sent\n"));
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_cannot_be_written_is_no_refusal() {
    let broker = FakeBroker::answering(b"");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = cardbroker(&broker, &["transmit", "desk", "00A4040C", "--json"]);
    let child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let (code, err) = end(child);
    assert!(code == Some(6) && err.contains("\"delivery\":\"executed\""), "{code:?} {err}");
}

#[test]
fn a_signal_during_a_reset_leaves_its_outcome_unknown() {
    let broker = FakeBroker::with_sessions(|request| match request.request {
        Some(Request::Open(_)) => vec![opened()],
        _ => Vec::new(),
    });
    let child = cardbroker(&broker, &["reset", "desk"]).stderr(Stdio::piped()).spawn().unwrap();
    let is_reset = || broker.record().session_requests.iter().any(|it| matches!(it.request, Some(Request::Reset(_))));
    let begin = Instant::now();
    while !is_reset() {
        assert!(begin.elapsed() < LIMIT, "no reset");
        std::thread::sleep(Duration::from_millis(2));
    }
    signal(&child, "-INT");
    let (code, err) = end(child);
    assert_eq!((code, err.starts_with("cardbroker: interrupted; the command may have run")), (Some(6), true), "{err}");
}

#[test]
fn a_signal_before_anything_is_sent_is_code_1() {
    let broker = FakeBroker::answering(b"");
    broker.get_stuck();
    for arguments in [
        &["transmit", "desk", "00A4040C"][..],
        &["readers"],
        &["card", "desk"],
        &["broker"],
        &["reset", "desk"],
        &["session", "desk"],
    ] {
        for name in ["-INT", "-TERM"] {
            let mut command = cardbroker(&broker, arguments);
            let child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            // The program catches signals before it does anything else: the kernel says which.
            let begin = Instant::now();
            while !catches(child.id(), name) {
                assert!(begin.elapsed() < LIMIT, "{arguments:?} does not catch {name}");
                std::thread::sleep(Duration::from_millis(2));
            }
            signal(&child, name);
            let (code, err) = end(child);
            assert_eq!((code, &*err), (Some(1), "cardbroker: interrupted; nothing was sent\n"), "{arguments:?} {name}");
        }
    }
}

/// Whether a process catches a signal, by its mask in /proc.
fn catches(process: u32, name: &str) -> bool {
    let number = if name == "-INT" { 2 } else { 15 };
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask & 1 << (number - 1) != 0
}

#[test]
fn endless_commands_end_well_at_a_signal() {
    for arguments in [&["watch"][..], &["status", "--watch"], &["trace"]] {
        for name in ["-INT", "-TERM"] {
            let broker = FakeBroker::answering(b"");
            let mut command = cardbroker(&broker, arguments);
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
            signal(&child, name);
            assert_eq!(end(child).0, Some(0), "{arguments:?} {name}");
        }
    }
}

#[test]
fn endless_commands_end_with_the_reader_of_their_output() {
    for arguments in ["watch", "status --watch", "trace"] {
        let broker = FakeBroker::answering(b"");
        let script = format!("{} {arguments} | head -n 1", env!("CARGO_BIN_EXE_cardbroker"));
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).env(cardbroker_proto::ENDPOINT_VARIABLE, broker.endpoint().to_string());
        let child = shell.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (code, err) = end(child);
        assert_eq!((code, &*err), (Some(0), ""), "{arguments}");
    }
}

//! `cardbroker trace` as a whole program: screen, file and pipe.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    process::{Command, Output, Stdio},
};

use cardbroker_client::diagnostics::{TraceEventKind, TraceLevel};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    command_line::{cardbroker, code, err, out},
    support::FakeBroker,
};

fn run(broker: &FakeBroker, arguments: &[&str]) -> Output {
    cardbroker(broker, arguments).env("TZ", "UTC").output().unwrap()
}

/// A broker that stops after the events of the sample.
fn stopping() -> FakeBroker {
    let broker = FakeBroker::answering(b"");
    broker.operations().ends = true;
    broker
}

#[test]
fn a_trace_prints_events_gaps_and_the_brokers_end() {
    let output = run(&stopping(), &["trace"]);
    let lines: Vec<_> = out(&output).lines().collect();
    assert!(lines[0].starts_with("-- trace since ") && lines[0].ends_with(", run e1 of the broker --"), "{lines:?}");
    assert_eq!(lines[1], "14:04:10.001* desk  card inserted, ATR 3B80 by T1, insertion e1-5");
    assert_eq!(lines[9], "-- 5 events missing here: this program was too slow --");
    assert_eq!((lines.len(), lines[12]), (14, "14:04:10.009  desk  card removed"));
    assert_eq!((err(&output), code(&output)), ("cardbroker: the broker stops\n", 1));
}

#[test]
fn every_filter_reaches_the_broker() {
    let broker = stopping();
    let options = "trace --reader yubi --reader readers/pcd-00-00 --pid 1 --pid 2 --user 1000 --user root \
                   --connection 5 --kind command --kind denial --data --last 256 --json";
    run(&broker, &options.split_whitespace().collect::<Vec<_>>());
    let request = broker.operations().trace_requests.pop().unwrap();
    assert_eq!(request.readers, ["readers/desk", "readers/pcd-00-00"]);
    assert!(request.callers.iter().all(|caller| caller.connection == 5));
    let callers: Vec<_> = request.callers.iter().map(|caller| (&*caller.principal, caller.process_id)).collect();
    let expected = [("user 1000", Some(1)), ("user 0", Some(1)), ("user 1000", Some(2)), ("user 0", Some(2))];
    assert_eq!(callers, expected);
    assert_eq!(request.kinds, [TraceEventKind::Command as i32, TraceEventKind::Denial as i32]);
    assert_eq!((request.level, request.recorded_count), (TraceLevel::Data as i32, 256));
}

#[test]
fn a_recorded_trace_is_private_and_shows_the_same_text() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.jsonl");
    let file = path.to_str().unwrap();
    let output = run(&stopping(), &["trace", "-o", file]);
    assert_eq!((out(&output), code(&output)), ("", 1));
    assert!(err(&output).contains(&format!("10 events in {file}")), "{}", err(&output));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&events[0]["event"], &events[0]["epoch"]), (&"trace_began".into(), &"e1".into()));
    assert_eq!((&events[3]["header"], &events[3]["command"]), (&"00A40400".into(), &"00A4040005A00000030800".into()));
    assert_eq!(
        (&events[3]["time"], &events[3]["caller"]["process_id"]),
        (&"2026-11-27T14:04:10.003000Z".into(), &4711.into())
    );

    let live = run(&stopping(), &["trace"]);
    let mut broker = FakeBroker::answering(b"");
    broker.stop();
    let shown = run(&broker, &["trace", "show", file]);
    let events = |output: &Output| out(output).lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!((events(&shown), err(&shown), code(&shown)), (events(&live), "", 0));
}

#[test]
fn a_trace_with_data_begins_with_the_cards_that_are_present() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("x.jsonl");
    let present = |more: &[&str]| {
        let output = run(&stopping(), &[&["trace", "--force", "-o", file.to_str().unwrap()], more].concat());
        assert!(err(&output).contains("10 events in"), "{}", err(&output));
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.skip(1).take_while(|line| line["event"] == "card_present").collect::<Vec<_>>()
    };
    let [card] = &present(&["--data"])[..] else { panic!("one card is present") };
    let keys = ["reader", "insertion_id", "atr", "protocol"].map(|key| card[key].as_str().unwrap());
    assert_eq!(keys, ["readers/desk", "first", "3B80", "T1"]);
    assert_eq!(present(&["--data", "--reader", "readers/pcd-00-00"]), [] as [Value; 0]);
    assert_eq!(present(&[]), [] as [Value; 0]);
}

#[test]
fn an_existing_file_is_kept_unless_forced() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.jsonl");
    let file = path.to_str().unwrap();
    fs::write(&path, "precious").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let broker = stopping();
    let output = run(&broker, &["trace", "-o", file]);
    let expected = format!("cardbroker: {file} exists: choose another name, or replace it with --force\n");
    assert_eq!((err(&output), code(&output)), (&*expected, 2));
    assert_eq!(
        (fs::read_to_string(&path).unwrap().as_str(), broker.operations().trace_requests.len()),
        ("precious", 0)
    );

    run(&broker, &["trace", "-o", file, "--force"]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&path).unwrap().starts_with("{\"event\":\"trace_began\""));
}

#[test]
fn a_malformed_record_is_named_by_line_without_its_text() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.jsonl");
    let file = path.to_str().unwrap();
    let mut broker = FakeBroker::answering(b"");
    broker.stop();
    let unknown = "{\"event\":\"card_melted\"}\n";
    for (text, mistake) in [
        (format!("{unknown}\n{{\"event\":\"command\",\"secret\":1}}\n"), "line 3: not an event of a trace"),
        ("\u{1b}[2J".to_owned(), "line 1: not an event of a trace"),
        (
            "{\"event\":\"trace_began\",\"version\":2,\"time\":null,\"epoch\":\"\"}".to_owned(),
            "line 1: format 2; this program reads format 1",
        ),
        (" ".repeat(1 << 20), "line 1: longer than any event"),
    ] {
        fs::write(&path, text).unwrap();
        let output = run(&broker, &["trace", "show", file]);
        assert_eq!((err(&output), code(&output)), (&*format!("cardbroker: {file}, {mistake}\n"), 2));
    }
    fs::write(&path, unknown).unwrap();
    let output = run(&broker, &["trace", "show", file]);
    assert_eq!((out(&output), code(&output)), ("", 0));
    assert!(err(&output).contains("1 event of a kind"), "{}", err(&output));
    assert_eq!(code(&run(&broker, &["trace", "show", "/nonexistent"])), 2);
}

#[test]
fn ctrl_c_ends_a_trace_successfully() {
    let broker = FakeBroker::answering(b"");
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.jsonl");
    let arguments = ["trace", "-o", path.to_str().unwrap()];
    let mut child = cardbroker(&broker, &arguments).stderr(Stdio::piped()).spawn().unwrap();
    // The last event is in the file before Ctrl-C.
    while !fs::read_to_string(&path).unwrap_or_default().contains("not_served") {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 12);
}

#[test]
fn a_closed_pipe_ends_a_trace_quietly() {
    let broker = FakeBroker::answering(b"");
    // More than a pipe holds.
    let many: Vec<_> = std::iter::repeat_n(broker.operations().trace.clone(), 500).flatten().collect();
    broker.operations().trace = many;
    let mut command = cardbroker(&broker, &["trace"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!((err(&output), code(&output)), ("", 0));
}

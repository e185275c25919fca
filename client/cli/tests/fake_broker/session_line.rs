//! `cardbroker session` with a script on standard input: output, ends, exit codes.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use cardbroker_client::{CardRequirement, CardReset, Delivery, Disposition, ErrorReason};
use cardbroker_proto::v1::open_session_request::Request;
use serde_json::Value;
use tonic::Status;

use crate::{
    command_line::{cardbroker, code, err, out},
    support::{
        FakeBroker, apdu,
        script::{Say, agreeable, end, failed, opened, stopped, transmit_id},
    },
};

fn run_script(broker: &FakeBroker, options: &[&str], script: &str) -> Output {
    let arguments = [&["session", "desk"], options].concat();
    let mut command = cardbroker(broker, &arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A session that has ended reads no more.
    let _ = child.stdin.take().unwrap().write_all(script.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn a_script_prints_one_line_per_apdu_and_half_closes() {
    let broker = FakeBroker::answering(b"");
    let output = run_script(&broker, &[], "# choose\n00 A4 04 0C\n\nreset\n00:b0:00:00:02\r\n");
    assert_eq!((out(&output), err(&output), code(&output)), ("00A4 9000\n00B0 9000\n", "", 0));
    let record = broker.record();
    assert_eq!((record.session_requests.len(), &record.half_closed[..]), (4, &[true][..]));
}

#[test]
fn quit_ends_a_script_before_its_end() {
    let broker = FakeBroker::answering(b"");
    let output = run_script(&broker, &[], "00A4040C\nquit\n00B0000002\n");
    assert_eq!((out(&output), code(&output)), ("00A4 9000\n", 0));
    assert_eq!(broker.record().half_closed, [true]);
}

#[test]
fn a_script_in_json_is_one_object_for_each_event() {
    let output = run_script(&FakeBroker::answering(b""), &["--json"], "00A4040C\ncold\n");
    let lines: Vec<Value> = out(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["event"], &lines[0]["insertion_id"]), (&"opened".into(), &"first".into()));
    assert_eq!((&lines[1]["event"], &lines[1]["results"][0]["data"]), (&"transmitted".into(), &"00A4".into()));
    assert_eq!((&lines[2]["event"], &lines[2]["atr"]), (&"reset_done".into(), &"3B81".into()));
    assert_eq!((lines.len(), code(&output)), (3, 0));
}

#[test]
fn every_option_of_a_session_reaches_the_broker() {
    let broker = FakeBroker::answering(b"");
    let options = "--raw --reset-before cold --wait-for-card --wait-timeout 5s --if-insertion i --if-state t \
                   --idle-timeout 60s --disposition leave --continue-class 81 --allow-last-try";
    let output = run_script(&broker, &options.split_whitespace().collect::<Vec<_>>(), "00A4040C\n");
    assert_eq!(code(&output), 0, "{}", err(&output));
    let record = broker.record();
    let Some(Request::Open(open)) = &record.session_requests[0].request else { panic!("no open") };
    let turn = open.turn.as_ref().unwrap();
    assert_eq!((turn.card(), turn.reset_before()), (CardRequirement::Awaited, CardReset::Cold));
    assert_eq!((turn.if_insertion_id.as_str(), turn.if_state_tag.as_str()), ("i", "t"));
    assert_eq!((turn.wait_timeout.unwrap().seconds, open.idle_timeout.unwrap().seconds), (5, 60));
    assert_eq!(open.disposition(), Disposition::Leave);
    let Some(Request::Transmit(transmit)) = &record.session_requests[1].request else { panic!("no transmit") };
    let apdu = apdu(&transmit.commands[0]);
    assert!(apdu.raw && apdu.allow_last_try && apdu.continue_class == Some(0x81));
}

#[test]
fn a_script_ends_at_its_first_error_with_its_code() {
    let at_the_second = |say: fn(i64) -> Vec<Say>| {
        let broker = FakeBroker::with_sessions(move |request| match transmit_id(request) {
            Some(2) => say(2),
            _ => agreeable(request),
        });
        let output = run_script(&broker, &[], "00A4040C\n00B0000002\n00B0000003\n");
        assert!(broker.record().session_requests.len() == 3, "the third line was not sent");
        (out(&output).to_owned(), err(&output).to_owned(), code(&output))
    };
    let check = "; the command may have run: check the card's state before you send it again\n";
    assert_eq!(
        at_the_second(|id| vec![failed(id, ErrorReason::Denied)]),
        ("00A4 9000\n".into(), "cardbroker: why it failed\n".into(), 1)
    );
    assert_eq!(
        at_the_second(|_| vec![end(ErrorReason::CardRemoved)]),
        ("00A4 9000\n".into(), "cardbroker: why it ended\n".into(), 4)
    );
    assert_eq!(
        at_the_second(|_| vec![Err(Status::unavailable("gone"))]),
        ("00A4 9000\n".into(), format!("cardbroker: the connection to the broker was lost (gone){check}"), 6)
    );
    let stop = "stopped at command 1: the exchange failed";
    assert_eq!(
        at_the_second(|id| vec![stopped(id, Delivery::NotSent)]),
        ("00A4 9000\nAB 6110\n".into(), format!("cardbroker: {stop}\n"), 5)
    );
    assert_eq!(
        at_the_second(|id| vec![stopped(id, Delivery::Unknown)]),
        ("00A4 9000\nAB 6110\n".into(), format!("cardbroker: {stop}{check}"), 6)
    );
}

#[test]
fn a_malformed_line_is_reported_by_position_without_its_text() {
    let broker = FakeBroker::answering(b"");
    let output = run_script(&broker, &[], "00A4040C\n\n0020008004 3132333z\n");
    assert_eq!(err(&output), "cardbroker: line 3: not a hexadecimal digit at position 19\n");
    assert_eq!((out(&output), code(&output)), ("00A4 9000\n", 2));
}

#[test]
fn a_turn_that_does_not_come_is_code_7() {
    let broker = FakeBroker::with_sessions(|_| vec![end(ErrorReason::QueueTimeout)]);
    assert_eq!(code(&run_script(&broker, &[], "00A4040C\n")), 7);
}

#[test]
fn ctrl_c_ends_a_session_wherever_it_is() {
    // While a command is in progress, and while the session waits for its turn.
    for (opens, expected) in [(true, 6), (false, 1)] {
        let broker = FakeBroker::with_sessions(move |request| match transmit_id(request) {
            None if opens => vec![opened()],
            _ => Vec::new(),
        });
        let mut command = cardbroker(&broker, &["session", "desk"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"00A4040C\n").unwrap();
        let messages = if opens { 2 } else { 1 };
        while broker.record().session_requests.len() < messages {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(err(&output).starts_with("cardbroker: interrupted"), "{}", err(&output));
        assert_eq!(code(&output), expected);
    }
}
